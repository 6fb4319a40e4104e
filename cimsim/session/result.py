"""The result of a run: frozen, every number with unit and meaning, reloadable from JSON."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

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
from cimsim.session.parts import (
    AsWritten,
    Energy,
    Hardware,
    Number,
    Quality,
    Timing,
    coverage_numbers,
    energy_numbers,
    hardware_numbers,
    mean,
    measured_numbers,
    quality_numbers,
    timing_numbers,
    written_numbers,
)
from cimsim.stats import mean_interval
from cimsim.tasks.measures import Measure
from cimsim.units import format_si

if TYPE_CHECKING:
    from pandas import DataFrame

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


@dataclass(frozen=True, kw_only=True)
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
        One row per node of the dataflow graph: windows, arrays, cycles, energy.
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
    as_written: AsWritten | None = None
    layers: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()
    programmings: tuple[float, ...] = ()
    sensitivity: tuple[Effect, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    left_out: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    coverage: Coverage | None = None
    programmed: dict[str, Any] | None = None
    inputs: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    command: Mapping[str, Any] | None = None
    frames: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

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

    def to_frame(self, what: str = "numbers") -> DataFrame:
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
        return cast(
            "drawing.ResultPictures", drawing.above("cimsim.report.show:ResultPictures")(self)
        )

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
    def gain_interval(self) -> tuple[float, float] | None:
        """5 .. 95 % of the mean of chip minus float PSNR, dB, by Student's t-distribution.

        Over programmings or frames as in `psnr_interval`; frame by frame, so that what both
        networks find hard does not widen it.
        """
        quality, several = self.quality, self.programmings
        if quality is None:
            return None
        wanted = quality.float_psnr
        if len(several) > 1:
            wanted = (quality.mean("float_psnr"),) * len(several)
        else:
            several = quality.chip_psnr
        gains = [chip - floating for chip, floating in zip(several, wanted, strict=True)]
        if len(gains) < 2 or not all(map(math.isfinite, gains)):
            return None
        return mean_interval(gains)

    @property
    def chip_label(self) -> str:
        """The chip for headings: ``eflash40nm with adc.bits=6``."""
        changed = ", ".join(self.inputs.get("overrides", ()))
        return f"{self.hardware.chip} with {changed}" if changed else self.hardware.chip

    def numbers(self) -> dict[str, Number]:
        """Every headline number by dotted name."""
        found = quality_numbers(self.quality) if self.quality else {}
        if len(self.programmings) > 1:
            found["quality.programmings_psnr"] = Number(
                mean(self.programmings), "dB", f"mean PSNR of {len(self.programmings)} chips"
            )
        found |= timing_numbers(self.timing) | energy_numbers(self.energy)
        found |= hardware_numbers(self.hardware)
        if self.as_written is not None:
            found |= written_numbers(self.as_written, self.timing, self.energy)
        if self.coverage is not None:
            found |= coverage_numbers(self.coverage)
        found |= measured_numbers(self.measures)
        ends = dict(self.intervals)
        ends.pop("energy.programming", None)  # of a component, in results of before
        ends |= {f"quality.{m.name}": m.interval for m in self.measures if m.interval}
        several = len(self.programmings) > 1
        if self.psnr_interval is not None:
            name = "quality.programmings_psnr" if several else "quality.chip_psnr"
            ends[name] = self.psnr_interval
        return {name: replace(number, interval=ends.get(name)) for name, number in found.items()}

    def to_json(self) -> str:
        """Serialise everything but the frames."""
        numbers = {
            name: {
                "value": _null(n.value) if name.startswith("quality.") else n.value,
                "unit": n.unit,
                "meaning": n.meaning,
            }
            | ({"interval": list(n.interval)} if n.interval else {})
            for name, n in self.numbers().items()
        }
        plain = {name: _plain(getattr(self, name), name in _ENDLESS) for name in _FIELDS}
        data = _laid_out(plain, SCHEMA_VERSION, self.hash, numbers)
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
            found, data = stored.read(text, _file_model())
        except ValueError as error:
            raise InputError(f"{name}: {error}") from None
        made = {field: _made(field, found[field], data[field]) for field in _FIELDS}
        numbers = found["numbers"]
        assert isinstance(numbers, dict)
        intervals = {
            name: number.interval
            for name, number in numbers.items()
            if number.interval is not None and not name.startswith("quality.")
        }
        result = cls(**made, intervals=intervals)
        if result.hash != found["hash"]:
            raise InputError(f"{name}: the inputs were edited: their hash is not the stored one")
        return result

    def to_dir(
        self, folder: str | Path, *, unique: bool = False, writers: Sequence[object] = ()
    ) -> Path:
        """Write ``result.json``, ``layers.csv``, pictures and plots.

        See `cimsim.report.run.folder`. ``writers`` write, too: `cimsim.api.AbstractWriter`.
        """
        write = drawing.above("cimsim.report.run.folder:write")
        return cast(Path, write(self, folder, unique=unique, writers=writers))


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


def _null(value: object) -> object:
    """Return null for what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _laid_out(parts: dict[str, Any], schema: Any, sha256: Any, numbers: Any) -> dict[str, Any]:
    """Lay out a file: fields of a result, or their types, and what is worked out from them."""
    first = {name: parts[name] for name in ("model", "frame")}
    rest = {name: part for name, part in parts.items() if name not in first}
    return {"schema_version": schema, **first, "hash": sha256, "numbers": numbers, **rest}


def _plain(value: object, endless: bool) -> object:
    """Return a field as plain data; ``endless``: what is infinite becomes null."""
    if isinstance(value, Coverage):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name), endless) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one, endless) for one in value]
    return _null(value) if endless else value


def _made(name: str, found: Any, data: Any) -> Any:
    """Return a field of a result from what was checked, or from the same as plain data."""
    if name in _PLAIN:
        return tuple(data) if isinstance(data, list) else data
    if found is None:
        return None
    if name == "coverage":
        return Coverage.from_dict(data)
    if name in _PARTS:
        given = found.model_dump()
        if name in _ENDLESS:
            given = {key: _infinite(values) for key, values in given.items()}
        return _PARTS[name](**given)
    return _infinite(found) if name in _ENDLESS else found


def _infinite(values: tuple[float | None, ...]) -> tuple[float, ...]:
    """Return a series with what JSON has no number for."""
    return tuple(math.inf if one is None else one for one in values)


_FIELDS = tuple(one.name for one in fields(Result) if one.name not in ("frames", "intervals"))
_PARTS: dict[str, type] = {
    "quality": Quality, "timing": Timing, "energy": Energy, "hardware": Hardware,
    "as_written": AsWritten,
}  # fmt: skip
# null in a file: an infinite PSNR, of frames without any error
_ENDLESS = ("quality", "programmings")
# plain data as it was given: the hash is that of what stands there
_PLAIN = ("layers", "programmed", "inputs", "details", "command")
_Cell = str | int | float | None
_Count = Annotated[int, Field(ge=0, lt=2**63)]


@functools.cache
def _file_model() -> type[stored.Part]:
    """Return what checks a file: fields of `Result` and its parts, where a file holds no less."""
    series = tuple[float | None, ...]
    psnr = {name: series for name in Quality.__slots__ if name.endswith("_psnr")}
    told = {"quality": psnr}
    models = {
        name: stored.model_of(kind.__name__, stored.fields_of(kind, told.get(name)))
        for name, kind in _PARTS.items()
    }
    number = stored.model_of("Number", stored.fields_of(Number), optional=("interval",))
    shares = {
        name: _Count if kind is int else kind for name, kind in stored.fields_of(Coverage).items()
    }
    coverage = stored.model_of(
        "Coverage", {"modelled": dict[str, float]} | shares, optional=("borrowed",)
    )
    types = stored.fields_of(Result, {
        **models, "quality": models["quality"] | None, "as_written": models["as_written"] | None,
        "layers": tuple[dict[str, _Cell], ...], "programmings": series,
        "programmed": dict[str, _Cell] | None, "coverage": coverage | None,
    })  # fmt: skip
    kept = {name: types[name] for name in _FIELDS}
    laid_out = _laid_out(kept, int, str, dict[str, number])  # type: ignore[valid-type]
    return stored.model_of("Stored", laid_out | {stored.SEAL: str})
