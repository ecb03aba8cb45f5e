"""The tables of the learning benchmark, one module a subject."""
