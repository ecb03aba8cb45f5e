"""Ledgers of any length for the benchmark of the auditor."""
