from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cimsim.report.timeline.bins import largest_in_bins, mean_count, shares_by_priority

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8).map(
    lambda found: (
        np.array([start for start, _ in found], np.int64),
        np.array([start + length for start, length in found], np.int64),
    )
)
EDGES = st.lists(st.integers(0, 40), min_size=2, max_size=7, unique=True).map(
    lambda found: np.array(sorted(found), np.int64)
)


@given(spans=st.lists(SPANS, min_size=1, max_size=4), edges=EDGES)
def test_shares_are_those_of_counting_cycle_by_cycle(spans, edges):
    state_of = []
    for cycle in range(60):
        there = [i for i, (a, b) in enumerate(spans) if ((a <= cycle) & (cycle < b)).any()]
        state_of.append(min(there, default=-1))
    expected = [
        [state_of[low:high].count(state) / (high - low) for low, high in pairwise(edges)]
        for state in range(len(spans))
    ]
    np.testing.assert_allclose(shares_by_priority(spans, edges), expected, atol=1e-12)


@given(spans=SPANS, edges=EDGES)
def test_mean_count_is_that_of_counting_cycle_by_cycle(spans, edges):
    counts = [((spans[0] <= cycle) & (cycle < spans[1])).sum() for cycle in range(60)]
    expected = [np.mean(counts[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_allclose(mean_count(*spans, edges), expected, atol=1e-12)


@given(
    steps=st.dictionaries(st.integers(0, 40), st.integers(0, 9), max_size=12), edges=EDGES
)  # fmt: skip
def test_the_largest_value_of_a_bin_is_that_of_looking_at_every_cycle(steps, edges):
    cycles = np.array(sorted(steps), np.int64)
    values = np.array([steps[cycle] for cycle in cycles.tolist()], np.int64)
    held, series = 0, []
    for cycle in range(60):
        held = steps.get(cycle, held)
        series.append(held)
    expected = [max(series[a:b]) for a, b in pairwise(edges)]
    assert largest_in_bins(cycles, values, edges).tolist() == expected
