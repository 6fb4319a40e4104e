"""The same integers through cimsim, through other simulators, and through single cells in time."""
