"""What stands in the page of a run."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from cimsim.boundary import json_text
from cimsim.energy.model import COMPONENTS, number_of
from cimsim.report.numbers import measured, rate
from cimsim.report.run.against_float import classes_against_float, frames_against_float
from cimsim.report.run.page import svg
from cimsim.report.run.page.diagnosed import FILE as DIAGNOSIS
from cimsim.report.run.page.diagnosed import DiagnosisData, diagnosis_parts
from cimsim.report.run.page.parts import Cell, Table, count, real, render, safe, table, words
from cimsim.report.run.page.slow import slow_parts
from cimsim.report.run.plots import STAGES, dynamic_j
from cimsim.report.timeline.slow import FILE as TIMELINE
from cimsim.report.timeline.slow import SlowData
from cimsim.session.parts import Number
from cimsim.session.result import Result
from cimsim.units import format_interval, format_si

_COUNTED = {"arrays": "arrays", "weights": "weights", "1/frame": "per frame"}  # whole numbers
_PICTURES_BYTES = 3_500_000  # of frames in a page that is to be mailed


def run_page(result: Result, folder: Path | None = None, command: str = "") -> str:
    """Return the page of one run.

    Parameters
    ----------
    result : Result
    folder : Path, optional
        The run's folder, for its frames.
    command : str
        The command line that made it; without it the page says what is known.
    """
    frames, note = _frames(folder)
    diagnosis = cast("DiagnosisData | None", _beside(folder, DIAGNOSIS))
    slow = cast("SlowData | None", _beside(folder, TIMELINE))  # cimsim diagnose wrote it
    frame = " x ".join(map(str, (result.frame[2], result.frame[1])))
    shown = [(id_, name) for id_, name, there in (
        ("result", "Result", True), ("picture", "Before and after", frames),
        ("quality", "Quality", result.quality or result.measures),
        ("diagnosis", "Which layer hurts", diagnosis), ("energy", "Energy", True),
        ("time", "Time", True), ("slow", "Why not faster", slow),
        ("layers", "Layers", True), ("floor", "Floor plan", True),
        ("numbers", "Numbers", True), ("chip", "Chip", True), ("again", "Again", True),
    ) if there]  # fmt: skip
    return render("run.html.j2", {
        "title": f"{result.model} on {result.chip_label}",
        "subtitle": f"{result.frame[0]} frames of {frame}, {result.timing.schedule}; "
                    f"result {result.hash[:12]}",
        "sections": shown, "cards": _cards(result), "doubts": [str(d) for d in result.doubts],
        "notes": _notes(result), "frames": frames, "frames_note": note,
        "zoom": _zoom(folder) if frames else 1,
        "curve": safe(_curve(result)), "measures": _measures(result),
        **diagnosis_parts(diagnosis), **slow_parts(slow), "has_timeline": slow is not None,
        **_energy(result), **_time(result), "layers": _layers(result), **_floor(result),
        "numbers": _numbers(result), **_chip(result), **_again(result, command),
    })  # fmt: skip


def _beside(folder: Path | None, name: str) -> dict[str, object] | None:
    """Return what `cimsim diagnose` has put into a run's folder, if it has."""
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        return None
    found = json_text.load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _cards(result: Result) -> list[dict[str, str]]:
    numbers: dict[str, Number] = result.numbers()
    cards: list[dict[str, str]] = []

    def put(label: str, value: str, detail: str, ends: str = "") -> None:
        cards.append({"label": label, "value": value, "detail": detail, "ends": ends})

    def card(label: str, name: str, detail: str = "") -> None:
        number = numbers.get(name)
        if number is not None:
            value, _, ends = _number(number).partition(" (")
            ends, _, unit = ends.partition(")")
            put(label, value + unit, detail, ends and f"({ends})")

    quality = result.quality
    if quality is not None:
        ends = result.psnr_interval
        against = frames_against_float(result)
        given = f"{quality.mean('noisy_psnr'):.2f}" if quality.is_noisy else "without noise"
        told = f"float {quality.mean('float_psnr'):.2f} dB, input {given}"
        if ends is not None:
            of = "programmings" if len(result.programmings) > 1 else "frames of one chip"
            _, low, high = measured(quality.psnr_db, ends)
            told += f"; mean over {of} {low}..{high}"
        put("PSNR on the chip", f"{quality.psnr_db:.2f} dB",
            "; ".join([told, against.line("dB")]))  # fmt: skip
    classes = classes_against_float(result.measures)
    for measure in result.measures:
        ends_ = measure.interval
        mean, low, high = measured(measure.mean, ends_)
        span = "" if ends_ is None else f"({low}..{high})"
        float_ = (
            ""
            if measure.reference is None
            else f"float {measured(measure.reference)[0]} {measure.unit}"
        )
        if classes is not None and measure.name == "top1":
            float_ = "; ".join([float_, classes.line("points")])
        put(measure.name, f"{mean} {measure.unit}", float_, span)
    timing = result.timing
    put("frames per second", rate(timing.frames_per_second),
        f"{timing.cycles_per_frame:,} cycles a frame, first one after "
        f"{format_si(timing.latency_s, 's')}; {timing.bottleneck}")  # fmt: skip
    card("energy of a frame", "energy.per_frame", "5 .. 95 % of what the sources allow")
    card("power", "energy.average_power", numbers["energy.average_power"].meaning)
    card("efficiency", "energy.tops_per_w", numbers["energy.tops_per_w"].meaning)
    h = result.hardware
    card("area of the chip", "hardware.area", f"{h.arrays_used} of {h.arrays} arrays used")
    return cards


def _notes(result: Result) -> list[str]:
    notes = [f"not counted: {', '.join(result.left_out)}"] if result.left_out else []
    if result.coverage is not None:
        notes += list(result.coverage.lines())
    return [*notes, *result.notes]


def _frames(folder: Path | None) -> tuple[list[tuple[str, str]], str]:
    """Return pairs of pictures as data addresses, as many as a page may hold, and what was done."""
    if folder is None or not (folder / "frames" / "chip").is_dir():
        return [], ""
    names = sorted(path.name for path in (folder / "frames" / "chip").glob("*.png"))
    pairs = [(folder / "frames" / "noisy" / name, folder / "frames" / "chip" / name)
             for name in names if (folder / "frames" / "noisy" / name).is_file()]  # fmt: skip
    if not pairs:
        return [], ""
    size = sum(path.stat().st_size for path in pairs[0])
    exact = size <= _PICTURES_BYTES / 4
    most = max(1, int(_PICTURES_BYTES / (size if exact else size / 4)))
    kept = pairs[:: math.ceil(len(pairs) / most)]
    found = [tuple(_address(path, exact) for path in pair) for pair in kept]
    note = (
        []
        if exact
        else ["Pictures here are compressed (JPEG, quality 92); exact ones lie in frames/."]
    )
    if len(kept) < len(pairs):
        note.append(f"{len(kept)} of {len(pairs)} frames stand here.")
    return [(a, b) for a, b in found], " ".join(note)


def _address(path: Path, exact: bool) -> str:
    if exact:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    from PIL import Image

    held = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(held, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()


def _zoom(folder: Path | None) -> float:
    from PIL import Image

    assert folder is not None
    with Image.open(next((folder / "frames" / "chip").glob("*.png"))) as image:
        return 2 if image.width <= 400 else 0.5 if image.width > 1600 else 1


def _curve(result: Result) -> str:
    quality = result.quality
    if quality is None:
        return ""
    series = {"float32": quality.float_psnr, "on the chip": quality.chip_psnr}
    if quality.is_noisy:
        series = {"noisy input": quality.noisy_psnr, **series}
    return svg.lines(series, "dB", "PSNR of every frame", "frame")


def _measures(result: Result) -> Table:
    rows = []
    for m in result.measures:
        mean, low, high = measured(m.mean, m.interval)
        span = "" if m.interval is None else f"{low}..{high}"
        reference = "" if m.reference is None else f"{measured(m.reference)[0]} {m.unit}"
        rows.append((words(m.name), Cell(reference), Cell(f"{mean} {m.unit}", m.mean),
                     Cell(span)))  # fmt: skip
    heads = ("measure", "float32", "on the chip", "5..95 %")
    return table("measures", "What the task measured", heads, rows)


def _share(share: float) -> str:
    """Write a share in percent; a small one is not nothing."""
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1g} %"


def _energy(result: Result) -> dict[str, object]:
    energy, total = result.energy, result.energy.total_j
    rows = []
    for number, (name, value) in enumerate(energy.by_component.items()):
        if value > 0:
            ends = result.intervals.get(number_of(name))
            text = f"{told(value, ends, 'J')}, {_share(value / total)}"
            low, high = ends or (None, None)
            colour = svg.COLOURS[number % len(svg.COLOURS)]
            rows.append(svg.Bar(COMPONENTS[name], value, text, low, high, colour))
    where = {"operands": "from the operands of this run", "statistics": "from their statistics",
             "activity": "at the chip's activity factor"}  # fmt: skip
    note = (
        "Bars are values, whiskers 5 .. 95 % of what the sources allow; the axis is logarithmic, "
        f"so read shares from the numbers. Array energy {where.get(energy.array_energy_from, '')}."
    )
    widest = max((one.high_j - one.low_j for one in result.sensitivity), default=0.0)
    effects = [one for one in result.sensitivity if one.high_j - one.low_j > 0.003 * widest][:14]
    return {
        "energy_note": note,
        "energy_chart": safe(svg.bars(rows, "J", "Energy by component", logarithmic=True)),
        "tornado": safe(svg.tornado(effects, total, "What each number's range does")),
        "tornado_key": [("at its 5 % point", svg.LOW_END), ("at its 95 % point", svg.HIGH_END)],
    }  # fmt: skip


def _time(result: Result) -> dict[str, object]:
    clock, rows = result.timing.clock_hz, []
    for layer in result.layers:
        busy = {stage: float(layer.get(f"{stage}_cycles") or 0.0) for stage in STAGES}
        longest = max(busy, key=lambda stage: busy[stage])
        if busy[longest] > 0:
            share = busy[longest] / result.timing.cycles_per_frame
            text = f"{longest} {format_si(busy[longest] / clock, 's')}, {share:.0%}"
            colour = svg.COLOURS[STAGES.index(longest)]
            rows.append(svg.Bar(str(layer["layer"]), busy[longest] / clock, text, colour=colour))
    interval = format_si(result.timing.seconds_per_frame, "s")
    note = (
        f"How long the busiest stage of each layer works for one frame; a new frame comes every "
        f"{interval}, and what is 100 % of that sets the pace ({result.timing.bottleneck})."
    )
    return {"time_note": note, "time_chart": safe(svg.bars(rows, "s", "Busy time by layer"))}


_COLUMNS = (
    ("arrays", "arrays"), ("rows", "rows"), ("cols", "columns"), ("windows", "windows"),
    ("activations", "activations"), ("conversions", "conversions"), ("macs", "MACs"),
)  # fmt: skip


def _layers(result: Result) -> Table:
    total = sum(dynamic_j(row) for row in result.layers) or 1.0
    gives_known = any(row.get("contribution_db") is not None for row in result.layers)
    rows = []
    for row in result.layers:
        joules, clipped, bits = dynamic_j(row), row.get("saturated"), row.get("effective_bits")
        cells = [
            words(str(row["layer"])), words(str(row.get("kind", ""))),
            Cell(format_si(joules, "J"), joules), Cell(_share(joules / total), joules),
        ]  # fmt: skip
        if gives_known:
            gives = row.get("contribution_db")
            cells.append(Cell("" if gives is None else f"{gives:.2f} dB", gives))
        cells.append(Cell("" if clipped is None else f"{100 * clipped:.2g} %", clipped))
        cells.append(Cell("" if bits is None else f"{bits:.1f}", bits))
        rows.append([*cells, *(count(row.get(name)) for name, _ in _COLUMNS)])
    heads = ["layer", "kind", "energy", "share", *(["gives"] if gives_known else []), "clipped",
             "effective bits", *(name for _, name in _COLUMNS)]  # fmt: skip
    caption = (
        "Energy of a frame without what goes with time (control, leakage and the like); clipped: "
        "conversions beyond the converter's range; effective bits: of the converters"
    )
    if gives_known:
        caption += "; gives: what is lost without the layer, as the card of the weights says"
    return table("layer-table", caption, heads, rows)


def _floor(result: Result) -> dict[str, object]:
    chip, mapping = result.inputs.get("chip", {}), result.inputs.get("mapping", {})
    layers = mapping.get("layers", [])
    tile = chip.get("tile", {})
    if not layers or not tile:
        return {"floor": "", "floor_note": "", "floor_key": []}
    tiles = int(tile.get("count", 1)) * int(chip.get("system", {}).get("chips", 1) or 1)
    drawn = svg.floor(layers, tiles, int(tile.get("arrays", 1)), "Floor plan of the chip")
    h = result.hardware
    note = (
        f"{h.arrays_used} of {h.arrays} arrays hold weights, {100 * h.utilisation:.1f} % of their "
        f"cells are used; mapping {mapping.get('strategy', 'from a file')}. An array that several "
        "layers share has the colour of the first one."
    )
    key = [(str(one["name"]), svg.COLOURS[n % len(svg.COLOURS)]) for n, one in enumerate(layers)]
    return {"floor": safe(drawn), "floor_note": note, "floor_key": key}


def _numbers(result: Result) -> Table:
    rows = []
    for name, number in result.numbers().items():
        value = float(number.value) if real(number.value) else None  # type: ignore[arg-type]
        rows.append(
            (
                words(name),
                Cell(_number(number), value),
                words(number.meaning, "fold"),
            )
        )
    return table("number-table", "As in result.json", ("name", "value", "meaning"), rows)


def _chip(result: Result) -> dict[str, object]:
    """Return the chip's numbers with sources, if its description can be found as it was."""
    from cimsim.chip.load import described, dump
    from cimsim.errors import CimsimError
    from cimsim.report.chip.provenance import rows as fields

    held, options = result.inputs.get("chip", {}), (result.command or {}).get("options", {})
    given = str(options.get("hw") or held.get("name", ""))
    try:
        chip, _, raw = described(given, list(options.get("overrides") or ()) or None)
        same = json.dumps(dump(chip), sort_keys=True) == json.dumps(held, sort_keys=True)
    except (CimsimError, OSError):
        same = False
    if same:
        found = [(words(f.path), Cell(f.value), words(f.kind), words(f.source, "fold"))
                 for f in fields(chip, raw)]  # fmt: skip
        heads = ("field", "value", "kind", "source")
        shown = table("chip-table", "As cimsim hw show prints it", heads, found)
        return {"chip_note": held.get("summary", ""), "chip": shown}
    flat = [(words(path), Cell(str(value))) for path, value in _flat(held)]
    note = (
        f"{held.get('summary', '')} Sources are missing here: the description {given!r} is not "
        "at hand as it was when this run was made. Values in SI units."
    )
    return {
        "chip_note": note,
        "chip": table("chip-table", "Values", ("field", "value"), flat),
    }


def _flat(data: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in data.items():
        if key in ("summary", "ranges", "schema_version"):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _again(result: Result, command: str) -> dict[str, object]:
    rows = [(words(name), words(value)) for name, value in result.environment.items()]
    rows += [(words(f"SHA-256 of the {name} frames"), words(value))
             for name, value in result.outputs.items()]  # fmt: skip
    rows += [(words("hash of the inputs"), words(result.hash))]
    note = "cimsim verify FOLDER runs this once more and compares every number and every bit."
    if not command:
        command = "made in Python: run the same program, and compare result.hash and result.outputs"
        note = ""
    return {
        "command": command, "again_note": note,
        "environment": table("environment", "Made with", ("what", "value"), rows),
    }  # fmt: skip


def _number(number: Number) -> str:
    value = number.value
    if isinstance(value, str) or value is None:
        return str(value if value is not None else "none")
    if number.unit in ("cycles", "") or (isinstance(value, int) and number.unit == "1"):
        return f"{value:,} {number.unit}".strip()
    if number.unit == "dB":
        return f"{value:.2f} dB"
    if number.unit in _COUNTED:
        return f"{value:,.0f} {_COUNTED[number.unit]}"
    return told(float(value), number.interval, number.unit)


def told(value: float, ends: tuple[float, float] | None, unit: str) -> str:
    """Write a number with its interval, where it has one."""
    if unit in ("dB", "TOPS/W", "1/s", "%"):
        factor = "1"
        text = format_interval(value, *ends, factor) if ends else format_si(value, factor, 4)
        return f"{text} {unit}".replace("  ", " ")
    return format_interval(value, *ends, unit) if ends else format_si(value, unit)
