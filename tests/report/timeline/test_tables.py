import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cimsim.mapping.mapping import map_graph
from cimsim.report.timeline.tables import layer_times, print_timeline
from cimsim.timing.simulate import simulate
from cimsim.timing.spec.stage import STAGES
from tests.timing.nets import Net, chip, linear, mappings


@settings(max_examples=40)
@given(
    mapping=mappings(buffer__overflow="dram"),
    frames=st.integers(1, 3),
    schedule=st.sampled_from(["pipelined", "sequential"]),
)
def test_shares_of_a_layer_are_those_of_its_slowest_stage(mapping, frames, schedule):
    timeline = simulate(mapping, frames, schedule)
    rows = layer_times(mapping, timeline)
    assert [row.name for row in rows] == [node.name for node in timeline.nodes]
    for row, node in zip(rows, timeline.nodes, strict=True):
        stage, whole = STAGES.index(row.stage), node.replicas * timeline.cycles
        assert node.busy[stage] == max(node.busy)
        assert row.busy * whole == pytest.approx(max(node.busy))
        assert row.waiting * whole == pytest.approx(node.waiting[stage])
        assert row.blocked * whole == pytest.approx(node.blocked[stage])
        assert row.starved * whole <= node.starved + 1e-6
        total = row.busy + row.waiting + row.blocked + row.no_credit + row.starved
        assert total <= 1 + 1e-12


def test_a_layer_that_follows_another_starves_until_that_is_done():
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip(interconnect__kind="ideal"))
    timeline = simulate(mapping, 1, "sequential", trace=True)
    first, second = layer_times(mapping, timeline)
    trace = timeline.trace
    assert first.starved == 0
    assert second.starved == trace.stored[trace.node == 0].max() / timeline.cycles
    assert (first.activations, first.interval) == (36, 10)  # t_read of 10 ns at 1 GHz


def screen(mapping, timeline, columns):
    console = Console(file=io.StringIO(), width=columns, emoji=False)
    print_timeline(mapping, timeline, console, "a net, 6 x 6")
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("size", "where"), [("1 KiB", "room"), ("64 B", "waiting for a shared resource")]
)
@pytest.mark.parametrize("columns", [80, 160])
def test_the_screen_names_what_holds_up_whom(columns, size, where):
    net = Net(4, 6, 6)
    net.add(net.conv(net.conv("x", 4), 4), "m1")
    hardware = chip(
        interconnect__bytes_per_cycle=1, buffer__overflow="dram", buffer__size=size,
        dram__bytes_per_cycle=8, dram__latency_cycles=5,
    )  # fmt: skip
    mapping = map_graph(net.graph(), hardware)
    found = screen(mapping, simulate(mapping, 2), columns)
    for part in ("latency", "frames per second", "bottleneck: ", "interconnect 0", "m1 > m2",
                 where, "a net, 6 x 6", "busy"):  # fmt: skip
        assert part in found
    assert ("kept in" in found) == (size == "64 B")
    assert max(map(len, found.splitlines())) <= columns
    assert "…" not in found


def test_a_network_without_line_buffers_has_a_screen():
    mapping = map_graph(linear(64, 64, 5), chip(interconnect__kind="ideal"))
    assert "DRIVE" in screen(mapping, simulate(mapping, 1), 80)
