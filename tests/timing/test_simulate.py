from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.load import load_hw
from cimsim.errors import ConfigError, SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.timing.analysis.bounds import bounds
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from cimsim.timing.spec.stage import Stage
from tests.timing.nets import (
    Duplicates,
    Net,
    chip,
    chips,
    linear,
    mappings,
    nets,
    replicated,
    stage_times,
)
from tests.timing.test_oracle import compare

SCHEDULES = st.sampled_from(["pipelined", "sequential"])
IDEAL = {"interconnect__kind": "ideal"}


def stage_cycles(mapping):
    return [stage_times(job.services[0]) for job in make_plan(mapping).jobs]


def one_conv(hardware, channels=4, c_out=8, size=6, **options):
    net = Net(channels, size, size)
    net.conv("x", c_out, **options)
    return map_graph(net.graph(), hardware)


# Closed forms, to the cycle


@pytest.mark.parametrize("hold", ["double", "single"])
@pytest.mark.parametrize("bits", [8, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [4, 20])  # one row tile; three with REDUCE
def test_one_layer_bound_by_its_analog_part(hold, bits, stride, channels):
    hardware = chip(tile__sample_hold=hold, dac__bits=bits, buffer__bytes_per_cycle=16)
    mapping = one_conv(hardware, channels, stride=stride)
    (cycles,) = stage_cycles(mapping)
    n = mapping.total.windows
    assert cycles.interval == cycles.analog >= cycles.load_first
    timeline = simulate(mapping, 3)
    assert timeline.cycles_first_frame == cycles.serial + (n - 1) * cycles.analog
    assert timeline.interval == n * cycles.analog
    assert timeline.bottleneck.stage == "DRIVE"


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("reuse", ["row", "none"])
def test_one_layer_bound_by_its_input_loads_rows_first(stride, reuse):
    mapping = one_conv(chip(buffer__bytes_per_cycle=1, tile__input_reuse=reuse), stride=stride)
    (cycles,) = stage_cycles(mapping)
    assert cycles.load_first == 36
    assert cycles.load_next == (12 * stride if reuse == "row" else 36)
    assert cycles.load_next >= cycles.analog  # so that LOAD never waits
    rows, cols = mapping.graph.matrix_ops[0].window_grid
    frame = rows * (cycles.load_first + (cols - 1) * cycles.load_next)
    timeline = simulate(mapping, 3)
    assert timeline.cycles_first_frame == frame + cycles.serial - cycles.load_first
    assert timeline.interval == frame
    assert timeline.bottleneck.stage == "LOAD"


def test_one_layer_bound_by_its_reduction():
    hardware = chip(interconnect__bytes_per_cycle=4, interconnect__latency_cycles=30)
    mapping = one_conv(hardware, 20, kernel=3)
    (cycles,) = stage_cycles(mapping)
    reduce = cycles.reduce_bus + cycles.reduce_own
    assert reduce == cycles.interval == 16 + 30 + 1
    n = mapping.total.windows
    alone, timeline = simulate(mapping, 1), simulate(mapping, 3)
    assert alone.cycles == cycles.serial + (n - 1) * reduce
    # STORE comes to the bus a POST after the next window's partial sums, and waits for them
    assert timeline.cycles_first_frame == alone.cycles + cycles.reduce_bus - cycles.post
    assert timeline.completions[1] - timeline.completions[0] == n * reduce
    assert timeline.interval == n * reduce
    assert timeline.bottleneck.stage == "REDUCE"


def test_a_chain_of_equal_layers_fills_and_then_streams():
    net, name, layers, size = Net(4, 6, 6), "x", 4, 6
    for _ in range(layers):
        name = net.conv(name, 4)
    mapping = map_graph(net.graph(), chip(buffer__bytes_per_cycle=36, **IDEAL))
    cycles = stage_cycles(mapping)
    assert all(one == cycles[0] for one in cycles)
    serial, interval, n = cycles[0].serial, cycles[0].interval, size * size
    # window (0, 0) of the next layer waits for (1, 1), number size + 1 in raster order
    fill = (layers - 1) * (serial + (size + 1) * interval)
    timeline = simulate(mapping, 3)
    assert timeline.cycles_first_frame == fill + serial + (n - 1) * interval
    assert timeline.interval == n * interval
    assert simulate(mapping, 3, "sequential").completions == tuple(
        (f + 1) * layers * (serial + (n - 1) * interval) for f in range(3)
    )


@pytest.mark.parametrize("slow", [0, 1, 2])
def test_a_chain_runs_at_the_pace_of_its_slowest_layer(slow):
    net, name = Net(4, 6, 6), "x"
    for layer in range(3):  # the slow layer converts 60 columns, 4 at a time
        name = net.conv(name, 60 if layer == slow else 4, 1)
    mapping = map_graph(net.graph(), chip(adc__count=4, buffer__bytes_per_cycle=64, **IDEAL))
    cycles = stage_cycles(mapping)
    assert cycles[slow].interval == 15 * 7
    timeline = simulate(mapping, 2)
    expected = sum(c.serial for c in cycles) + 35 * cycles[slow].interval
    assert timeline.cycles_first_frame == expected
    assert timeline.interval == 36 * cycles[slow].interval
    assert timeline.bottleneck.name == mapping.layers[slow].name


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_replicas_share_the_windows_of_a_layer(replicas):
    mapping = replicated(one_conv(chip(buffer__bytes_per_cycle=64, **IDEAL)), [replicas])
    (cycles,) = stage_cycles(mapping)
    # all start at cycle 0; the first one has the most windows
    most = -(-36 // replicas)
    timeline = simulate(mapping, 2, trace=True)
    assert timeline.cycles_first_frame == cycles.serial + (most - 1) * cycles.interval
    assert timeline.interval == most * cycles.interval
    assert timeline.nodes[0].replicas == replicas


def test_published_chips_keep_their_interval_while_frames_stream():
    for name, rows, expected in (("wtm2101", 896, 896), ("eflash40nm", 1024, 960)):
        mapping = map_graph(linear(rows, 1024, 50), load_hw(name, {"frames": "resident"}))
        assert simulate(mapping, 3).interval == 50 * expected


# Networks


def test_a_module_called_three_times_uses_one_pipeline_in_turn():
    net = Net(4, 6, 6)
    calls = [net.conv("x", 4, weights_id="same") for _ in range(3)]
    mapping = map_graph(net.graph(*calls), chip(buffer__bytes_per_cycle=36, **IDEAL))
    timeline = simulate(mapping, 2, trace=True)
    cycles = stage_cycles(mapping)[0]
    assert len(mapping.layers) == 1
    assert {node.layer for node in timeline.nodes} == {"same"}
    assert timeline.interval == 3 * 36 * cycles.interval
    # the three take turns, once the first one has had its second window, ready at cycle 0, too
    entered = sorted(zip(timeline.trace.enter[:, 0].tolist(), timeline.trace.node, strict=True))
    assert [int(node) for _, node in entered[1:100]] == [0, 1, 2] * 33


def test_a_long_skip_holds_its_pixels_and_does_not_deadlock():
    net = Net(4, 8, 8)
    early = net.conv("x", 4)
    deep = early
    for _ in range(6):
        deep = net.conv(deep, 4)
    net.add(deep, early)
    mapping = map_graph(net.graph(), chip(**IDEAL))
    timeline = simulate(mapping, 2)
    peak = {(edge.producer, edge.consumer): edge for edge in timeline.edges}
    skip, next_layer = peak[early, deep], peak[early, "m2"]
    assert skip.frame == 64
    assert skip.pixels > 6 * 8 > next_layer.pixels


def test_each_frame_loads_its_first_patch_whole():
    net = Net(4, 3, 9)
    net.conv("x", 4, padding=0)  # a single map row of seven windows
    timeline = simulate(map_graph(net.graph(), chip(buffer__bytes_per_cycle=1)), 3)
    assert timeline.nodes[0].busy[0] == 3 * (36 + 6 * 12)


def test_an_activation_that_turns_into_the_next_row_waits_for_the_end_of_the_first():
    # windows (2, 3), (3, 0), (3, 1) of a 4 x 4 map: the first needs all pixels, the last does not
    net = Net(4, 4, 4)
    first = net.conv("x", 4, 1)
    second = net.conv(first, 4)
    hardware = chip(**IDEAL)
    mapping = map_graph(net.graph(), hardware, Duplicates(3))
    timeline = simulate(mapping, 1, trace=True)
    trace = timeline.trace
    everything = trace.stored[trace.node == 0].max()
    row = (trace.node == 1) & (trace.activation == 11 // 3)
    assert timeline.nodes[1].name == second
    assert trace.enter[row, 0].item() >= everything


@pytest.mark.parametrize("hold", ["double", "single"])
def test_layers_of_one_tile_take_turns_at_its_converters(hold):
    net, name = Net(4, 5, 5), "x"
    for _ in range(3):
        name = net.conv(name, 20)
    hardware = chip(
        tile__arrays=8, adc__shared="tile", adc__count=4, dac__bits=2, tile__sample_hold=hold
    )
    mapping = map_graph(net.graph(), hardware)
    timeline = simulate(mapping, 2, trace=True)
    assert all(node.waiting[2] > 0 for node in timeline.nodes)
    assert timeline.bottleneck.name == "adc 0"


def test_the_old_name_of_the_nodes_warns():
    timeline = simulate(one_conv(chip()))
    with pytest.warns(DeprecationWarning, match=r"Timeline\.nodes"):
        assert timeline.units is timeline.nodes


def test_bad_arguments_are_refused():
    mapping = one_conv(chip())
    with pytest.raises(
        ConfigError, match=r"schedule 'pipeline' is unknown.*did you mean pipelined"
    ):
        simulate(mapping, 2, "pipeline")
    with pytest.raises(ConfigError, match=r"frames: expected an integer >= 1, got 0"):
        simulate(mapping, 0)
    with pytest.raises(SimulationError, match=r"no windows in m1"):
        simulate(one_conv(chip(), size=2, padding=0))


# Any network on any chip


@settings(max_examples=60)
@given(mapping=mappings(buffer__overflow="ignore"), frames=st.integers(1, 3))
def test_schedules_are_ordered_and_inside_their_bounds(mapping, frames):
    found = {name: simulate(mapping, frames, name) for name in ("pipelined", "sequential")}
    for name, timeline in found.items():
        limits = bounds(mapping, frames, name)
        assert limits.lower <= timeline.cycles <= limits.upper
        assert list(timeline.completions) == sorted(timeline.completions)
        assert timeline.least_interval <= timeline.cycles_first_frame
        # a later frame that loses at arbitration may come some cycles later than the first
        if not any(sum(node.waiting) for node in timeline.nodes):
            assert timeline.interval <= timeline.cycles_first_frame
    pipelined, sequential = found["pipelined"], found["sequential"]
    assert pipelined.cycles <= sequential.cycles
    alone = simulate(mapping, 1).cycles  # later frames compete for resources, so look at one
    assert alone <= sequential.interval == sequential.cycles_first_frame


@settings(max_examples=40)
@given(mapping=mappings(buffer__overflow="ignore"), frames=st.integers(1, 3), schedule=SCHEDULES)
def test_counts_and_busy_cycles_are_those_of_the_mapping(mapping, frames, schedule):
    timeline = simulate(mapping, frames, schedule)
    jobs = {job.node.name: job for job in make_plan(mapping).jobs}
    for node in timeline.nodes:
        job = jobs[node.name]
        assert node.windows == frames * job.node.windows
        expected = [0] * 5
        for replica, services in enumerate(job.services):
            n, each = frames * job.of_replica(replica), stage_times(services)
            mine = (
                each.pulses * each.drive, each.pulses * each.convert, each.reduce, each.post,
                each.store,
            )  # fmt: skip
            expected = [old + n * cycles for old, cycles in zip(expected, mine, strict=True)]
        assert node.busy[1:] == tuple(expected)
        assert min(*node.waiting, *node.blocked, node.starved) >= 0
        if node.kind == "matrix":
            count = mapping.counts[node.name]
            assert (node.activations, node.pulses, node.conversions) == (
                frames * count.activations, frames * count.pulses, frames * count.conversions,
            )  # fmt: skip
    assert all(0 <= resource.share <= 1 for resource in timeline.resources)
    assert 0 < timeline.bottleneck.share <= 1


PARTS = [
    ("adc", "count"), ("buffer", "bytes_per_cycle"), ("vector", "lanes"), ("adder", "lanes"),
]  # fmt: skip


@settings(max_examples=25)
@given(
    graph=nets(),
    hardware=chips(
        interconnect__kind="ideal", tile__arrays=1, adc__shared="array", buffer__overflow="ignore"
    ),
    part=st.sampled_from(PARTS),
    windows=st.integers(1, 2),
)
def test_half_of_anything_is_never_faster(graph, hardware, part, windows):
    # where resources are private; with arbitration, order may change for the better by luck
    mapping = map_graph(graph, hardware, Duplicates(windows))
    timeline = simulate(mapping, 2)
    arbitrated = any(sum(node.waiting) for node in timeline.nodes)
    if arbitrated or len({node.layer for node in timeline.nodes}) < len(timeline.nodes):
        return
    room, field = part
    value = max(1, getattr(getattr(hardware, room), field) // 2)
    half = getattr(hardware, room).model_copy(update={field: value})
    slower = hardware.model_copy(update={room: half})
    found = simulate(map_graph(graph, slower, Duplicates(windows)), 2)
    assert all(a <= b for a, b in zip(timeline.completions, found.completions, strict=True))


@settings(max_examples=40)
@given(
    graph=nets(), hardware=chips(array__rows=64, buffer__overflow="ignore"),
    frames=st.integers(1, 3), schedule=SCHEDULES,
)  # fmt: skip
def test_layers_that_share_an_array_never_fire_at_once(graph, hardware, frames, schedule):
    mapping = map_graph(graph, hardware, "im2col", "packed")
    compare(mapping, frames, schedule)
    timeline = simulate(mapping, frames, schedule, trace=True)
    limits = bounds(mapping, frames, schedule)
    assert limits.lower <= timeline.cycles <= limits.upper
    grants, firing = timeline.trace.grants, defaultdict(list)
    for u, stage, start, cycles in zip(
        grants.node, grants.stage, grants.start, grants.cycles, strict=True
    ):
        if stage == Stage.DRIVE:
            layer = mapping.layer_of[timeline.nodes[u].name]
            for slot in set(layer.slots[0]):
                firing[slot].append((int(start), int(start + cycles)))
    shared = [slot for slot in mapping.slots_used if _users(mapping, slot) > 1]
    assert set(shared) <= set(firing)
    for slot in shared:
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(firing[slot])))


def _users(mapping, slot):
    return sum(slot in slots for layer in mapping.layers for slots in layer.slots)
