"""Studies: many simulations that answer one question."""
