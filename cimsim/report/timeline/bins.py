"""Time in bins: how much of each bin something lasted, and the most that a buffer held in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def shares_by_priority(
    spans: Sequence[tuple[Ints, Ints]], edges: NDArray[np.int64] | Floats
) -> Floats:
    """Return what share of each bin each state takes, where an earlier state hides later ones.

    Parameters
    ----------
    spans : sequence of (int64 [n], int64 [n])
        Start and end of the spans of each state; those of one state may overlap.
    edges : float or int64 [bins + 1]
        Ascending.

    Returns
    -------
    float64 [states, bins]
        In each bin the shares add up to at most 1.
    """
    widths = np.diff(edges).astype(np.float64)
    found = np.zeros((len(spans), len(widths)))
    parts = []
    for state, (start, stop) in enumerate(spans):
        there = (stop > start) & (stop > edges[0]) & (start < edges[-1])
        for times, step in ((start[there], 1), (stop[there], -1)):
            parts.append((times, np.full(len(times), state, np.int8), step))
    times = np.concatenate([part[0] for part in parts])
    states = np.concatenate([part[1] for part in parts])
    steps = np.concatenate([np.full(len(part[0]), part[2], np.int8) for part in parts])
    if len(times) == 0:
        return found
    order = np.argsort(times, kind="stable")
    times, states, steps = times[order], states[order], steps[order]
    lasts = np.diff(times)
    taken = np.zeros(len(lasts), np.bool_)
    for state in range(len(spans)):
        here = np.cumsum(np.where(states == state, steps, 0), dtype=np.int64)[:-1] > 0
        fresh = here & ~taken
        taken |= here
        passed = np.concatenate([[0], np.cumsum(np.where(fresh, lasts, 0))])
        found[state] = np.diff(np.interp(edges, times, passed)) / widths
    return found


def mean_count(start: Ints, stop: Ints, edges: NDArray[np.int64] | Floats) -> Floats:
    """Return how many of some spans last at a time, mean over each bin, float64 [bins]."""
    if len(start) == 0:
        return np.zeros(len(edges) - 1)
    passed = np.zeros(len(edges))
    for times, sign in ((np.sort(start), 1), (np.sort(stop), -1)):
        # sum of max(0, edge - t) over all t is piecewise linear in the edge
        before = np.searchsorted(times, edges)
        sums = np.concatenate([[0], np.cumsum(times)])
        passed += sign * (before * np.asarray(edges, np.float64) - sums[before])
    found: Floats = np.diff(passed) / np.diff(edges)
    return found


def largest_in_bins(cycles: Ints, values: Ints, edges: NDArray[np.int64] | Floats) -> Ints:
    """Return the largest value of a step function in each bin, int64 [bins].

    Parameters
    ----------
    cycles, values : int64 [n]
        From each cycle to the next it has that value; 0 before the first one.
    edges : [bins + 1]
        Ascending; a bin has its start, not its end.
    """
    steps = np.concatenate([[0], values])
    first = np.searchsorted(cycles, edges[:-1], "right")  # steps[first] holds at the start
    last = np.searchsorted(cycles, edges[1:], "left")
    # reduceat takes pairs; the odd ones are what lies between two bins
    padded = np.append(steps, 0)
    pairs = np.column_stack([first, np.maximum(last, first) + 1]).ravel()
    found: Ints = np.maximum.reduceat(padded, pairs)[::2]
    return found
