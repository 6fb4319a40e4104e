"""One bus for all tiles of a chip."""

from __future__ import annotations

from cimsim.chip.interconnects.base import AbstractInterconnect, Hop


class Bus(AbstractInterconnect):
    """One wire, which a message keeps whether or not the tiles differ."""

    is_one_wire = True

    def way(self, source: int, targets: tuple[int, ...]) -> tuple[Hop, ...]:
        """Return the bus."""
        return (Hop((), tiles=targets),)
