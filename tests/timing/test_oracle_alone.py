"""The SimPy model by itself, against cycles worked out by hand.

On the chip of `nets.chip` a 1 x 1 convolution of 4 channels into 8 loads 4 bytes (1 cycle), drives
10 cycles, converts 7, posts 8 operations (1 cycle) and stores 8 bytes; maps are 6 x 6 pixels.
"""

from dataclasses import replace
from fractions import Fraction

import pytest

from cimsim.graph.ir import Window
from cimsim.mapping.dataflow import Dependency, Node
from cimsim.mapping.mapping import Mapping, Slot, map_graph
from cimsim.timing.plan.plan import Job, Pipe, Plan, make_plan
from cimsim.timing.spec.buffers import Edge
from cimsim.timing.spec.routes import Service
from cimsim.timing.spec.rules import Services
from cimsim.timing.spec.stage import Served, Stage
from tests.timing.line_buffers import released_pixels
from tests.timing.nets import Net, chip, joined, replicated
from tests.timing.simpy_model import simulate

IDEAL = {"interconnect__kind": "ideal"}


def pointwise(*channels):
    """1 x 1 convolutions one after the other."""
    net, last = Net(), "x"
    for count in channels:
        last = net.conv(last, count, 1)
    return net.graph()


def run(graph, hardware, frames=1, schedule="pipelined"):
    return simulate(make_plan(map_graph(graph, hardware)), frames, schedule)


def at(mapping, *tiles):
    """The same mapping with layers of one array at ``tiles``."""
    layers = tuple(
        replace(layer, slots=((Slot(tile, 0),),))
        for layer, tile in zip(mapping.layers, tiles, strict=True)
    )
    return Mapping(mapping.graph, mapping.chip, mapping.strategy, layers)


def entered(result, node, stage=Stage.LOAD):
    """Cycles in which the activations of frame 0 entered a stage."""
    return [r.enter[stage] for (u, f, _), r in sorted(result.trace.items()) if (u, f) == (node, 0)]


def stored(result, node):
    return [r.stored for (u, f, _), r in sorted(result.trace.items()) if (u, f) == (node, 0)]


# --- pipelines


def test_one_layer_takes_its_serial_time_and_then_an_interval_for_each_window():
    found = run(pointwise(8), chip(), frames=2)
    assert found.trace[0, 0, 0].enter == [0, 1, 11, 18, 18, 19]
    assert found.trace[0, 0, 0].leave == [1, 11, 18, 18, 19, 20]
    assert stored(found, 0) == [20 + 10 * k for k in range(36)]
    assert found.completions == (370, 730)
    assert run(pointwise(8), chip(), 2, "sequential").completions == (370, 740)


def test_a_window_waits_in_the_stage_before_the_busy_one():
    found = run(pointwise(8), chip())
    # driven until 11, 21, ...: the second one is in LOAD, done, from 1 on and goes on at 11
    assert (found.trace[0, 0, 1].enter[Stage.LOAD], found.trace[0, 0, 1].leave[Stage.LOAD]) == (
        1,
        11,
    )
    slow = run(pointwise(8), chip(vector__lanes=1, **IDEAL))  # POST takes 8
    assert stored(slow, 0) == [26 + 10 * k for k in range(36)]
    slower = run(pointwise(8), chip(vector__lanes=1, array__t_read="2 ns", **IDEAL))
    # CONVERT 3-10 and 10-17, POST 10-18 and 18-26: the second one waits in REDUCE from 17 to 18
    assert stored(slower, 0) == [18 + 8 * k for k in range(36)]
    assert slower.trace[0, 0, 1].enter[Stage.CONVERT : Stage.POST + 1] == [10, 17, 18]


@pytest.mark.parametrize("bottleneck", [0, 1])
def test_two_layers_run_at_the_pace_of_the_slower_one(bottleneck):
    # 40 columns and 8 converters: 5 rounds of 7 cycles; POST takes 1 and 3 cycles
    widths = (40, 8) if bottleneck == 0 else (8, 40)
    found = run(pointwise(*widths), chip(adc__count=8, **IDEAL), frames=2)
    if bottleneck == 0:
        # 1 + 10 + 35 + 3, then one in 35; the second loads 40 bytes: 5 + 10 + 7 + 1
        assert stored(found, 0) == [49 + 35 * k for k in range(36)]
        assert found.completions == (49 + 35 * 35 + 23, 49 + 35 * 71 + 23)
    else:
        # 19, then one in 10; the second: 1 + 10 + 35 + 3
        assert found.completions == (19 + 49 + 35 * 35, 19 + 49 + 35 * 71)


def test_a_window_waits_for_the_bottom_right_pixel_that_it_reads():
    net = Net()
    net.conv(net.conv("x", 8, 1), 8, 3, stride=2, padding=1)  # 3 x 3 windows
    found = run(net.graph(), chip(array__rows=128, array__t_read="1 ns", **IDEAL))
    first = stored(found, 0)
    assert first == [10 + 7 * k for k in range(36)]
    # windows (0, 0), (0, 1), ... reach pixels (1, 1), (1, 3), (1, 5), (3, 1), ...
    assert entered(found, 1) == [first[6 * y + x] for y in (1, 3, 5) for x in (1, 3, 5)]


def test_replicas_take_turns():
    mapping = replicated(map_graph(pointwise(8), chip(**IDEAL)), [2])
    found = simulate(make_plan(mapping), 1)
    assert stored(found, 0) == [19 + 10 * (k // 2) for k in range(36)]


def test_sequential_layers_wait_for_the_whole_frame_before():
    found = run(pointwise(8, 8), chip(**IDEAL), 2, "sequential")
    assert stored(found, 0)[-1] == 369
    assert entered(found, 1)[0] == 369
    assert found.completions == (738, 1476)


@pytest.mark.parametrize(
    ("replicas", "reuse", "cycles"), [(1, "row", 96), (2, "row", 84), (1, "none", 216)]
)
def test_a_first_window_in_a_row_loads_all_and_others_what_is_new(replicas, reuse, cycles):
    net = Net()
    net.conv("x", 8, 3)
    hardware = chip(buffer__bytes_per_cycle=1, tile__input_reuse=reuse, **IDEAL)
    mapping = replicated(map_graph(net.graph(), hardware), [replicas])
    # 36 bytes, then 12 for each new column: 36 + 5 * 12, with two replicas 36 + 2 * 24 for each;
    # LOAD is the bottleneck, and 10 + 7 + 1 cycles follow the last one
    assert simulate(make_plan(mapping), 1).completions == (6 * cycles + 18,)


# --- pulses


@pytest.mark.parametrize(
    ("hold", "convert", "driven", "drive", "converted"),
    [
        # pulses are driven one behind the other
        ("double", "7 ns", (1, 41), (41, 81), (11, 48)),
        # DRIVE waits with a pulse until CONVERT is free at 31, 51 and 71
        ("double", "20 ns", (1, 71), (71, 151), (11, 91)),
        # 17 cycles for each pulse; the next window is driven when all is converted
        ("single", "7 ns", (1, 69), (69, 137), (11, 69)),
    ],
)
def test_four_pulses_of_two_bits(hold, convert, driven, drive, converted):
    hardware = chip(tile__sample_hold=hold, dac__bits=2, adc__t_conversion=convert, **IDEAL)
    found = run(pointwise(8), hardware)
    first, second = found.trace[0, 0, 0], found.trace[0, 0, 1]
    assert (first.enter[Stage.DRIVE], first.leave[Stage.DRIVE]) == driven
    assert (first.enter[Stage.CONVERT], first.leave[Stage.CONVERT]) == converted
    assert (second.enter[Stage.DRIVE], second.leave[Stage.DRIVE]) == drive


def test_converters_of_a_tile_serve_the_pulses_of_two_layers_in_turn():
    net = Net()
    net.conv("x", 8, 1), net.conv("x", 8, 1)
    shared = {"adc__shared": "tile", "tile__arrays": 2, "dac__bits": 4, "array__t_read": "1 ns"}
    found = run(net.graph("m1", "m2"), chip(**shared, **IDEAL))
    # They share the buffer port, too: one asks at 2, the other at 3, and they get 2-9 and 9-16. The
    # second pulses ask at 9 and 16: 16-23, 23-30, and so on without a gap.
    assert [found.trace[0, 0, g].leave[Stage.CONVERT] for g in range(3)] == [23, 51, 79]
    assert [found.trace[1, 0, g].leave[Stage.CONVERT] for g in range(3)] == [30, 58, 86]
    assert [found.trace[u, 0, 0].enter[Stage.CONVERT] for u in (0, 1)] == [2, 3]


# --- shared pipelines and arrays


def test_a_shared_pipeline_admits_who_was_ready_first():
    net = Net()
    net.conv("x", 4, 1, weights_id="s"), net.conv("x", 4, 1, weights_id="s")
    found = run(net.graph("m1", "m2"), chip(**IDEAL))
    # cycle 0: both are ready, m1 stands first. LOAD is free at 1: m1 is ready again since 0.
    # At 11 m2 is ready since 0, m1 since 1; from then on each is ready when it has entered.
    assert entered(found, 0)[:5] == [0, 1, 21, 41, 61]
    assert entered(found, 1)[:4] == [11, 31, 51, 71]


@pytest.mark.parametrize(("hold", "interval", "own"), [("double", 20, 7), ("single", 34, 0)])
def test_layers_in_one_array_take_turns(hold, interval, own):
    net = Net()
    net.conv("x", 8, 1), net.conv("x", 8, 1)
    hardware = chip(tile__sample_hold=hold, dac__bits=4, **IDEAL)
    mapping = joined(map_graph(net.graph("m1", "m2"), hardware), 0)
    found = simulate(make_plan(mapping), 1)
    # DRIVE is a reservation of 2 x 10, or 2 x 17 cycles; CONVERT takes the 7 behind it, or none
    assert found.trace[0, 0, 0].leave[Stage.DRIVE] == 1 + interval
    assert found.trace[0, 0, 0].leave[Stage.CONVERT] == 1 + interval + own
    # one at a time at the buffer port, then at the array
    assert [found.trace[u, 0, 0].enter[Stage.DRIVE] for u in (0, 1)] == [1, 2]
    leave = [found.trace[u, 0, g].leave[Stage.DRIVE] for g in (0, 1, 2) for u in (0, 1)]
    assert leave == [1 + k * interval for k in (1, 2, 3, 4, 5, 6)]


# --- transfers


def test_a_bus_serves_the_first_in_order_and_then_by_the_time_of_asking():
    net = Net()
    net.conv("x", 8, 1), net.conv("x", 8, 1)
    found = run(net.graph("m1", "m2"), chip(interconnect__bytes_per_cycle=1))
    # both ask for 8 cycles at 19; then the bus is never idle, and STORE is entered when it is free
    assert stored(found, 0) == [27 + 16 * k for k in range(36)]
    assert stored(found, 1) == [35 + 16 * k for k in range(36)]
    assert entered(found, 0, Stage.STORE)[:3] == [19, 29, 43]
    assert entered(found, 1, Stage.STORE)[:3] == [19, 35, 51]


MESH = {
    "interconnect__kind": "mesh", "interconnect__bytes_per_cycle": 1,
    "interconnect__hop_cycles": 2, "interconnect__latency_cycles": 3,
}  # fmt: skip


def test_a_message_cuts_through_the_mesh():
    # tile 27 of a grid of 23 columns: four links along x, one along y
    plan = make_plan(at(map_graph(pointwise(8, 8), chip(**MESH)), 0, 27))
    path = [
        reservation.resource[2:]
        for reservation in plan.jobs[0].services[0].stages[Served.STORE].reservations
    ]
    assert path == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 27)]
    found = simulate(plan, 1)
    # 8 bytes behind a head that passes a router in 2 cycles: 4 * 2 + 8; one message at a time
    assert found.trace[0, 0, 0].enter[Stage.STORE] == 19
    assert stored(found, 0) == [19 + 16 * (k + 1) + 3 for k in range(36)]


def test_messages_meet_on_a_link_of_the_mesh():
    net = Net()
    first, second = net.conv("x", 8, 1), net.conv("x", 8, 1)
    net.conv(first, 8, 1), net.conv(second, 8, 1)
    mapping = at(map_graph(net.graph("m3", "m4"), chip(**MESH)), 0, 1, 2, 3)
    found = simulate(make_plan(mapping), 1)
    # m2 asks for link 1-2 at 19, m1 (from tile 0) at 21 and gets it at 27, when m2's head is at 2.
    # m2: 19-27 and 21-29. m1: 19-27 and 27-35.
    assert found.trace[1, 0, 0].leave[Stage.STORE] == 29
    assert found.trace[0, 0, 0].leave[Stage.STORE] == 35
    # second messages: m2 asks for 1-2 at 29 and waits until 35; m1 asks for 0-1 at 35, 1-2 at 37
    assert found.trace[1, 0, 1].leave[Stage.STORE] == 45
    assert found.trace[0, 0, 1].leave[Stage.STORE] == 51


def test_a_chain_of_chips_stores_and_forwards():
    system = {"system__chips": 2, "system__bytes_per_cycle": 4, "system__latency_cycles": 5}
    mapping = at(map_graph(pointwise(8, 8), chip(**MESH, **system)), 1, 502)
    found = simulate(make_plan(mapping), 1)
    # 8 cycles to the gateway, 2 to the next one, 5 behind it, then two links: 2 + 8; 3 at the end
    assert found.trace[0, 0, 0].leave[Stage.STORE] == 19 + 8 + 2 + 5 + 10
    assert found.trace[0, 0, 0].stored == 19 + 25 + 3


def test_frames_come_and_go_at_one_port():
    dram = {"frames": "dram", "dram__bytes_per_cycle": 2, "dram__latency_cycles": 20}
    found = run(pointwise(8), chip(**dram, **IDEAL))
    # Rows of 24 bytes come in: 12 cycles at the port and 20 of latency, one at a time. The layer
    # begins at 32 and its row r is stored at 101 + 60 r; that goes out in 24 cycles at the port.
    assert stored(found, 1) == [51 + 10 * k for k in range(36)]
    # Out: 101 finds the port taken from 96 to 108; 161 finds it free. In: 128 waits until 132; 164,
    # one row later, waits until 185.
    assert stored(found, 0) == [32, 64, 96, 128, 164, 217]
    assert stored(found, 2) == [132, 185, 245, 305, 365, 425]
    assert found.completions == (425,)


# --- line buffers


def two_layers(size, frames=1):
    net = Net()
    net.conv(net.conv("x", 4, 1), 8, 3)
    small = {"buffer__overflow": "error", "buffer__size": size, "array__rows": 128}
    return run(net.graph(), chip(adc__count=1, **IDEAL, **small), frames)


def test_a_producer_waits_until_a_row_is_released():
    # One converter: 28 and 56 cycles. The producer: 1 + 10 + 28 + 1, then one in 28. The consumer:
    # 5 + 10 + 56 + 1 behind pixel (1, 1), then one in 56. Three rows of 4 bytes a pixel.
    found = two_layers("72 B")
    assert found.capacities == (18,)
    assert not any(found.raised)
    first, second = stored(found, 0), stored(found, 1)
    assert first[:18] == [40 + 28 * k for k in range(18)]
    assert second[:12] == [first[7] + 72 + 56 * k for k in range(12)]
    # row 0 is released when row 1 of the consumer is stored, row 1 with its row 2, and so on
    load = entered(found, 0)
    assert load[18] == second[11] == 924
    assert load[24] == second[17] == 1344
    assert load[30] == second[23] == 1764
    assert second[12] == first[19] + 72 == 1064
    assert found.peaks == (18,)
    assert found.completions == (2184 + 6 * 56,)


def test_large_buffers_change_nothing():
    found = two_layers("64 KiB")
    assert stored(found, 0) == [40 + 28 * k for k in range(36)]
    assert stored(found, 1) == [308 + 56 * k for k in range(36)]
    # the consumer's row 1 is stored at 924; the producer has stored 32 by then, the last at 908,
    # and its last one at 1020, when one row is released: 36 - 6
    assert found.peaks == (32,)


def test_a_skip_buffer_that_is_too_small_ends_at_what_the_network_needs():
    net = Net()
    first = net.conv("x", 4, 1)
    net.add(net.conv(net.conv(first, 4, 3), 4, 3), first)
    small = {"buffer__overflow": "error", "buffer__size": "96 B", "array__rows": 128}
    found = run(net.graph(), chip(**IDEAL, **small))
    # m2's tile holds 24 pixels of m1; m3's three rows of m2 and one row of m1
    assert found.raised == (False, True, False)
    # row 0 of m3 needs row 1 of m2, that needs row 2 of m1: three rows are the least
    assert found.capacities == (24, 18, 18)
    first, second, load = stored(found, 0), stored(found, 1), entered(found, 0)
    assert first[:6] == [19 + 10 * k for k in range(6)]
    # window 6 has no credit; nothing can happen after 69, and one pixel is given each time
    assert load[6:9] == [69, 88, second[0]]
    assert (first[6], first[7]) == (88, 107)
    assert second[0] == 107 + 5 + 10 + 7 + 1  # 36 bytes are loaded
    assert found.peaks == (18, 18, 18)


def test_of_two_that_lack_credit_the_later_gets_it():
    # both convolutions wait for room in the buffers of the normalisation, which reads whole maps
    net = Net()
    first = net.conv("x", 4, 1)
    second = net.conv(first, 4, 1)
    joint = net.cat(first, second)
    net.digital("norm", joint, locality="barrier", cost=2.0)
    small = {"buffer__overflow": "error", "buffer__size": "96 B"}
    found = run(net.graph(), chip(**IDEAL, **small))
    # m2's tile holds the row of m1 that it reads (24 bytes) and both whole maps (144 each) of the
    # normalisation, which sits there: 1 pixel, 11 and 11
    assert found.raised == (True, True, True)
    assert found.capacities == (6, 36, 36)  # a row of m1 goes when m2 has stored its own
    # When both have stored 11, m2 lacks a pixel of m1: m1 gets room for its 12th. Then both lack
    # nothing but credit: m2 gets room for its 12th. Then it is m1's turn again.
    load = [entered(found, u) for u in (0, 1)]
    assert load[0][11] == stored(found, 1)[10]
    assert load[1][11] == stored(found, 0)[11]
    assert load[0][12] == stored(found, 1)[11]


def test_unread_rows_go_with_the_row_above_and_at_the_bottom_with_the_last_one():
    producer = Node("p", "vector", None, (), (5, 4), (1, 1), 1, 0.0, ())
    reads = (Dependency("p", Window((1, 1), (2, 2))),)
    reader = Node("r", "vector", None, (), (2, 2), (1, 1), 1, 0.0, reads)
    # rows 0 and 2 are read; row 1 goes with row 0, rows 3 and 4 go with row 2
    assert [released_pixels(reader, producer, reads, rows) for rows in range(3)] == [0, 8, 20]


# --- what no network of these tests has


def made_up(jobs):
    """A plan of vector units with pipelines of their own."""
    pipes = tuple(Pipe(w.node.name, 0, (u,), frozenset([0]), 0, (0,)) for u, w in enumerate(jobs))
    edges = tuple(
        Edge(p, u, (dependency,), Fraction(1))
        for u, job in enumerate(jobs)
        for p, dependency in job.dependencies
        if p < u
    )
    return Plan(tuple(jobs), pipes, tuple(sorted(edges, key=lambda e: (e.producer, e.consumer))))


def vector_work(u, windows, post, dependencies=(), kind="vector", store=0):
    node = Node(
        f"v{u}", kind, None, (), (windows, 1), (1, 1), 1, 0.0, tuple(n for _, n in dependencies)
    )
    services = Services((*[Service()] * 4, Service((), post), Service((), store), Service()))
    return Job(node, (u,), (services,), 1, 0, 0, 1, tuple(dependencies), windows)


def test_line_buffers_are_looked_at_when_a_cycle_is_over():
    # no stage takes any time: all is stored, read and let go in cycle 0
    row = Dependency("v0", Window())
    found = simulate(made_up([vector_work(0, 5, 0), vector_work(1, 5, 0, [(0, row)])]), 2)
    assert found.completions == (0, 0)
    assert found.peaks == (0,)
    # windows of the first are stored at 10, 20, ..., those of the second 10 cycles later
    found = simulate(
        made_up([vector_work(0, 5, 10), vector_work(1, 5, 0, [(0, row)], store=10)]), 1
    )
    assert (stored(found, 0)[1], stored(found, 1)[0]) == (20, 20)
    assert found.trace[1, 0, 0].enter[Stage.STORE] == 10
    assert found.peaks == (1,)


def test_arrays_are_written_when_the_load_before_is_done_with_them():
    # a program node needs the last node, which is later in the order, as it was one frame earlier
    program = vector_work(0, 1, 100, [(1, Dependency("v1", None))], kind="program")
    found = simulate(made_up([program, vector_work(1, 5, 7, [(0, Dependency("v0", None))])]), 2)
    assert found.completions == (135, 270)


def test_a_schedule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="expected pipelined or sequential, got 'eager'"):
        run(pointwise(8), chip(), 1, "eager")
