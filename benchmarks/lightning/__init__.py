"""Networks of aihwkit-lightning, there and on a chip: `python -m benchmarks.lightning`."""
