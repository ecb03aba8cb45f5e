"""Authenticated streams between a party and the coordinator."""
