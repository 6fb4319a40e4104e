"""A mesh of routers, one for each tile, in a square grid."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cimsim.chip.interconnects.base import AbstractInterconnect, Hop
from cimsim.chip.spec import Chip


class Mesh(AbstractInterconnect):
    """Tiles stand row by row in ``ceil(sqrt(tile.count))`` columns; x first, then y.

    To several tiles the ways form a tree, each link of which carries the message once. Where the
    last row is not full, its free places have routers without a tile.
    """

    def __init__(self, chip: Chip) -> None:
        super().__init__(chip)
        self.columns = math.ceil(math.sqrt(chip.tile.count))

    def way(self, source: int, targets: tuple[int, ...]) -> tuple[Hop, ...]:
        """Return the links of the tree."""
        hops: list[Hop] = []
        reached = {source: -1}
        for target in targets:
            here = source
            for following in self._steps(source, target):
                if following not in reached:
                    tiles = (following,) if following < self.chip.tile.count else ()
                    hops.append(Hop((here, following), reached[here], tiles))
                    reached[following] = len(hops) - 1
                here = following
        return tuple(hops)

    def _steps(self, source: int, target: int) -> Iterator[int]:
        """Yield the routers from ``source`` (left out) to ``target``, along x, then along y."""
        (y, x), (to_y, to_x) = (divmod(tile, self.columns) for tile in (source, target))
        while (y, x) != (to_y, to_x):
            if x != to_x:
                x += 1 if to_x > x else -1
            else:
                y += 1 if to_y > y else -1
            yield y * self.columns + x
