"""No interconnect at all: everything moves in no time and at no energy."""

from __future__ import annotations

from cimsim.chip.interconnects.base import AbstractInterconnect, Hop


class IdealInterconnect(AbstractInterconnect):
    """Moves everything at once."""

    is_free = True

    def way(self, source: int, targets: tuple[int, ...]) -> tuple[Hop, ...]:
        """Return no link."""
        return ()
