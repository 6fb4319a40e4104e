"""A network that the chip does not hold at once: filled, run and filled again within each frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import (
    NoRoomError,
    Request,
    more_chips,
    more_tiles,
    on_fewest_chips,
    slot,
)
from cimsim.mapping.placement import PlacedLayer


@dataclass(frozen=True)
class Loads:
    """Layers in execution order, as many in each load as the arrays hold.

    A layer that is used again after the chip was rewritten would have to be written again within
    the frame; that is refused.
    """

    name: str = "loads"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Fill the chip, begin a new load where the next layer has no room, and so on."""
        order = {op.name: i for i, op in enumerate(graph.matrix_ops)}
        largest = max(requests, key=lambda r: r.layout.n_arrays)
        needed = largest.layout.n_arrays
        if needed > chip.n_arrays:
            raise NoRoomError(
                f"layer '{largest.ops[0].name}' alone needs {needed} arrays, chip '{chip.name}' "
                f"has {chip.n_arrays}: a layer is not cut into loads. Ways out: a larger chip "
                f"({more_tiles(chip, needed)}); several chips ({more_chips(chip, needed)})",
                needs=lambda sizes, _: max(sizes),
            )
        layers, following, load = [], 0, 0
        for request in requests:
            n = request.layout.n_arrays
            following = on_fewest_chips(following, n, chip)
            if following + n > chip.n_arrays:
                following, load = 0, load + 1
            placed = request.placed(tuple(slot(following + i, chip) for i in range(n)))
            layers.append(replace(placed, load=load))
            following += n
        for layer, after in pairwise(layers):
            latest = max(order[name] for name in layer.ops)
            if layer.load < after.load and latest > order[after.ops[0]]:
                last = max(layer.ops, key=order.__getitem__)
                raise MappingError(
                    f"layer '{layer.name}' is used again by '{last}' "
                    "after the chip was written anew; give copies of their own to its uses, or "
                    f"take a chip with more arrays than {chip.n_arrays}"
                )
        if load and chip.programming.reload == "refuse":
            arrays = sum(r.layout.n_arrays for r in requests)
            cells = sum(r.layout.cells_used * r.layout.lines_per_row for r in requests)
            cells *= chip.weights.slices * chip.weights.cells_per_slice
            seconds = chip.programming.time_s(arrays, cells)
            raise MappingError(
                f"network '{graph.name}' needs {arrays} arrays, chip '{chip.name}' has "
                f"{chip.n_arrays}: it would be written {load + 1} times for each frame, in "
                f"{seconds:.3g} s. If you want that: --allow-reprogram"
            )
        if load and chip.programming.time_s(1, 1) == 0:
            raise MappingError(
                f"programming.t_pulse: network '{graph.name}' takes {load + 1} loads of chip "
                f"'{chip.name}', whose file does not say how long writing takes; give t_pulse, "
                "pulses_per_cell and parallel_cells, or take a larger chip"
            )
        return tuple(layers)
