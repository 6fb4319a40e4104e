"""Structured pruning: whole channels, chosen by what a chip really saves."""
