"""Load: what happens to runs that are interrupted, crowded, starved of disk, or very long.

``python -m benchmarks.load`` runs all scenarios, or those that are named, on any machine without
other data, and prints one line each: what was tried, how often, how often something was not as it
is to be, and figures. ``docs/reliability.md`` quotes them.
"""
