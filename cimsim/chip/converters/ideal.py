"""No converter at all: the exact value passes."""

from __future__ import annotations

from cimsim.chip.converters.base import AbstractConverter


class IdealConverter(AbstractConverter):
    """Passes any value on; for tests, and to tell converters' errors apart from others."""

    is_exact = True
    takes_steps = False

    def steps(self, bits: int) -> float:
        """Return 1."""
        return 1.0
