"""In which fields two chips compute differently."""

from __future__ import annotations

from quantiphy import InvalidNumber, Quantity

from cimsim.chip.fields import fields
from cimsim.chip.spec import Chip


def differences(chip: Chip, other: Chip, payer: str = "frames") -> list[str]:
    """Return the paths of fields that move ``payer`` and that two chips differ in.

    Parameters
    ----------
    chip, other : Chip
    payer : str
        As fields declare it: ``frames`` are the values that a network computes on the chip.
    """
    paths = [
        path
        for path, field in fields().items()
        if payer in field.by and field.value(chip) != field.value(other)
    ]
    if payer == "frames" and "device.kind" not in paths:
        ours, theirs = chip.device.parameters, other.device.parameters
        paths += [
            f"device.{name}"
            for name in sorted({*ours, *theirs})
            if _plain(ours.get(name)) != _plain(theirs.get(name))
        ]
    return paths


def _plain(value: object) -> object:
    """Make ``11.5 nS`` and ``11.50nS`` the same, and 5 and 5.0."""
    if isinstance(value, str):
        try:
            number = Quantity(value)
        except InvalidNumber:
            return value
        return float(number), number.units
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
