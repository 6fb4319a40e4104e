"""Several layers share an array where rows and columns allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import Request, no_room, slot
from cimsim.mapping.allocation.exact import pack_exact
from cimsim.mapping.allocation.rectangles import (
    Packing,
    Piece,
    Room,
    Spot,
    arrays_of,
    least_arrays,
    pack_first_fit,
)
from cimsim.mapping.placement import Origin, PlacedLayer


@dataclass(frozen=True)
class Packed:
    """Fewest arrays: each local array of a layout is a rectangle that is packed whole.

    Pieces that share an array fire one after another, which the cycle model charges. The heuristics
    of `pack_first_fit` come first; with ``exact`` the pieces that they cannot prove to be packed
    best go to `pack_exact`, for one array less at a time.

    Attributes
    ----------
    exact : bool
    largest : int
        Most pieces that ``exact`` is tried on; above, the heuristics decide.
    """

    exact: bool = False
    largest: int = 16
    name: str = "packed"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Pack the bounding boxes of all local arrays."""
        boxed = [boxes(request) for request in requests]
        pieces = [piece for in_boxes in boxed for _, piece in in_boxes]
        room = Room(len(pieces), chip.array.rows, chip.weight_cols)
        packing = pack_first_fit(pieces, room)
        if packing is None:  # an array for each piece always suffices
            raise MappingError(f"network '{graph.name}': pieces larger than an array")
        if self.exact and len(pieces) <= self.largest:
            packing = _improved(pieces, packing, room)
        needed = arrays_of(packing)
        if needed > chip.n_arrays:
            raise no_room(graph, chip, requests, needed, shared=True)
        layers, number = [], 0
        for request, in_boxes in zip(requests, boxed, strict=True):
            spots = [packing[number + i] for i in range(len(in_boxes))]
            number += len(in_boxes)
            corners = [corner for corner, _ in in_boxes]
            origins = tuple(_origin(s, c) for s, c in zip(spots, corners, strict=True))
            placed = request.placed(tuple(slot(spot.array, chip) for spot in spots))
            moved = any(origin != (0, 0) for origin in origins)
            layers.append(replace(placed, origins=(origins,)) if moved else placed)
        return tuple(layers)


def boxes(request: Request) -> list[tuple[Origin, Piece]]:
    """Return the upper left corner (word line, column) and the box of each local array."""
    corners, lines = [], request.layout.lines_per_row
    for index, blocks in enumerate(request.layout.by_array):
        top, left = min(b.row0 for b in blocks), min(b.col0 for b in blocks)
        height = max(b.row0 + b.rows for b in blocks) - top
        width = max(b.col0 + b.cols for b in blocks) - left
        piece = Piece(f"{request.name}, array {index}", height * lines, width)
        corners.append(((top * lines, left), piece))
    return corners


def _origin(spot: Spot, corner: Origin) -> Origin:
    return spot.row - corner[0], spot.col - corner[1]


def _improved(pieces: Sequence[Piece], packing: Packing, room: Room) -> Packing:
    """Take away one array after another while the exact solver still finds a packing."""
    while arrays_of(packing) > least_arrays(pieces, room):
        fewer = replace(room, arrays=arrays_of(packing) - 1)
        solved = pack_exact(pieces, fewer)
        if solved.packing is None:
            return packing
        packing = solved.packing
    return packing
