"""How small line buffers may be: the least with which a network can still run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from cimsim.mapping.mapping import Mapping
from cimsim.timing.plan.plan import Schedule, make_plan
from cimsim.timing.simulate import raised_edges, run_plan


@dataclass(frozen=True, slots=True)
class LeastBuffer:
    """The least size of one line buffer, all others having their least size, too.

    Attributes
    ----------
    producer, consumer : str
    pixels, n_bytes : int
    tile : int
        Home tile of the consumer's first replica.
    """

    producer: str
    consumer: str
    pixels: int
    n_bytes: int
    tile: int


def least_buffers(mapping: Mapping, schedule: Schedule = "pipelined") -> tuple[LeastBuffer, ...]:
    """Start a simulation with no room at all and see what it asks for (rule "Too small").

    Where `cimsim.timing.timeline.EdgePeak` tells how far producers ran ahead of their readers, this
    tells what a chip must have. A network that runs with it need not run as fast.

    Parameters
    ----------
    mapping : Mapping
    schedule : {"pipelined", "sequential"}
        Layer after layer, whole maps must be held.

    Returns
    -------
    tuple of LeastBuffer
        In the order of the plan's edges, those into output nodes left out.
    """
    plan = make_plan(mapping)
    tight = tuple(
        edge
        if plan.jobs[edge.consumer].node.kind == "output"
        else replace(edge, capacity=0, memory="")
        for edge in plan.edges
    )
    plan = replace(plan, edges=tight)
    return tuple(
        LeastBuffer(
            plan.jobs[edge.producer].node.name, plan.jobs[edge.consumer].node.name, pixels,
            math.ceil(pixels * edge.pixel_bytes),
            plan.pipes[plan.jobs[edge.consumer].pipes[0]].home,
        )
        for edge, pixels in raised_edges(plan, run_plan(plan, 2, schedule))
    )  # fmt: skip
