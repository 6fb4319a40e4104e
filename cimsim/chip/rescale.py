"""Nothing goes stale: numbers that were given for other bits, sizes or nodes follow an override.

A field declares what it was given for (`cimsim.chip.fact.Follows`). Where an override changes that,
the number is multiplied by its law at the new chip over that at the old one, unless the same call
gives it, too; ``auto`` is estimated anew in any case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from cimsim.chip.fields import Described, changed, fields
from cimsim.chip.history import Kept, Rescaled
from cimsim.chip.laws import LAWS
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError
from cimsim.units import format_si

VDD = "process.vdd"


def rescale(
    origin: str, before: Chip, raw: Mapping[str, object], given: frozenset[str],
    check: Callable[[Mapping[str, object]], Chip],
) -> tuple[Mapping[str, object], tuple[Rescaled, ...], tuple[Kept, ...]]:  # fmt: skip
    """Return the description with every dependent number brought along.

    Parameters
    ----------
    origin : str
        File that messages name.
    before : Chip
        The chip as its file has it.
    raw : mapping
        The description with the overrides in it; it is not changed.
    given : frozenset of str
        Paths that the overrides name, fields or whole sections.
    check : callable
        Makes a chip of a description.

    Raises
    ------
    ConfigError
        A number cannot be rescaled: the law does not hold there. The message says what to give.
    """
    after = check(raw)
    moved = [f.path for f in fields().values() if f.value(before) != f.value(after)]
    numbers = [f for f in fields().values() if _stands(f, raw) and not is_given(f.path, given)]
    new: dict[str, object] = copy.deepcopy(dict(raw))
    rescaled: list[Rescaled] = []
    # times first: the energy of a conversion depends on how long it takes
    for field in sorted(numbers, key=lambda f: f.unit != "s"):
        causes = [path for path in field.follows if path in moved]
        if VDD in moved and field.fact is not None and field.fact.scales in _VOLTS:
            causes.append(VDD)
        value = field.number(after)
        if not causes or not value:
            continue
        cause = ", ".join(_change(path, before, after) for path in causes)
        law = field.fact.follows.law if field.fact and field.fact.follows else ""
        try:
            # as it was given: all else is new, so that only these causes make the difference
            old = {path: fields()[path].value(before) for path in causes}
            old |= {one.path: one.before for one in rescaled}
            law = law if causes != [VDD] else ""
            factor = _factor(field, law, changed(after, old), after)
        except ValueError as error:
            reason = str(error).removeprefix("auto: ").partition(";")[0]
            raise ConfigError(
                f"{origin}: {field.path}: {format_si(value, field.unit)} was given for another "
                f"chip ({cause}) and cannot be rescaled: {reason}. Give it, too: --set "
                f"{field.path}=..., or leave {', '.join(causes)} as it is"
            ) from None
        if factor != 1:
            after = changed(after, {field.path: value * factor})
            _put(new, field.path, f"{value * factor!r} {field.unit}")
            rescaled.append(
                Rescaled(field.path, field.unit, value, value * factor, cause, law or "supply")
            )
    kept = tuple(
        Kept(field.path, ", ".join(_change(path, before, after) for path in causes))
        for field in numbers
        if field.value(after)
        and (causes := [path for path in field.kept_on(after) if path in moved])
    )
    return new, tuple(rescaled), kept


def with_arrays(chip: Chip, rows: int, cols: int) -> Chip:
    """Return a chip with arrays of another size; numbers given for theirs are brought along.

    For figures about the chip: nothing is checked, and its history is that of the old one.
    """
    sizes: dict[str, object] = {"array.rows": rows, "array.cols": cols}
    new = changed(chip, sizes)
    for field in fields().values():
        value, fact = field.number(chip), field.fact
        if value and fact and fact.follows and not sizes.keys().isdisjoint(field.follows):
            factor = _factor(field, fact.follows.law, chip, changed(chip, sizes))
            new = changed(new, {field.path: value * factor})
    return new


_VOLTS = ("energy", "static", "active")


def _factor(field: Described, law: str, before: Chip, after: Chip) -> float:
    """Return the new number over the old one: by its law, and by the supply."""
    volts = after.process.vdd_v / before.process.vdd_v
    kind = field.fact.scales if field.fact else ""
    power = {"energy": after.operating.energy_exponent, "static": 1.0}
    supply = volts ** (power.get(kind, power["energy"]) if kind in _VOLTS else 0.0)
    if not law:
        return float(supply)
    section, leaf = field.path.split(".")
    same = changed(before, {VDD: after.process.vdd_v})  # the law knows nothing of the supply then
    old, new = (LAWS[law](chip, section, leaf) for chip in (same, after))
    return float(supply) * new / old


def _stands(field: Described, raw: Mapping[str, object]) -> bool:
    """Whether the description has a figure there, no default and no ``auto``."""
    place: object = raw
    for part in field.path.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    automatic = isinstance(place, str) and place.split()[:1] == ["auto"]
    return field.kind == "number" and not automatic


def is_given(path: str, given: frozenset[str]) -> bool:
    """Whether overrides name a field, or the whole section that it stands in."""
    return path in given or path.partition(".")[0] in given


def _change(path: str, before: Chip, after: Chip) -> str:
    field = fields()[path]
    old, new = (_text(field.value(chip), field.unit) for chip in (before, after))
    return f"{path} {old} -> {new}"


def _text(value: object, unit: str) -> str:
    return format_si(value, unit) if unit and isinstance(value, int | float) else f"{value}"


def _put(raw: dict[str, object], path: str, value: str) -> None:
    *sections, leaf = path.split(".")
    place: object = raw
    for name in sections:
        assert isinstance(place, dict)
        place = place[name]
    assert isinstance(place, dict)
    place[leaf] = value
