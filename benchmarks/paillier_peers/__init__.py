"""Parts of ``benchmarks/paillier.py``: what is measured of ours and of others."""
