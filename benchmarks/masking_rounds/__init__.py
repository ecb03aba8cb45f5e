"""Parts of ``benchmarks/masking.py``: parties, coordinator, comparisons, and their report."""
