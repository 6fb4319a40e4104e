"""Layer matrices on crossbar arrays: strategies, placements, counts."""
