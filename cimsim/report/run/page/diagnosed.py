"""The diagnosis in a page: a heat map of layers and causes, and a table that can be sorted."""

from __future__ import annotations

import math
from html import escape
from typing import TypedDict

from cimsim.report.run.page import svg
from cimsim.report.run.page.parts import Cell, Table, render, safe, table, words

FILE = "diagnosis.json"
"""Name of the file in a run's folder that `cimsim report` looks for."""


class LayerData(TypedDict):
    """A layer of a diagnosis; see `cimsim.studies.diagnosis_result.LayerErrors`."""

    name: str
    kind: str
    snr_alone_db: float
    snr_db: float
    snr_by_cause_db: dict[str, float]


class LossData(TypedDict):
    """How much of a loss comes from where; `cimsim.studies.diagnosis_result.Attribution`."""

    name: str
    unit: str
    reference: float | None
    on_chip: float | None
    loss: float
    gives: dict[str, dict[str, float]]
    sum: float
    unexplained: float


class DiagnosisData(TypedDict):
    """What a page shows of a diagnosis: as ``diagnosis.json`` holds it."""

    network: str
    chip: str
    asked: str
    samples: int
    detailed: int
    causes: list[str]
    layers: list[LayerData]
    attributions: list[LossData]
    notes: list[str]


_EXACT = 300.0  # dB: no error at all
_CELL, _HIGH = 74, 24


def diagnosis_page(found: DiagnosisData, command: str = "") -> str:
    """Return a page of one diagnosis.

    Parameters
    ----------
    found : dict
        As ``diagnosis.json`` holds it.
    command : str
        The command line that made it.
    """
    return render("diagnosis.html.j2", {
        "title": f"Which layer hurts: {found['network']} on {found['chip']}",
        "subtitle": found["asked"],
        "sections": [("result", "Result"), ("diagnosis", "Which layer hurts")],
        "notes": list(found["notes"]), "command": command, **diagnosis_parts(found),
    })  # fmt: skip


def diagnosis_parts(found: DiagnosisData | None) -> dict[str, object]:
    """Return what a template shows of a diagnosis; empty values without one."""
    if found is None:
        return {"heat": "", "heat_note": "", "pairs": None, "snr": None, "losses": []}
    first = found["attributions"][0]
    return {
        "heat": safe(heat_map(found)), "heat_note": _note(found, first),
        "pairs": _pairs(found), "snr": _snr(found),
        "losses": [_lost(one) for one in found["attributions"]],
    }  # fmt: skip


def heat_map(found: DiagnosisData) -> str:
    """Draw what each layer and cause gives: layers down, causes across, darker gives more.

    Every cell has its number; blue takes back some of the loss.
    """
    first = found["attributions"][0]
    gives, unit = first["gives"], first["unit"]
    layers = [layer["name"] for layer in found["layers"] if layer["name"] in gives]
    causes = [cause for cause in found["causes"] if any(cause in row for row in gives.values())]
    sums = {name: sum(gives[name].values()) for name in layers}
    most = max((abs(v) for row in gives.values() for v in row.values()), default=0.0) or 1.0
    left = min(300.0, 16 + 6.8 * max((len(_short(n)) for n in layers), default=0))
    top = 46
    width, height = left + _CELL * (len(causes) + 1) + 8, top + _HIGH * (len(layers) + 1) + 8
    title = f"What each layer and cause gives, {unit}"
    parts = [svg.opened(width, height, title)]
    for column, cause in enumerate([*causes, "all"]):
        x = left + _CELL * (column + 0.5)
        for line, word in enumerate(cause.split(" ", 1)):
            parts.append(
                f'<text x="{x:.0f}" y="{16 + 14 * line}" text-anchor="middle">{escape(word)}</text>'
            )
    by_cause = {cause: sum(gives[n].get(cause, 0.0) for n in layers) for cause in causes}
    rows = [(name, {**gives[name], "all": sums[name]}) for name in layers]
    rows.append(("all layers", {**by_cause, "all": sum(sums.values())}))
    for row, (name, values) in enumerate(rows):
        y = top + _HIGH * row
        parts.append(
            f'<text x="{left - 8:.0f}" y="{y + 16}" text-anchor="end">{escape(_short(name))}</text>'
        )
        for column, cause in enumerate([*causes, "all"]):
            value = values.get(cause, 0.0)
            sum_ = cause == "all" or row == len(layers)
            parts.append(_cell(left + _CELL * column, y, value, 0.0 if sum_ else value / most,
                               f"{name}, {cause}: {value:.4g} {unit}"))  # fmt: skip
    return "".join([*parts, "</svg>"])


def _cell(x: float, y: float, value: float, share: float, told: str) -> str:
    colour = "213,94,0" if share > 0 else "0,114,178"
    depth = min(1.0, math.sqrt(abs(share)))
    number = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    number = number.removeprefix("-") if float(number) == 0 else number
    # dark text on pale cells, the page's own text colour where there is no colour at all
    text = ' style="fill:#000"' if depth > 0.35 else ""
    return (
        f'<g><title>{escape(told)}</title><rect x="{x:.0f}" y="{y}" width="{_CELL - 2}" '
        f'height="{_HIGH - 2}" rx="2" fill="rgba({colour},{0.75 * depth:.3f})"/>'
        f'<text x="{x + _CELL / 2 - 1:.0f}" y="{y + 16}" text-anchor="middle"{text}>'
        f"{number}</text></g>"
    )


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}"


def _lost(one: LossData) -> str:
    if one["reference"] is None:
        return f"outputs: {one['on_chip']:.1f} dB signal to error, chip against float32"
    unit = "%" if one["unit"] == "points" else one["unit"]
    return (
        f"{one['name']}: float32 {one['reference']:.2f} {unit}, on the chip {one['on_chip']:.2f} "
        f"{unit}, lost {one['loss']:.2f} {one['unit']}"
    )


def _note(found: DiagnosisData, first: LossData) -> str:
    loss = first["loss"]
    off = abs(first["unexplained"] / loss) if loss else 0.0
    text = (
        f"What of the loss comes from each layer and cause, {first['unit']}: the mean over all "
        f"orders in which they could be mended. The sum is {first['sum']:.3g} of {loss:.3g} "
        f"{first['unit']} ({off:.1%} off)."
    )
    if found["detailed"] < found["samples"]:
        text += (
            f" Causes were told apart on {found['detailed']} of {found['samples']} samples, "
            "layers on all."
        )
    return text


def _pairs(found: DiagnosisData) -> Table:
    rows = []
    for layer in found["layers"]:
        for cause, snr in layer["snr_by_cause_db"].items():
            cells = [words(layer["name"]), words(cause)]
            for one in found["attributions"]:
                value = one["gives"].get(layer["name"], {}).get(cause, 0.0)
                cells.append(Cell(f"{value:.4f}", value))
            rows.append([*cells, _db(snr)])
    first = found["attributions"][0]["name"], found["attributions"][0]["unit"]
    rows.sort(key=lambda row: -(row[2].value or 0.0))
    heads = ["layer", "cause", *(f"gives, {one['unit']} {one['name']}" for one in
                                 found["attributions"]), "SNR of the cause / dB"]  # fmt: skip
    return table("pair-table", f"Layers and causes, by {first[0]} in {first[1]}", heads, rows)


def _snr(found: DiagnosisData) -> Table:
    rows = [
        [words(layer["name"]), words(layer["kind"]), _db(layer["snr_alone_db"]),
         _db(layer["snr_db"])]
        for layer in found["layers"]
    ]  # fmt: skip
    heads = ("layer", "kind", "SNR alone / dB", "SNR with all before / dB")
    return table("snr-table", "Signal to error of every layer's output", heads, rows)


def _db(value: float) -> Cell:
    return Cell("exact" if value >= _EXACT else f"{value:.1f}", value)
