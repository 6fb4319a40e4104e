"""What faulty cells and broken lines cost three networks, with and without a way around them.

python -m benchmarks.analog.faults                       # both kinds, three networks
python -m benchmarks.analog.faults --network cimnet

One tested chip: its faults are known before weights are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.analog.runs import measure_missing, prepared, save
from benchmarks.paper.console import make_console, run_command
from benchmarks.paper.record import read_plain
from benchmarks.paper.style import new_figure, paper_style
from cimsim.errors import ConfigError, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cimsim.tasks.running import TaskRun

NETWORKS = {
    "cimnet": "CIM-NET, S = 8", "dscnn": "keywords (DS-CNN)", "keyword-lstm": "keywords (LSTM)",
    "block": "FastDVDnet block",
}  # fmt: skip
WORDS = ("dscnn", "keyword-lstm")
STEMS = {"cimnet": "cimnet_s8_eflash40nm", "block": "fastdvdnet-block_eflash40nm"}
SIZES = {"cimnet": 128, "block": 64}
SHARES = {"stuck": (0.001, 0.01, 0.03), "lines": (0.002, 0.01)}
SPARES = 24  # rows and columns of each array
WAYS = {"stuck": ("none", "around"), "lines": ("none", "spare", "around")}
TITLES = {"stuck": "stuck cells, half off, half on", "lines": "broken word and bit lines"}
LOOKS = {
    "none": {"color": "#D55E00", "marker": "o", "label": "nothing done"},
    "spare": {"color": "#0072B2", "marker": "s", "label": f"{SPARES} spare rows and columns"},
    "around": {"color": "#009E73", "marker": "^", "label": "around_faults"},
}


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One chip.

    Attributes
    ----------
    network : str
        A key of `NETWORKS`.
    kind : str
        A key of `SHARES`.
    share : float
        Of cells that are stuck, or of word lines and of bit lines that are broken; 0: none.
    way : str
        What is done about them, a key of `LOOKS`.
    seed : int
        Of the chip's faults.
    score : float
        Mean PSNR in dB, or right words in per cent.
    """

    network: str
    kind: str
    share: float
    way: str
    seed: int
    score: float

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about."""
        return (self.network, self.kind, self.share, self.way, self.seed)


COLUMNS = tuple(field.name for field in fields(FaultRow))


def read_rows(path: Path) -> list[FaultRow]:
    """Read rows; none when the file does not exist."""
    return read_plain(path, FaultRow)


def places(networks: Sequence[str], seeds: int) -> Iterator[tuple[Any, ...]]:
    """Yield the `FaultRow.place` of everything that the figure shows."""
    for network in networks:
        yield network, "stuck", 0.0, "none", 0
        for seed in range(1, seeds + 1):
            for kind, shares in SHARES.items():
                for share in shares:
                    for way in WAYS[kind]:
                        yield network, kind, share, way, seed


def changes_of(place: tuple[Any, ...]) -> tuple[dict[str, Any], str]:
    """Return the overrides of the chip and the allocation of a place."""
    _, kind, share, way, seed = place
    plain = "in_order"
    if share == 0:
        return {}, plain
    found: dict[str, Any] = {"faults.seed": seed}
    if kind == "stuck":
        found |= {"faults.stuck_off": share / 2, "faults.stuck_on": share / 2}
    else:
        found |= {"faults.dead_rows": share, "faults.dead_cols": share}
    if way == "spare":
        found |= {"faults.spare_rows": SPARES, "faults.spare_cols": SPARES}
    return found, "around_faults" if way == "around" else plain


def measured(place: tuple[Any, ...], threads: int | None) -> FaultRow:
    """Write a network into a chip with faults, and ask it."""
    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.engine.prepare import prepare
    from cimsim.engine.workers import one_torch_thread
    from cimsim.session.functional import FunctionalRun

    changes, allocation = changes_of(place)
    if place[0] in WORDS:
        return FaultRow(*place, _right_words(place[0], changes, allocation, threads))
    first = prepared(STEMS[place[0]], 0, 1, SIZES[place[0]], threads)
    chip = cimsim.load_hw("eflash40nm", changes)
    mapping = cimsim.map_graph(first.mapping.graph, chip, allocation=allocation)
    run = FunctionalRun(mapping, first.clean, first.sigma, first.seed, threads)
    with one_torch_thread():
        run.calibrated = prepare(
            mapping, device_of(chip), seed=first.seed, threads=threads, **first.learned
        )
        run.execute(lambda stage, done, total: None)
    quality = run.quality()
    assert quality is not None
    return FaultRow(*place, round(quality.psnr_db, 4))


@lru_cache(maxsize=1)
def _words(name: str, threads: int | None) -> tuple[TaskRun, dict[str, Any]]:
    import cimsim
    from cimsim.engine.workers import one_torch_thread
    from cimsim.tasks.keywords import keywords
    from cimsim.tasks.running import TaskRun

    network = cimsim.load_network(name, {}, f"{name}_wtm2101").taking(None)
    graph = cimsim.trace(network.module, network.example(1, 1), name=name)
    chip = cimsim.load_hw("wtm2101", {"tile.count": ARRAYS})
    run = TaskRun(cimsim.map_graph(graph, chip), keywords(), 0, threads)
    with one_torch_thread():
        return run, run.prepare(lambda stage, done, total: None)


ARRAYS = 16  # one for each layer and some more, so that lines can be moved


def _right_words(name: str, changes: dict[str, Any], allocation: str, threads: int | None) -> float:
    """Ask the 60 shipped recordings; each layer has an array of its own."""
    import cimsim
    from cimsim.engine.workers import one_torch_thread
    from cimsim.tasks.running import TaskRun

    first, learned = _words(name, threads)
    chip = cimsim.load_hw("wtm2101", {"tile.count": ARRAYS} | changes)
    mapping = cimsim.map_graph(first.mapping.graph, chip, allocation=allocation)
    run = TaskRun(mapping, first.task, 0, threads)
    with one_torch_thread():
        run.prepare(lambda stage, done, total: None, learned)
        run.execute(lambda stage, done, total: None)
    return round(run.judge.scores()[0].chip, 4)


def draw(rows: Sequence[FaultRow]) -> Figure:
    """Draw a column of panels for each network: stuck cells above, broken lines below."""
    from matplotlib.lines import Line2D

    networks = list(dict.fromkeys(row.network for row in rows))
    with paper_style():
        figure, axes = new_figure(3.9, 2, len(networks), squeeze=False, sharex="row")
        figure.set_figwidth(7.0)
        for column, network in zip(axes.T, networks, strict=True):
            own = [row for row in rows if row.network == network]
            sound = next(row.score for row in own if row.share == 0)
            for panel, kind in zip(column, SHARES, strict=True):
                _panel(panel, [row for row in own if row.kind == kind and row.share], sound)
                panel.set_xlabel(f"{TITLES[kind]} (%)")
                panel.set_ylabel("points lost" if network in WORDS else "lost (dB)")
            column[0].set_title(NETWORKS[network], loc="left", fontsize=8)
        handles = [Line2D([], [], markersize=3.8, **look) for look in LOOKS.values()]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _panel(axes: Axes, rows: Sequence[FaultRow], sound: float) -> None:
    for way, look in LOOKS.items():
        own = [row for row in rows if row.way == way]
        shares = sorted({row.share for row in own})
        if not shares:
            continue
        lost = [[sound - row.score for row in own if row.share == share] for share in shares]
        axes.plot([100 * s for s in shares], [sum(x) / len(x) for x in lost], markersize=3.8,
                  **look)  # fmt: skip
    highest = max(axes.get_ylim()[1], 0.5)  # nothing lost is a line at the bottom
    axes.set_ylim(-0.03 * highest, highest)
    axes.axhline(0, color="#777777", linestyle=(0, (1, 1.5)), linewidth=0.9)
    axes.set_xscale("log")
    ticks = sorted({100 * row.share for row in rows})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def table(rows: Sequence[FaultRow]) -> str:
    """Return a Markdown table of what is lost."""
    lines = ["| network | faults | share | " + " | ".join(str(x["label"]) for x in LOOKS.values())
             + " |", "|---" * (3 + len(LOOKS)) + "|"]  # fmt: skip
    for network in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == network]
        sound = next(row.score for row in own if row.share == 0)
        for kind, shares in SHARES.items():
            for share in shares:
                cells = []
                for way in LOOKS:
                    at = [r.score for r in own if (r.kind, r.share, r.way) == (kind, share, way)]
                    cells.append(f"{sound - sum(at) / len(at):.2f}" if at else "–")
                told = f"{100 * share:g} %"
                lines.append(f"| {network} | {TITLES[kind]} | {told} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="cimnet, dscnn, keyword-lstm or block (often)."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Chips.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("out/faults"),
) -> None:
    """Measure what is missing in DIR/faults.csv, print the table and draw the figure."""
    networks = network or ["cimnet", "dscnn", "keyword-lstm"]
    for name in networks:
        if name not in NETWORKS:
            raise ConfigError(f"--network: '{name}' is unknown{suggest(name, NETWORKS)}")
    console, kept = make_console(), out / "faults.csv"
    wanted = list(places(networks, seeds))

    def tell(number: int, row: FaultRow) -> None:
        console.print(f"{number} of {len(wanted)}: {row.place}: {row.score:.2f}")

    rows = measure_missing(
        kept, COLUMNS, read_rows(kept), wanted, lambda place: measured(place, threads), tell
    )
    console.print(table(rows), soft_wrap=True)
    console.print(f"figure: {save(draw(rows), out, 'faults')}")


if __name__ == "__main__":
    run_command(main)
