"""The coordinator node."""
