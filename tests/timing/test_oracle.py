"""The event loop against an independent SimPy model of the same rules, cycle for cycle."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mapping.mapping import map_graph
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import raised_edges, run_plan
from tests.timing import simpy_model
from tests.timing.nets import Duplicates, Net, chip, mappings, replicated

SCHEDULES = st.sampled_from(["pipelined", "sequential"])


def compare(mapping, frames, schedule):
    """Every activation's cycles in every stage, every completion, occupancy and raised capacity."""
    plan = make_plan(mapping)
    memory = run_plan(plan, frames, schedule, trace=True)
    expected = simpy_model.simulate(plan, frames, schedule)
    assert memory.frame.complete.tolist() == list(expected.completions)
    row = 0
    for u, job in enumerate(plan.jobs):
        for frame in range(frames):
            for g in range(job.activations):
                wanted = expected.trace[u, frame, g]
                where = f"{job.node.name}, frame {frame}, activation {g}"
                assert memory.trace.enter[row].tolist() == list(wanted.enter), where
                assert memory.trace.leave[row].tolist() == list(wanted.leave), where
                assert memory.trace.stored[row] == wanted.stored, where
                row += 1
    assert memory.edge.peak.tolist() == list(expected.peaks)
    return plan, memory, expected


@settings(max_examples=60)
@given(mapping=mappings(layers=6), frames=st.integers(1, 3), schedule=SCHEDULES)
def test_every_cycle_is_that_of_the_simpy_model(mapping, frames, schedule):
    compare(mapping, frames, schedule)


@pytest.mark.slow
@settings(max_examples=1500)
@given(mapping=mappings(layers=6), frames=st.integers(1, 3), schedule=SCHEDULES)
def test_every_cycle_of_many_networks_is_that_of_the_simpy_model(mapping, frames, schedule):
    compare(mapping, frames, schedule)


def test_replicas_that_wait_for_room_see_that_it_was_raised():
    net = Net(channels=1, height=3, width=3)
    net.conv(net.conv("x", 6, kernel=1, block=2), 1, kernel=1)
    small = chip(
        array__rows=9, interconnect__bytes_per_cycle=1, buffer__size="64 B", tile__arrays=2,
        buffer__overflow="error",
    )  # fmt: skip
    mapping = replicated(map_graph(net.graph(), small, Duplicates(2)), [2, 1])
    plan, memory, _ = compare(mapping, 2, "pipelined")
    assert raised_edges(plan, memory)


@settings(max_examples=25)
@given(mapping=mappings(buffer__overflow="error"), frames=st.integers(1, 2), schedule=SCHEDULES)
def test_line_buffers_are_raised_as_in_the_simpy_model(mapping, frames, schedule):
    plan, memory, expected = compare(mapping, frames, schedule)
    raised = {(e.producer, e.consumer): n for e, n in raised_edges(plan, memory)}
    assert raised == {
        (edge.producer, edge.consumer): capacity
        for edge, capacity, was in zip(
            plan.edges, expected.capacities, expected.raised, strict=True
        )
        if was
    }
