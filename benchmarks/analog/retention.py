"""What 40 nm eFlash cells keep over years: a denoiser on eflash40nm and keywords on wtm2101.

python -m benchmarks.analog.retention                    # both, 25, 55 and 85 C, 1 h to 10 y
python -m benchmarks.analog.retention --network cimnet --seeds 1

Every point is computed three times, with the charge loss of the chip file and with a tenth and ten
times as much, which is the range that its source leaves open: the band of the figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.analog.runs import measure_missing, prepared, save, scores
from benchmarks.paper.console import make_console, run_command
from benchmarks.paper.record import read_plain
from benchmarks.paper.style import new_figure, paper_style
from cimsim.errors import ConfigError, suggest
from cimsim.units import format_duration, format_si, parse_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cimsim.mapping.mapping import Mapping
    from cimsim.tasks.running import TaskRun

TIMES = ("1 h", "30 d", "10 y")
ASKED = {"cimnet": TIMES, "dscnn": (TIMES[0], TIMES[-1])}
CELSIUS = (25, 55, 85)
LOSSES = (0.001, 0.0001, 0.01)  # of the charge per decade at 25 C: the chip file's, and its range
MODES = ("none", "column", "recalibrate")
STEM = "cimnet_s8_eflash40nm"
NETWORKS = {"cimnet": "CIM-NET, S = 8, on eflash40nm", "dscnn": "keywords (DS-CNN) on wtm2101"}
UNITS = {"cimnet": "PSNR (dB)", "dscnn": "right words (%)"}
LOOKS = {
    "none": {"color": "#D55E00", "marker": "o", "label": "as calibrated when new"},
    "column": {"color": "#0072B2", "marker": "s", "label": "column gains and offsets anew"},
    "recalibrate": {"color": "#009E73", "marker": "^", "label": "converter ranges, too"},
}


@dataclass(frozen=True, slots=True)
class RetentionRow:
    """One chip at one time and temperature.

    Attributes
    ----------
    network : str
        A key of `NETWORKS`.
    celsius : int
        Temperature that the chip is kept and read at.
    time_s : float
        Since programming.
    charge_loss : float
        Share of the charge lost per decade of time at 25 C.
    mode : str
        What is taken back: nothing, columns (``conditions.compensation: column``), or ranges, too
        (``conditions.recalibrate``).
    seed : int
    float_score, chip_score : float
        Mean PSNR in dB, or right words in per cent.
    """

    network: str
    celsius: int
    time_s: float
    charge_loss: float
    mode: str
    seed: int
    float_score: float
    chip_score: float

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about."""
        return (self.network, self.celsius, self.time_s, self.charge_loss, self.mode, self.seed)


COLUMNS = tuple(field.name for field in fields(RetentionRow))


def read_rows(path: Path) -> list[RetentionRow]:
    """Read rows; none when the file does not exist."""
    return read_plain(path, RetentionRow)


def places(networks: Sequence[str], seeds: int) -> Iterator[tuple[Any, ...]]:
    """Yield the `RetentionRow.place` of everything that the figure shows, seed by seed."""
    for network in networks:
        for seed in range(seeds):
            for loss in LOSSES:
                for celsius in CELSIUS:
                    for text in ASKED[network]:
                        for mode in MODES:
                            time_s = parse_quantity(text, "s")
                            yield network, celsius, time_s, loss, mode, seed


def changes_of(place: tuple[Any, ...]) -> dict[str, Any]:
    """Return the overrides of the chip for a place."""
    _, celsius, time_s, loss, mode, _ = place
    found: dict[str, Any] = {
        "conditions.temperature": f"{celsius} C",
        "conditions.time": f"{time_s!r} s",
        "device.charge_loss": loss,
    }
    if mode == "recalibrate":
        return found | {"conditions.recalibrate": True}
    return found | {"conditions.compensation": mode}


def measured(place: tuple[Any, ...], frames: int, size: int, threads: int | None) -> RetentionRow:
    """Program a chip, keep it for a while and ask it."""
    network, seed = place[0], place[5]
    if network == "cimnet":
        found = scores(prepared(STEM, seed, frames, size, threads), changes_of(place))
        return RetentionRow(*place, found["float_db"], found["chip_db"])
    first, learned = _words(seed, threads)
    from cimsim.engine.workers import one_torch_thread
    from cimsim.tasks.running import TaskRun

    run = TaskRun(_mapping(changes_of(place), first.mapping), first.task, seed, threads)
    with one_torch_thread():
        run.prepare(lambda stage, done, total: None, learned)
        run.execute(lambda stage, done, total: None)
    score = run.judge.scores()[0]
    assert score.reference is not None
    return RetentionRow(*place, round(score.reference, 4), round(score.chip, 4))


def _mapping(changes: dict[str, Any], other: Mapping | None = None) -> Mapping:
    import cimsim

    chip = cimsim.load_hw("wtm2101", changes)
    if other is not None:
        return cimsim.map_graph(other.graph, chip, allocation="packed")
    network = cimsim.load_network("dscnn", {}, "dscnn_wtm2101").taking(None)
    inputs = network.example(1, 1)
    graph = cimsim.trace(network.module, inputs, name="dscnn")
    return cimsim.map_graph(graph, chip, allocation="packed")


@lru_cache(maxsize=1)
def _words(seed: int, threads: int | None) -> tuple[TaskRun, dict[str, Any]]:
    """Return the task on the shipped recordings, and what every chip of it shares."""
    from cimsim.engine.workers import one_torch_thread
    from cimsim.tasks.keywords import keywords
    from cimsim.tasks.running import TaskRun

    run = TaskRun(_mapping({}), keywords(), seed, threads)
    with one_torch_thread():
        learned = run.prepare(lambda stage, done, total: None)
    return run, learned


def costs(network: str) -> dict[str, tuple[float, float]]:
    """Return energy (J) and time (s) of the reads that each mode takes, once.

    For the denoiser on frames of 128 x 128.
    """
    import cimsim
    from cimsim.energy.compensation import compensation
    from cimsim.tasks.keywords import CALIBRATION

    old = {"conditions.time": "1 y"}
    found = {}
    for mode in MODES[1:]:
        told = {"conditions.recalibrate": True} if mode == "recalibrate" else {
            "conditions.compensation": mode
        }  # fmt: skip
        if network == "cimnet":
            made = prepared(STEM, 0, 1, 128, None)
            chip = cimsim.load_hw("eflash40nm", old | told)
            mapping = cimsim.map_graph(made.mapping.graph, chip)
        else:
            mapping = _mapping(old | told)
        found[mode] = compensation(mapping, None if network == "cimnet" else CALIBRATION)
    return found


def draw(rows: Sequence[RetentionRow]) -> Figure:
    """Draw a row of panels for each network, one for each temperature."""
    from matplotlib.lines import Line2D

    networks = list(dict.fromkeys(row.network for row in rows))
    with paper_style():
        figure, axes = new_figure(
            0.6 + 1.75 * len(networks), len(networks), len(CELSIUS), sharex=True, sharey="row",
            squeeze=False,
        )  # fmt: skip
        figure.set_figwidth(7.0)
        for line, network in zip(axes, networks, strict=True):
            for panel, celsius in zip(line, CELSIUS, strict=True):
                _panel(panel, [r for r in rows if (r.network, r.celsius) == (network, celsius)])
                panel.annotate(f"{celsius} °C", (0.03, 0.05), xycoords="axes fraction", fontsize=8)
            line[0].set_title(NETWORKS[network], loc="left", fontsize=8)
            line[0].set_ylabel(UNITS[network])
        for panel in axes[-1]:
            panel.set_xlabel("time since programming")
        handles = [Line2D([], [], markersize=3.8, **look) for look in LOOKS.values()]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _panel(axes: Axes, rows: Sequence[RetentionRow]) -> None:
    times = sorted({row.time_s for row in rows})
    for mode, look in LOOKS.items():
        lines = {
            loss: [_mean(rows, time_s, loss, mode) for time_s in times] for loss in LOSSES
        }  # fmt: skip
        ends = [sorted(values) for values in zip(*lines.values(), strict=True)]
        axes.fill_between(
            times, [e[0] for e in ends], [e[-1] for e in ends], color=look["color"], alpha=0.15,
            linewidth=0,
        )  # fmt: skip
        axes.plot(times, lines[LOSSES[0]], markersize=3.8, **look)
    axes.axhline(rows[0].float_score, color="#777777", linestyle=(0, (1, 1.5)), linewidth=0.9)
    axes.set_xscale("log")
    axes.set_xticks([parse_quantity(text, "s") for text in TIMES], TIMES)
    axes.minorticks_off()


def _mean(rows: Sequence[RetentionRow], time_s: float, loss: float, mode: str) -> float:
    found = [
        row.chip_score
        for row in rows
        if (row.time_s, row.charge_loss, row.mode) == (time_s, loss, mode)
    ]
    return sum(found) / len(found)


def table(rows: Sequence[RetentionRow]) -> str:
    """Return a Markdown table: each temperature after an hour, a year and ten years."""
    lines = ["| network | | " + " | ".join(LOOKS[mode]["label"] for mode in MODES) + " |",
             "|---" * (2 + len(MODES)) + "|"]  # fmt: skip
    for network in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == network]
        for celsius in CELSIUS:
            at = [row for row in own if row.celsius == celsius]
            for text in ASKED[network]:
                time_s = parse_quantity(text, "s")
                cells = []
                for mode in MODES:
                    values = [_mean(at, time_s, loss, mode) for loss in LOSSES]
                    cells.append(f"{values[0]:.2f} ({min(values):.2f} .. {max(values):.2f})")
                where = f"{format_duration(time_s)}, {celsius} °C"
                lines.append(f"| {network} | {where} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    network: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="cimnet or dscnn (often).")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Chips that are programmed.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the embedded clip.")] = 1,
    size: Annotated[int, typer.Option(min=64, help="Height and width of a frame.")] = 192,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("out/retention"),
) -> None:
    """Measure what is missing in DIR/retention.csv, print the table and draw the figure."""
    networks = network or list(NETWORKS)
    for name in networks:
        if name not in NETWORKS:
            raise ConfigError(f"--network: '{name}' is unknown{suggest(name, NETWORKS)}")
    console, kept = make_console(), out / "retention.csv"
    wanted = list(places(networks, seeds))

    def tell(number: int, row: RetentionRow) -> None:
        console.print(
            f"{number} of {len(wanted)}: {row.network}, {row.celsius} C, "
            f"{format_duration(row.time_s)}, loss {row.charge_loss:g}, {row.mode}, seed {row.seed}:"
            f" {row.chip_score:.2f}"
        )

    rows = measure_missing(
        kept, COLUMNS, read_rows(kept), wanted,
        lambda place: measured(place, frames, size, threads), tell,
    )  # fmt: skip
    console.print(table(rows), soft_wrap=True)
    for name in networks:
        for mode, (energy_j, time_s) in costs(name).items():
            told = f"{format_si(energy_j, 'J')}, {format_si(time_s, 's')}"
            console.print(f"{name}, {mode}: {told} each time")
    console.print(f"figure: {save(draw(rows), out, 'retention')}")


if __name__ == "__main__":
    run_command(main)
