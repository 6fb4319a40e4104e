"""What is doubtful about a chip and about what ran on it; one list for all commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cimsim.chip.cells import AbstractDevice, device_of
from cimsim.chip.cells.table import Table
from cimsim.chip.fields import fields
from cimsim.chip.ledger import LEDGER, contradictions, sourced_zeros, unsaid
from cimsim.chip.plausible import implausible
from cimsim.chip.settling import settling_s
from cimsim.chip.spec import Chip
from cimsim.crossbar.faults import fault_map
from cimsim.display.doubts import Doubt
from cimsim.engine.statistics import OpStatistics
from cimsim.session.loading import RANDOM
from cimsim.session.parts import Quality
from cimsim.tasks.measures import Measure
from cimsim.units import format_si

# a source beside a zero that speaks of a number, or of something that was left out
_TELLS = re.compile(r"not modelled|left out|want of|tens of|\d\s*[munpfµ]?[WJ]\b")
_OHMS = ("r_word", "r_bit", "r_driver", "r_sense")
_FAR = 10  # times a target, of each mean in a table of cells
_OFTEN, _AT_LEAST = 20, 0.01  # clipping: times the calibrated share, and share
_LOST_DB, _LOST_POINTS = 3.0, 5.0  # half of the signal-to-noise ratio; one right answer in twenty


def chip_doubts(chip: Chip, origin: str = "") -> list[Doubt]:
    """Return what a careful reader would ask about a chip, whatever runs on it.

    Raises
    ------
    ConfigError
        The cells cannot do what the chip asks of them; a map of faults that cannot be read.
    """
    device = device_of(chip, origin)
    fault_map(chip)
    found = [*_missing(chip), *_zeros(chip), *_ledger(chip)]
    found += [Doubt("implausible", text) for text in implausible(chip)]
    if device.g_min_s >= device.g_max_s:
        found.append(Doubt("cells", "device: g_min is not below g_max"))
    found += _far_from_targets(chip, device)
    found += [*_lines(chip, device.conduction), *_without_effect(chip)]
    return found + list(_kept(chip))


def run_doubts(chip: Chip, statistics: Mapping[str, OpStatistics]) -> list[Doubt]:
    """Return what is doubtful about a functional run: codes and converters that clip too much."""
    found = []
    expected = 1 - chip.inputs.percentile / 100
    shares = {name: done.clipped_inputs for name, done in statistics.items()}
    if worst := _worst(shares, expected):
        layers, name, share = worst
        found.append(
            Doubt(
                "clipped-inputs",
                f"inputs of {layers} lie beyond the ends of their code: {name} "
                f"{100 * share:.2g} % of them, calibration meant {100 * expected:.2g} %",
                "calibrate on more samples, or on such as these, or --set inputs.percentile=100",
            )
        )
    expected = 1 - chip.adc.percentile / 100 if chip.adc.range == "calibrated" else 0.0
    if worst := _worst({name: done.saturated for name, done in statistics.items()}, expected):
        layers, name, share = worst
        found.append(
            Doubt(
                "saturation",
                f"converters of {layers} clip more than calibrated: {name} {100 * share:.2g} % of "
                f"its conversions, calibration meant {100 * expected:.2g} %",
                "calibrate on frames like these, or --set conditions.recalibrate=true",
            )
        )
    return found


def loss_doubts(quality: Quality | None, scores: Sequence[Measure], weights: object) -> list[Doubt]:
    """Return what is doubtful about how much the chip takes from the float network.

    Parameters
    ----------
    quality : Quality or None
        Of a clip.
    scores : sequence of Measure
        Of samples.
    weights : object
        Where they come from; what random ones give means nothing.
    """
    if weights == RANDOM:
        return []
    lost = []
    if quality is not None and (taken := quality.mean("float_psnr") - quality.psnr_db) >= _LOST_DB:
        told = f"PSNR: the chip takes {taken:.1f} dB from the float network"
        lost.append((told, "`cimsim train --hw`, docs/training.md"))
    for one in scores:
        if one.name == "top1" and one.reference is not None:
            taken = one.reference - one.mean
            if taken >= _LOST_POINTS:
                told = f"top-1: the chip takes {taken:.1f} points from the float network"
                lost.append((told, "docs/tasks.md"))
    way = (
        "`cimsim diagnose` with the same options says by which errors; weights trained with the "
        "chip's errors ({}) lose less"
    )
    return [Doubt("large-loss", told, way.format(how)) for told, how in lost]


def _worst(shares: Mapping[str, float], expected: float) -> tuple[str, str, float] | None:
    """Return how many layers clip far too much, the worst of them and its share; None: none."""
    limit = max(_OFTEN * expected, _AT_LEAST)
    over = {name: share for name, share in shares.items() if share > limit}
    if not over:
        return None
    name = max(over, key=lambda op: over[op])
    return f"{len(over)} layer{'s' if len(over) > 1 else ''}", name, over[name]


def _far_from_targets(chip: Chip, device: AbstractDevice) -> list[Doubt]:
    """Doubt a measured table whose cells all lie far from what they were written to."""
    if not isinstance(device, Table):
        return []
    first = device.states[0]
    asked = first.target_s > 0
    ratios = first.mean_s[asked] / first.target_s[asked]
    if ratios.size == 0 or not ((ratios > _FAR).all() or (ratios < 1 / _FAR).all()):
        return []
    middle = float(np.median(ratios))
    return [
        Doubt(
            "cells",
            f"device.file: {chip.device.parameters['file']}: right after programming the means are "
            f"{middle:.3g} times their targets",
            "are both columns in the units that the header names?",
        )
    ]


def _lines(chip: Chip, conduction: str) -> Iterator[Doubt]:
    """Yield what lines do that the model of a read does not follow."""
    wires = chip.wires
    if wires.are_ideal:
        return
    if conduction == "gate" and wires.r_word_ohm + wires.r_driver_ohm > 0:
        what = "r_word" if wires.r_word_ohm > 0 else "r_driver"
        ohm = wires.r_word_ohm or wires.r_driver_ohm
        yield Doubt(
            "gate-lines",
            f"wires.{what}: {ohm:g} ohm takes voltage from the cells of device "
            f"'{chip.device.kind}', whose gates take no direct current",
            "--set wires.r_word='0 ohm' --set wires.r_driver='0 ohm'; what is left is the time "
            "that lines take to settle",
        )
    needed = settling_s(chip)
    if needed > chip.array.t_read_s:
        yield Doubt(
            "settling",
            f"array.t_read: {format_si(chip.array.t_read_s, 's')}, but the lines of a full array "
            f"take {format_si(needed, 's')} to settle to half a step of {chip.adc.bits} bits",
            f"--set array.t_read='{format_si(needed, 's')}', or smaller arrays, or give "
            "wires.c_word and wires.c_bit",
        )


def _without_effect(chip: Chip) -> Iterator[Doubt]:
    """Yield what somebody asked for and another field switches off."""
    wires, faults, conditions = chip.wires, chip.faults, chip.conditions
    lines = [name for name in _OHMS if getattr(wires, f"{name}_ohm")]
    if wires.model == "ideal" and lines:
        yield Doubt(
            "without-effect",
            f"wires.{lines[0]}: {getattr(wires, f'{lines[0]}_ohm'):g} ohm takes no effect, as "
            "wires.model is ideal",
            "--set wires.model=exact (or fast)",
        )
    if conditions.compensation != "none" and conditions.fresh:
        yield Doubt(
            "without-effect",
            f"conditions.compensation: {conditions.compensation} has nothing to take back right "
            "after programming at 25 °C",
            "say when or how warm cells are read, --time 30d",
        )
    for name, of in (("rows", chip.array.rows), ("cols", chip.array.cols)):
        spare = getattr(faults, f"spare_{name}")
        if spare > of:
            yield Doubt(
                "implausible", f"faults.spare_{name}: {spare} spare lines of an array of {of}"
            )
    if faults.seed is not None and faults.none and faults.spare_rows + faults.spare_cols:
        yield Doubt(
            "without-effect",
            "faults: spare lines take area, but no cell or line is faulty",
            "give faults.dead_rows or another share",
        )


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
