"""What became of a chip's file on the way: overrides, and the numbers that they moved."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rescaled:
    """A number that was given for other bits, sizes or nodes, and was brought to these.

    Attributes
    ----------
    path, unit : str
    before, after : float
        In SI units.
    cause : str
        What changed, ``adc.bits 8 -> 6``.
    law : str
        How it was rescaled.
    """

    path: str
    unit: str
    before: float
    after: float
    cause: str
    law: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A number that may depend on what changed; nobody knows how, so it stays."""

    path: str
    cause: str


@dataclass(frozen=True, slots=True)
class History:
    """How a chip came about.

    Attributes
    ----------
    overrides : tuple of str
        In the order that they were given, as ``path=value``.
    rescaled, kept : tuple
    ranges : dict
        Path -> lowest and highest over the value, where the description gives a range.
    estimated : frozenset of str
        Paths that said ``auto``.
    """

    overrides: tuple[str, ...] = ()
    rescaled: tuple[Rescaled, ...] = ()
    kept: tuple[Kept, ...] = ()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    estimated: frozenset[str] = frozenset()
