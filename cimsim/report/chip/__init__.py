"""A chip and what lies on it: where its numbers come from, its area and energy, floor plans."""
