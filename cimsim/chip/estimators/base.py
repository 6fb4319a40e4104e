"""The contract of an estimator: figures of one component, a formula, its source and its range."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from cimsim.chip.fields import fields
from cimsim.chip.spec import Chip
from cimsim.units import format_si


def unit_of(section: str, field: str) -> str:
    """SI unit of a field, as the field itself declares it."""
    return fields()[f"{section}.{field}"].unit


class AbstractEstimator(ABC):
    """Figures for the fields of one section of a chip that say ``auto``.

    Attributes
    ----------
    gives : tuple of str
        Fields of the section that it can fill.
    formula, source : str
        What is computed and who published it; ``cimsim hw show`` prints both.
    """

    gives: ClassVar[tuple[str, ...]]
    formula: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """Return every field of `gives` in SI units.

        Parameters
        ----------
        chip : Chip
            Complete but for fields that are not estimated yet, which are 0.
        section : str
            Whose fields are asked for: ``adc``, ``buffer``, ``global_buffer`` ...

        Raises
        ------
        ValueError
            If the chip lies outside of what the formula is valid for; see `within`.
        """


def within(field: str, value: float, low: float, high: float, unit: str) -> float:
    """Return ``value``, or raise a ValueError that names field, range, value and the way out."""
    if not low <= value <= high:
        raise ValueError(
            f"auto: expected {field} of {_show(low, unit)} .. {_show(high, unit)}, got "
            f"{_show(value, unit)}; give a figure instead of auto"
        )
    return value


def _show(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 1024:g} KiB" if value >= 1024 else f"{value:g} B"
    return f"{value:g}" if unit == "" else format_si(value, unit)
