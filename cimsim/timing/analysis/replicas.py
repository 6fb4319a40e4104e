"""Replicas by the cycle model: spare arrays go to the layer that sets the steady interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError, SimulationError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import Request, no_room
from cimsim.mapping.allocation.groups import group_cost, grouped, place_groups
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.allocation.replicas import Cost, extent, replicas_on
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.placement import PlacedLayer
from cimsim.mapping.traffic import load_bytes
from cimsim.timing.analysis.bounds import least_interval, services_per_frame
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from cimsim.timing.spec.rules import whole_stages
from cimsim.timing.spec.stage import Served

_FRAMES = 4  # simulated before one of two ways is chosen: the first is quicker than later ones


@dataclass(frozen=True)
class Replicated:
    """Copies in the spare arrays, so that the steady interval is smallest.

    Copies of whole layers (`WholeCopies`) or of arrays that several layers share (`Shared`),
    whichever has the smaller interval when four frames are simulated; of equals the former, whose
    layers wait for nobody. The one with the smaller lower bound (`cimsim.timing.analysis.bounds`)
    is simulated first, the other only if its bound is smaller than what came out: it cannot win
    otherwise. Where copies wait for each other the interval changes from frame to frame by up to a
    tenth, so a choice between two that are closer is one of chance.
    """

    name: str = "replicated"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Try both; one may find room, in arrays or in memories, where the other does not."""
        bounded: list[tuple[int, Mapping]] = []
        refused: MappingError | None = None
        for way in (WholeCopies(), Shared()):
            try:
                layers = way.allocate(graph, requests, chip)
            except MappingError as error:
                refused = refused or error
            else:
                mapping = Mapping(graph, chip, "", layers)
                bounded.append((least_interval(make_plan(mapping)), mapping))
        if refused is not None and not bounded:
            raise refused
        return _fastest(bounded).layers


def _fastest(bounded: list[tuple[int, Mapping]]) -> Mapping:
    """Return the mapping of least simulated interval; ``bounded`` has a lower bound of each."""
    if len(bounded) == 1:
        return bounded[0][1]
    best: tuple[float, int] | None = None
    for i in sorted(range(len(bounded)), key=lambda i: bounded[i][0]):
        bound, mapping = bounded[i]
        if best is not None and (bound, i) >= best:
            break  # no simulation is below its bound
        try:
            interval: float = simulate(mapping, _FRAMES).interval
        except SimulationError:  # its line buffers find no room: whoever runs it is told
            interval = math.inf
        best = (interval, i) if best is None else min(best, (interval, i))
    assert best is not None
    return bounded[best[1]][1]


@dataclass(frozen=True)
class WholeCopies:
    """Whole arrays in order, and as many replicas of each layer as make the interval smallest.

    What a layer costs is the work of its busiest stage for one frame, as in
    `cimsim.timing.analysis.bounds`. Where a shared resource (the interconnect, a chip-wide vector
    node) sets the interval in the end, replicas that gain nothing are given back.
    """

    name: str = "whole_copies"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Count replicas, then place them in order."""
        single = InOrder().allocate(graph, requests, chip)
        cost = layer_cost(graph, single, chip)
        arrays = [request.layout.n_arrays for request in requests]
        replicas = replicas_on(chip, cost, arrays, [r.activations for r in requests])
        layers = InOrder(replicas=replicas).allocate(graph, requests, chip)
        bound = least_interval(make_plan(Mapping(graph, chip, "", layers)))
        needed = [
            next((r for r in range(1, most_r) if cost(layer, r) <= bound), most_r)
            for layer, most_r in enumerate(replicas)
        ]
        return InOrder(replicas=needed).allocate(graph, requests, chip)


@dataclass(frozen=True)
class Shared:
    """Layers share arrays, and copies of the shared arrays fill the chip.

    Layers of as many local arrays each lie in the same arrays where they fit
    (`cimsim.mapping.allocation.groups`); they take turns, and every copy holds all of them. An
    array that would idle behind a layer of little work then works for others, so the interval comes
    near the even spread of all work over all arrays.
    """

    name: str = "shared"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Group layers, count copies, place them."""
        groups = grouped(requests, chip)
        arrays = [group.n_arrays for group in groups]
        needed = extent(arrays, [1] * len(groups), chip)
        if needed > chip.n_arrays:
            raise no_room(graph, chip, requests, needed, shared=True)
        one = place_groups(groups, [1] * len(groups), requests, chip)
        cost = group_cost(groups, layer_stages(graph, one, chip))
        most = [max(requests[m].activations for m in group.members) for group in groups]
        copies = replicas_on(chip, cost, arrays, most)
        return place_groups(groups, copies, requests, chip)


def layer_cost(graph: LayerGraph, layers: tuple[PlacedLayer, ...], chip: Chip) -> Cost:
    """Return what one frame costs a layer with so many replicas, in cycles.

    Parameters
    ----------
    graph : LayerGraph
    layers : tuple of PlacedLayer
        Each layer once; its first replica says which partial sums change tiles.
    chip : Chip

    Returns
    -------
    callable
        ``cost(layer, replicas)``: work of the busiest stage of the busiest replica, all
        operations that use the layer together. On a mesh the ways are those of the first replica.
    """
    stages = layer_stages(graph, layers, chip)
    return lambda layer, replicas: max(stages(layer, replicas))


def layer_stages(
    graph: LayerGraph, layers: tuple[PlacedLayer, ...], chip: Chip
) -> Callable[[int, int], tuple[int, ...]]:
    """Return ``stages(layer, replicas)``: as `layer_cost`, for each stage.

    Returns
    -------
    callable
        -> cycles of LOAD, DRIVE with CONVERT, REDUCE, POST and STORE.
    """
    jobs = {job.node.name: job for job in make_plan(Mapping(graph, chip, "", layers)).jobs}
    ops = {op.name: op for op in graph.matrix_ops}

    @cache
    def stages(index: int, replicas: int) -> tuple[int, ...]:
        layer = layers[index]
        total = [0, 0, 0, 0, 0]
        for name in layer.ops:
            services = jobs[name].services[0]
            copied = replace(jobs[name], pipes=tuple(range(replicas)))
            first, later = services_per_frame(copied, 0)
            loads = [
                whole_stages(math.ceil(max(n_bytes) / chip.buffer.bytes_per_cycle), chip)
                for n_bytes in load_bytes(ops[name], layer.layout, replicas, chip)
            ]
            n = first + later
            mine = (
                first * loads[0] + later * loads[1], n * services.analog,
                *(n * services.alone(s) for s in (Served.REDUCE, Served.POST, Served.STORE)),
            )  # fmt: skip
            total = [a + b for a, b in zip(total, mine, strict=True)]
        return tuple(total)

    return stages
