"""The page and the plot of `benchmarks.chips`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fair.page import quoted
from benchmarks.fair.record import Record
from cimsim.energy.ledger import compare, interval
from cimsim.energy.model import COMPONENTS, STANDING
from cimsim.files import replacing
from cimsim.report.run.plots import COLOURS
from cimsim.units import format_interval, format_si

if TYPE_CHECKING:
    from benchmarks.chips.__main__ import Row
    from cimsim.energy.ledger import Draws, Interval

PLOT = Path("chips/energy.png")


@dataclass(frozen=True)
class Ratio:
    """The block over CIM-NET in something that has an interval.

    Attributes
    ----------
    value : float
    ends : (float, float)
        5 .. 95 %, draw by draw.
    """

    value: float
    ends: Interval

    def __str__(self) -> str:
        return format_interval(self.value, *self.ends, "1").replace("  ", " ")

    def holds(self, count: float) -> bool:
        """Whether another ratio lies in the interval."""
        return self.ends[0] <= count <= self.ends[1]


@dataclass(frozen=True)
class Worth:
    """What CIM-NET is worth on one chip: the block divided by it.

    Attributes
    ----------
    chip : str
    windows, activations, conversions, time : float
    energy, dynamic : Ratio
        Of a frame, and without what goes with time alone.
    lost : tuple of (float, float)
        dB that each of the two loses on the chip, 5 .. 95 % of the mean over programmings.
    """

    chip: str
    windows: float
    activations: float
    conversions: float
    time: float
    energy: Ratio
    dynamic: Ratio
    lost: tuple[Interval, Interval]


def document(rows: list[Row], missing: list[tuple[str, str, str]], size: str, out: Path) -> None:
    """Write the page to ``out`` and the plot beside it."""
    worth = [_worth(block, net) for block, net in _pairs(rows)]
    parts = [
        HEAD.format(size=size), _table(rows), f"![energy of a frame by component]({PLOT})\n",
        _told(worth), LIKE_WITH_LIKE, quoted(Record.read()), _missing(missing),
    ]  # fmt: skip
    plot = out.parent / PLOT
    plot.parent.mkdir(parents=True, exist_ok=True)
    with replacing(plot) as scratch:
        _draw(rows, size, scratch)
    with replacing(out) as scratch:
        scratch.write_text("\n".join(parts), encoding="utf-8")


HEAD = """# What CIM-NET's few windows are worth, chip by chip

Written by `python -m benchmarks.chips`; nothing below is typed in. One frame of {size}, sigma 15;
quality on the embedded clip (64 x 64, mean of two frames) with the weights that the zoo ships,
those trained for the chip where there are any. Mapping `im2col`, one layer per array; chips with
too few arrays stand in a chain. Frames stream, layer by layer pipelined, from where the chip keeps
them; what is on takes power for the whole interval between frames. Array energy from statistics of
the operands. In brackets: 5 .. 95 % of what the sources of the chip file allow, for dB of the mean
over three programmings. Cycles follow from the description and have no interval.

**Energies of two chips are not to be compared**: each file leaves out other parts, as its last
column says. Within a chip both networks leave out the same, and share what is uncertain.
"""


LIKE_WITH_LIKE = """## Each under its best mapping

The ratios above hold for one mapping, and a chip with spare arrays can do more for the block than
for CIM-NET. From the record of `python -m benchmarks.fair` (frames of 960x540;
[like_with_like.md](like_with_like.md) takes the gain apart):
"""


def _table(rows: list[Row]) -> str:
    lines = [
        "| chip | network | chips x arrays used | float → chip | latency | interval | frames/s "
        "| energy per frame | largest parts | not counted |",
        "|---|---|---:|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        parts = sorted(row.spent.by_component.items(), key=lambda item: -item[1])[:3]
        told = ", ".join(f"{name} {value / row.spent.total_j:.0%}" for name, value in parts)
        lines.append(
            f"| {row.chip} | {row.network} | {row.chips} x {row.arrays / row.chips:.0f} "
            f"| {row.float_db:.2f} → {sum(row.chip_db) / len(row.chip_db):.2f} dB "
            f"| {_ms(row.timeline.latency_s(row.clock_hz))} | {_ms(row.interval_s)} "
            f"| {1 / row.interval_s:.3g} "
            f"| {format_interval(row.spent.total_j, *interval(row.drawn.total_j), 'J')} | {told} "
            f"| {_short(row.left_out)} |"
        )
    return "\n".join(lines) + "\n"


def _pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Return (block, CIM-NET) of each chip that holds both."""
    by_chip: dict[str, list[Row]] = {}
    for row in rows:
        by_chip.setdefault(row.chip, []).append(row)
    return [(found[0], found[1]) for found in by_chip.values() if len(found) == 2]


def _worth(block: Row, net: Row) -> Worth:
    total = compare(block.drawn, net.drawn)
    first, second = (_dynamic(row) for row in (block, net))
    own = [
        row.spent.total_j - sum(row.spent.by_component[name] for name in STANDING)
        for row in (block, net)
    ]
    return Worth(
        block.chip, block.windows / net.windows, block.activations / net.activations,
        block.conversions / net.conversions, block.interval_s / net.interval_s,
        Ratio(block.spent.total_j / net.spent.total_j, (total[0], total[2])),
        Ratio(own[0] / own[1], interval(first / second)), (block.lost_db, net.lost_db),
    )  # fmt: skip


def _dynamic(row: Row) -> Draws:
    return row.drawn.total_j - sum(row.drawn.by_component[name] for name in STANDING)


def _told(worth: list[Worth]) -> str:
    """Return the table of ratios and what of it the intervals allow to say."""
    if not worth:
        return ""
    lines = [
        "## The block divided by CIM-NET, S = 8\n",
        "Both mapped plainly, as the table above says; [below](#each-under-its-best-mapping) each "
        "under its best mapping. *Without standing power*: without references, control and clock, "
        "link, processor and leakage, which go with time alone.\n",
        "| chip | windows | array activations | ADC conversions | interval | energy "
        "| energy without standing power | dB lost on the chip, block | CIM-NET |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in worth:
        counts = (one.windows, one.activations, one.conversions, one.time)
        lost = " | ".join(f"{low:.2f} .. {high:.2f}" for low, high in one.lost)
        lines.append(
            f"| {one.chip} | {' | '.join(f'{count:.3g}' for count in counts)} | {one.energy} "
            f"| {one.dynamic} | {lost} |"
        )
    told = [_time(worth), _energy(worth), _counts(worth), _quality(worth)]
    return "\n".join([*lines, "", *(f"{text}\n" for text in told)])


def _time(worth: list[Worth]) -> str:
    slow, fast = (f(worth, key=lambda one: one.time) for f in (min, max))
    return (
        "The paper's 1/77 compares CIM-NET with a baseline of its own. Against the real block the "
        "network as drawn has 1/39.6 of the windows, the two layers that are compared here "
        f"1/{worth[0].windows:.3g}. In **time** that is worth {slow.time:.3g} on {slow.chip} up to "
        f"{fast.time:.3g} on {fast.chip}: a pipeline is as fast as its busiest layer, the block's "
        "run on every pixel, CIM-NET's once per 8 x 8 block, so 64 is the most; where wide or tall "
        "matrices are cut into many arrays whose columns share converters, a bus or a vector unit, "
        "it is less."
    )


def _energy(worth: list[Worth]) -> str:
    """Say on which chips the block takes more, and whether chips can be told apart in that."""
    more = [one for one in worth if one.energy.ends[0] > 1]
    rest = [one.chip for one in worth if one.energy.ends[0] <= 1]
    text = (
        f"In **energy** the block takes more than CIM-NET on {_names(o.chip for o in more)}, at "
        "the 5 % point of the ratio, too"
    )
    text += f"; on {_names(rest)} the interval allows either." if rest else "."
    for what, of in (
        ("energy", lambda one: one.energy), ("energy without standing power", lambda o: o.dynamic),
    ):  # fmt: skip
        text += f" {_order(worth, what, of)}"
    return text


def _order(worth: list[Worth], what: str, of: Callable[[Worth], Ratio]) -> str:
    """Say which chip gains most and least, or that their intervals overlap."""
    low, high = (f(worth, key=lambda one: of(one).value) for f in (min, max))
    ends = f"{of(low)} on {low.chip} and {of(high)} on {high.chip}"
    if of(low).ends[1] < of(high).ends[0]:
        return f"Least and most {what} is gained with {ends}: apart by more than their intervals."
    return f"In {what} the chips cannot be told apart: {ends} overlap, a tie."


def _counts(worth: list[Worth]) -> str:
    """Say which count of work the energy follows, where its ratio lies in the interval."""
    found = []
    for name, count in (
        ("windows", lambda o: o.windows), ("array activations", lambda o: o.activations),
        ("ADC conversions", lambda o: o.conversions),
    ):  # fmt: skip
        inside = [one.chip for one in worth if one.dynamic.holds(count(one))]
        found.append(f"{name} on {_names(inside)}" if inside else f"{name} on no chip")
    return (
        "Which count of work stands for the energy? Without standing power the ratio of energies "
        f"has in its interval the ratio of {'; of '.join(found)}. CIM-NET's matrices are large: "
        "each window drives more rows and converts more columns, so its few windows are not worth "
        "their number."
    )


def _quality(worth: list[Worth]) -> str:
    """Say where one of the two loses more dB on the chip than the other, beyond the intervals."""
    found = []
    for one in worth:
        (low, high), (net_low, net_high) = one.lost
        if high < net_low:
            found.append(f"on {one.chip} CIM-NET loses more")
        elif net_high < low:
            found.append(f"on {one.chip} the block loses more")
        else:
            found.append(f"on {one.chip} it is a tie")
    return f"In **quality** lost on the chip, over programmings: {'; '.join(found)}."


def _names(chips: Iterable[str]) -> str:
    *rest, last = chips
    return f"{', '.join(rest)} and {last}" if rest else last


def _short(left_out: tuple[str, ...]) -> str:
    return ", ".join(title.partition(":")[0] for title in left_out) or "nothing"


def _missing(missing: list[tuple[str, str, str]]) -> str:
    if not missing:
        return ""
    lines = [
        "## Chips that do not hold them\n",
        "With up to eight chips in a chain, and the memories that they have:\n",
        "| chip | network | does not fit |", "|---|---|---|",
    ]  # fmt: skip
    lines += [f"| {chip} | {network} | {what} |" for chip, network, what in missing]
    return "\n".join(lines) + "\n"


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
