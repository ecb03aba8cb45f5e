"""Tasks: what a party computes, and what becomes of the sum."""
