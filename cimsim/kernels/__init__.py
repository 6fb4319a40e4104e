"""Compiled inner loops: products, noise, converters, scaling, and the lines of a crossbar."""
