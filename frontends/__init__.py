"""Frontends: torch programs and model files turned into layer graphs."""
