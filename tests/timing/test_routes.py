"""Messages on meshes, buses and between chips, to the cycle."""

from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.load import load_hw
from cimsim.mapping.mapping import Slot, map_graph
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from cimsim.timing.spec.routes import Route, Service
from cimsim.timing.spec.stage import Served, Stage
from tests.timing.nets import Net, chip, mappings, moved, stage_times

MESH = {"interconnect__kind": "mesh", "interconnect__bytes_per_cycle": 4, "tile__count": 20}


def alone(hardware, source, targets, n_bytes):
    route = Route(hardware)
    ends = route.send(source, targets, n_bytes)
    return Service(tuple(route.reservations)).alone, route.reservations, ends


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
    took, reservations, ends = alone(hardware, source, targets, n_bytes)
    flits = -(-n_bytes // 4)
    assert took == (flits + (hops - 1) * hop if hops else 0)
    assert len({reservation.resource for reservation in reservations}) == len(reservations)
    assert set(ends) >= set(targets)
    tree = nx.DiGraph([reservation.resource[2:] for reservation in reservations])
    assert all(degree <= 1 for _, degree in tree.in_degree)
    assert all(nx.has_path(tree, source, t) for t in targets if t != source)


@pytest.mark.parametrize("kind", ["bus", "mesh"])
def test_chips_pass_a_message_on_from_gateway_to_gateway(kind):
    hardware = chip(
        interconnect__kind=kind, interconnect__bytes_per_cycle=4, tile__count=4,
        system={"chips": 3, "bytes_per_cycle": 2, "latency_cycles": 5},
    )  # fmt: skip
    # 8 bytes: 2 cycles on a chip's own way, 4 on a link; tile 1 -> 0 | 4 | 8 -> 9
    took, reservations, ends = alone(hardware, 1, [9], 8)
    assert took == 2 + (4 + 5) + (2 if kind == "bus" else 0) + (4 + 5) + 2
    assert [reservation.resource[0] for reservation in reservations].count("chips") == 2
    assert ends[9] == len(reservations) - 1
    back, _, _ = alone(hardware, 9, [1], 8)
    assert back == took
    both, reservations, _ = alone(hardware, 5, [1, 9], 8)
    assert [one.resource for one in reservations if one.resource[0] == "chips"] == [
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
    first, second = (stage_times(job.services[0]) for job in make_plan(far).jobs)
    # bus, link, then the gateway's bus; a message keeps STORE until it has arrived
    assert first.store == first.interval == 1 + 4 + 40 + 1
    # window (4, 4) is the first of eight that wait for the last one of the layer before
    tail = second.serial + 7 * second.interval
    assert simulate(far, 1).cycles == first.serial + 35 * 46 + tail


def spanning(kind="mesh", **overrides):
    """Two layers; the second has three row tiles: tile 1 of chip 0, tiles 5 and 6 of chip 1."""
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 192, 1), 8, 1)
    hardware = chip(
        interconnect__kind=kind, interconnect__bytes_per_cycle=4, tile__count=4,
        interconnect__latency_cycles=3, array__cols=192, adc__count=192,
        system={"chips": 2, "bytes_per_cycle": 2, "latency_cycles": 5}, **overrides,
    )  # fmt: skip
    mapping = map_graph(net.graph(), hardware)
    first, second = mapping.layers
    places = (Slot(0, 0),), (Slot(1, 0), Slot(5, 0), Slot(6, 0))
    layers = tuple(replace(m, slots=(s,)) for m, s in zip((first, second), places, strict=True))
    return replace(mapping, layers=layers)


@pytest.mark.parametrize("kind", ["mesh", "bus", "ideal"])
def test_sums_of_another_chip_are_added_up_there_and_come_home_over_the_link(kind):
    first, second = (job.services[0] for job in make_plan(spanning(kind)).jobs)
    # 8 sums of 4 bytes: 8 cycles on a chip's own way, 16 on the link and 5 behind it
    inside = {"mesh": 8 + 1, "bus": 8, "ideal": 0}[kind]  # tile 6 to tile 5 over two mesh links
    # station 5, gateway 4, gateway 0, home 1
    home = 0 if kind == "ideal" else 8 + (16 + 5) + 8
    latency = 0 if kind == "ideal" else 3
    assert second.alone(Served.REDUCE) == inside + home + latency + 1  # 16 additions on 64 lanes
    assert second.stages[Served.REDUCE].own == latency + 1
    # 192 input bytes of a window to both stations: 48 cycles a way, 96 on the link
    store = {"mesh": 48 + 48, "bus": 48 + (96 + 5) + 48, "ideal": 0}[kind]
    if kind == "mesh":  # tile 0 is the gateway: the link at once, then one way on chip 1
        store = (96 + 5) + 48
    assert first.alone(Served.STORE) == store
    ways = [reservation.resource for reservation in first.stages[Served.STORE].reservations]
    assert [way for way in ways if way[0] == "chips"] == [("chips", 0, 1)] * (kind != "ideal")


def test_a_layer_that_ends_at_a_gateway_waits_for_the_link_there():
    mapping = spanning()
    far = replace(mapping.layers[1], slots=((Slot(0, 0), Slot(4, 0), Slot(5, 0)),))
    near = replace(mapping.layers[0], slots=((Slot(1, 0),),))
    (_, job) = make_plan(replace(mapping, layers=(near, far))).jobs
    reduce = job.services[0].stages[Served.REDUCE]
    assert (reduce.alone, reduce.own) == (8 + 16 + 5 + 3 + 1, 5 + 3 + 1)


def test_a_layer_on_two_chips_is_slower_than_on_one_by_what_crosses():
    far = spanning(tile__sample_hold="single")
    slots = ((Slot(1, 0), Slot(2, 0), Slot(3, 0)),)
    near = replace(far, layers=(far.layers[0], replace(far.layers[1], slots=slots)))
    one, two = (simulate(m, 2) for m in (near, far))
    assert two.interval > one.interval
    assert two.cycles_first_frame > one.cycles_first_frame
    counts = [[(u.windows, u.activations, u.conversions) for u in t.nodes] for t in (one, two)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("stage_ns", [6, 100])
def test_a_clocked_tile_pipeline_takes_whole_stages(stage_ns):
    graph = spanning().graph
    free = make_plan(map_graph(graph, chip(tile__count=8))).jobs
    clocked = make_plan(map_graph(graph, chip(tile__count=8, tile__t_stage=f"{stage_ns} ns"))).jobs
    for before, after in zip(free, clocked, strict=True):
        for stage in (Served.LOAD, Served.LOAD_NEXT, Served.REDUCE, Served.POST, Served.STORE):
            least = max(1, -(-before.services[0].alone(stage) // stage_ns))
            more = stage == Stage.REDUCE
            assert after.services[0].alone(stage) == (least + more) * stage_ns
            assert (
                before.services[0].stages[stage].reservations
                == after.services[0].stages[stage].reservations
            )
        assert before.services[0].analog == after.services[0].analog


def test_a_window_of_isaac_takes_the_22_stages_of_its_tile_pipeline():
    net = Net(128, 4, 4)
    net.conv("x", 16, 1)
    isaac = load_hw("isaac32nm", {"interconnect.latency_cycles": 0, "frames": "resident"})
    (job,) = make_plan(map_graph(net.graph(), isaac)).jobs
    # eDRAM, first pulse, 16 conversions, shift-add, sum of arrays, sigmoid, eDRAM
    assert job.services[0].serial == 22 * 128
    assert job.services[0].interval == 16 * 128


def test_frames_come_in_row_by_row_and_go_out_the_same_way():
    net = Net(4, 6, 6)
    net.conv("x", 4, 1)
    hardware = chip(
        frames="global_buffer", global_buffer__bytes_per_cycle=2, interconnect__kind="ideal",
        buffer__bytes_per_cycle=64,
    )  # fmt: skip
    timeline = simulate(map_graph(net.graph(), hardware), 2)
    kinds = [node.kind for node in timeline.nodes]
    assert kinds == ["input", "matrix", "output"]
    (times,) = [
        stage_times(job.services[0])
        for job in make_plan(map_graph(net.graph(), hardware)).jobs
        if job.node.kind == "matrix"
    ]
    # a row of 6 pixels of 4 bytes takes 12 cycles in and 12 out; the layer takes 10 for a pixel
    assert timeline.nodes[0].busy[5] == 2 * 6 * 12 == timeline.nodes[2].busy[5]
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
