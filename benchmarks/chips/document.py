"""The page and the plot of `benchmarks.chips`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fair.page import quoted
from benchmarks.fair.record import Record
from cimsim.energy.model import COMPONENTS, STANDING
from cimsim.files import replacing
from cimsim.report.plots import COLOURS
from cimsim.units import format_si

if TYPE_CHECKING:
    from benchmarks.chips.__main__ import Row

PLOT = Path("chips/energy.png")


def document(rows: list[Row], missing: list[tuple[str, str]], size: str, out: Path) -> None:
    """Write the page to ``out`` and the plot beside it."""
    pairs = _pairs(rows)
    parts = [
        HEAD.format(size=size), _table(rows), f"![energy of a frame by component]({PLOT})\n",
        _worth(pairs), LIKE_WITH_LIKE, quoted(Record.read()), _missing(missing),
    ]  # fmt: skip
    plot = out.parent / PLOT
    plot.parent.mkdir(parents=True, exist_ok=True)
    with replacing(plot) as scratch:
        _draw(rows, size, scratch)
    with replacing(out) as scratch:
        scratch.write_text("\n".join(parts), encoding="utf-8")


HEAD = """# What CIM-NET's few windows are worth, chip by chip

Written by `python -m benchmarks.chips`; nothing below is typed in. One frame of {size}, sigma 15;
quality on the embedded clip (128 x 128, mean of its frames) with the weights that the zoo ships,
those trained for the chip where there are any. Mapping `im2col`, one layer per array; chips with
too few arrays stand in a chain. Frames stream, layer by layer pipelined; static power lasts the
interval between frames. Array energy from statistics of the operands.
"""


LIKE_WITH_LIKE = """## Each under its best mapping

The ratios above hold for one mapping, and a chip with spare arrays can do more for the block than
for CIM-NET. From the record of `python -m benchmarks.fair` (frames of 960x540;
[like_with_like.md](like_with_like.md) has more chips):
"""


def _table(rows: list[Row]) -> str:
    lines = [
        "| chip | network | chips x arrays used | float → chip | latency | interval | frames/s "
        "| energy per frame | largest parts |",
        "|---|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        parts = sorted(row.spent.by_component.items(), key=lambda item: -item[1])[:3]
        told = ", ".join(f"{name} {value / row.spent.total_j:.0%}" for name, value in parts)
        lines.append(
            f"| {row.chip} | {row.network} | {row.chips} x {row.arrays / row.chips:.0f} "
            f"| {row.float_db:.2f} → {row.chip_db:.2f} dB "
            f"| {_ms(row.timeline.latency_s(row.clock_hz))} | {_ms(row.interval_s)} "
            f"| {1 / row.interval_s:.3g} | {format_si(row.spent.total_j, 'J')} | {told} |"
        )
    return "\n".join(lines) + "\n"


def _pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Return (block, CIM-NET) of each chip that holds both."""
    by_chip: dict[str, list[Row]] = {}
    for row in rows:
        by_chip.setdefault(row.chip, []).append(row)
    return [(found[0], found[1]) for found in by_chip.values() if len(found) == 2]


def _worth(pairs: list[tuple[Row, Row]]) -> str:
    lines = [
        "## The block divided by CIM-NET, S = 8\n",
        "Both mapped plainly, as the table above says; [below](#each-under-its-best-mapping) each "
        "under its best mapping.\n",
        "| chip | windows | array activations | ADC conversions | interval | energy "
        "| energy without static | dB lost on the chip, block and CIM-NET |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    worth = []
    for block, net in pairs:
        dynamic = [
            row.spent.total_j - sum(row.spent.by_component[name] for name in STANDING)
            for row in (block, net)
        ]
        ratios = (
            block.windows / net.windows, block.activations / net.activations,
            block.conversions / net.conversions, block.interval_s / net.interval_s,
            block.spent.total_j / net.spent.total_j, dynamic[0] / dynamic[1],
        )  # fmt: skip
        worth.append((block.chip, ratios))
        lost = ", ".join(f"{row.float_db - row.chip_db:.2f}" for row in (block, net))
        lines.append(f"| {block.chip} | " + " | ".join(f"{r:.3g}" for r in ratios) + f" | {lost} |")
    if not worth:
        return ""
    time = sorted(worth, key=lambda one: one[1][3])
    spent = sorted(worth, key=lambda one: one[1][5])
    lines += ["", TOLD.format(
        windows=worth[0][1][0], slow=time[0][0], slow_x=time[0][1][3], fast=time[-1][0],
        fast_x=time[-1][1][3], dear=spent[0][0], dear_x=spent[0][1][5], cheap=spent[-1][0],
        cheap_x=spent[-1][1][5], dear_conversions=spent[0][1][2],
        cheap_conversions=spent[-1][1][2],
    )]  # fmt: skip
    return "\n".join(lines)


TOLD = """The paper's 1/77 compares CIM-NET with a baseline of its own; against the real block the
ratio of windows is {windows:.1f}. In **time** that is worth {slow_x:.3g} on {slow} up to
{fast_x:.3g} on {fast}: a pipeline is as fast as its busiest layer, the block's run on every
pixel, CIM-NET's once per 8 x 8 block, so where one activation takes the same time on all layers
the gain is above the ratio of windows; where wide or tall matrices are cut into many arrays whose
columns share converters, a bus or a vector unit, it is below. In **energy**, static power left
out, it is worth {dear_x:.3g} on {dear} up to {cheap_x:.3g} on {cheap}: CIM-NET's matrices are
large, each window drives more rows and converts more columns, and the ratio of conversions
({dear_conversions:.3g} and {cheap_conversions:.3g} there) and of cells that conduct is what
remains of the ratio of windows. Where an activation has a price of its own (amplifiers that are
on while an array fires) energy follows the array activations, where converters dominate it
follows the conversions; small arrays, which cut CIM-NET's 1000-row matrices into many pieces,
gain least.
"""


def _missing(missing: list[tuple[str, str]]) -> str:
    if not missing:
        return ""
    by_chip: dict[str, list[str]] = {}
    for chip, network in missing:
        by_chip.setdefault(chip, []).append(network)
    told = "; ".join(f"{chip}: {', '.join(found)}" for chip, found in by_chip.items())
    return f"## Chips that do not hold them\n\nNot even with eight chips in a chain: {told}.\n"


def _draw(rows: list[Row], size: str, path: Path) -> None:
    """Draw stacked bars of the energy of a frame, one bar per chip and network."""
    from matplotlib.figure import Figure

    shown = [n for n in COMPONENTS if any(r.spent.by_component.get(n, 0.0) > 0 for r in rows)]
    figure = Figure(figsize=(9.0, 1.6 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = [f"{row.chip}, {row.network}" for row in rows]
    left = np.zeros(len(rows))
    totals = np.array([row.spent.total_j for row in rows])
    for name in shown:
        share = np.array([row.spent.by_component.get(name, 0.0) for row in rows]) / totals
        axes.barh(labels, share, left=left, color=COLOURS[name], label=COMPONENTS[name])
        left += share
    for y, row in enumerate(rows):
        axes.text(1.01, y, format_si(row.spent.total_j, "J"), va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of the energy of one {size} frame; the whole of it at the right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, format="png", dpi=110)


def _ms(seconds: float) -> str:
    return format_si(seconds, "s")
