"""The table *paper | ours, float | ours, on the chip*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.paper.chip_table import ALL, ChipRow
from benchmarks.paper.networks import windows_per_pixel
from benchmarks.paper.record import write_csv
from benchmarks.paper.results import SIGMA, SIGMAS, Point, Results
from benchmarks.paper.spread import interval
from cimsim.errors import ConfigError

PUBLISHED = Path(__file__).with_name("published.yaml")
COLUMNS = ("quantity", "unit", "paper", "ours_float", "ours_on_chip", "weights")
MISSING = ""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Part):
    """A network by name and stride."""

    model: str
    stride: int | None = None


class Quantity(_Part):
    """One number of the paper and how ours is computed."""

    meaning: str
    value: float | tuple[float, float] | None
    unit: Literal["dB", "%", "x"]
    kind: Literal["psnr", "windows_saved", "paper_ratio", "windows_ratio"] = "psnr"
    of: Network
    minus: Network | None = None
    over: Literal["sigma"] | None = None


class Published(_Part):
    """The whole file."""

    source: str
    protocol: str
    quantities: tuple[Quantity, ...]


def load_published(path: Path = PUBLISHED) -> Published:
    """Read the paper's numbers."""
    try:
        return Published.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, as text."""

    quantity: str
    unit: str
    paper: str
    ours_float: str
    ours_on_chip: str
    weights: str


def compare(published: Published, results: Results, chip: Sequence[ChipRow]) -> list[Line]:
    """Return the table; what was not measured stays empty.

    Parameters
    ----------
    published : Published
    results : Results
        Float PSNRs of the equal budget, or of shipped weights where there are no others.
    chip : sequence of ChipRow
        Only rows of the very weights of ``results`` count, averaged over the clips.
    """
    lines = []
    for item in published.quantities:
        if item.kind != "psnr":
            ours, on_chip, weights = _windows(item), MISSING, "none needed"
        else:
            ours, weights = _float(item, results)
            on_chip = _on_chip(item, results, chip)
        paper = "not stated" if item.value is None else _text(item.value, item)
        lines.append(Line(item.meaning, item.unit, paper, ours, on_chip, weights))
    return lines


def _windows(item: Quantity) -> str:
    if item.minus is None:
        raise ConfigError(f"published.yaml: {item.meaning}: {item.kind} needs minus")
    ours = windows_per_pixel(item.of.model, item.of.stride)
    other = windows_per_pixel(item.minus.model, item.minus.stride)
    if item.kind == "windows_saved":
        return f"{100 * (1 - ours / other):.2f}"
    factor = (item.of.stride or 1) ** 2 if item.kind == "paper_ratio" else 1
    return f"{factor * other / ours:.1f}"


def _float(item: Quantity, results: Results) -> tuple[str, str]:
    values, shipped = [], False
    for sigma in SIGMAS if item.over else (SIGMA,):
        pair = _pair(item, results, sigma)
        if pair is None:
            continue
        shipped |= any(point.shipped for point in pair)
        values.append(by_seed(pair))
    if not values:
        return MISSING, MISSING
    weights = "shipped" if shipped else "equal budget"
    if item.over:
        means = [fmean(one) for one in values]
        return _text((min(means), max(means)), item), weights
    mean, half = interval(values[0])
    text = _text(mean, item)
    return text if half is None else f"{text} ± {half:.2f}", weights


def by_seed(pair: Sequence[Point]) -> list[float]:
    """Return a network's PSNR, or the difference of two, for each seed that all have."""
    found = [{row.seed or 0: row.psnr_db for row in point.rows} for point in pair]
    common = sorted(set.intersection(*(set(one) for one in found)))
    if not common:  # other seeds: the difference of the means is all that there is
        return [pair[0].row.psnr_db - sum(point.row.psnr_db for point in pair[1:])]
    return [found[0][seed] - sum(one[seed] for one in found[1:]) for seed in common]


def _on_chip(item: Quantity, results: Results, chip: Sequence[ChipRow]) -> str:
    pair = _pair(item, results, SIGMA)
    if pair is None:
        return MISSING
    found = []
    for point in pair:
        rows = [
            row
            for row in chip
            if row.sha256 == point.row.sha256
            and row.clips == point.row.clips
            and row.sigma == SIGMA
        ]
        rows = [row for row in rows if row.clip == ALL] or rows
        if len(rows) != 1:
            return MISSING
        found.append(rows[0].chip_db)
    text = _text(found[0] - found[1] if item.minus else found[0], item)
    return f"{text} (σ = {SIGMA:g})" if item.over else text


def _pair(item: Quantity, results: Results, sigma: float) -> tuple[Point, ...] | None:
    """Return the points of the equal budget, else the shipped ones; never one of each."""
    networks = [network for network in (item.of, item.minus) if network is not None]
    # over sigma: networks that saw all levels in training, before those that saw one
    kinds = [(False, False), (True, False)]  # shipped, blind
    for shipped, blind in [(False, True), *kinds] if item.over else kinds:
        points = [
            results.point(n.model, n.stride, sigma, shipped=shipped, blind=blind) for n in networks
        ]
        found = tuple(point for point in points if point is not None)
        if len(found) == len(networks):
            return found
    return None


def _text(value: float | tuple[float, float], item: Quantity) -> str:
    signed = item.kind == "psnr" and item.minus is not None
    form = "+.2f" if signed else ".1f" if item.unit == "x" else ".2f"
    values = value if isinstance(value, tuple) else (value,)
    return " .. ".join(format(one, form).replace("-", "−") for one in values)


def save(lines: Sequence[Line], path: Path) -> None:
    """Write the table as CSV."""
    write_csv(path, COLUMNS, ({name: getattr(line, name) for name in COLUMNS} for line in lines))


def markdown(lines: Sequence[Line], clips: str) -> str:
    """Return the table in Markdown."""
    out = [
        "| quantity | unit | paper | ours, float | ours, on eflash40nm | our weights |",
        "|---|---|---:|---:|---:|---|",
    ]
    out += [
        f"| {line.quantity} | {line.unit} | {line.paper} | {line.ours_float or '–'} | "
        f"{line.ours_on_chip or '–'} | {line.weights or '–'} |"
        for line in lines
    ]
    out += [
        "",
        f"Ours: {clips}. The paper's clips are others, so differences compare, levels do not.",
    ]
    return "\n".join(out)
