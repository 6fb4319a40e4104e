"""Whole networks that are asked for a class, beside what was measured on the same kind of chip."""
