"""The ledger: an append-only Merkle log of what was signed in a run, and proofs about it."""
