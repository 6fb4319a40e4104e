"""Cycles: what the mapping takes, event by event; `cimsim.timing.simulate.simulate` is the way in."""
