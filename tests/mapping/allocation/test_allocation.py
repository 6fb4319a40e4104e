from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.errors import MappingError
from cimsim.mapping.mapping import Mapping, PlacedLayer, Slot, layouts, map_graph
from cimsim.mapping.strategies import Im2col
from cimsim.placing.by_name import ALLOCATIONS, resolve
from tests.timing.nets import Net, chip, nets


def occupied(mapping):
    """How often each cell of each array is taken, painted block by block."""
    array = mapping.chip.array
    cells = {
        slot: np.zeros((array.rows, mapping.chip.weight_cols), int) for slot in mapping.slots_used
    }
    for layer in mapping.layers:
        lines = layer.layout.lines_per_row
        for replica, slots in enumerate(layer.slots):
            for b in layer.layout.blocks:
                row, col = layer.origin(replica, b.array)
                top, left = row + lines * b.row0, col + b.col0
                part = cells[slots[b.array]][top : top + lines * b.rows, left : left + b.cols]
                assert part.shape == (lines * b.rows, b.cols)
                part += 1
    return cells


@settings(max_examples=60, deadline=None)
@given(
    graph=nets(8),
    name=st.sampled_from(sorted(ALLOCATIONS)),
    arrays=st.sampled_from([1, 3]),
    signed=st.sampled_from(["offset", "rows"]),
)
def test_every_allocation_gives_each_weight_a_cell_of_its_own(graph, name, arrays, signed):
    hardware = chip(tile__arrays=arrays, inputs__signed=signed, array__rows=40)
    if name == "in_order_by_tile":
        largest = max(layout.n_arrays for layout in layouts(graph, hardware).values())
        hardware = chip(tile__arrays=largest, inputs__signed=signed, array__rows=40)
    mapping = map_graph(graph, hardware, "im2col", resolve(name))
    cells = occupied(mapping)
    assert max(painted.max() for painted in cells.values()) == 1
    placed = sum(
        layer.layout.cells_used * layer.layout.lines_per_row * len(layer.slots)
        for layer in mapping.layers
    )
    assert sum(painted.sum() for painted in cells.values()) == placed
    assert mapping.allocation == name
    if name.startswith("packed"):
        assert mapping.arrays_used <= map_graph(graph, hardware).arrays_used


def test_small_layers_share_an_array_and_take_turns():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 8), 8)
    mapping = map_graph(net.graph(), chip(array__rows=128), "im2col", "packed")
    assert mapping.arrays_used == 1
    first, second = (layer.name for layer in mapping.layers)
    assert mapping.turns == {(first, 0): (first, 0), (second, 0): (first, 0)}
    assert mapping.utilisation == pytest.approx((36 + 72) * 8 / (128 * 64))


def test_whole_arrays_need_no_turns():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 8), 8)
    turns = map_graph(net.graph(), chip()).turns
    assert all(key == owner for key, owner in turns.items())


def test_a_region_is_never_crossed():
    # 36 + 2 x 72 rows on arrays of 64: 1, 2 and 2 local arrays on tiles of 2
    net = Net(4, 6, 6)
    net.conv(net.conv(net.conv("x", 8), 8), 8)
    hardware = chip(tile__arrays=2)
    mapping = map_graph(net.graph(), hardware, "im2col", "in_order_by_tile")
    assert [{slot.tile for slot in layer.slots[0]} for layer in mapping.layers] == [{0}, {1}, {2}]
    plain = map_graph(net.graph(), hardware)
    assert any(len({slot.tile for slot in layer.slots[0]}) > 1 for layer in plain.layers)
    with pytest.raises(MappingError, match=r"needs 2 arrays and must stay in one tile.*has 1"):
        map_graph(net.graph(), chip(), "im2col", "in_order_by_tile")


def test_no_room_even_when_packed_says_so():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 64, 1), 64, 1)
    with pytest.raises(MappingError, match=r"needs 2 arrays .* even if layers share them.* has 1"):
        map_graph(net.graph(), chip(tile__count=1), "im2col", "packed")
    with pytest.raises(MappingError, match="needs 2 arrays") as error:
        map_graph(net.graph(), chip(tile__count=1))
    assert "--allocation packed" not in str(error.value)  # it is no way out


def test_an_unknown_allocation_lists_the_known_ones():
    net = Net(4, 6, 6)
    net.conv("x", 4)
    with pytest.raises(MappingError, match=r"allocation: 'paked' is unknown.*did you mean packed"):
        map_graph(net.graph(), chip(), "im2col", "paked")


# wrong places, each refused with the exact one


def pair(**options):
    net = Net(2, 6, 6)
    net.conv(net.conv("x", 4, groups=2), 4)
    graph, hardware = net.graph(), chip(array__rows=64, array__cols=16)
    layers = [
        PlacedLayer(op.name, (op.name,), Im2col().place(op, hardware), ((Slot(0, 0),),))
        for op in graph.matrix_ops
    ]
    return graph, hardware, [replace(layers[0], **options.get("first", {})),
                             replace(layers[1], **options.get("second", {}))]  # fmt: skip


REFUSED = [
    ({}, r"'m2'.*tile 0, array 0, rows 0..35, columns 0..3: layers 'm1' and 'm2' overlap at row 0"),
    ({"second": {"origins": (((30, 8),),)}}, r"'m2'.*rows 30..65, columns 8..11: leaves the array"),
    ({"second": {"origins": (((0, -1),),)}}, r"'m2'.*columns -1..2: leaves the array of 64"),
    # m1 is block-diagonal: rows 0..8 x columns 0..1, rows 9..17 x columns 2..3
    ({"first": {"origins": (((0, 4),),)}, "second": {"origins": (((9, 2),),)}},
     r"'m2'.*rows 9..44, columns 2..5: lies where rows and columns of layer 'm1', .* cross"),
    ({"second": {"origins": (((0, 8), (0, 0)),)}}, "expected 1 origins, .* got 2"),
    ({"second": {"slots": ((Slot(0, 1),),)}}, "tile 0, array 1 is outside the chip"),
    ({"second": {"slots": ()}}, "layer 'm2': no replica"),
    ({"second": {"slots": ((Slot(1, 0), Slot(2, 0)),)}}, "expected 1 arrays, .* got 2"),
    ({"second": {"slots": ((Slot(1, 0),), (Slot(1, 0),))}}, "'m2' and 'm2' overlap at row 0"),
    ({"second": {"origins": (((18, 0),),), "ops": ("m1",)}}, "without a place: m2"),
    ({"second": {"origins": (((18, 0),),), "ops": ("m2", "m1")}}, "'m1' is placed twice"),
    ({"second": {"origins": (((18, 0),),), "ops": ("m2", "m9")}}, "has no layer 'm9'"),
    ({"second": {"origins": (((18, 0),),), "row_order": ((0, 0),)}}, "row_order: expected"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_illegal_places_are_refused_by_name(changes, message):
    graph, hardware, layers = pair(**changes)
    with pytest.raises(MappingError, match=message):
        Mapping(graph, hardware, "mine", tuple(layers))


def test_the_same_layers_beside_each_other_are_legal():
    graph, hardware, layers = pair(second={"origins": (((18, 0),),)})
    assert Mapping(graph, hardware, "mine", tuple(layers)).arrays_used == 1
