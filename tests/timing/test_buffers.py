"""Line buffers: capacity, backpressure, what is too small, spilling."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimsim
from cimsim.chip.load import load_hw
from cimsim.errors import SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.timing.analysis.least_buffers import least_buffers
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import raised_edges, run_plan, simulate
from tests.timing.nets import Net, chip, mappings, stage_times

IDEAL = {"interconnect__kind": "ideal"}


def chain(layers=2, size=6, channels=4):
    net, name = Net(channels, size, size), "x"
    for _ in range(layers):
        name = net.conv(name, channels)
    return net


def skip(depth=4, size=8):
    """A layer whose output is added after ``depth`` more layers."""
    net = Net(4, size, size)
    early = deep = net.conv("x", 4)
    for _ in range(depth):
        deep = net.conv(deep, 4)
    net.add(deep, early)
    return net, early, deep


def by_names(plan):
    name = [job.node.name for job in plan.jobs]
    return {(name[e.producer], name[e.consumer]): e for e in plan.edges}


def test_a_tile_is_divided_in_proportion_to_working_sets():
    net, early, deep = skip()
    hardware = chip(buffer__overflow="error", buffer__size="120 B", **IDEAL)
    edges = by_names(make_plan(map_graph(net.graph(), hardware)))
    assert edges[early, "m2"].capacity == 120 // 4  # alone on its tile
    # 3 rows for the kernel, 1 for the addition, 8 pixels of 4 bytes each: 90 and 30 bytes
    assert edges["m4", deep].capacity == 90 // 4
    assert edges[early, deep].capacity == 30 // 4
    two = chip(buffer__overflow="error", buffer__size="120 B", array__rows=18, **IDEAL)
    edges = by_names(make_plan(map_graph(net.graph(), two)))
    assert edges[early, "m2"].capacity == 240 // 4  # on two tiles, as 36 rows take two arrays


def test_without_a_limit_nothing_has_one():
    plan = make_plan(map_graph(chain().graph(), chip()))
    assert all(edge.capacity is None for edge in plan.edges)


def test_a_full_line_buffer_stops_its_producer_until_a_row_is_released():
    # 1 x 1, then a slow 3 x 3 without padding: it takes 3 rows and releases one after each of its
    net = Net(4, 6, 6)
    first = net.conv("x", 4, 1)
    net.conv(first, 60, padding=0)
    rows = 4
    hardware = chip(
        adc__count=4, buffer__size=f"{rows * 6 * 4} B", buffer__overflow="error",
        buffer__bytes_per_cycle=64, **IDEAL,
    )  # fmt: skip
    mapping = map_graph(net.graph(), hardware)
    fast, slow = (stage_times(job.services[0]) for job in make_plan(mapping).jobs)
    timeline = simulate(mapping, 1, trace=True)
    trace = timeline.trace
    entered = trace.enter[trace.node == 0, 0]
    stored = trace.stored[trace.node == 1]
    # window 24 is the first of row 4: the reader's first row must be stored before
    assert entered[23] < stored[0] < entered[24] == stored[3]
    assert entered[30] == stored[7]
    assert timeline.nodes[0].no_credit > 0 == timeline.nodes[1].no_credit
    assert {edge.pixels for edge in timeline.edges} == {rows * 6}
    # what stops is not what limits: the slow layer takes as long as with all room
    free = simulate(map_graph(net.graph(), chip(adc__count=4, buffer__bytes_per_cycle=64, **IDEAL)))
    assert free.interval == timeline.nodes[1].windows * slow.interval > 36 * fast.interval
    # but the next frame's first rows find room for one of them only before the last is done
    gap = simulate(mapping).interval - free.interval
    assert 0 < gap < 12 * fast.interval + fast.serial


def test_too_small_is_an_error_that_names_the_edge_and_a_size_that_does():
    net, early, deep = skip()
    small = {"buffer__overflow": "error", "buffer__size": "100 B"} | IDEAL
    mapping = map_graph(net.graph(), chip(**small))
    with pytest.raises(SimulationError, match=rf"buffer.size: .*{early} -> {deep} holds 6 pixels"):
        simulate(mapping)
    with pytest.raises(SimulationError) as caught:
        simulate(mapping)
    size = re.search(r"--set buffer\.size=(\w+)", str(caught.value)).group(1)
    enough = chip(**(small | {"buffer__size": size}))
    assert simulate(map_graph(net.graph(), enough)).frames == 3


@pytest.mark.slow
@settings(max_examples=40)
@given(mapping=mappings(buffer__overflow="error"), schedule=st.sampled_from(["pipelined"]))
def test_what_is_needed_is_enough_and_one_pixel_less_is_not(mapping, schedule):
    plan = make_plan(mapping)
    raised = raised_edges(plan, run_plan(plan, 2, schedule))
    assume(raised)
    needed = {(e.producer, e.consumer): pixels for e, pixels in raised}

    def with_room(sizes):
        edges = tuple(
            replace(e, capacity=sizes.get((e.producer, e.consumer), e.capacity)) for e in plan.edges
        )
        trial = replace(plan, edges=edges)
        return raised_edges(trial, run_plan(trial, 2, schedule))

    assert not with_room(needed)
    for edge, pixels in needed.items():
        assert with_room(needed | {edge: pixels - 1})


@pytest.mark.slow
# in one network of seven nothing is shared; as many as that are asked for
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
@given(mapping=mappings(interconnect__kind="ideal", tile__arrays=1, buffer__overflow="error"))
def test_more_room_is_never_slower_where_nothing_is_shared(mapping):
    plan = make_plan(mapping)
    assume(all(count == 1 for count in plan.uses().values()))
    assume(len({pipe.nodes for pipe in plan.pipes}) == len(plan.jobs))
    assume(all(len(pipe.nodes) == 1 for pipe in plan.pipes))
    tight = run_plan(plan, 2, "pipelined")
    sizes = {id(e): n for e, n in raised_edges(plan, tight)}
    found = []
    for factor in (1, 2, 5):
        edges = tuple(
            replace(e, capacity=e.capacity and factor * sizes.get(id(e), e.capacity))
            for e in plan.edges
        )
        trial = replace(plan, edges=edges)
        found.append(run_plan(trial, 2, "pipelined").frame.complete.tolist())
    for slower, faster in pairwise(found):
        assert all(b <= a for a, b in zip(slower, faster, strict=True))


def test_the_least_that_a_network_needs():
    net, early, deep = skip(2)
    least = {(one.producer, one.consumer): one for one in least_buffers(_mapped(net))}
    # a 3 x 3 kernel needs three rows at once, of 8 pixels of 4 bytes
    assert least[early, "m2"].pixels == 3 * 8
    assert least[early, "m2"].n_bytes == 3 * 8 * 4
    # two layers of 3 x 3 later the addition takes row 0 when rows 0 to 2 have come, and row 1
    # waits for one more
    assert least[early, deep].pixels == 3 * 8
    whole = least_buffers(_mapped(net), "sequential")
    assert {one.pixels for one in whole} == {64}


def _mapped(net):
    return map_graph(net.graph(), chip(**IDEAL))


def spilling(**options):
    return {"buffer__size": "100 B", "buffer__overflow": "global_buffer"} | options


def test_what_does_not_fit_spills_at_its_cost():
    net, early, deep = skip()
    free = simulate(map_graph(net.graph(), chip()))
    timeline = simulate(map_graph(net.graph(), chip(**spilling())))
    edges = {(e.producer, e.consumer): e for e in timeline.edges}
    assert edges[early, deep].spilled
    assert edges[early, deep].pixels > 6
    assert not edges[early, deep].capacity
    port = next(r for r in timeline.resources if r.name == "global_buffer 0")
    spilled = [e for e in timeline.edges if e.spilled]
    assert port.busy >= 3 * 64 * 2 * len(spilled)  # each pixel goes in and comes out
    assert timeline.cycles_first_frame > free.cycles_first_frame
    assert all(not r.name.startswith("global") for r in free.resources)


def test_spilled_pixels_must_fit_the_global_buffer_or_go_to_dram():
    net, *_ = skip()
    with pytest.raises(SimulationError, match=r"global_buffer.size: .* has 32 B"):
        simulate(map_graph(net.graph(), chip(**spilling(global_buffer__size="32 B"))))
    dram = {"bytes_per_cycle": 4, "latency_cycles": 50}
    small = {"global_buffer__size": "32 B", "frames": "dram", "dram": dram}
    hardware = chip(**spilling(buffer__overflow="dram", **small))
    slow = simulate(map_graph(net.graph(), hardware))
    fast = simulate(map_graph(net.graph(), chip(**spilling())))
    assert slow.cycles_first_frame > fast.cycles_first_frame
    assert any(r.name == "dram 0" for r in slow.resources)


def test_spilling_fills_the_global_buffer_and_moves_the_largest_to_dram():
    net, *_ = skip()
    roomy = {"buffer__size": "100 B", "buffer__overflow": "spill", "frames": "dram"}
    roomy["dram"] = {"bytes_per_cycle": 4, "latency_cycles": 50}
    mapping = map_graph(net.graph(), chip(**roomy))
    timeline = simulate(mapping)
    held = {(e.producer, e.consumer): e.n_bytes for e in timeline.edges if e.spilled}
    assert set(timeline.spilled.values()) == {"global_buffer"}
    assert len(held) > 1
    # one byte less than they take together: the largest one leaves
    tight = roomy | {"global_buffer__size": f"{sum(held.values()) - 1} B"}
    moved = simulate(map_graph(net.graph(), chip(**tight)))
    largest = max(held, key=lambda edge: (held[edge], edge))
    assert [edge for edge, where in moved.spilled.items() if where == "dram"] == [largest]
    ports = {r.name: r.busy for r in moved.resources}
    assert ports["global_buffer 0"] > 0
    # the frames' port, and each pixel of the line buffer in and out
    frames_only = {r.name: r.busy for r in timeline.resources}["dram 0"]
    values = next(e for e in moved.edges if (e.producer, e.consumer) == largest).frame * 4
    assert ports["dram 0"] == frames_only + 3 * 2 * values // 4
    # nothing but DRAM holds the rest
    none = simulate(map_graph(net.graph(), chip(**(roomy | {"global_buffer__size": "1 B"}))))
    assert set(none.spilled.values()) == {"dram"}


def test_without_a_memory_that_holds_them_three_ways_out_are_told_and_each_helps():
    net, *_ = skip()
    small = {
        "buffer__size": "100 B", "buffer__overflow": "spill", "global_buffer__size": "600 B",
        "dram": None,
    }  # fmt: skip
    with pytest.raises(SimulationError, match=r"beside frames of 512 B, .* has 600 B") as caught:
        simulate(map_graph(net.graph(), chip(**small)))
    told = re.findall(r"--set ([\w.]+)=(\w+)", str(caught.value))
    fields = dict(told)
    assert set(fields) == {
        "buffer.size", "global_buffer.size", "dram.bytes_per_cycle", "buffer.overflow",
    }  # fmt: skip
    for way in ("buffer.size", "global_buffer.size"):
        changed = small | {way.replace(".", "__"): fields[way].replace("KiB", " KiB")}
        simulate(map_graph(net.graph(), chip(**changed)))
    simulate(map_graph(net.graph(), chip(**(small | {"dram": {"bytes_per_cycle": 32}}))))


def test_frames_must_live_somewhere():
    net = chain()
    few = {"buffer__overflow": "spill", "global_buffer__size": "200 B", "dram": None}
    for where in ("resident", "global_buffer"):
        with pytest.raises(SimulationError, match=r"one frame take 288 B \(frames: "):
            simulate(map_graph(net.graph(), chip(frames=where, **few)))
    simulate(map_graph(net.graph(), chip(**(few | {"global_buffer__size": "288 B"}))))
    away = few | {"dram": {"bytes_per_cycle": 4}, "frames": "dram"}
    simulate(map_graph(net.graph(), chip(**away)))


def test_layer_after_layer_needs_whole_maps_and_says_so():
    hardware = chip(buffer__overflow="error", buffer__size="100 B")
    with pytest.raises(SimulationError, match=r"needs 36 \(144 B\)"):
        simulate(map_graph(chain().graph(), hardware), 1, "sequential")
    timeline = simulate(map_graph(chain().graph(), chip(**spilling())), 1, "sequential")
    assert all(edge.spilled and edge.pixels == 36 for edge in timeline.edges)


@pytest.mark.parametrize(("where", "what"), [("buffer", "overflow"), ("", "frames")])
def test_dram_must_be_described(where, what):
    from cimsim.errors import ConfigError

    path = f"{where}.{what}" if where else what
    with pytest.raises(ConfigError, match=f"{path}: dram, but the chip has no section dram"):
        load_hw("wtm2101", {path: "dram"})


@pytest.mark.parametrize("frames", [1, 3])
def test_an_input_that_nobody_waits_for_is_not_what_is_too_small(frames):
    """CIM-NET reads frames and a noise map; the latter must not be held whole."""
    network = cimsim.load_network("cimnet", {"stride": 8, "coarse": 1}, "random")
    graph = cimsim.trace(network.module, network.example(48, 64))
    changes = {"frames": "global_buffer", "buffer.overflow": "error", "buffer.size": "4KiB"}
    plan = make_plan(cimsim.map_graph(graph, load_hw("eflash40nm", changes)))
    raised = raised_edges(plan, run_plan(plan, frames, "pipelined"))
    names = {plan.jobs[edge.producer].node.name for edge, _ in raised}
    assert names
    assert "noise_map" not in names
