import dataclasses
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.load import load_hw
from cimsim.errors import InputError, SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.report.timeline.perfetto import write_trace
from cimsim.timing.simulate import simulate
from cimsim.timing.spec.stage import STAGES
from tests.report.timeline import trace_format
from tests.timing.nets import Net, chip, chips, mappings, nets
from tests.timing.test_zoo import exported

PARTS = {"service": "busy", "waiting": "waiting", "blocked": "blocked"}


@pytest.fixture(scope="module")
def cimnet():
    hw = load_hw("eflash40nm", {"frames": "resident"})
    mapping = map_graph(exported("cimnet", {"stride": 8, "coarse": 1}, 64, 96), hw)
    return mapping, simulate(mapping, 3, trace=True)


def total(events, category):
    """Cycles of the slices of a category by (layer, stage)."""
    found = Counter()
    for event in events["X"]:
        if event["cat"] == category:
            found[event["args"]["layer"], event["args"].get("stage")] += event["args"]["cycles"]
    return found


def check_against_counters(timeline, events):
    """A whole trace tells the same cycles as the counters of the event loop."""
    for category, field in PARTS.items():
        found = total(events, category)
        for node in timeline.nodes:
            cycles = getattr(node, field)
            assert tuple(found[node.name, stage] for stage in STAGES) == cycles
    for category, field in (("starved", "starved"), ("no credit", "no_credit")):
        found = total(events, category)
        for node in timeline.nodes:
            assert found[node.name, None] == getattr(node, field)
    resources = Counter()
    names = {
        (e["pid"], e["tid"]): e["args"]["name"] for e in events["M"] if e["name"] == "thread_name"
    }
    for event in events["X"]:
        if event["cat"] == "resource":
            resources[names[event["pid"], event["tid"]]] += event["args"]["cycles"]
    assert resources == {r.name.replace("_", " "): r.busy for r in timeline.resources if r.busy}
    peaks = defaultdict(int)
    for event in events["C"]:
        peaks[event["name"].split(",")[0]] = max(
            peaks[event["name"].split(",")[0]], event["args"]["bytes"]
        )
    assert peaks == {f"{e.producer} > {e.consumer}": e.n_bytes for e in timeline.edges}


@pytest.mark.slow
@settings(max_examples=40)
@given(
    mapping=mappings(buffer__overflow="ignore"),
    frames=st.integers(1, 2),
    schedule=st.sampled_from(["pipelined", "sequential"]),
)
def test_traces_of_random_networks_are_right(tmp_path_factory, mapping, frames, schedule):
    timeline = simulate(mapping, frames, schedule, trace=True)
    path = tmp_path_factory.mktemp("trace") / "t.json.gz"
    kept = write_trace(mapping, timeline, path)
    events = trace_format.check(trace_format.load(path))
    assert kept.activations == kept.of == len(timeline.trace.node)
    assert kept.events == sum(len(events[phase]) for phase in "XCsf")
    check_against_counters(timeline, events)


@settings(max_examples=20)
@given(
    graph=nets(3),
    hardware=chips(buffer__overflow="ignore"),
    name=st.sampled_from(["vwsdk", "omm", "vwsdk:3x2"]),
)
def test_traces_of_rectangles_are_right(tmp_path_factory, graph, hardware, name):
    mapping = map_graph(graph, hardware, name)
    timeline = simulate(mapping, 2, trace=True)
    path = tmp_path_factory.mktemp("trace") / "t.json.gz"
    write_trace(mapping, timeline, path)
    check_against_counters(timeline, trace_format.check(trace_format.load(path)))


def test_trace_of_a_chip_that_is_loaded_in_turn(tmp_path):
    net, name = Net(4, 6, 6), "x"
    for _ in range(4):
        name = net.conv(name, 4)
    hardware = chip(
        tile__count=2, programming__reload="allow", programming__t_erase="100 ns",
        programming__t_pulse="2 ns", frames="global_buffer",
    )  # fmt: skip
    mapping = map_graph(net.graph(), hardware)
    timeline = simulate(mapping, 2, trace=True)
    write_trace(mapping, timeline, tmp_path / "t.json.gz")
    events = trace_format.check(trace_format.load(tmp_path / "t.json.gz"))
    check_against_counters(timeline, events)
    written = [e for e in events["X"] if e["name"] == "load 0" and e["cat"] == "service"]
    assert [e["args"]["frame"] for e in written] == [0, 1]


@pytest.mark.slow
def test_trace_of_cim_net(tmp_path, cimnet):
    mapping, timeline = cimnet
    trace = trace_format.load((write_trace(mapping, timeline, tmp_path / "t.json.gz"),
                               tmp_path / "t.json.gz")[1])  # fmt: skip
    events = trace_format.check(trace)
    check_against_counters(timeline, events)
    assert "148 MHz" in trace["otherData"]["time"]
    assert trace["otherData"]["kept"] == f"all {len(timeline.trace.node):,} activations"
    assert len(events["s"]) > 100
    assert [p.name for p in tmp_path.iterdir()] == ["t.json.gz"]


def test_an_arrow_leads_from_the_store_that_was_waited_for(tmp_path):
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip(interconnect__kind="ideal"))
    timeline = simulate(mapping, 1, trace=True)
    write_trace(mapping, timeline, tmp_path / "t.json.gz")
    events = trace_format.check(trace_format.load(tmp_path / "t.json.gz"))
    period = 1e6 / mapping.chip.process.clock_hz
    first = round(min(event["ts"] for event in events["f"]) / period)
    trace = timeline.trace
    # window (0, 0) reads up to (1, 1), number 7
    stored = trace.stored[(trace.node == 0) & (trace.activation == 7)].item()
    assert first == stored == trace.enter[(trace.node == 1) & (trace.activation == 0), 0].item()
    assert first - 1 in [round(event["ts"] / period) for event in events["s"]]


@pytest.mark.slow
def test_times_are_those_that_are_printed(tmp_path, cimnet):
    """The ends of frames lie a frame interval apart, in microseconds of the chip."""
    mapping, timeline = cimnet
    write_trace(mapping, timeline, tmp_path / "t.json.gz")
    trace = trace_format.load(tmp_path / "t.json.gz")
    clock = mapping.chip.process.clock_hz
    frames = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["cat"] == "frame"]
    ends = [e["ts"] + e["dur"] for e in frames]
    assert len(ends) == 3
    printed = 1e6 * timeline.interval / clock
    between = 1e6 * (timeline.completions[2] - timeline.completions[1]) / clock
    assert ends[2] - ends[1] == pytest.approx(between, abs=2e-3)
    assert between == pytest.approx(printed, rel=0.01)  # the steady interval is that of many
    assert float(trace["otherData"]["frame_interval_us"]) == pytest.approx(printed, abs=1e-3)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            cycle, cycles = event["args"]["cycle"], event["args"]["cycles"]
            assert float(event["ts"]) == pytest.approx(1e6 * cycle / clock, abs=1e-3)
            assert float(event["dur"]) == pytest.approx(1e6 * cycles / clock, abs=1e-3)


def test_a_long_run_keeps_its_start_and_a_stretch_in_the_middle(tmp_path, cimnet):
    mapping, timeline = cimnet
    path = tmp_path / "t.json.gz"
    kept = write_trace(mapping, timeline, path, max_events=4000)
    trace = trace_format.load(path)
    events = trace_format.check(trace)
    assert 2000 <= len(events["X"]) + len(events["s"]) + len(events["f"]) <= 6000
    assert 0 < kept.activations < kept.of
    (begin, early), (start, stop) = kept.stretches
    assert begin == 0 < early < start < timeline.cycles_first_frame // 2 < stop
    enter = timeline.trace.enter[:, 0]
    inside = (enter < early) | ((enter >= start) & (enter < stop))
    assert inside.sum() == kept.activations
    assert str(kept) == trace["otherData"]["kept"]
    assert f"{start:,} .. {stop - 1:,}" in str(kept)
    served = [e for e in events["X"] if e["cat"] == "service" and e["args"]["stage"] == "DRIVE"]
    matrix = np.array([node.kind == "matrix" for node in timeline.nodes])
    assert len(served) == (inside & matrix[timeline.trace.node]).sum()
    for edge in timeline.edges:  # thinned, but the peak is still there
        # what follows the names says whether the edge was spilled
        name = f"{edge.producer} > {edge.consumer}"
        shown = [e["args"]["bytes"] for e in events["C"] if e["name"].split(",")[0] == name]
        assert shown or not edge.n_bytes
        assert edge.n_bytes == max(shown, default=edge.n_bytes)
    assert events["C"]


def test_a_failed_write_leaves_the_old_file(tmp_path, cimnet):
    mapping, timeline = cimnet
    path = tmp_path / "t.json.gz"
    path.write_text("old")
    broken = dataclasses.replace(timeline, completions=(1, "no number", 3))
    with pytest.raises(TypeError):
        write_trace(mapping, broken, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.json.gz"]


def test_bad_arguments_are_refused(tmp_path, cimnet):
    mapping, timeline = cimnet
    with pytest.raises(InputError, match="--trace: cannot write"):
        write_trace(mapping, timeline, tmp_path / "none" / "t.json.gz")
    with pytest.raises(InputError, match="max_events: expected at least 1, got 0"):
        write_trace(mapping, timeline, tmp_path / "t.json.gz", 0)
    with pytest.raises(SimulationError, match="expected a trace"):
        write_trace(mapping, simulate(mapping, 1), tmp_path / "t.json.gz")
