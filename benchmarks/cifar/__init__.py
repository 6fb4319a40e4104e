"""Whole networks that chips were measured with, on CIFAR-10."""
