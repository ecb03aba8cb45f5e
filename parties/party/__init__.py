"""The party node."""
