"""The parts of a chip description, one model each, units in every field name."""
