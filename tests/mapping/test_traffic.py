from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip.load import load_hw
from cimsim.graph.ir import MatrixOp, TensorSpec, Window
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.mapping import Slot
from cimsim.mapping.strategies import Im2col, strategy
from cimsim.mapping.traffic import load_bytes, loaded_per_frame, new_columns, partial_sums, stations
from tests.mapping.layers import arrays, chip, layer, layers

NAMES = ["im2col", "smd", "sdk", "vwsdk", "omm", "smd:2", "vwsdk:3x2", "omm:3"]


@given(
    kernel=st.integers(1, 6), stride=st.integers(1, 5), dilation=st.integers(1, 4),
    windows=st.integers(1, 3), replicas=st.integers(1, 3),
)  # fmt: skip
def test_new_columns_are_those_that_a_long_row_brings(kernel, stride, dilation, windows, replicas):
    op = MatrixOp(
        "m", ("x",), TensorSpec((1, 1, 1, 1)), TensorSpec((1, 1, 1, 1)), np.zeros((1, 1, 1)), None,
        Window((1, kernel), (1, stride), (0, 0, 0, 0), (1, dilation)), (1, 1, 1),
    )  # fmt: skip
    held, brought, total = set(), 0, 0
    for activation in range(60):  # one replica walks along a row
        first = activation * replicas * windows * stride
        read = {first + w * stride + k * dilation for w in range(windows) for k in range(kernel)}
        brought, total = len(read - held), len(read)
        held |= read
    assert new_columns(op, windows, replicas) == (brought, total)


@pytest.mark.slow
@given(
    kernel=st.integers(1, 4), stride=st.integers(1, 4), dilation=st.integers(1, 3),
    size=st.integers(10, 20), replicas=st.integers(1, 3),
)  # fmt: skip
def test_bytes_of_a_frame_are_those_of_its_windows_one_by_one(
    kernel, stride, dilation, size, replicas
):
    window = Window((kernel,) * 2, (stride,) * 2, (0,) * 4, (dilation,) * 2)
    rows, cols = window.positions(size, size)
    op = MatrixOp(
        "m", ("x",), TensorSpec((1, 3, size, size)), TensorSpec((1, 2, rows, cols)),
        np.zeros((1, kernel * kernel * 3, 2), np.float32), None, window, (2, 1, 1),
    )  # fmt: skip
    hw = load_hw("eflash40nm")
    layout = Im2col().place(op, hw)
    new, total = new_columns(op, 1, replicas)
    loaded, seen = 0, set()
    for index in range(rows * cols):
        place = (index // cols, index % replicas)
        share = new if place in seen else total
        loaded += -(-op.group_rows * share // total)
        seen.add(place)
    assert loaded_per_frame(op, layout, replicas, hw) == loaded


@given(op=layers(), size=arrays(), name=st.sampled_from(NAMES), replicas=st.integers(1, 3))
def test_bytes_of_any_mapping_are_those_of_its_activations_one_by_one(op, size, name, replicas):
    hw = chip(*size)
    layout = strategy(name).place(op, hw)
    per_row = op.window_grid[1]
    _, wx = layout.window_shape or (1, layout.windows_per_activation)
    new, total = new_columns(op, wx, replicas)
    loaded, seen = 0, set()
    for index in range(layout.activations(op.window_grid)):
        if layout.window_shape is None:
            map_row = index * wx // per_row
        else:
            map_row = index // -(-per_row // wx)
        share = new if (map_row, index % replicas) in seen else total
        seen.add((map_row, index % replicas))
        loaded += sum(-(-rows * share // total) for rows in layout.rows_used)
    assert loaded_per_frame(op, layout, replicas, hw) == loaded


@given(
    op=layers(), size=arrays(), name=st.sampled_from(NAMES), tiles=st.integers(1, 7),
    per_chip=st.integers(1, 3),
)  # fmt: skip
def test_partial_sums_are_counted_value_by_value(op, size, name, tiles, per_chip):
    """On each chip a value is added up where its first row there is, then it goes home."""
    hw = chip(*size)
    layout = strategy(name).place(op, hw)
    hw = hw.model_copy(update={"tile": hw.tile.model_copy(update={"count": per_chip})})
    slots = tuple(Slot(array % tiles, array // tiles) for array in range(layout.n_arrays))
    rows, columns = {}, set()
    for b in layout.blocks:
        for col in range(b.src_col0, b.src_col0 + b.cols):
            value, tile = (b.window, b.group, col), slots[b.array].tile
            columns.add((*value, b.array, b.col0 + col - b.src_col0))
            rows.setdefault((value, tile // per_chip), []).append((b.src_row0, tile))
    homes = {place: min(found)[1] for place, found in rows.items()}
    expected = Counter()
    for w, g, col, array, _ in columns:
        tile = slots[array].tile
        end = homes[(w, g, col), tile // per_chip]
        if end != tile:
            expected[tile, end] += 1
    arrive = {}
    for slot in slots:
        arrive.setdefault(slot.tile // per_chip, slot.tile)
    assert stations(slots, hw) == tuple(arrive.values())
    sums = partial_sums(layout, slots, hw)
    assert sums.moves == expected
    home = slots[0].tile // per_chip
    assert sums.home == {
        station: sum(c == number for _, c in homes)
        for number, station in arrive.items()
        if number != home
    }
    assert sums.moved == sum(expected.values()) + sum(sums.home.values())
    assert sums.added == len(columns) - len({value for value, _ in homes})
    assert len(columns) == sum(layout.cols_used)
    per_value = [(w, g, col) for w, g, col, *_ in columns]
    assert layout.row_tiles == max(per_value.count(value) for value in set(per_value))


def test_a_rectangle_loads_the_columns_that_it_has_not_seen():
    """K = 3, s = 1, two windows: 4 pixel columns, 2 of them new; im2col loads 3, then 1."""
    op, hw = layer(18, 3, 4, 8), chip(256, 64)
    one, two = (strategy(name).place(op, hw) for name in ("im2col", "omm:2"))
    assert load_bytes(op, one, 1, hw) == ((36,), (12,))
    assert load_bytes(op, two, 1, hw) == ((48,), (24,))
    # a frame of 16 x 16 windows
    assert loaded_per_frame(op, one, 1, hw) == 16 * (36 + 15 * 12)
    assert loaded_per_frame(op, two, 1, hw) == 16 * (48 + 7 * 24)
    # every pixel column of a stripe once: the same bytes
    assert loaded_per_frame(op, one, 1, hw) == loaded_per_frame(op, two, 1, hw)
    # a square of 2 x 2 windows: 4 x 4 pixels, two of four columns new; no row is kept from above
    square = strategy("sdk:2").place(op, hw)
    assert load_bytes(op, square, 1, hw) == ((64,), (32,))
    assert loaded_per_frame(op, square, 1, hw) == 8 * (64 + 7 * 32)
    assert load_bytes(op, square, 2, hw) == ((64,), (64,))
    # nothing is shared between copies: each has rows of its own
    assert load_bytes(op, strategy("smd:2").place(op, hw), 1, hw)[0] == (72,)


def test_a_column_adds_up_the_blocks_below_each_other_by_itself():
    op = MatrixOp(
        "m", ("x",), TensorSpec((1, 1, 30)), TensorSpec((1, 1, 4)), np.ones((1, 30, 4), np.float32),
        None, Window(), (4, 1, 1), "last", "linear",
    )  # fmt: skip
    hardware = load_hw("eflash40nm")

    def sums(*blocks):
        layout = Layout.of(op, hardware, [Block(*place, 0, row, 0) for *place, row in blocks])
        here = tuple(Slot(array, 0) for array in range(layout.n_arrays))
        found = partial_sums(layout, here, hardware)
        return layout.row_tiles, (found.moved, found.added)

    # array, row0, col0, rows, cols; row of the matrix
    assert sums((0, 0, 0, 30, 4, 0)) == (1, (0, 0))
    assert sums((0, 0, 0, 10, 4, 0), (0, 50, 0, 20, 4, 10)) == (1, (0, 0))
    # beside each other: two columns, two conversions, one addition each
    assert sums((0, 0, 0, 10, 4, 0), (0, 50, 8, 20, 4, 10)) == (2, (0, 4))
    assert sums((0, 0, 0, 10, 4, 0), (1, 50, 0, 20, 4, 10)) == (2, (4, 4))
    below = (1, 20, 0, 10, 4, 20)
    assert sums((0, 0, 0, 10, 4, 0), (1, 0, 0, 10, 4, 10), below) == (2, (4, 4))
