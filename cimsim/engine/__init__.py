"""Functional execution: a mapping is programmed, calibrated and run frame by frame."""
