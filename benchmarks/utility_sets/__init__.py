"""Data of the utility benchmark: two real sets, and synthetic ones to choose settings on."""
