"""A trace read back must add up to the counters that the event loop kept on its own."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from cimsim.errors import SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.report.timeline.traced import TracedRun
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip, chips, mappings, nets, replicated

SCHEDULES = st.sampled_from(["pipelined", "sequential"])


def traced(mapping, frames, schedule):
    try:
        timeline = simulate(mapping, frames, schedule, trace=True)
    except SimulationError:  # line buffers too small to run at all
        reject()
    return timeline, TracedRun(mapping, timeline)


@pytest.mark.slow
@pytest.mark.parametrize("overflow", ["ignore", "dram", "error"])
def test_parts_of_all_stays_add_up_to_the_counters(overflow):
    credit_seen = spilled_seen = 0

    @settings(max_examples=50)
    @given(mapping=mappings(buffer__overflow=overflow), frames=st.integers(1, 3), way=SCHEDULES)
    def holds(mapping, frames, way):
        nonlocal credit_seen, spilled_seen
        waited, timeline = adds_up(mapping, frames, way)
        credit_seen += waited
        spilled_seen += len(timeline.spilled)
        only_full_buffers_hold_up(timeline)

    holds()
    assert credit_seen == 0 or overflow != "ignore"
    assert credit_seen > 0 or overflow != "error"
    assert (spilled_seen > 0) == (overflow == "dram")


def only_full_buffers_hold_up(timeline):
    """Who waits for credit has a reader whose line buffer lies on a tile and has a limit.

    What is kept in DRAM holds nobody up, and what lies on a tile never exceeds its room.
    """
    for node in timeline.nodes:
        own = [edge for edge in timeline.edges if edge.producer == node.name]
        limited = [edge for edge in own if not edge.memory and edge.capacity is not None]
        assert limited or not node.no_credit, node.name
    for edge in timeline.edges:
        assert edge.memory or edge.capacity is None or edge.pixels <= edge.capacity


def adds_up(mapping, frames, way):
    """Compare what is read from the trace with the counters; returns cycles without credit, too."""
    timeline, run = traced(mapping, frames, way)
    for u, node in enumerate(timeline.nodes):
        stays = run.stays(u)
        blocked = np.where(stays.enter >= 0, stays.leave - stays.served, 0)
        assert tuple(stays.busy.sum(axis=0)) == node.busy
        assert tuple(stays.waiting.sum(axis=0)) == node.waiting
        assert tuple(blocked.sum(axis=0)) == node.blocked
        assert min(stays.waiting.min(), blocked.min()) >= 0
        assert (stays.starved_until - stays.free).sum() == node.starved
        assert (stays.enter[:, 0] - stays.starved_until).sum() == node.no_credit
    for e, edge in enumerate(timeline.edges):
        pixels = run.occupancy(e)[1]
        assert pixels.max() == edge.pixels
        assert pixels.min() == 0 == pixels[-1]
    return sum(node.no_credit for node in timeline.nodes), timeline


@settings(max_examples=40)
@given(
    graph=nets(4), hw=chips(buffer__overflow="ignore"), frames=st.integers(1, 2), way=SCHEDULES,
    name=st.sampled_from(["vwsdk", "omm", "vwsdk:3x2", "smd:2"]), copies=st.integers(1, 2),
)  # fmt: skip
def test_rectangles_of_windows_add_up_too(graph, hw, frames, way, name, copies):
    mapping = map_graph(graph, hw, name)
    adds_up(replicated(mapping, [copies] * len(mapping.layers)), frames, way)


@pytest.mark.parametrize("way", ["pipelined", "sequential"])
def test_a_load_waits_for_the_one_before(way):
    net, name = Net(4, 6, 6), "x"
    for _ in range(4):
        name = net.conv(name, 4)
    hardware = chip(
        tile__count=2, programming__reload="allow", programming__t_erase="100 ns",
        programming__t_pulse="2 ns",
    )  # fmt: skip
    mapping = map_graph(net.graph(), hardware)
    adds_up(mapping, 3, way)
    timeline, run = traced(mapping, 3, way)
    names = [node.name for node in timeline.nodes]
    writer = run.stays(names.index("load 0"))
    # of the first frame nothing; later the last window of the last layer, one frame before
    assert writer.fed_node.tolist() == [-1, names.index("m4"), names.index("m4")]
    assert writer.fed_sequence.tolist() == [-1, 35, 71]


@pytest.mark.slow
@settings(max_examples=80)
@given(mapping=mappings(), frames=st.integers(1, 3), way=SCHEDULES)
def test_line_buffers_peak_where_the_event_loop_says(mapping, frames, way):
    timeline, run = traced(mapping, frames, way)
    for e, edge in enumerate(timeline.edges):
        cycles, pixels = run.occupancy(e)
        assert pixels.max() == edge.pixels
        assert pixels.min() == 0 == pixels[-1]
        assert (np.diff(cycles) > 0).all()


def test_order_of_rows_does_not_matter():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip())
    timeline = simulate(mapping, 2, trace=True)
    rng = np.random.default_rng(0)
    trace = timeline.trace
    order = rng.permutation(len(trace.node))
    fields = {
        f.name: getattr(trace, f.name)[order]
        for f in dataclasses.fields(trace)
        if f.name != "grants"
    }
    shuffled = dataclasses.replace(timeline, trace=dataclasses.replace(trace, **fields))
    for u in range(2):
        one, other = (TracedRun(mapping, t).stays(u) for t in (timeline, shuffled))
        for field in dataclasses.fields(one):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_window_is_fed_by_the_store_of_its_bottom_right_pixel():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip())
    stays = TracedRun(mapping, simulate(mapping, 1, trace=True)).stays(1)
    y, x = np.divmod(np.arange(36), 6)
    corner = np.minimum(y + 1, 5) * 6 + np.minimum(x + 1, 5)
    assert np.array_equal(stays.fed_sequence, corner)
    assert (stays.fed_node == 0).all()


def test_what_cannot_be_read_is_refused():
    net, other = Net(4, 6, 6), Net(4, 6, 6)
    net.conv("x", 4)
    other.conv(other.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip())
    with pytest.raises(SimulationError, match=r"timeline\.trace: expected a trace"):
        TracedRun(mapping, simulate(mapping, 1))
    with pytest.raises(SimulationError, match="not those of the mapping"):
        TracedRun(map_graph(other.graph(), chip()), simulate(mapping, 1, trace=True))
