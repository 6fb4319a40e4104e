"""Fields that say ``auto``: find them, ask their estimators, put the figures in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cimsim.chip.estimators import DEFAULTS, ESTIMATORS, estimated, estimator_of, unit_of
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A field that was filled in.

    Attributes
    ----------
    value : float
        In SI units.
    unit, estimator, formula, source : str
    """

    value: float
    unit: str
    estimator: str
    formula: str
    source: str


def asks_auto(value: object) -> bool:
    """Whether a YAML leaf asks for an estimator."""
    return isinstance(value, str) and value.split()[:1] == ["auto"]


def resolve(
    raw: Mapping[str, object], origin: str, check: Callable[[Mapping[str, object]], Chip]
) -> tuple[Mapping[str, object], dict[str, Estimate]]:
    """Return the description with figures in place of each ``auto``, and what they are.

    Parameters
    ----------
    raw : mapping
        As the YAML has it; it is not changed.
    origin : str
        File that messages name.
    check : callable
        Validates a mapping as a chip.

    Raises
    ------
    ConfigError
        Unknown estimator, a field that it does not give, or a chip that it is not valid for.
    """
    asked = _asked(raw, origin)
    if not asked:
        return raw, {}
    filled = copy.deepcopy(dict(raw))
    for section, field in asked:
        # a placeholder that every check passes; only estimators that come earlier may read it
        _put(filled, section, field, "1e-21 F" if field == "cell_capacitance" else 0)
    estimates: dict[str, Estimate] = {}
    for section in DEFAULTS:
        chip = check(filled) if any(s == section for s, _ in asked) else None
        for (where, field), name in asked.items():
            if where != section or chip is None:
                continue
            estimator, path = estimator_of(name), f"{section}.{field}"
            try:
                value = estimated(estimator, chip, section, field)
            except ConfigError as error:
                raise ConfigError(f"{origin}: {path}: {error}") from error.__cause__
            except ValueError as error:
                raise ConfigError(f"{origin}: {path}: {error}") from None
            _put(filled, section, field, f"{value!r} {unit_of(section, field)}")
            estimates[path] = Estimate(
                value, unit_of(section, field), name, estimator.formula, estimator.source
            )
    return filled, estimates


def _put(raw: dict[str, object], section: str, field: str, value: object) -> None:
    """Put a value into a section that is there, as one of its fields asked for it."""
    held = raw[section]
    assert isinstance(held, dict)
    held[field] = value


def _asked(raw: Mapping[str, object], origin: str) -> dict[tuple[str, str], str]:
    """Return (section, field) -> estimator of every ``auto``."""
    asked = {}
    for section, fields in raw.items():
        if asks_auto(fields) and section not in ("name", "summary"):
            raise ConfigError(f"{origin}: {section}: 'auto' is not known here; {_where()}")
        if section in ("sources", "device") or not isinstance(fields, Mapping):
            continue
        for field, value in fields.items():
            if asks_auto(value):
                asked[section, field] = _estimator(f"{origin}: {section}.{field}", value)
    return asked


def _estimator(place: str, value: str) -> str:
    section, _, field = place.rpartition(": ")[2].partition(".")
    if section not in DEFAULTS:
        raise ConfigError(f"{place}: 'auto' is not known here; {_where()}")
    words = value.split()
    name = words[1] if len(words) > 1 else DEFAULTS[section]
    try:
        gives = estimator_of(" ".join(words[1:]) or name).gives
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    if field not in gives:
        raise ConfigError(
            f"{place}: estimator '{name}' gives {', '.join(gives)}, not {field}; give a value"
        )
    return name


def _where() -> str:
    return "auto: " + ", ".join(
        f"{section}.{field}" for section, name in DEFAULTS.items()
        for field in ESTIMATORS[name].gives
    )  # fmt: skip
