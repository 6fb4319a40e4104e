"""All readings of a laboratory -> what a device of a chip file says, with intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import InputError
from cimsim.measured.drift import NAMES, Drift, Law, course_of_states, fit_drift
from cimsim.measured.estimate import Estimate, Goodness, Part
from cimsim.measured.pulses import Log, fit_log
from cimsim.measured.readings import Readings, Summary, read_file
from cimsim.measured.spectrum import Spectrum, fit_spectrum
from cimsim.measured.states import (
    Course,
    State,
    course,
    fit_reading,
    fit_writing,
    states_of,
    states_of_summary,
    with_cells,
)
from cimsim.units import format_duration, format_si

Kind = Literal["table", "eflash"]
NEUTRAL = 500.0  # current of a cell without charge over that of the largest target


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a fit is wanted.

    Attributes
    ----------
    kind : {"table", "eflash"} or None
        Device of the chip file: the measured states themselves, or the fitted form of a
        floating-gate cell. None: `table`, or `eflash` where only write-verify was logged.
    law : {"power", "log", "charge"} or None
        Of drift; None: the one of ``power`` and ``log`` that leaves less, or ``charge`` for
        ``eflash``.
    volts : float or None
        What cells were read at, where the file has currents.
    unit, time_unit, sheet : str or None
        See `cimsim.measured.readings.read_file`.
    cells : int or None
        Cells of each state where a file of states does not say.
    conduction : {"ohmic", "gate"}
    seed : int
        Of the resampling behind intervals.
    """

    kind: Kind | None = None
    law: Law | None = None
    volts: float | None = None
    unit: str | None = None
    time_unit: str | None = None
    sheet: str | None = None
    cells: int | None = None
    conduction: Literal["ohmic", "gate"] = "ohmic"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found.

    Attributes
    ----------
    files : tuple of str
        Names of what was read.
    kind : str
        Of the device.
    top_s, bottom_s : float
        Largest and smallest target, S.
    cells, readings : int
        How many there were; 0 cells where states were averaged before and nobody says.
    states : list of State
    courses : Course or None
    writing, reading : Part
    drift, spectrum, log : Drift, Spectrum, Log or None
    notes : tuple of str
    """

    files: tuple[str, ...]
    kind: Kind
    conduction: str
    top_s: float
    bottom_s: float
    cells: int
    readings: int
    states: list[State]
    courses: Course | None
    writing: Part
    reading: Part
    drift: Drift | None
    spectrum: Spectrum | None
    log: Log | None
    notes: tuple[str, ...] = field(default=())

    @property
    def parts(self) -> list[Part]:
        """Everything that was fitted, in the order of the page."""
        later = [one.part for one in (self.drift, self.spectrum, self.log) if one is not None]
        return [self.writing, self.reading, *later]

    @property
    def estimates(self) -> list[Estimate]:
        """All numbers."""
        return [one for part in self.parts for one in part.estimates]

    @property
    def all_notes(self) -> list[str]:
        """What a reader must know."""
        own = [*self.notes, *(note for part in self.parts for note in part.notes)]
        return [*own, *self._of_times()]

    def _of_times(self) -> list[str]:
        """Say what of the course of cells the device does not hold, and where its time begins."""
        first_s, found = self.states[0].time_s, []
        later = any(state.time_s > first_s for state in self.states)
        if self.kind == "table" and first_s > 0 and later:
            found.append(
                f"cells were read first {format_duration(first_s)} after programming, which is "
                "time 0 of the chip: conditions.time counts from there"
            )
        if self.kind == "eflash" and self.drift is not None and not self._loss():
            law = self.drift.law
            rate = NAMES[law][0]
            why = {
                "power": "kind eflash knows no power of time",
                "log": "kind eflash loses conductance by that law and gains none",
                "charge": "cells that lose charge gain conductance, and these lose it",
            }[law]
            found.append(
                f"drift: {rate} = {self.drift.part.value(rate):.3g} is not in the device: {why}; "
                "its chip is refused at later times: take another --law, or --kind table"
            )
        return found

    @property
    def goodness(self) -> list[Goodness]:
        """All tests."""
        return [one for part in self.parts for one in part.goodness]

    def device(self, states_file: str) -> dict[str, object]:
        """Return the section ``device`` of a chip file."""
        if self.kind == "table":
            fields: dict[str, object] = {
                "kind": "table", "file": states_file, "conduction": self.conduction
            }  # fmt: skip
            sigma = self.reading.value("sigma")
            fields |= {} if math.isnan(sigma) else {"sigma_read": _percent(sigma)}
            return fields | self._colour()
        return self._eflash() | self._colour()

    def _colour(self) -> dict[str, object]:
        """Return how fast the read noise is, where records tell."""
        if self.spectrum is None or math.isnan(self.spectrum.part.value("corner")):
            return {}
        spectrum = self.spectrum
        corner = spectrum.part.value("corner")
        # a reading counts as the average over the distance to the next one
        return {
            "noise": {
                "corner": _exact(corner, "Hz"), "span": _exact(spectrum.length_s, "s"),
                "read": _exact(spectrum.step_s, "s"),
            }
        }  # fmt: skip

    def _eflash(self) -> dict[str, object]:
        fields: dict[str, object] = {"kind": "eflash", "g_max": _exact(self.top_s, "S")}
        if 0 < self.bottom_s < self.top_s:
            fields["g_min"] = _exact(self.bottom_s, "S")
        top_sigma = self.reading.value("sigma_top")
        if self.log is not None:
            verify = self.log.part
            read = verify.value("read_sigma") * self.log.span_s / self.top_s
            fields |= {"sigma_program": "0 %", "sigma_read": _percent(read)}
            fields["verify"] = {
                "tolerance": _percent(verify.value("tolerance")),
                "max_pulses": max(1, int(verify.value("max_pulses"))),
                "gain": round(min(1.0, verify.value("gain")), 4),
                "pulse_sigma": _percent(verify.value("pulse_sigma")),
            }
        else:
            # the device's figure is that of a pair over a layer; a state's is of one cell
            size = self.writing.value("size")
            size = self.writing.value("rms") * self.top_s if math.isnan(size) else size
            span = self.top_s - (self.bottom_s if self.bottom_s < self.top_s else 0.0)
            fields["sigma_program"] = _percent(size * math.sqrt(2) / span)
            fields["program_shape"] = "uniform"
            if not math.isnan(self.writing.value("knee")):
                fields["sigma_program"] = _percent(_of_layer(size / span, self))
                fields["program_shape"] = "saturating"
        if not math.isnan(top_sigma):
            fields["sigma_read"] = _percent(top_sigma)
        return fields | self._loss()

    def _loss(self) -> dict[str, object]:
        if self.drift is None or self.drift.law == "power":
            return {}
        part = self.drift.part
        if self.drift.law == "log":
            loss = part.value("per_decade")
            return {} if loss <= 0 else {
                "drift_per_decade": _percent(loss), "drift_start": _exact(self.drift.start_s, "s")
            }  # fmt: skip
        loss, spread = part.value("charge_loss"), part.value("spread")
        if loss <= 0:
            return {}
        fields: dict[str, object] = {
            "charge_loss": _percent(loss), "loss_start": _exact(self.drift.start_s, "s"),
            "neutral_ratio": NEUTRAL,
        }  # fmt: skip
        return fields if math.isnan(spread) else fields | {"loss_spread": round(spread, 4)}


def _of_layer(size: float, fit: Fit) -> float:
    """Return the rms error of a pair over a reference layer for cells that err by ``size``."""
    from cimsim.chip.cells import build

    fields = {"kind": "eflash", "g_max": _exact(fit.top_s, "S"), "sigma_program": "1 %"}
    if 0 < fit.bottom_s < fit.top_s:
        fields["g_min"] = _exact(fit.bottom_s, "S")
    device = build("eflash", {k: v for k, v in fields.items() if k != "kind"})
    large = float(device.program_sigma(np.array([fit.top_s]))[0])  # type: ignore[attr-defined]
    return size * 0.01 * (device.g_max_s - device.g_min_s) / large


def _percent(share: float) -> str:
    return f"{100 * share:.5g} %"


def _exact(value: float, unit: str) -> str:
    return f"{value:.9g} {unit}"


def fit_files(paths: Sequence[Path], asked: Asked) -> Fit:
    """Read files and fit all that they have readings for.

    Parameters
    ----------
    paths : sequence of Path
        Readings of the same cells may be parted over files; states in one file.
    asked : Asked

    Raises
    ------
    InputError
        A file that cannot be read, with its first fault; files that do not go together; nothing in
        them that could be fitted.
    """
    read = [
        read_file(
            path, volts=asked.volts, unit=asked.unit, time_unit=asked.time_unit, sheet=asked.sheet
        )
        for path in paths
    ]
    names = tuple(path.name for path in paths)
    summaries = [one for one in read if isinstance(one, Summary)]
    if summaries and len(read) > 1:
        raise InputError(
            f"{', '.join(names)}: a file of states stands alone; give its cells' readings instead"
        )
    if summaries:
        states = states_of_summary(summaries[0], names[0])
        if asked.cells is not None:
            states = with_cells(states, asked.cells)
        return _of_states(names, states, asked)
    return _of_readings(names, _joined([one for one in read if isinstance(one, Readings)]), asked)


def _joined(parts: list[Readings]) -> Readings:
    """Put files together; cells of different files are different cells."""
    first, cells = 0, []
    for part in parts:
        cells.append(part.cell + first)
        first += int(part.cell.max()) + 1
    return Readings(
        np.concatenate(cells), np.concatenate([p.target_s for p in parts]),
        np.concatenate([p.read_s for p in parts]), np.concatenate([p.time_s for p in parts]),
        np.concatenate([p.pulse for p in parts]),
    )  # fmt: skip


def _of_states(names: tuple[str, ...], states: list[State], asked: Asked) -> Fit:
    top, bottom = max(s.target_s for s in states), min(s.target_s for s in states)
    notes = []
    if not all(state.n for state in states):
        notes.append(
            "the file does not say how many cells a state averages: no intervals of its spreads; "
            "add a column 'n', or say --cells"
        )
    kind = asked.kind or "table"
    _check_table(kind, names, states)
    later = course_of_states(states)
    drift = fit_drift(later, _law(kind, asked), NEUTRAL * top, averaged=True, seed=asked.seed)
    cells = sum(s.n for s in states if s.time_s == states[0].time_s)
    return Fit(
        names, kind, asked.conduction, top, bottom, cells, 0, states, None,
        fit_writing(states, None), Part(), drift, None, None, tuple(notes),
    )  # fmt: skip


def _of_readings(names: tuple[str, ...], readings: Readings, asked: Asked) -> Fit:
    top, bottom = float(readings.target_s.max()), float(readings.target_s.min())
    if top <= 0:
        raise InputError(f"{', '.join(names)}: target: all are 0 S; nothing to fit")
    log = fit_log(readings, top - bottom if top > bottom else top)
    kind: Kind = asked.kind or "table"
    # of a log the last reading of a cell is what write-verify left; those before are no states
    kept = readings.where(_settled(readings)) if log is not None else readings
    courses = course(kept)
    states = states_of(courses)
    notes = []
    if len({s.target_s for s in states}) < 2 and kind == "table":
        if asked.kind == "table":
            raise InputError(
                f"{', '.join(names)}: target: a table needs two targets or more, all are "
                f"{format_si(top, 'S')}; measure another state, or take --kind eflash"
            )
        kind = "eflash"
        notes.append("one target only: kind eflash, as a table needs two")
    if log is not None and asked.kind is None:
        kind = "eflash"
        notes.append("a log of write-verify was fitted: kind eflash, whose cells can be so written")
    _check_table(kind, names, states)
    drift = fit_drift(courses, _law(kind, asked), NEUTRAL * top, averaged=False, seed=asked.seed)
    spectrum = fit_spectrum(kept, top)
    cells = int(readings.cell.max()) + 1
    return Fit(
        names, kind, asked.conduction, top, bottom, cells, len(readings.cell), states, courses,
        fit_writing(states, courses), fit_reading(states, top), drift, spectrum, log, tuple(notes),
    )  # fmt: skip


def _settled(readings: Readings) -> NDArray[np.bool_]:
    """Choose readings without a pulse number, and the last one of each cell that has them."""
    counted = readings.pulse >= 0
    most = np.full(int(readings.cell.max()) + 1, -1)
    np.maximum.at(most, readings.cell, readings.pulse)
    chosen: NDArray[np.bool_] = ~counted | (readings.pulse == most[readings.cell])
    return chosen


def _law(kind: Kind, asked: Asked) -> Law | None:
    """Return the law of drift that is asked for; of floating gates it is that of their charge."""
    return asked.law or ("charge" if kind == "eflash" else None)


def _check_table(kind: Kind, names: tuple[str, ...], states: list[State]) -> None:
    """Refuse states that `table` could not take, in the words of the laboratory."""
    if kind != "table":
        return
    where = ", ".join(names)
    first = [s for s in states if s.time_s == states[0].time_s]
    if len(first) < 2:
        raise InputError(
            f"{where}: target: {len(first)} state at the first time; a table needs two or more"
        )
    for before, state in itertools.pairwise(first):
        if state.mean_s <= before.mean_s:
            raise InputError(
                f"{where}: mean: target {format_si(state.target_s, 'S')} reads "
                f"{format_si(state.mean_s, 'S')} on average, not more than target "
                f"{format_si(before.target_s, 'S')} with {format_si(before.mean_s, 'S')}; a state "
                "must be told from its neighbours: leave one out, or take --kind eflash"
            )
    span = (first[0].target_s, first[-1].target_s)
    for time_s in sorted({s.time_s for s in states}):
        own = [s.target_s for s in states if s.time_s == time_s]
        if (own[0], own[-1]) != span or len(own) < 2:
            raise InputError(
                f"{where}: time {format_duration(time_s)}: targets end at "
                f"{format_si(own[0], 'S')} and {format_si(own[-1], 'S')}, at the first time at "
                f"{format_si(span[0], 'S')} and {format_si(span[1], 'S')}; leave that time out, "
                "or read all states then"
            )
