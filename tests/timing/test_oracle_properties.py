"""What holds for the SimPy model on random networks and chips."""

import random
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.timing.plan.dependencies import dependency_tables, release_table
from cimsim.timing.plan.plan import make_plan
from tests.timing.line_buffers import needed_windows, released_pixels
from tests.timing.nets import mappings
from tests.timing.simpy_model import simulate


@settings(max_examples=60, deadline=None)
@given(mappings())
def test_definitions_give_the_tables_of_the_package(mapping):
    plan = make_plan(mapping)
    for edge in plan.edges:
        producer, consumer = plan.jobs[edge.producer].node, plan.jobs[edge.consumer].node
        for dependency in edge.dependencies:
            table_y, table_x = dependency_tables(consumer, producer, dependency)
            wanted = np.maximum(table_y[:, None] + table_x[None, :], 0).ravel().tolist()
            assert needed_windows(consumer, producer, dependency) == wanted
        rows = range(consumer.grid[0] + 1)
        released = [released_pixels(consumer, producer, edge.dependencies, r) for r in rows]
        assert released == release_table(consumer, producer, edge.dependencies).tolist()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(mappings(), st.sampled_from(["pipelined", "sequential"]), st.integers(0, 2**32))
def test_events_of_a_cycle_may_be_handled_in_any_order(mapping, schedule, seed):
    plan = make_plan(mapping)
    shuffled = simpy.Environment()
    # numbers that break ties between events of one cycle and priority
    shuffled._eid = iter(random.Random(seed).random, None)
    assert simulate(plan, 2, schedule, shuffled) == simulate(plan, 2, schedule)


def held(record, double):
    """From when to when an activation kept each stage from the next one."""
    return [(a, b) for a, b in zip(record.enter, record.leave, strict=True) if a >= 0]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(mappings(), st.sampled_from(["pipelined", "sequential"]))
def test_stages_hold_one_activation_at_a_time_and_keep_the_order(mapping, schedule):
    plan = make_plan(mapping)
    found = simulate(plan, 2, schedule)
    assert len(found.trace) == 2 * sum(job.activations for job in plan.jobs)
    by_pipe = defaultdict(list)
    for (u, _, g), record in found.trace.items():
        replica = g % len(plan.jobs[u].pipes)
        double = plan.jobs[u].services[replica].double
        by_pipe[plan.jobs[u].pipes[replica]].append((held(record, double), record.stored))
    for records in by_pipe.values():
        for (stages, stored), (then, _) in pairwise(sorted(records)):
            assert all(a <= b for a, b in stages)
            assert all(
                left <= entered for (_, left), (entered, _) in zip(stages, then, strict=True)
            )
            assert stages[-1][1] <= stored
    stored = [
        max(r.stored for (_, frame, _), r in found.trace.items() if frame == f) for f in (0, 1)
    ]
    assert found.completions == tuple(stored)
    for edge, peak, capacity in zip(plan.edges, found.peaks, found.capacities, strict=True):
        assert capacity is None or peak <= capacity
        assert (edge.capacity is None) == (capacity is None)
