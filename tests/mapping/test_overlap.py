"""Rectangles that share a cell are found as by painting every cell."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cimsim.mapping.layout import first_overlap

RECTANGLE = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), st.integers(1, 6))


def shares_a_cell(rectangles):
    painted = np.zeros((16, 16), int)
    for row, col, rows, cols in rectangles:
        painted[row : row + rows, col : col + cols] += 1
    return painted.max(initial=0) > 1


@given(st.lists(RECTANGLE, max_size=7))
def test_any_rectangles(rectangles):
    met = first_overlap(rectangles, lambda r: r)
    assert (met is not None) == shares_a_cell(rectangles)
    if met is not None:
        assert shares_a_cell(met)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_a_grid_has_none_until_one_of_them_grows(heights, widths, random):
    rows, cols = (list(itertools.accumulate(n, initial=0)) for n in (heights, widths))
    grid = [(r, c, h, w) for r, h in zip(rows, heights, strict=False)
            for c, w in zip(cols, widths, strict=False)]  # fmt: skip
    random.shuffle(grid)
    assert first_overlap(grid, lambda r: r) is None
    row, col, height, width = grid[0]
    grown = [(row, col, height + 1, width), *grid[1:]]
    assert (first_overlap(grown, lambda r: r) is not None) == (row + height < rows[-1])
