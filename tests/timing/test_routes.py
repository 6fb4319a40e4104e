"""Messages on meshes, buses and between chips, to the cycle."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mapping.mapping import map_graph
from cimsim.timing.plan import make_plan
from cimsim.timing.routes import Route, Service
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip, mappings, moved, stage_times

MESH = {"interconnect__kind": "mesh", "interconnect__bytes_per_cycle": 4, "tile__count": 20}


def alone(hardware, source, targets, n_bytes):
    route = Route(hardware)
    ends = route.send(source, targets, n_bytes)
    return Service(tuple(route.legs)).alone, route.legs, ends


@settings(max_examples=200)
@given(
    count=st.integers(1, 30), hop=st.integers(1, 4), n_bytes=st.integers(1, 90),
    places=st.lists(st.integers(0, 10**6), min_size=2, max_size=6),
)  # fmt: skip
def test_a_message_takes_the_shortest_way_to_each_tile_and_each_link_once(
    count, hop, n_bytes, places
):
    hardware = chip(**(MESH | {"interconnect__hop_cycles": hop, "tile__count": count}))
    source, *targets = (place % count for place in places)
    width = next(w for w in range(1, 99) if w * w >= count)
    grid = nx.grid_2d_graph(-(-count // width), width)
    hops = max(
        nx.shortest_path_length(grid, divmod(source, width), divmod(t, width)) for t in targets
    )
    took, legs, ends = alone(hardware, source, targets, n_bytes)
    flits = -(-n_bytes // 4)
    assert took == (flits + (hops - 1) * hop if hops else 0)
    assert len({leg.resource for leg in legs}) == len(legs)
    assert set(ends) >= set(targets)
    tree = nx.DiGraph([leg.resource[2:] for leg in legs])
    assert all(degree <= 1 for _, degree in tree.in_degree)
    assert all(nx.has_path(tree, source, t) for t in targets if t != source)


@pytest.mark.parametrize("kind", ["bus", "mesh"])
def test_chips_pass_a_message_on_from_gateway_to_gateway(kind):
    hardware = chip(
        interconnect__kind=kind, interconnect__bytes_per_cycle=4, tile__count=4,
        system={"chips": 3, "bytes_per_cycle": 2, "latency_cycles": 5},
    )  # fmt: skip
    # 8 bytes: 2 cycles on a chip's own way, 4 on a link; tile 1 -> 0 | 4 | 8 -> 9
    took, legs, ends = alone(hardware, 1, [9], 8)
    assert took == 2 + (4 + 5) + (2 if kind == "bus" else 0) + (4 + 5) + 2
    assert [leg.resource[0] for leg in legs].count("chips") == 2
    assert ends[9] == len(legs) - 1
    back, _, _ = alone(hardware, 9, [1], 8)
    assert back == took
    both, legs, _ = alone(hardware, 5, [1, 9], 8)
    assert [leg.resource for leg in legs if leg.resource[0] == "chips"] == [
        ("chips", 1, 2), ("chips", 1, 0),
    ]  # fmt: skip
    assert both == 2 + (4 + 5) + 2  # both ways at once, after the way to the gateway


def test_a_layer_on_the_next_chip_waits_for_the_link():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    system = {"chips": 2, "bytes_per_cycle": 1, "latency_cycles": 40}
    hardware = chip(system=system, tile__count=10, buffer__bytes_per_cycle=64)
    mapping = map_graph(net.graph(), hardware)
    far = moved(mapping, 1, [0, 1])
    first, second = (stage_times(work.services[0]) for work in make_plan(far).works)
    # bus, link, then the gateway's bus; a message keeps STORE until it has arrived
    assert first.store == first.interval == 1 + 4 + 40 + 1
    # window (4, 4) is the first of eight that wait for the last one of the layer before
    tail = second.serial + 7 * second.interval
    assert simulate(far, 1).cycles == first.serial + 35 * 46 + tail


def test_frames_come_in_row_by_row_and_go_out_the_same_way():
    net = Net(4, 6, 6)
    net.conv("x", 4, 1)
    hardware = chip(
        frames="global_buffer", global_buffer__bytes_per_cycle=2, interconnect__kind="ideal",
        buffer__bytes_per_cycle=64,
    )  # fmt: skip
    timeline = simulate(map_graph(net.graph(), hardware), 2)
    kinds = [unit.kind for unit in timeline.units]
    assert kinds == ["input", "matrix", "output"]
    (times,) = [
        stage_times(work.services[0])
        for work in make_plan(map_graph(net.graph(), hardware)).works
        if work.unit.kind == "matrix"
    ]
    # a row of 6 pixels of 4 bytes takes 12 cycles in and 12 out; the layer takes 10 for a pixel
    assert timeline.units[0].busy[5] == 2 * 6 * 12 == timeline.units[2].busy[5]
    assert times.interval == 10
    assert timeline.cycles_first_frame == 12 + 35 * 10 + times.serial + 12
    port = next(r for r in timeline.resources if r.name == "global_buffer 0")
    assert port.busy == 2 * 2 * 6 * 12


def test_a_slow_port_sets_the_pace():
    net = Net(4, 6, 6)
    net.conv("x", 4, 1)
    dram = {"bytes_per_cycle": 1, "latency_cycles": 9}
    hardware = chip(frames="dram", dram=dram, array__t_read="1 ns", adc__t_conversion="1 ns")
    timeline = simulate(map_graph(net.graph(), hardware), 3)
    assert timeline.interval == 6 * 2 * 24
    assert timeline.bottleneck.name == "dram 0"


@settings(max_examples=40)
@given(mapping=mappings(buffer__overflow="ignore"), frames=st.integers(1, 2))
def test_no_resource_serves_two_at_once_and_all_its_work_is_seen(mapping, frames):
    timeline = simulate(mapping, frames, trace=True)
    grants = timeline.trace.grants
    for index, resource in enumerate(timeline.resources):
        mine = sorted(
            (int(s), int(c))
            for r, s, c in zip(grants.resource, grants.start, grants.cycles, strict=True)
            if r == index
        )
        assert sum(cycles for _, cycles in mine) == resource.busy
        ends = [start + cycles for start, cycles in mine]
        assert all(end <= after for end, (after, _) in zip(ends, mine[1:], strict=False))
