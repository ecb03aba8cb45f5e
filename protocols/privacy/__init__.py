"""Differential privacy: clipping, exact integer noise, accounting and budgets (design, section 6).

One sum a round is released: each person's vector is clipped and quantised to an integer norm that
is checked, the parties' shares of discrete Gaussian noise are added in the ring, and the accountant
charges every party for what it took part in. ``docs/theory/lattice-lemma.md`` proves that integer
noise costs what continuous noise costs.
"""
