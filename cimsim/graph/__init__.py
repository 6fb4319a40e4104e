"""Layer graphs: nodes, verification and the float reference interpreter."""
