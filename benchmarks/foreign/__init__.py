"""Networks that others wrote, through all stages: `python -m benchmarks.foreign`."""
