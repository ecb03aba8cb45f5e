"""Paillier-encrypted sums: keys, packing, encryption, proofs. Needs the extra ``paillier``.

Nothing outside this package imports gmpy2 or phe. phe is under the GPL, version 3: see
docs/decisions/0015-paillier-is-an-extra.md before you distribute the combination.
"""
