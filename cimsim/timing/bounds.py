"""What any simulation must lie between, in closed form."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from cimsim.mapping.mapping import Mapping
from cimsim.timing.plan import Plan, Schedule, Work, bus_cycles, make_plan


@dataclass(frozen=True, slots=True)
class Bounds:
    """Cycles of all frames together: ``lower <= Timeline.cycles <= upper``.

    Attributes
    ----------
    lower : int
        The busiest stage or resource has to do all its work (sequential: that of each unit, one
        after the other).
    upper : int
        Every service and every latency alone, one after the other. While a frame is not complete,
        some service or latency is always under way, so that no schedule can take longer.
    """

    lower: int
    upper: int


def bounds(mapping: Mapping, frames: int = 1, schedule: Schedule = "pipelined") -> Bounds:
    """Return the bounds of `cimsim.timing.simulate.simulate` with the same arguments."""
    plan = make_plan(mapping)
    upper = sum(_serial(work) for work in plan.works)
    lower = least_interval(plan)
    if schedule == "sequential":
        lower = max(lower, sum(max(_stages(plan, only).values()) for only in plan.works))
    return Bounds(frames * lower, frames * upper)


def least_interval(plan: Plan) -> int:
    """Return the work of one frame for the busiest stage or shared resource, in cycles."""
    return max(max(_stages(plan).values()), max(_resources(plan).values(), default=0))


def loads(work: Work) -> list[int]:
    """Return the LOAD cycles of one frame on each replica."""
    found, replicas = [], len(work.pipes)
    for replica in range(replicas):
        n, starts = len(range(replica, work.activations, replicas)), work.unit.grid[0]
        if replicas * work.per_activation > 1:
            first_window = np.arange(replica, work.activations, replicas) * work.per_activation
            starts = len(np.unique(first_window // work.unit.grid[1]))
        found.append(starts * work.cycles.load_first + (n - starts) * work.cycles.load_next)
    return found


def _stages(plan: Plan, only: Work | None = None) -> dict[tuple[int, str], int]:
    """Return the cycles that one frame needs at least in each stage of each pipeline."""
    found: dict[tuple[int, str], int] = defaultdict(int)
    for work in plan.works if only is None else (only,):
        cycles, replicas = work.cycles, len(work.pipes)
        for replica, (pipe, load) in enumerate(zip(work.pipes, loads(work), strict=True)):
            n = len(range(replica, work.activations, replicas))
            found[pipe, "load"] += load
            found[pipe, "analog"] += n * cycles.analog
            found[pipe, "reduce"] += n * (cycles.reduce_bus + cycles.reduce_own)
            found[pipe, "post"] += n * cycles.post
            found[pipe, "store"] += n * cycles.store
    return found


def _resources(plan: Plan) -> dict[object, int]:
    """Return the cycles that one frame needs of each shared resource."""
    found: dict[object, int] = defaultdict(int)
    for work in plan.works:
        replicas = len(work.pipes)
        for replica, (p, load) in enumerate(zip(work.pipes, loads(work), strict=True)):
            n = len(range(replica, work.activations, replicas))
            for stage, resource in plan.pipes[p].resources.items():
                each = bus_cycles(work.cycles)[stage] * max(1, work.cycles.pulses * (stage == 2))
                found[resource] += load if stage == 0 else n * each
    return found


def _serial(work: Work) -> int:
    """Return the cycles of one frame if nothing ever overlaps."""
    cycles, n = work.cycles, work.activations
    analog = cycles.pulses * (cycles.drive + cycles.convert)
    rest = cycles.reduce_bus + cycles.reduce_own + cycles.post + cycles.store + cycles.latency
    return sum(loads(work)) + n * (analog + rest)
