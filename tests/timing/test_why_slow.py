"""The critical path adds up, and advice names what sets the pace."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.errors import SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.timing.analysis.advice import advice
from cimsim.timing.analysis.critical import critical_path
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip, mappings, stage_times

IDEAL = {"interconnect__kind": "ideal"}


@pytest.mark.slow
@settings(max_examples=80)
@given(
    mapping=mappings(buffer__overflow="ignore"), frame=st.integers(0, 1),
    schedule=st.sampled_from(["pipelined", "sequential"]),
)  # fmt: skip
def test_the_parts_of_a_path_add_up_to_the_completion(mapping, frame, schedule):
    timeline = simulate(mapping, 2, schedule, trace=True)
    parts = critical_path(make_plan(mapping), timeline, frame)
    assert all(part.cycles > 0 for part in parts)
    assert sum(part.cycles for part in parts) == timeline.completions[frame]


def test_the_path_of_a_chain_runs_through_its_slowest_layer():
    net, name = Net(4, 6, 6), "x"
    for layer in range(3):
        name = net.conv(name, 60 if layer == 1 else 4, 1)
    mapping = map_graph(net.graph(), chip(adc__count=4, buffer__bytes_per_cycle=64, **IDEAL))
    first, slow, last = (stage_times(w.services[0]) for w in make_plan(mapping).jobs)
    parts = critical_path(make_plan(mapping), simulate(mapping, 1, trace=True))
    found = {(part.node, part.what): part.cycles for part in parts}
    assert parts[0].node == mapping.layers[1].name
    assert found[mapping.layers[1].name, "CONVERT"] == 36 * slow.convert
    assert found[mapping.layers[0].name, "DRIVE"] == first.drive
    assert found[mapping.layers[2].name, "DRIVE"] == last.drive


def test_a_path_needs_a_trace():
    net = Net()
    net.conv("x", 4)
    mapping = map_graph(net.graph(), chip())
    with pytest.raises(SimulationError, match="trace=True"):
        critical_path(make_plan(mapping), simulate(mapping, 1))


def best(**options):
    net = Net(20, 8, 8)
    net.conv(net.conv("x", 40), 40)
    mapping = map_graph(net.graph(), chip(**options))
    timeline = simulate(mapping, 2)
    return mapping, timeline, advice(mapping, timeline)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"adc__count": 1}, ("adc.count=2", "adc.t_conversion=3.5ns")),
        ({"array__t_read": "900 ns"}, ("array.t_read=450ns",)),
        ({"buffer__bytes_per_cycle": 1} | IDEAL, ("buffer.bytes_per_cycle=2",)),
        ({"interconnect__bytes_per_cycle": 1}, ("interconnect.bytes_per_cycle=2",)),
        ({"vector__lanes": 1} | IDEAL, ("vector.lanes=2",)),
        ({"adder__lanes": 1}, ("adder.lanes=2",)),
        (
            {"frames": "dram", "dram": {"bytes_per_cycle": 1}, "interconnect__kind": "ideal"},
            ("dram.bytes_per_cycle=2",),
        ),
    ],
)  # fmt: skip
def test_advice_names_what_is_slow_and_what_doubling_it_gains(options, expected):
    _, timeline, changes = best(**options)
    assert {c.option.removeprefix("--set ") for c in changes} >= set(expected)
    first = max(changes, key=lambda c: c.gain if c.option.startswith("--set") else 0)
    assert first.option.removeprefix("--set ") in expected
    assert first.gain == pytest.approx(timeline.interval / first.interval)
    assert 1.3 < first.gain <= 2.01


def test_one_more_replica_of_all_that_set_the_pace_halves_the_interval():
    mapping, timeline, changes = best(array__t_read="900 ns")
    replicas = next(c for c in changes if c.option == "--allocation whole_copies")
    assert replicas.interval == timeline.interval // 2
    assert all(layer.ops[0] in replicas.what for layer in mapping.layers)
    *_, none = best(array__t_read="900 ns", tile__count=mapping.arrays_used)
    assert not [c for c in none if "replica" in c.option]


def test_what_a_chip_lacks_is_offered():
    *_, changes = best(tile__sample_hold="single", adc__count=4)
    assert any(c.option == "--set tile.sample_hold=double" for c in changes)
    *_, changes = best(buffer__bytes_per_cycle=1, tile__input_reuse="none", **IDEAL)
    assert any(c.option == "--set tile.input_reuse=row" for c in changes)
