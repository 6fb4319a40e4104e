"""The result of a run: frozen, every number with unit and meaning, reloadable from JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary import json_text
from cimsim.boundary.limits import RESULT
from cimsim.boundary.text import read_text
from cimsim.display import drawing
from cimsim.display.doubts import Doubt
from cimsim.display.tables import data_frame, html_table
from cimsim.energy.ledger import Effect
from cimsim.errors import InputError, SimulationError, suggest
from cimsim.folders import recover
from cimsim.graph.coverage import Coverage
from cimsim.session import stored
from cimsim.stats import mean_interval
from cimsim.tasks.measures import Measure
from cimsim.units import format_si

SCHEMA_VERSION = stored.SCHEMA_VERSION

# rows of a notebook's table
_HEADLINES = (
    "timing.cycles_per_frame", "timing.seconds_per_frame", "timing.frames_per_second",
    "timing.latency_s", "timing.bottleneck", "energy.per_frame", "energy.average_power",
    "energy.tops_per_w", "hardware.arrays_used", "hardware.area",
)  # fmt: skip
_FRAMES = ("numbers", "layers", "frames")
# what people call things; the network's weights and operations have hashes of their own
_TITLES = ("overrides", "network")
_CHIP_TITLES = ("name", "summary", "leaves_out", "included_in")


@dataclass(frozen=True, slots=True)
class Number:
    """One reported number; the interval is 5 .. 95 % where there is one."""

    value: float | int | str | None
    unit: str
    meaning: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """PSNR in dB and SSIM of each frame against the clean one, frames clipped to [0, 1].

    Attributes
    ----------
    noisy_psnr, float_psnr, chip_psnr : tuple of float
        The input, the float32 network, and the network on the chip.
    noisy_ssim, float_ssim, chip_ssim : tuple of float
    """

    noisy_psnr: tuple[float, ...]
    float_psnr: tuple[float, ...]
    chip_psnr: tuple[float, ...]
    noisy_ssim: tuple[float, ...]
    float_ssim: tuple[float, ...]
    chip_ssim: tuple[float, ...]

    @property
    def psnr_db(self) -> float:
        """Mean PSNR on the chip."""
        return _mean(self.chip_psnr)

    def mean(self, name: str) -> float:
        """Mean over frames of one of the six series."""
        return _mean(getattr(self, name))


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles and seconds per frame.

    Attributes
    ----------
    latency_cycles : int
        From the start of the first frame to its last output.
    cycles_per_frame : int
        Cycles between two finished frames when frames stream.
    clock_hz : float
    bottleneck : str
        Layer and stage that the interval waits for.
    bottleneck_busy : float
        Share of the time that it is busy, 0 ... 1.
    schedule : str
    """

    latency_cycles: int
    cycles_per_frame: int
    clock_hz: float
    bottleneck: str
    bottleneck_busy: float
    schedule: str

    @property
    def latency_s(self) -> float:
        """Latency of the first frame in seconds."""
        return self.latency_cycles / self.clock_hz

    @property
    def seconds_per_frame(self) -> float:
        """Interval between frames in seconds."""
        return self.cycles_per_frame / self.clock_hz

    @property
    def frames_per_second(self) -> float:
        """Throughput."""
        return self.clock_hz / self.cycles_per_frame


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one frame.

    Attributes
    ----------
    by_component : dict
        Component -> J per frame.
    total_j, average_power_w, tops_per_w : float
    array_energy_from : str
        ``operands``, ``statistics`` or ``activity``, see `cimsim.energy.model.EnergyReport`.
    programming_j, programming_s : float
        Writing all weights once; not part of the energy per frame.
    frame_rate_hz : float or None
        Rate at which frames come; None: back to back.
    compensation_j, compensation_s : float
        Reading the aged cells for what is taken back of their drift, once; 0 where nothing is.
    """

    by_component: dict[str, float]
    total_j: float
    average_power_w: float
    tops_per_w: float
    array_energy_from: str
    programming_j: float
    programming_s: float
    frame_rate_hz: float | None = None
    compensation_j: float = 0.0
    compensation_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the network takes of the chip and what it does there for one frame."""

    chip: str
    arrays_used: int
    arrays: int
    utilisation: float
    weights: int
    area_m2: float
    area_used_m2: float
    windows: int
    activations: int
    conversions: int
    macs: int


@dataclass(frozen=True, slots=True)
class AsWritten:
    """A streaming cascade without reuse, on the same chip: the first stage for every window anew.

    Attributes
    ----------
    cycles_per_frame, latency_cycles : int
        As in `Timing`.
    energy_j : float
        One frame; the arrays' share from the operands of the streaming run where there was one.
    arrays_used, windows, activations, conversions : int
        As in `Hardware`.
    reused : int
        Matrices that a frame uses more than once, from one copy each.
    uses : int
        How often it uses them.
    """

    cycles_per_frame: int
    latency_cycles: int
    energy_j: float
    arrays_used: int
    windows: int
    activations: int
    conversions: int
    reused: int
    uses: int


@dataclass(frozen=True)
class Result:
    """Everything that one run found out.

    Attributes
    ----------
    model : str
        Title of the network and its options.
    frame : (int, int, int)
        Frames, height, width.
    quality : Quality or None
        None when no functional run was made.
    layers : tuple of dict
        One row per unit: windows, arrays, cycles, energy.
    inputs : dict
        The fully resolved inputs: chip, mapping, weights, clip, seed, version.
    notes : tuple of str
        What a reader must know: uncosted operations, assumptions, an interrupted run.
    frames : dict
        ``clean`` (where known), ``noisy``, ``float``, ``chip``: float32 [T, H, W, 3], those of a
        `cimsim.load_clip` as `cimsim.video.reel.Spool`; not part of the JSON.
    as_written : AsWritten or None
        What the same network costs without reuse; None when it does not stream.
    programmed : dict or None
        File, SHA-256, seed and sigma of the programmed chip that was run; None when the run wrote
        its own. No part of the hash: the same cells give the same bits wherever they come from.
    doubts : tuple of Doubt
        What may make the numbers wrong, with the way out.
    intervals : dict
        Name of a number (see `numbers`) -> 5 and 95 % of what the ranges of the chip's numbers
        allow.
    sensitivity : tuple of Effect
        What each number's range does to the energy of a frame, the largest effect first.
    environment : dict of str to str
        Versions of cimsim and of what computes, and the arithmetic path of the kernels: beside the
        hash, as no bit of the chip's frames depends on the path.
    outputs : dict of str to str
        SHA-256 of the frames: ``noisy``, ``float``, ``chip``.
    command : dict or None
        Options of the command that made it, for ``cimsim verify``.
    programmings : tuple of float
        Mean PSNR of each programmed chip on the same frames, dB; the first is the one reported.
    measures : tuple of Measure
        What a task measured; empty where a clip was denoised, or nothing ran.
    details : dict
        More of the task: its name, samples, a confusion matrix.
    coverage : Coverage or None
        Which share of the network has time and energy.
    """

    model: str
    frame: tuple[int, int, int]
    quality: Quality | None
    timing: Timing
    energy: Energy
    hardware: Hardware
    layers: tuple[dict[str, Any], ...]
    inputs: dict[str, Any]
    notes: tuple[str, ...] = ()
    frames: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    as_written: AsWritten | None = None
    programmed: dict[str, Any] | None = None
    doubts: tuple[Doubt, ...] = ()
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    sensitivity: tuple[Effect, ...] = ()
    programmings: tuple[float, ...] = ()
    left_out: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    command: dict[str, Any] | None = None
    measures: tuple[Measure, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    coverage: Coverage | None = None

    def __repr__(self) -> str:
        frames, height, width = self.frame
        what = f"{frames} frames of {width} x {height}, " if frames and self.quality else ""
        quality = f"{self.quality.psnr_db:.2f} dB, " if self.quality else ""
        quality += "".join(f"{m.name} {m.mean:.4g} {m.unit}, " for m in self.measures)
        return (
            f"Result({self.model} on {self.chip_label}: {what}{quality}"
            f"{self.timing.cycles_per_frame:,} cycles, "
            f"{format_si(self.energy.total_j, 'J')} per frame)"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, _text(one), "" if one.interval is None else
             f"{_text(replace(one, value=one.interval[0]))} .. "
             f"{_text(replace(one, value=one.interval[1]))}", one.meaning)
            for name, one in self.numbers().items()
            if name in _HEADLINES or name.startswith("quality.")
        ]  # fmt: skip
        told = [f"doubt: {doubt}" for doubt in self.doubts] + [f"note: {n}" for n in self.notes]
        head = ("number", "value", "5 .. 95 %", "meaning")
        return html_table(f"{self.model} on {self.chip_label}", rows, head, told)

    def to_frame(self, what: str = "numbers") -> Any:
        """Return a table as a ``pandas.DataFrame``.

        Parameters
        ----------
        what : {"numbers", "layers", "frames"}
            All numbers with units and intervals; one row per layer; PSNR and SSIM of each frame.

        Raises
        ------
        InputError
            Another table, or pandas is not installed.
        """
        if what not in _FRAMES:
            raise InputError(f"Result.to_frame: {what!r} is unknown{suggest(what, _FRAMES)}")
        if what == "layers":
            rows = list(self.layers)
        elif what == "frames":
            series = self.to_numpy()
            count = max(map(len, series.values()), default=0)
            rows = [{name: values[i] for name, values in series.items()} for i in range(count)]
        else:
            rows = [
                {"number": name, "value": one.value, "unit": one.unit,
                 "low": one.interval[0] if one.interval else None,
                 "high": one.interval[1] if one.interval else None, "meaning": one.meaning}
                for name, one in self.numbers().items()
            ]  # fmt: skip
        return data_frame(rows, "Result.to_frame")

    def to_numpy(self) -> dict[str, NDArray[np.float64]]:
        """Return what was measured frame by frame: ``chip_psnr`` (dB), ``chip_ssim`` and so on.

        Returns
        -------
        dict of str to float64 [frames]
            Empty where no clip was judged. The pictures themselves are in `frames`. Of a metric of
            one's own the chip's series, ``chip_<name>``; of a task with metrics theirs alone.
        """
        own = {f"chip_{m.name}": np.array(m.each) for m in self.measures if m.each}
        if self.quality is None:
            return own
        return {name: np.array(getattr(self.quality, name)) for name in Quality.__slots__} | own

    @property
    def plot(self) -> drawing.ResultPictures:
        """Pictures: ``result.plot.energy()``, ``.time()``, ``.sensitivity()``, ``.psnr()`` ..."""
        return drawing.above("cimsim.report.show:ResultPictures")(self)  # type: ignore[no-any-return]

    @property
    def hash(self) -> str:
        """SHA-256 of what was executed: equal hashes give bit-equal results.

        Titles, file names and how a chip or a mapping came about do not count, and a whole number
        is the same however it was written (5 and 5.0).
        """
        what = {name: value for name, value in self.inputs.items() if name not in _TITLES}
        if isinstance(what.get("chip"), dict):
            what["chip"] = {k: v for k, v in what["chip"].items() if k not in _CHIP_TITLES}
        if isinstance(what.get("mapping"), dict):
            what["mapping"] = {k: v for k, v in what["mapping"].items() if k != "strategy"}
        return json_text.digest(what)

    @property
    def psnr_interval(self) -> tuple[float, float] | None:
        """5 .. 95 % of the mean PSNR on the chip, dB, by Student's t-distribution.

        Over programmings, where there were several; else over the frames of the one chip, which
        says nothing of other chips. None for one frame of one chip.
        """
        several = self.programmings
        if len(several) < 2:
            several = () if self.quality is None else self.quality.chip_psnr
        if len(several) < 2 or not all(map(math.isfinite, several)):
            return None
        return mean_interval(several)

    @property
    def chip_label(self) -> str:
        """The chip for headings: ``eflash40nm with adc.bits=6``."""
        changed = ", ".join(self.inputs.get("overrides", ()))
        return f"{self.hardware.chip} with {changed}" if changed else self.hardware.chip

    def numbers(self) -> dict[str, Number]:
        """Every headline number by dotted name."""
        found = _quality_numbers(self.quality) if self.quality else {}
        t, e, h = self.timing, self.energy, self.hardware
        if len(self.programmings) > 1:
            found["quality.programmings_psnr"] = Number(
                _mean(self.programmings), "dB", f"mean PSNR of {len(self.programmings)} chips"
            )
        found |= {
            "timing.latency": Number(t.latency_cycles, "cycles", "first frame, start to end"),
            "timing.latency_s": Number(t.latency_s, "s", "first frame, start to end"),
            "timing.cycles_per_frame": Number(
                t.cycles_per_frame, "cycles", "between two frames when frames stream"
            ),
            "timing.seconds_per_frame": Number(
                t.seconds_per_frame, "s", "between two frames when frames stream"
            ),
            "timing.frames_per_second": Number(t.frames_per_second, "1/s", "throughput"),
            "timing.bottleneck": Number(t.bottleneck, "", "what the interval waits for"),
            "timing.bottleneck_busy": Number(t.bottleneck_busy, "1", "its share of busy time"),
            "energy.per_frame": Number(e.total_j, "J", "one frame, static energy included"),
            "energy.average_power": Number(
                e.average_power_w,
                "W",
                "while frames stream"
                if e.frame_rate_hz is None
                else f"at {e.frame_rate_hz:g} frames per second",
            ),
            "energy.tops_per_w": Number(e.tops_per_w, "TOPS/W", "2 operations per MAC"),
            "energy.programming": Number(e.programming_j, "J", "writing all weights once"),
            "energy.programming_time": Number(e.programming_s, "s", "writing all weights once"),
        }
        if e.compensation_s > 0:
            found["energy.compensation"] = Number(
                e.compensation_j, "J", "reading aged cells, each time they are compensated"
            )
            found["energy.compensation_time"] = Number(
                e.compensation_s, "s", "the same; no frame is computed meanwhile"
            )
        found |= {
            f"energy.{name}": Number(value, "J", "one frame")
            for name, value in e.by_component.items()
        }
        found |= {
            "hardware.arrays_used": Number(h.arrays_used, "arrays", "arrays holding weights"),
            "hardware.arrays": Number(h.arrays, "arrays", "arrays of the chip"),
            "hardware.utilisation": Number(
                h.utilisation, "1", "cells holding weights in used arrays"
            ),
            "hardware.weights": Number(h.weights, "weights", "of the network, bias not counted"),
            "hardware.area": Number(h.area_m2, "m2", "whole chip"),
            "hardware.area_used": Number(h.area_used_m2, "m2", "tiles used and chip level parts"),
            "work.windows": Number(h.windows, "1/frame", "sliding windows, MVMs"),
            "work.activations": Number(h.activations, "1/frame", "array activations"),
            "work.conversions": Number(h.conversions, "1/frame", "ADC conversions"),
            "work.macs": Number(h.macs, "1/frame", "multiply-accumulates"),
        }
        if self.as_written is not None:
            found |= _written_numbers(self.as_written, self)
        if self.coverage is not None:
            found |= _coverage_numbers(self.coverage)
        found |= _measured_numbers(self.measures)
        ends = dict(self.intervals)
        ends |= {f"quality.{m.name}": m.interval for m in self.measures if m.interval}
        several = len(self.programmings) > 1
        if self.psnr_interval is not None:
            name = "quality.programmings_psnr" if several else "quality.chip_psnr"
            ends[name] = self.psnr_interval
        return {name: replace(number, interval=ends.get(name)) for name, number in found.items()}

    def to_json(self) -> str:
        """Serialise everything but the frames."""
        quality = None
        if self.quality is not None:
            quality = {
                name: [_null(value) for value in getattr(self.quality, name)]
                for name in Quality.__slots__
            }
        data = {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "frame": list(self.frame),
            "hash": self.hash,
            "numbers": {
                name: {
                    "value": _null(n.value) if name.startswith("quality.") else n.value,
                    "unit": n.unit,
                    "meaning": n.meaning,
                }
                | ({"interval": list(n.interval)} if n.interval else {})
                for name, n in self.numbers().items()
            },
            "quality": quality,
            "timing": {name: getattr(self.timing, name) for name in Timing.__slots__},
            "energy": {name: getattr(self.energy, name) for name in Energy.__slots__},
            "hardware": {name: getattr(self.hardware, name) for name in Hardware.__slots__},
            "as_written": asdict(self.as_written) if self.as_written else None,
            "layers": list(self.layers),
            "notes": list(self.notes),
            "programmings": [_null(value) for value in self.programmings],
            "sensitivity": [asdict(effect) for effect in self.sensitivity],
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "left_out": list(self.left_out),
            "measures": [asdict(measure) for measure in self.measures],
            "details": self.details,
            "coverage": self.coverage.to_dict() if self.coverage else None,
            "programmed": self.programmed,
            "inputs": self.inputs,
            "environment": self.environment,
            "outputs": self.outputs,
            "command": self.command,
        }
        try:
            return json_text.dump(data | {stored.SEAL: stored.seal(data)})
        except ValueError as error:
            raise SimulationError(
                f"result of '{self.model}': {error}; a number of the chip is far out of range "
                "(cimsim hw check)"
            ) from None

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read ``result.json`` or a run folder; the frames stay on disk.

        Raises
        ------
        InputError
            No such file, no result, another schema version, content that was edited, or a hash
            that does not fit the inputs.
        """
        path = Path(path)
        if path.is_dir():
            recover(path)
            path = path / "result.json"
        try:
            text = read_text(path, RESULT)
        except OSError as error:
            raise InputError(f"{path}: no result of a run: {error}") from None
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        return cls.from_json(text, str(path))

    @classmethod
    def from_json(cls, text: str, name: str) -> Result:
        """Read what `to_json` wrote; ``name`` is for messages.

        Raises
        ------
        InputError
            As `load`.
        """
        try:
            found, data = stored.read(text)
        except ValueError as error:
            raise InputError(f"{name}: {error}") from None
        result = cls._of(found, data)
        if result.hash != found.hash:
            raise InputError(f"{name}: the inputs were edited: their hash is not the stored one")
        return result

    @classmethod
    def _of(cls, found: stored.Stored, data: dict[str, Any]) -> Result:
        """Return what `to_json` wrote."""
        quality, written = found.quality, found.as_written
        return cls(
            found.model, found.frame,
            Quality(**{
                name: tuple(math.inf if v is None else v for v in values)
                for name, values in quality.model_dump().items()
            }) if quality else None,
            Timing(**found.timing.model_dump()), Energy(**found.energy.model_dump()),
            Hardware(**found.hardware.model_dump()),
            tuple(data["layers"]), data["inputs"], found.notes,
            as_written=AsWritten(**written.model_dump()) if written else None,
            programmed=data["programmed"],
            doubts=found.doubts,
            intervals={
                name: number.interval
                for name, number in found.numbers.items()
                if number.interval is not None and not name.startswith("quality.")
            },
            programmings=tuple(math.inf if v is None else v for v in found.programmings),
            sensitivity=found.sensitivity,
            left_out=found.left_out,
            environment=found.environment,
            outputs=found.outputs,
            command=data["command"],
            measures=found.measures,
            details=data["details"],
            coverage=Coverage.from_dict(data["coverage"]) if data["coverage"] else None,
        )  # fmt: skip

    def to_dir(
        self, folder: str | Path, *, unique: bool = False, writers: Sequence[object] = ()
    ) -> Path:
        """Write ``result.json``, ``layers.csv``, pictures and plots.

        See `cimsim.report.run.folder`. ``writers`` write, too: `cimsim.api.AbstractWriter`.
        """
        write = drawing.above("cimsim.report.run.folder:write")
        return write(self, folder, unique=unique, writers=writers)  # type: ignore[no-any-return]


def _text(number: Number) -> str:
    """Return a number for a reader, with its unit."""
    value = number.value
    if value is None or isinstance(value, str):
        return str(value or "")
    if isinstance(value, int):
        return f"{value:,} {number.unit}".strip()
    if number.unit in ("s", "J", "W", "m2"):
        return format_si(value, number.unit)
    return f"{value:.4g} {'' if number.unit == '1' else number.unit}".strip()


def _null(value: Any) -> Any:
    """Return null for what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


def _written_numbers(written: AsWritten, result: Result) -> dict[str, Number]:
    time, energy = result.timing, result.energy
    return {
        "as_written.cycles_per_frame": Number(
            written.cycles_per_frame, "cycles", "without reuse, between two frames"
        ),
        "as_written.latency": Number(written.latency_cycles, "cycles", "without reuse"),
        "as_written.energy": Number(written.energy_j, "J", "one frame without reuse"),
        "as_written.windows": Number(written.windows, "1/frame", "sliding windows without reuse"),
        "streaming.speedup": Number(
            written.cycles_per_frame / time.cycles_per_frame, "1", "cycles as written / streaming"
        ),
        "streaming.energy_ratio": Number(
            written.energy_j / energy.total_j, "1", "energy as written / streaming"
        ),
    }


def _measured_numbers(measures: tuple[Measure, ...]) -> dict[str, Number]:
    found = {}
    for m in measures:
        several = f", mean of {len(m.chip)} chips" if len(m.chip) > 1 else ""
        found[f"quality.{m.name}"] = Number(m.mean, m.unit, f"on the chip{several}: {m.meaning}")
        if m.reference is not None:
            found[f"quality.float_{m.name}"] = Number(m.reference, m.unit, f"float: {m.meaning}")
        if m.noisy is not None:
            found[f"quality.noisy_{m.name}"] = Number(m.noisy, m.unit, f"noisy: {m.meaning}")
    return found


def _coverage_numbers(coverage: Coverage) -> dict[str, Number]:
    text = "share that has time and energy"
    return {
        "coverage.macs": Number(coverage.macs, "1", f"MACs: {text}"),
        "coverage.weights": Number(coverage.weights, "1", f"weights: {text}"),
        "coverage.moved": Number(coverage.moved, "1", f"bytes that operations store: {text}"),
    }


def _quality_numbers(quality: Quality) -> dict[str, Number]:
    who = {"noisy": "noisy input", "float": "float32 network", "chip": "network on the chip"}
    found = {
        f"quality.{name}_psnr": Number(quality.mean(f"{name}_psnr"), "dB", f"PSNR of the {text}")
        for name, text in who.items()
    }
    found |= {
        f"quality.{name}_ssim": Number(quality.mean(f"{name}_ssim"), "1", f"SSIM of the {text}")
        for name, text in who.items()
    }
    lost = quality.mean("float_psnr") - quality.psnr_db
    found["quality.loss"] = Number(0.0 if math.isnan(lost) else lost, "dB", "PSNR lost on the chip")
    return found
