"""What any simulation must lie between, in closed form."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from cimsim.mapping.mapping import Mapping
from cimsim.timing.plan.plan import Job, Plan, Schedule, make_plan
from cimsim.timing.spec.routes import Resource
from cimsim.timing.spec.stage import Served, Stage


@dataclass(frozen=True, slots=True)
class Bounds:
    """Cycles of all frames together: ``lower <= Timeline.cycles <= upper``.

    Attributes
    ----------
    lower : int
        The busiest stage or resource has to do all its work (sequential: that of each node, one
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
    upper = sum(_serial(job) for job in plan.jobs)
    lower = least_interval(plan)
    if schedule == "sequential":
        lower = max(lower, sum(max(_stages((job,)).values()) for job in plan.jobs))
    return Bounds(frames * lower, frames * upper)


def least_interval(plan: Plan) -> int:
    """Return the work of one frame for the busiest stage or shared resource, in cycles."""
    return max(max(_stages(plan.jobs).values()), max(resource_work(plan).values(), default=0))


def services_per_frame(job: Job, replica: int) -> tuple[int, int]:
    """Return the activations of one replica and frame: first in their map row, and later ones."""
    n, replicas = job.of_replica(replica), len(job.pipes)
    starts = job.node.grid[0]
    if replicas * job.per_activation > 1:
        first_window = np.arange(replica, job.activations, replicas) * job.per_activation
        starts = len(np.unique(first_window // job.node.grid[1]))
    return starts, n - starts


def resource_work(plan: Plan) -> dict[Resource, int]:
    """Return the cycles that one frame needs of each resource."""
    cycles: dict[Resource, int] = defaultdict(int)
    for job in plan.jobs:
        for replica, services in enumerate(job.services):
            first, later = services_per_frame(job, replica)
            times = {
                Served.LOAD: first,
                Served.LOAD_NEXT: later,
                Served.CONVERT: (first + later) * services.pulses,
            }
            for served, service in zip(Served, services.stages, strict=True):
                for reservation in service.reservations:
                    cycles[reservation.resource] += (
                        times.get(served, first + later) * reservation.cycles
                    )
    return dict(cycles)


def _stages(jobs: tuple[Job, ...]) -> dict[tuple[int, str], int]:
    """Return the cycles that one frame needs at least in each stage of each pipeline."""
    cycles: dict[tuple[int, str], int] = defaultdict(int)
    for job in jobs:
        for replica, (pipe, services) in enumerate(zip(job.pipes, job.services, strict=True)):
            first, later = services_per_frame(job, replica)
            n = first + later
            cycles[pipe, "load"] += first * services.alone(Served.LOAD) + later * services.alone(
                Served.LOAD_NEXT
            )
            cycles[pipe, "analog"] += n * services.analog
            for name, stage in (
                ("reduce", Stage.REDUCE),
                ("post", Stage.POST),
                ("store", Stage.STORE),
            ):
                cycles[pipe, name] += n * services.alone(stage)
    return cycles


def _serial(job: Job) -> int:
    """Return the cycles of one frame if nothing ever overlaps."""
    total = 0
    for replica, services in enumerate(job.services):
        first, later = services_per_frame(job, replica)
        alone = [
            sum(reservation.cycles for reservation in s.reservations) + s.own
            for s in services.stages
        ]
        waits = [sum(reservation.delay for reservation in s.reservations) for s in services.stages]
        alone = [a + w for a, w in zip(alone, waits, strict=True)]
        each = services.pulses * (alone[Served.DRIVE] + alone[Served.CONVERT]) + services.latency
        each += alone[Served.REDUCE] + alone[Served.POST] + alone[Served.STORE]
        total += (
            (first + later) * each + first * alone[Served.LOAD] + later * alone[Served.LOAD_NEXT]
        )
    return total
