import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mapping.allocation.replicas import least_interval, replicas_of

LAYERS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=4
)

MANY = st.tuples(st.integers(9000, 20000), st.integers(1, 4), st.integers(1, 3))


def ceiling(layers):
    """Cycles: so many windows, taken in turns by the replicas."""
    return lambda layer, r: -(-layers[layer][0] // r) * layers[layer][1]


@settings(max_examples=150, deadline=None)
@given(layers=LAYERS, spare=st.integers(0, 8))
def test_no_other_choice_has_a_smaller_interval(layers, spare):
    arrays = [n for *_, n in layers]
    total = sum(arrays) + spare
    cost = ceiling(layers)
    found = replicas_of(cost, arrays, total)
    assert sum(r * n for r, n in zip(found, arrays, strict=True)) <= total
    interval = max(cost(i, r) for i, r in enumerate(found))
    best = min(
        max(cost(i, r) for i, r in enumerate(choice))
        for choice in itertools.product(range(1, spare + 2), repeat=len(layers))
        if sum(r * n for r, n in zip(choice, arrays, strict=True)) <= total
    )
    assert interval == best
    assert interval >= least_interval([w * c for w, c, _ in layers], arrays, total)


@given(layers=LAYERS)
def test_with_room_for_all_each_window_has_its_replica(layers):
    arrays, most = [n for *_, n in layers], [w for w, *_ in layers]
    found = replicas_of(ceiling(layers), arrays, 10**4, most)
    slowest = max(c for _, c, _ in layers)
    assert max(ceiling(layers)(i, r) for i, r in enumerate(found)) == slowest


@settings(max_examples=50)
@given(layers=st.lists(MANY, min_size=1, max_size=6))
def test_many_arrays_come_within_a_tenth_of_the_even_spread(layers):
    arrays = [n for *_, n in layers]
    work = [w * c for w, c, _ in layers]
    # so many that even the cheapest layer gets twenty copies: rounding up costs little
    total = max(
        sum(-(-work[i] * 20 // work[j]) * arrays[i] for i in range(len(layers)))
        for j in range(len(layers))
    )
    found = replicas_of(ceiling(layers), arrays, total)
    interval = max(ceiling(layers)(i, r) for i, r in enumerate(found))
    spread = least_interval(work, arrays, total)
    assert interval <= 1.1 * spread


def test_a_step_that_gains_nothing_alone_is_taken_together_with_the_next():
    # 4 windows: three replicas need two rounds as two do; the fourth makes it one
    assert replicas_of(lambda _, r: -(-4 // r), [1], 3) == [2]
    assert replicas_of(lambda _, r: -(-4 // r), [1], 4) == [4]


def test_least_interval_is_the_even_spread():
    assert least_interval([100.0, 20.0], [2, 5], 10) == pytest.approx(30)
