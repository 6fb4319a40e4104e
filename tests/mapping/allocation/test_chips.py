import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.area import area
from cimsim.energy.idle import static_power_w
from cimsim.errors import MappingError
from cimsim.mapping.allocation import requests_of
from cimsim.mapping.allocation.chips import crossing_bytes, partition
from cimsim.mapping.dataflow import nodes
from cimsim.mapping.mapping import layouts, map_graph
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip, nets


def moved(graph, assigned, hardware):
    """Bytes over each border, found by following every value from chip to chip."""
    work = {node.name: node for node in nodes(graph)}
    where = dict(assigned)
    for node in work.values():
        if node.kind == "vector":
            sources = [where[n.producer] for n in node.dependencies if n.producer in where]
            where[node.name] = max(sources, default=0)
    passed = set()
    for node in work.values():
        for dependency in node.dependencies:
            if work[dependency.producer].kind == "input":
                continue
            low, high = sorted((where[dependency.producer], where[node.name]))
            passed |= {(dependency.producer, border) for border in range(low, high)}
    return sum(
        work[name].windows * work[name].stored * hardware.input_bytes for name, _ in passed
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(graph=nets(6), tiles=st.integers(2, 9), chips=st.integers(1, 3))
def test_no_other_cut_moves_less(graph, tiles, chips):
    """Parts that begin with a layer larger than a chip take as many chips as it needs."""
    hardware = chip(tile__count=tiles, system__chips=chips, array__rows=24)
    requests = requests_of(graph, layouts(graph, hardware))
    sizes = [r.layout.n_arrays for r in requests]
    options = []
    for used in range(1, chips + 1):
        for cuts in itertools.combinations(range(1, len(requests)), used - 1):
            edges = (0, *cuts, len(requests))
            loads = [sum(sizes[a:b]) for a, b in itertools.pairwise(edges)]
            spans = [-(-sizes[a] // tiles) for a in edges[:-1]]
            fits = all(n <= tiles * m for n, m in zip(loads, spans, strict=True))
            if fits and sum(spans) <= chips:
                assigned = {
                    op.name: part
                    for part, (a, b) in enumerate(itertools.pairwise(edges))
                    for r in requests[a:b]
                    for op in r.ops
                }
                fullest = max(min(n, tiles) for n in loads)
                options.append((moved(graph, assigned, hardware), fullest))
    if not options:
        with pytest.raises(MappingError, match=r"needs \d+ (chips|arrays)"):
            partition(graph, requests, hardware)
        return
    found = partition(graph, requests, hardware)
    assert sum(found.chips) <= chips
    fullest = max(min(n, tiles) for n in found.arrays)
    assert (sum(found.crossing), fullest) == min(options)
    mapping = map_graph(graph, hardware, "im2col", "by_chip")
    for layer, request in zip(mapping.layers, requests, strict=True):
        assert chips_of(layer, hardware) == [-(-request.layout.n_arrays // tiles)]
    assert mapping.arrays_used == sum(sizes)


def chips_of(layer, hardware):
    """How many chips each copy lies on."""
    return [len({slot.tile // hardware.tile.count for slot in slots}) for slots in layer.slots]


def pinched():
    """Two fat layers, a thin one, two fat ones: the thin map is the place to cut."""
    net, value = Net(4, 8, 8), "x"
    for channels in (16, 16, 1, 16, 16):
        value = net.conv(value, channels)
    return net.graph()


def test_the_cut_goes_through_the_thinnest_map():
    graph, hardware = pinched(), chip(tile__count=6, system__chips=2)
    requests = requests_of(graph, layouts(graph, hardware))
    assert [r.layout.n_arrays for r in requests] == [1, 3, 3, 1, 3]
    # m3 writes 8 x 8 x 1 bytes; it does not fit beside m1 and m2
    assert crossing_bytes(graph, requests, hardware)[3] == 64
    told = r"needs 3 chips of 6 .*--set system.chips=3.*in_order"
    with pytest.raises(MappingError, match=told) as error:
        map_graph(graph, hardware, "im2col", "by_chip")
    found = re.search(r"rows=(\d+) --set array.cols=(\d+),.* more area", str(error.value))
    rows, cols = map(int, found.groups())
    larger = chip(tile__count=6, system__chips=2, array__rows=rows, array__cols=cols)
    assert map_graph(graph, larger, "im2col", "by_chip").arrays_used <= 12
    roomy = hardware.model_copy(update={"tile": hardware.tile.model_copy(update={"count": 7})})
    found = partition(graph, requests, roomy)
    assert (found.first, found.arrays, found.crossing) == ((0, 3), (7, 4), (64,))
    mapping = map_graph(graph, roomy, "im2col", "by_chip")
    chips = [{slot.tile // 7 for slot in layer.slots[0]} for layer in mapping.layers]
    assert chips == [{0}, {0}, {0}, {1}, {1}]


def test_a_layer_larger_than_a_chip_takes_as_many_as_it_must():
    graph, hardware = pinched(), chip(tile__count=2, system__chips=9)
    requests = requests_of(graph, layouts(graph, hardware))
    found = partition(graph, requests, hardware)
    # 1 | 3 on two | 3 and 1 on two | 3 on two
    assert (found.first, found.chips, found.arrays) == ((0, 1, 2, 4), (1, 2, 2, 2), (1, 3, 4, 3))
    mapping = map_graph(graph, hardware, "im2col", "by_chip")
    assert [chips_of(layer, hardware) for layer in mapping.layers] == [[1], [2], [2], [1], [2]]
    assert [slot.tile for slot in mapping.layers[3].slots[0]] == [9]  # beside the end of m3
    with pytest.raises(MappingError, match=r"needs 7 chips of 2 .*--set system.chips=7"):
        map_graph(graph, chip(tile__count=2, system__chips=6), "im2col", "by_chip")


def test_copies_cross_borders_only_where_there_is_no_room_otherwise():
    graph = pinched()  # 1, 3, 3, 1, 3 arrays
    roomy, tight = (chip(tile__count=6, system__chips=n) for n in (3, 2))
    for hardware, most in ((roomy, 1), (tight, 2)):
        mapping = map_graph(graph, hardware)
        assert max(n for layer in mapping.layers for n in chips_of(layer, hardware)) == most
        assert mapping.arrays_used == 11
        assert simulate(mapping, 2).cycles > 0
    with pytest.raises(MappingError, match=r"needs 11 arrays .* has 10 \(2 x 5 tiles .*Ways out"):
        map_graph(graph, chip(tile__count=5, system__chips=2))
    with pytest.raises(MappingError, match="needs 3 chips of 6"):
        map_graph(graph, tight, "im2col", "by_chip")


def test_two_chips_have_twice_of_everything():
    one, two = chip(tile__count=7), chip(tile__count=7, system__chips=2)
    assert two.n_arrays == 2 * one.n_arrays
    assert area(two) == pytest.approx({name: 2 * value for name, value in area(one).items()})
    graph = pinched()
    wide = map_graph(graph, chip(tile__count=14))
    pair = map_graph(graph, two, "im2col", "by_chip")
    extra = two.global_buffer.leakage_w + two.static_power_w + two.io.static_power_w
    extra += two.interconnect.static_power_w + two.processor.power_w * two.processor.load
    assert static_power_w(pair) == pytest.approx(static_power_w(wide) + extra)


def test_tiles_are_counted_through_all_chips():
    graph, two = pinched(), chip(tile__count=7, system__chips=2)
    mapping = map_graph(graph, two, "im2col", "in_order")
    layer = mapping.layers[-1]
    assert layer.slots[0][-1].tile == 10
    outside = replace(layer, slots=(tuple(replace(s, tile=s.tile + 4) for s in layer.slots[0]),))
    with pytest.raises(MappingError, match="outside the 2 chips of 7 tiles"):
        replace(mapping, layers=(*mapping.layers[:-1], outside))


def test_no_replica_is_spread_over_chips_in_order_either():
    net, name = Net(30, 6, 6), "x"
    for _ in range(4):
        name = net.conv(name, 30)  # 270 rows: five arrays of 64
    hardware = chip(tile__count=7, system={"chips": 4})
    mapping = map_graph(net.graph(), hardware)
    where = [{slot.tile // 7 for slot in layer.slots[0]} for layer in mapping.layers]
    assert where == [{0}, {1}, {2}, {3}]
    assert simulate(mapping, 1).cycles > 0
