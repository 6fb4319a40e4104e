"""What is doubtful about a chip and about what ran on it; one list for all commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cimsim.chip.cells import device_of
from cimsim.chip.fields import fields
from cimsim.chip.ledger import LEDGER, contradictions, sourced_zeros, unsaid
from cimsim.chip.spec import Chip
from cimsim.doubts import Doubt
from cimsim.engine.statistics import OpStatistics
from cimsim.report.plausible import implausible

# a source beside a zero that speaks of a number, or of something that was left out
_TELLS = re.compile(r"not modelled|left out|want of|tens of|\d\s*[munpfµ]?[WJ]\b")
_OFTEN, _AT_LEAST = 20, 0.01  # saturation: times the calibrated share, and share of conversions


def chip_doubts(chip: Chip, origin: str = "") -> list[Doubt]:
    """Return what a careful reader would ask about a chip, whatever runs on it.

    Raises
    ------
    ConfigError
        The cells cannot do what the chip asks of them.
    """
    device = device_of(chip, origin)
    found = [*_missing(chip), *_zeros(chip), *_ledger(chip)]
    found += [Doubt("implausible", text) for text in implausible(chip)]
    if device.g_min_s >= device.g_max_s:
        found.append(Doubt("cells", "device: g_min is not below g_max"))
    return found + list(_kept(chip))


def run_doubts(chip: Chip, statistics: Mapping[str, OpStatistics]) -> list[Doubt]:
    """Return what is doubtful about a functional run: converters that clip far too much."""
    expected = 1 - chip.adc.percentile / 100 if chip.adc.range == "calibrated" else 0.0
    limit = max(_OFTEN * expected, _AT_LEAST)
    worst = {name: done.saturated for name, done in statistics.items() if done.saturated > limit}
    if not worst:
        return []
    name = max(worst, key=lambda op: worst[op])
    return [
        Doubt(
            "saturation",
            f"converters of {len(worst)} layer{'s' if len(worst) > 1 else ''} clip more than "
            f"calibrated: {name} {100 * worst[name]:.2g} % of its conversions, calibration meant "
            f"{100 * expected:.2g} %",
            "calibrate on frames like these, or --set conditions.recalibrate=true",
        )
    ]


def _missing(chip: Chip) -> Iterator[Doubt]:
    """Yield what all chips have and this one does not say."""
    for path, field in fields().items():
        if field.fact is None or not field.fact.expected or field.value(chip) is None:
            continue
        if not field.is_given(chip) and not _told_apart(chip, path):
            yield Doubt("not-given", f"{path}: not given, counted as 0 {field.unit}")


def _told_apart(chip: Chip, path: str) -> bool:
    """Whether a chip says that it leaves the part of a field out, or counts it elsewhere."""
    return any(
        path in entry.fields and (part in chip.leaves_out or part in chip.included_in)
        for part, entry in LEDGER.items()
    )


def _zeros(chip: Chip) -> Iterator[Doubt]:
    """Yield zeros whose own source says that there is something."""
    for path, source in chip.sources.items():
        field = fields().get(path)
        if field is None or field.unit not in ("W", "J", "J/B") or field.value(chip) != 0:
            continue
        if _TELLS.search(source.text):
            yield Doubt(
                "zero-with-source",
                f"{path}: 0 {field.unit}, although its source says: {_short(source.text)}",
                f"give a figure, --set {path}=...",
            )


def _ledger(chip: Chip) -> Iterator[Doubt]:
    """Yield parts of the energy that are neither stated nor left out, and what contradicts."""
    for part in unsaid(chip):
        fields_of = " or ".join(LEDGER[part].fields)
        yield Doubt(
            "not-counted",
            f"{LEDGER[part].title}: not counted",
            f"give {fields_of}, or say leaves_out: [{part}]",
        )
    for text in contradictions(chip):
        yield Doubt("contradiction", text)
    shown = {doubt.text.partition(":")[0] for doubt in _zeros(chip)}
    for path, text in sourced_zeros(chip).items():
        if path not in shown:
            yield Doubt(
                "zero-with-source",
                f"{path}: 0, although its source says: {_short(text)}",
                f"give a figure, --set {path}=..., or say what it is contained in",
            )


def _kept(chip: Chip) -> Iterator[Doubt]:
    """Yield numbers that an override may have made stale."""
    kept = chip.history.kept
    if kept:
        causes = ", ".join(dict.fromkeys(one.cause for one in kept))
        paths = [one.path for one in kept]
        yield Doubt(
            "kept",
            f"{', '.join(paths)}: kept as given although {causes}",
            f"nobody knows how they go with it; give them, --set {paths[0]}=...",
        )


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 4].rsplit(" ", 1)[0] + " ..."
