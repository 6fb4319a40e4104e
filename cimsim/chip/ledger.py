"""The parts of a chip's energy: which a description states, includes elsewhere, or leaves out.

An energy per frame is worth as much as what it counts. Each part has the fields that state it; a
description that gives none of them a value says so: ``leaves_out: [processor]`` if nobody counts
it, ``included_in: {front_end: array.active_power}`` if another field's figure holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, SupportsFloat, get_args

from pydantic import BaseModel

from cimsim.chip.parts.base import LedgerPart
from cimsim.chip.spec import Chip

State = Literal["stated", "included", "absent", "left out", "unsaid"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One part of the energy.

    Attributes
    ----------
    title : str
        In a few words, for tables and messages.
    fields : tuple of str
        YAML paths; one that is not zero states the part.
    """

    title: str
    fields: tuple[str, ...]


LEDGER: dict[LedgerPart, LedgerEntry] = {
    "array": LedgerEntry("cells and lines", ("array.v_read", "array.fixed_energy")),
    "front_end": LedgerEntry(
        "column front end: integrators, amplifiers, sample-and-hold", ("array.active_power",)
    ),
    "references": LedgerEntry("references and read pumps", ("array.reference_power",)),
    "dac": LedgerEntry("word-line drivers", ("dac.energy", "dac.bit_energy")),
    "adc": LedgerEntry("column converters", ("adc.energy",)),
    "adder": LedgerEntry("adders", ("adder.energy",)),
    "vector": LedgerEntry("vector units", ("vector.energy", "vector.scale_energy")),
    "matmul": LedgerEntry("matmul units", ("matmul.energy",)),
    "buffer": LedgerEntry("tile buffers", ("buffer.read_energy", "buffer.write_energy")),
    "control": LedgerEntry(
        "tile control and clock", ("tile.clock_power", "tile.static_power", "tile.wake_energy")
    ),
    "interconnect": LedgerEntry(
        "routers and wires", ("interconnect.energy", "interconnect.static_power", "system.energy")
    ),
    "global_buffer": LedgerEntry(
        "global buffer", ("global_buffer.read_energy", "global_buffer.write_energy")
    ),
    "dram": LedgerEntry("memory off the chip", ("dram.energy", "dram.static_power")),
    "io": LedgerEntry("link to the host", ("io.energy", "io.static_power")),
    "processor": LedgerEntry("processor", ("processor.power",)),
    "static": LedgerEntry(
        "leakage, chip level",
        (
            "buffer.leakage",
            "vector.leakage",
            "matmul.leakage",
            "global_buffer.leakage",
            "static_power",
        ),
    ),
    "conversion": LedgerEntry("power conversion", ("power_conversion.efficiency",)),
}
assert tuple(LEDGER) == get_args(LedgerPart)


def value_at(chip: Chip, path: str) -> float:
    """Return a number of a chip by its YAML path; 0 where the section is not there.

    A loss counts as the number that states it: the efficiency is 0 where nothing is lost.
    """
    if path.startswith("device."):  # the cells' own parameters always say something
        return 1.0
    part: object = chip
    for name in path.split("."):
        if part is None:
            return 0.0
        if not isinstance(part, BaseModel):
            raise TypeError(f"{path}: {part!r} has no fields")
        model = part
        part = next(
            getattr(model, attribute)
            for attribute, field in type(part).model_fields.items()
            if name in (field.alias, attribute)
        )
    if path == "power_conversion.efficiency" and part == 1:
        return 0.0
    if not isinstance(part, SupportsFloat):
        raise TypeError(f"{path} is no number")
    return float(part)


def state(chip: Chip, part: LedgerPart) -> State:
    """Return whether a chip states a part of its energy; what is stated is not left out.

    DRAM and matmul units are ``absent`` where the chip has none: nothing goes there.
    """
    if any(value_at(chip, path) for path in LEDGER[part].fields):
        return "stated"
    if part in chip.included_in:
        return "included"
    if part in ("dram", "matmul") and getattr(chip, part) is None:
        return "absent"
    return "left out" if part in chip.leaves_out else "unsaid"


def left_out(chip: Chip) -> tuple[str, ...]:
    """Return the titles of all parts that a chip counts nowhere, said or not."""
    return tuple(
        entry.title for part, entry in LEDGER.items() if state(chip, part) in ("left out", "unsaid")
    )


def unsaid(chip: Chip) -> tuple[LedgerPart, ...]:
    """Return the parts that a chip counts nowhere without saying so."""
    return tuple(part for part in LEDGER if state(chip, part) == "unsaid")


def sourced_zeros(chip: Chip) -> dict[str, str]:
    """Return fields of 0 whose source speaks of something: path -> text of the source.

    Those of parts that the description includes elsewhere or leaves out are explained, and so is a
    source that says ``contained in`` another field, ``part of`` it, or ``none``.
    """
    explained = ("contained in", "part of", "none")
    return {
        path: chip.sources[path].text
        for part, entry in LEDGER.items()
        for path in entry.fields
        if path in chip.sources
        and part not in chip.included_in
        and part not in chip.leaves_out
        and value_at(chip, path) == 0
        and not any(word in chip.sources[path].text.lower() for word in explained)
    }


def contradictions(chip: Chip) -> tuple[str, ...]:
    """Return what ``leaves_out`` and ``included_in`` say that the numbers of the chip deny."""
    sentences = [
        f"leaves_out: {part} ({LEDGER[part].title}) has a value, so it is counted"
        for part in chip.leaves_out
        if state(chip, part) == "stated"
    ]
    sentences += [
        f"included_in.{part}: {path} is 0, so nothing holds it"
        for part, path in chip.included_in.items()
        if not value_at(chip, path)
    ]
    return tuple(sentences)
