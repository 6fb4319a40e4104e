"""Layers take whole arrays one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import Request, no_room, on_one_chip, slot
from cimsim.mapping.placement import PlacedLayer


@dataclass(frozen=True)
class InOrder:
    """Each array holds one layer; layers follow each other through the tiles.

    Attributes
    ----------
    region : {"chip", "tile"}
        What a replica must not leave: with ``tile`` a layer that does not fit into the rest of a
        tile begins in the next one, so that its partial sums stay there.
    replicas : sequence of int or None
        Copies of each request; one by default.
    """

    region: Literal["chip", "tile"] = "chip"
    replicas: Sequence[int] | None = None
    name: str = "in_order"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Count through the arrays of the chip."""
        copies = self.replicas or [1] * len(requests)
        layers, following = [], 0
        for request, count in zip(requests, copies, strict=True):
            n = request.layout.n_arrays
            places = []
            for _ in range(count):
                start = self._start(following, request, chip)
                places.append(tuple(slot(start + i, chip) for i in range(n)))
                following = start + n
            layers.append(request.placed(*places))
        if following > chip.n_arrays:
            raise no_room(graph, chip, requests, following, shared=False)
        return tuple(layers)

    def _start(self, following: int, request: Request, chip: Chip) -> int:
        n, size = request.layout.n_arrays, chip.tile.arrays
        if self.region == "chip":
            return on_one_chip(following, n, chip)
        if n > size:
            raise MappingError(
                f"layer '{request.name}' needs {n} arrays and must stay in one tile, which has "
                f"{size}: take --allocation in_order, or --set tile.arrays={n}"
            )
        left = -following % size
        return following if n <= left or left == 0 else following + left
