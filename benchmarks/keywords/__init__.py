"""Keyword networks for the 40 nm eFlash chip, trained on spoken digits."""
