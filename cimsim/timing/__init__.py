"""Cycles of a mapping, event by event; `cimsim.timing.simulate.simulate` is the way in."""
