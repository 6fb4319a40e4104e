import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip.area import area
from cimsim.chip.load import load_hw
from cimsim.errors import MappingError
from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window
from cimsim.mapping.layout import Block, Layout, count
from cimsim.mapping.mapping import Mapping, PlacedLayer, Slot, map_graph
from cimsim.mapping.strategies import Im2col, strategy


def conv(name="layer", c_in=3, c_out=4, kernel=3, size=8, groups=1, source="x", weights_id=""):
    weight = np.ones((groups, kernel * kernel * c_in // groups, c_out // groups), np.float32)
    window = Window((kernel, kernel), padding=(kernel // 2,) * 4)
    return MatrixOp(
        name, (source,), TensorSpec((1, c_in, size, size)), TensorSpec((1, c_out, size, size)),
        weight, None, window, (c_out, 1, 1), weights_id=weights_id,
    )  # fmt: skip


def chip(rows=64, cols=32, **more):
    overrides = {"array.rows": rows, "array.cols": cols, "adc.count": 8} | more
    return load_hw("eflash40nm", overrides)


@pytest.mark.slow
@given(
    groups=st.integers(1, 5),
    group_in=st.integers(1, 12),
    group_out=st.integers(1, 40),
    kernel=st.sampled_from([1, 3]),
    rows=st.integers(1, 90),
    cols=st.integers(1, 50),
)
def test_im2col_places_every_element_exactly_once(groups, group_in, group_out, kernel, rows, cols):
    op = conv(c_in=groups * group_in, c_out=groups * group_out, kernel=kernel, groups=groups)
    layout = Im2col().place(op, chip(rows, cols))
    seen = np.zeros((groups, op.group_rows, op.group_cols), int)
    arrays = np.zeros((layout.n_arrays, rows, cols), int)
    for b in layout.blocks:
        seen[b.group, b.src_row0 : b.src_row0 + b.rows, b.src_col0 : b.src_col0 + b.cols] += 1
        arrays[b.array, b.row0 : b.row0 + b.rows, b.col0 : b.col0 + b.cols] += 1
    assert (seen == 1).all()
    assert arrays.max() == 1
    assert layout.rows_used == tuple(int(a.any(axis=1).sum()) for a in arrays)
    assert layout.cols_used == tuple(int(a.any(axis=0).sum()) for a in arrays)
    assert layout.cells_used == int(arrays.sum())


@pytest.mark.slow
@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 90), st.integers(16, 50))
def test_dense_matrix_takes_the_closed_form_number_of_arrays(rows, cols, array_rows, array_cols):
    op = conv(c_in=rows, c_out=cols, kernel=1)
    layout = Im2col().place(op, chip(array_rows, array_cols))
    tiles = -(-rows // array_rows)
    assert layout.n_arrays == tiles * -(-cols // array_cols)
    assert layout.row_tiles == tiles
    counted = count(op, layout, chip(array_rows, array_cols))
    assert counted.activations == op.windows * layout.n_arrays
    assert counted.conversions == op.windows * cols * tiles
    assert counted.macs == op.windows * rows * cols


def test_bit_serial_inputs_and_slices_multiply_pulses_and_columns():
    op = conv(c_in=4, c_out=6, kernel=1)
    narrow = chip(64, 32, **{"dac.bits": 2, "weights.cell_bits": 3})
    layout = Im2col().place(op, narrow)
    assert (narrow.pulses, narrow.weights.slices, narrow.weight_cols) == (4, 3, 10)
    counted = count(op, layout, narrow)
    assert counted.pulses == counted.activations * 4
    assert counted.conversions == op.windows * 6 * 3 * 4
    assert counted.dac_conversions == op.windows * 4 * 4


WRONG = [
    ([Block(0, 0, 0, 2, 2, 0, 0, 0)], "are placed nowhere"),
    ([Block(0, 0, 0, 4, 4, 0, 0, 0), Block(0, 2, 2, 4, 4, 0, 0, 0)], "overlaps"),
    ([Block(0, 0, 0, 4, 4, 0, 0, 0), Block(1, 0, 0, 4, 4, 0, 0, 0)], "maps already"),
    ([Block(0, 62, 0, 4, 4, 0, 0, 0)], "leaves the array"),
    ([Block(0, 0, 30, 4, 4, 0, 0, 0)], "leaves the array"),
    ([Block(0, 0, 0, 4, 5, 0, 0, 0)], "the layer has"),
    ([Block(0, 0, 0, 4, 4, 1, 0, 0)], "the layer has"),
    ([Block(0, 0, 0, 4, 4, 0, 0, 0, 1)], "window 1"),
    ([Block(1, 0, 0, 4, 4, 0, 0, 0)], "not numbered"),
    ([Block(0, 0, 0, 0, 4, 0, 0, 0)], "empty"),
    ([], "nothing is placed"),
]


@pytest.mark.parametrize(("blocks", "part"), WRONG)
def test_illegal_layouts_are_refused_with_the_place(blocks, part):
    with pytest.raises(MappingError, match="layer 'layer'") as error:
        Layout.of(conv(c_in=4, c_out=4, kernel=1), chip(), blocks)
    assert part in str(error.value)


def test_a_line_cannot_carry_two_values():
    op = conv(c_in=6, c_out=4, kernel=1)
    side_by_side = [Block(0, 0, 0, 3, 4, 0, 0, 0), Block(0, 0, 4, 3, 4, 0, 3, 0)]
    with pytest.raises(MappingError) as error:
        Layout.of(op, chip(), side_by_side)
    text = str(error.value)
    assert "layer 'layer', array 0, rows 0..2, columns 4..7: word line 0 would carry" in text
    assert "row 3 of group 0, window 0" in text
    assert "row 0 of group 0, window 0" in text
    stacked = [Block(0, 0, 0, 6, 2, 0, 0, 0), Block(0, 6, 0, 6, 2, 0, 0, 2)]
    with pytest.raises(MappingError, match="column 0 would carry column 2 of group 0, window 0"):
        Layout.of(op, chip(), stacked)


def test_windows_share_a_word_line_only_where_they_see_the_same_pixel():
    op = conv(c_in=2, c_out=4, kernel=3)
    # two windows side by side: the second one's kernel column 0 is the first one's column 1
    rows = [(y, window, x) for y in range(3) for window in range(2) for x in range(3)]

    def blocks(shift):
        return [
            Block(0, 8 * y + 2 * x + 2 * shift * w, 4 * w, 2, 4, 0, 6 * y + 2 * x, 0, w)
            for y, w, x in rows
        ]  # fmt: skip

    layout = Layout.of(op, chip(), blocks(1), window_shape=(1, 2))
    assert (layout.windows_per_activation, layout.rows_used, layout.cols_used) == (2, (24,), (8,))
    assert layout.activation_grid((8, 7)) == (8, 4)
    assert layout.activations((8, 7)) == 32
    expected = r"word line 0 would carry channel 0 of pixel \(y 0, x 1\), yet .* \(y 0, x 0\)"
    with pytest.raises(MappingError, match=expected):
        Layout.of(op, chip(), blocks(0), window_shape=(1, 2))
    # windows that follow each other may wrap a map row: nothing can be shared
    with pytest.raises(MappingError, match=r"word line 2 would carry row 0 of group 0, window 1"):
        Layout.of(op, chip(), blocks(1), 2)


def test_a_rectangle_has_as_many_windows_as_an_activation():
    blocks = tuple(Block(0, 2 * w, 4 * w, 2, 4, 0, 0, 0, w) for w in range(4))
    sizes = (1, 2, 4, 64, 32)
    Layout("a", blocks, 4, *sizes, window_shape=(2, 2))
    for shape in ((1, 2), (0, 4), (-2, -2)):
        with pytest.raises(MappingError, match="y \\* x = windows_per_activation = 4"):
            Layout("a", blocks, 4, *sizes, window_shape=shape)


HOLES = [
    ([(0, 0, 2, 4), (2, 1, 2, 3)], (2, 0)),
    ([(0, 0, 4, 2)], (0, 2)),
    ([(1, 0, 3, 4)], (0, 0)),
    ([(0, 0, 4, 1), (0, 1, 1, 3), (2, 1, 2, 3)], (1, 1)),
    ([(0, 0, 4, 2), (0, 2, 3, 2)], (3, 2)),
]


@pytest.mark.parametrize(("sources", "place"), HOLES)
def test_the_first_hole_is_named(sources, place):
    # each block on an array of its own
    blocks = [Block(n, 0, 0, h, w, 0, row, col) for n, (row, col, h, w) in enumerate(sources)]
    with pytest.raises(MappingError, match=f"first the one in row {place[0]}, column {place[1]}"):
        Layout.of(conv(c_in=4, c_out=4, kernel=1), chip(), blocks)


def graph(*ops):
    first = InputOp("x", TensorSpec((1, ops[0].input.shape[1], 8, 8)))
    return LayerGraph("net", [first, *ops], [ops[-1].name])


def test_layers_take_arrays_one_after_another():
    net = graph(conv("a", 3, 40), conv("b", 40, 4, source="a"))
    mapping = map_graph(net, chip())
    # a: 27 rows, 40 columns -> 2 arrays; b: 360 rows, 4 columns -> 6 arrays of 64 rows
    assert [layer.layout.n_arrays for layer in mapping.layers] == [2, 6]
    assert mapping.arrays_used == mapping.tiles_used == 8
    assert mapping.total.weights == 27 * 40 + 360 * 4
    assert mapping.utilisation == pytest.approx(mapping.total.weights / (8 * 64 * 32))


def test_shared_weights_are_placed_once_and_counted_twice():
    first = conv("a", 4, 4, weights_id="w")
    second = conv("b", 4, 4, source="a", weights_id="w")
    mapping = map_graph(graph(first, second), chip())
    assert len(mapping.layers) == 1
    assert mapping.layers[0].ops == ("a", "b")
    assert mapping.total.windows == 2 * 64
    assert mapping.total.weights == 36 * 4


def test_no_room_names_need_stock_and_three_ways_out():
    with pytest.raises(MappingError) as error:
        map_graph(graph(conv("a", 3, 40)), chip(**{"tile.count": 1}))
    text = str(error.value)
    assert "needs 2 arrays" in text
    assert "has 1" in text
    ways = ("--set tile.count=2", "--set array.rows=", "system.chips=2: 2 times", "smaller network")
    for way in ways:
        assert way in text


def test_larger_arrays_are_named_with_their_price_and_hold_the_network():
    net, few = graph(conv("a", 9, 40), conv("b", 40, 70, source="a")), {"tile.count": 3}
    with pytest.raises(MappingError) as error:
        map_graph(net, chip(**few))
    found = re.search(
        r"rows=(\d+) --set array.cols=(\d+), of which it needs (\d+): (\d+) % more area",
        str(error.value),
    )
    rows, cols, arrays, more = map(int, found.groups())
    assert map_graph(net, chip(rows, cols, **few)).arrays_used == arrays <= 3
    whole = sum(area(chip(**few)).values())
    priced = {}
    for size in product((64, 128, 256, 512), (32, 64, 128, 256)):
        try:
            map_graph(net, chip(*size, **few))
        except MappingError:
            continue
        priced[size] = sum(area(chip(*size, **few)).values())
    assert priced[rows, cols] == min(priced.values())
    assert priced[rows, cols] / whole - 1 == pytest.approx(more / 100, abs=0.005)


def test_larger_arrays_are_no_way_out_for_more_layers_than_arrays():
    net = graph(conv("a"), conv("b", 4, 4, source="a"), conv("c", 4, 4, source="b"))
    with pytest.raises(MappingError, match="needs 3 arrays") as error:
        map_graph(net, chip(**{"tile.count": 2}))
    assert "array.rows" not in str(error.value)


def test_two_layers_on_the_same_cells_are_refused():
    net = graph(conv("a", 3, 4), conv("b", 4, 4, source="a"))
    here = chip()
    layers = [
        PlacedLayer(op.name, (op.name,), Im2col().place(op, here), ((Slot(0, 0),),))
        for op in net.matrix_ops
    ]
    with pytest.raises(MappingError, match="'a' and 'b' overlap at row 0, column 0"):
        Mapping(net, here, "mine", tuple(layers))


def test_a_layer_outside_the_chip_or_missing_is_refused():
    net = graph(conv("a", 3, 4))
    here = chip()
    layout = Im2col().place(net.matrix_ops[0], here)
    with pytest.raises(MappingError, match="tile 76, array 0 is outside"):
        Mapping(net, here, "mine", (PlacedLayer("a", ("a",), layout, ((Slot(76, 0),),)),))
    pair = chip(**{"system.chips": 2})
    Mapping(net, pair, "mine", (PlacedLayer("a", ("a",), layout, ((Slot(151, 0),),)),))
    with pytest.raises(MappingError, match="tile 152, array 0 is outside the 2 chips of 76 tiles"):
        Mapping(net, pair, "mine", (PlacedLayer("a", ("a",), layout, ((Slot(152, 0),),)),))
    with pytest.raises(MappingError, match="without a place: a"):
        Mapping(net, here, "mine", ())


def test_unknown_strategy_lists_the_known_ones():
    with pytest.raises(MappingError, match="known: im2col"):
        strategy("im3col")
