"""How a clip is to be read: levels, and what happens to damage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cimsim.errors import InputError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the user says about a clip.

    Attributes
    ----------
    black, white : float or None
        Code values of black and white in the file; None: as the format says, or found.
    tolerate_damage : bool
        Go on where frames are damaged, missing or repeated.
    """

    black: float | None = None
    white: float | None = None
    tolerate_damage: bool = False

    def __post_init__(self) -> None:
        for name, value in (("black", self.black), ("white", self.white)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name}: expected a finite code value, got {value}")
        if self.white is not None and self.white <= (self.black or 0):
            raise InputError(
                f"white: expected more than black ({self.black or 0:g}), got {self.white:g}"
            )

    @property
    def has_levels(self) -> bool:
        """Whether black or white was given."""
        return self.black is not None or self.white is not None
