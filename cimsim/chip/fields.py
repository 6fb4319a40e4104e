"""All fields of a chip with what they declare: the one list that everything else is read from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cimsim.chip.fact import Fact
from cimsim.chip.parts.base import Named
from cimsim.chip.spec import Chip
from cimsim.units import Unit, format_si


@dataclass(frozen=True, slots=True)
class Described:
    """One field of a chip.

    Attributes
    ----------
    path : str
        As a YAML file has it: ``adc.energy``.
    names : tuple of str
        Attributes that lead to it: ``("adc", "energy_j")``.
    unit : str
        SI unit; empty for counts, choices and texts.
    kind : {"number", "count", "choice", "switch", "other"}
    choices : tuple
        Values of a choice; of one that takes parts of the user's own, the built-in ones.
    default : object
        None where there is none.
    fact : Fact or None
        None if the field declares nothing, which a test refuses.
    """

    path: str
    names: tuple[str, ...]
    unit: str
    kind: str
    choices: tuple[object, ...]
    default: object
    fact: Fact | None

    @property
    def by(self) -> tuple[str, ...]:
        """Whose numbers move with it; the two buffers are charged apart."""
        return tuple(self._of_section(who) for who in self.fact.by) if self.fact else ()

    @property
    def follows(self) -> tuple[str, ...]:
        """Fields that it is rescaled with."""
        rule = self.fact.follows if self.fact else None
        return tuple(map(self._of_section, rule.fields)) if rule else ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Fields that it may depend on, nobody knows how."""
        rule = self.fact.follows if self.fact else None
        return tuple(map(self._of_section, rule.kept)) if rule else ()

    def kept_on(self, chip: Chip) -> tuple[str, ...]:
        """Return the same on a chip, whose cells may stand for several."""
        rule = self.fact.follows if self.fact else None
        stands = chip.device.kind == "ideal" and chip.weights.cell_bits is None
        return (*self.kept, *(rule.of_ideal_cells if rule and stands else ()))

    def value(self, chip: Chip) -> object:
        """Return what a chip holds there; None in a section that it does not have."""
        place: object = chip
        for name in self.names:
            place = None if place is None else getattr(place, name)
        return place

    def number(self, chip: Chip) -> float:
        """Return the number that a chip holds there; 0 where it holds none."""
        held = self.value(chip)
        return held if isinstance(held, int | float) else 0.0

    def is_given(self, chip: Chip) -> bool:
        """Whether the chip's description says anything there, ``auto`` included."""
        place: object = chip
        for name in self.names:
            if not isinstance(place, BaseModel) or name not in place.model_fields_set:
                return False
            place = getattr(place, name)
        return True

    def _of_section(self, text: str) -> str:
        return text.replace("{section}", self.names[0])


@cache
def fields(model: type[BaseModel] = Chip) -> dict[str, Described]:
    """Return every field by its YAML path; the cell's own parameters are its model's affair."""
    return {field.path: field for field in _walk(model, "", ())}


def changed(chip: Chip, values: dict[str, object]) -> Chip:
    """Return a chip with other values at YAML paths, unchecked: for scaling and for draws."""
    known = fields()
    parts: dict[str, dict[str, object]] = {}
    for path, value in values.items():
        *section, name = known[path].names
        parts.setdefault(section[0] if section else "", {})[name] = value
    whole = parts.pop("", {})
    new = {name: getattr(chip, name).model_copy(update=part) for name, part in parts.items()}
    return chip.model_copy(update=new | whole)


def scaling(kind: str) -> Iterator[Described]:
    """Yield the fields that go with the supply in one of the ways of `cimsim.chip.voltage`."""
    yield from (f for f in fields().values() if f.fact is not None and f.fact.scales == kind)


def number_fields() -> Iterator[Described]:
    """Yield every physical quantity."""
    yield from (f for f in fields().values() if f.kind == "number")


def _walk(model: type[BaseModel], prefix: str, names: tuple[str, ...]) -> Iterator[Described]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        section = _section(info)
        if section is not None:
            yield from _walk(section, f"{path}.", (*names, name))
        else:
            yield _described(path, (*names, name), info)


def unit_of(info: FieldInfo) -> str:
    """Return the SI unit of a field; empty if it is no quantity."""
    marks = [*info.metadata, *_marks(info.annotation)]
    return next((mark.si for mark in marks if isinstance(mark, Unit)), "")


def _section(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section, also of one that may be missing."""
    for kind in (info.annotation, *get_args(info.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind if get_origin(info.annotation) is not dict else None
    return None


def _described(path: str, names: tuple[str, ...], info: FieldInfo) -> Described:
    marks = [*info.metadata, *_marks(info.annotation)]
    unit = unit_of(info)
    fact = next((mark for mark in marks if isinstance(mark, Fact)), None)
    plain = [kind for kind in (info.annotation, *get_args(info.annotation)) if kind is not None]
    named = next((mark for mark in marks if isinstance(mark, Named)), None)
    if get_origin(info.annotation) is Literal:
        kind, choices = "choice", get_args(info.annotation)
    elif named is not None:
        kind, choices = "choice", named.names
    elif unit or float in plain:
        kind, choices = "number", ()
    elif bool in plain:
        kind, choices = "switch", (False, True)
    elif int in plain:
        kind, choices = "count", ()
    else:
        kind, choices = "other", ()
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return Described(path, names, unit, kind, choices, default, fact)


def _marks(annotation: object) -> list[object]:
    """Return what stands in the Annotated parts of a union such as ``Voltage | None``."""
    marks = []
    for part in get_args(annotation):
        marks += list(getattr(part, "__metadata__", ()))
    return marks


def rows(chip: Chip) -> list[dict[str, object]]:
    """Return a plain row for each field of a chip: path, value, unit, kind and text of its source.

    Parameters
    ----------
    chip : Chip

    Returns
    -------
    list of dict
        ``value`` is a text for people, ``si`` the number in SI units (None where there is none),
        ``given`` whether the description says anything there.
    """
    table: list[dict[str, object]] = []
    for path, field in fields().items():
        if path in ("sources", "ranges", "schema_version"):
            continue
        value = field.value(chip)
        source = chip.sources.get(path)
        number = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = value
        text = str(value) if number is None or not field.unit else format_si(number, field.unit)
        table.append({
            "field": path, "value": text, "si": number, "unit": field.unit,
            "kind": source.kind if source else "", "source": source.text if source else "",
            "given": field.is_given(chip),
        })  # fmt: skip
    return table
