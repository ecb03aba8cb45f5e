"""Pairwise masking: secure aggregation after Bonawitz et al. 2017 and Bell et al. 2020."""
