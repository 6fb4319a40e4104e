"""Clips in and out, noise, picture quality and the embedded clip; imports nothing heavy."""
