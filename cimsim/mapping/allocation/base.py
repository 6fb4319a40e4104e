"""What allocation is given and what it returns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cimsim.chip.area import area
from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.placement import PlacedLayer, Slot


@dataclass(frozen=True)
class Request:
    """A matrix that wants a place.

    Attributes
    ----------
    name : str
        Of the programmed matrix.
    ops : tuple of MatrixOp
        All operations that use it, in execution order.
    layout : Layout
        One replica, as the strategy returned it.
    """

    name: str
    ops: tuple[MatrixOp, ...]
    layout: Layout

    @property
    def activations(self) -> int:
        """Most activations of one frame that an operation needs: more replicas have no work."""
        wpa = self.layout.windows_per_activation
        return max(-(-op.windows // wpa) for op in self.ops)

    def placed(self, *slots: tuple[Slot, ...]) -> PlacedLayer:
        """Return the matrix with one replica on each of ``slots``."""
        return PlacedLayer(self.name, tuple(op.name for op in self.ops), self.layout, slots)


class NoRoomError(MappingError):
    """The chip has too few arrays.

    Attributes
    ----------
    needs : callable
        Arrays of each layer, and a chip -> arrays that must be free on it at once: all of them,
        where the allocation does not say otherwise.
    """

    def __init__(
        self, message: str, needs: Callable[[Sequence[int], Chip], int] = lambda n, _: sum(n)
    ) -> None:
        super().__init__(message)
        self.needs = needs


def more_tiles(chip: Chip, needed: int) -> str:
    """Return the option that gives a chip so many arrays, and what that costs in area."""
    tiles = -(-needed // (chip.tile.arrays * chip.system.chips))
    return f"--set tile.count={tiles}{_more_area(chip, tiles)}"


def more_chips(chip: Chip, needed: int) -> str:
    """Return how many of one chip hold so many arrays, and what that costs in area."""
    if chip.system.chips > 1 or not chip.n_arrays:
        return "--set system.chips=..."
    chips = -(-needed // chip.n_arrays)
    return f"--set system.chips={chips}: {chips} times the area"


class Allocation(Protocol):
    """The contract of an allocation."""

    @property
    def name(self) -> str:
        """How results and messages call it."""
        ...

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Give every request its arrays, in the order of the requests.

        Raises
        ------
        MappingError
            If the chip has no room.
        """
        ...


def requests_of(graph: LayerGraph, layouts: dict[str, Layout]) -> tuple[Request, ...]:
    """Return one request for each programmed matrix, in execution order.

    Parameters
    ----------
    graph : LayerGraph
    layouts : dict
        Operation name -> layout.
    """
    users: dict[str, list[MatrixOp]] = defaultdict(list)
    for op in graph.matrix_ops:
        users[op.weights_id or op.name].append(op)
    return tuple(
        Request(name, tuple(ops), layouts[ops[0].name]) for name, ops in users.items()
    )  # fmt: skip


def slot(index: int, chip: Chip) -> Slot:
    """Return array ``index`` of the chip, counted tile by tile."""
    return Slot(*divmod(index, chip.tile.arrays))


def on_fewest_chips(following: int, n: int, chip: Chip) -> int:
    """Return where ``n`` arrays on as few chips as can be begin, from array ``following`` on."""
    if chip.system.chips == 1:
        return following
    whole = chip.tile.count * chip.tile.arrays
    spread = -(-(following % whole + n) // whole)
    return following + -following % whole if spread > -(-n // whole) else following


def no_room(
    graph: LayerGraph, chip: Chip, requests: tuple[Request, ...], needed: int, shared: bool
) -> NoRoomError:
    """Return the error of a chip with too few arrays: need, stock, largest layers, ways out.

    `cimsim.mapping.mapping.map_graph` adds those that depend on how matrices are cut.

    Parameters
    ----------
    needed : int
        Arrays that the network takes.
    shared : bool
        Whether layers share arrays already.
    """
    sizes = sorted(((r.layout.n_arrays, r.ops[0].name) for r in requests), reverse=True)
    largest = ", ".join(f"{name} {n}" for n, name in sizes[:3])
    chips = f"{chip.system.chips} x {chip.tile.count}" if chip.system.chips > 1 else chip.tile.count
    return NoRoomError(
        f"network '{graph.name}' needs {needed} arrays of {chip.array.rows} x {chip.weight_cols} "
        f"weights{' even if layers share them' if shared else ''}, chip '{chip.name}' has "
        f"{chip.n_arrays} ({chips} tiles with {chip.tile.arrays}); "
        f"largest layers: {largest}. Ways out: a larger chip "
        f"({more_tiles(chip, needed)}); "
        f"several chips ({more_chips(chip, needed)}, --allocation by_chip); a smaller network "
        "(another --stride, fewer --stages, another --model)"
    )


def _more_area(chip: Chip, tiles: int) -> str:
    """Return what more tiles cost in area, where the chip tells its own."""
    before = sum(area(chip).values())
    if not before:
        return ""
    after = sum(area(chip, tiles * chip.system.chips).values())
    return f": {after / before - 1:.0%} more area".replace("%", " %")
