"""Cycles of CIM-NET and FastDVDnet on one chip, and where a ratio of windows goes in time."""
