"""PSNR on the chip against converters, cells and operand widths, each alone around `eflash40nm`.

python -m benchmarks.analog.sweep                        # CIM-NET and the FastDVDnet block
python -m benchmarks.analog.sweep --seeds 1 --weights cimnet_s8_eflash40nm --field adc.bits

Finished points are kept in --out and not run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.analog.drift import SIGMA, shipped_card
from benchmarks.paper.console import make_console, run_command
from benchmarks.paper.record import read_csv, write_csv
from benchmarks.paper.style import DPI, WIDTH, paper_style
from cimsim.errors import ConfigError, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cimsim.functional import FunctionalRun

CHIP = "eflash40nm"


@dataclass(frozen=True, slots=True)
class Axis:
    """One field of the chip's description: what it is called, its values, and the chip's own."""

    label: str
    values: tuple[float, ...]
    own: float
    unit: str = ""  # of the values, as the description has it

    def changes(self, field: str, value: float) -> dict[str, Any]:
        """Return overrides of the chip; its own value changes nothing."""
        if value == self.own:
            return {}
        if self.unit:
            return {field: f"{value:g} {self.unit}"}
        # a driver cannot apply more bits in a pulse than an input has
        narrow = {"dac.bits": int(value)} if field == "inputs.bits" else {}
        return {field: int(value)} | narrow


AXES = {
    "adc.bits": Axis("ADC bits", (4, 5, 6, 7, 8, 9, 10), 8),
    "device.sigma_program": Axis("programming error (%)", (0, 0.5, 1, 1.75, 2.5, 4), 1.75, "%"),
    "device.sigma_read": Axis("read noise (%)", (0, 0.5, 0.79, 1, 2, 4), 0.79, "%"),
    "weights.bits": Axis("weight bits", (4, 5, 6, 7, 8), 8),
    "inputs.bits": Axis("input bits", (4, 5, 6, 7, 8), 8),
}
STEMS = ("cimnet_s8_eflash40nm", "fastdvdnet-block_eflash40nm")
LOOKS = {
    STEMS[0]: {"color": "#D55E00", "marker": "o", "label": "CIM-NET, S = 8"},
    STEMS[1]: {"color": "#0072B2", "marker": "s", "label": "FastDVDnet block"},
}


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One chip.

    Attributes
    ----------
    weights, field : str
        Shipped weights, and the field of the chip that differs from `eflash40nm`.
    value : float
        Of the field: bits, or %.
    seed, frames, size : int
        Seed of chip and noise; frames of the embedded clip, of size x size pixels.
    noisy_db, float_db, chip_db : float
        Mean PSNR of the input, of the float network and of the chip.
    """

    weights: str
    field: str
    value: float
    seed: int
    frames: int
    size: int
    noisy_db: float
    float_db: float
    chip_db: float

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about."""
        return (self.weights, self.field, self.value, self.seed, self.frames, self.size)


COLUMNS = tuple(field.name for field in fields(SweepRow))


def read_rows(path: Path) -> list[SweepRow]:
    """Read rows; none when the file does not exist."""
    return read_csv(path, COLUMNS, _row)


def _row(values: dict[str, str]) -> SweepRow:
    typed: dict[str, Any] = dict(values)
    typed |= {name: int(values[name]) for name in ("seed", "frames", "size")}
    typed |= {name: float(values[name]) for name in ("value", "noisy_db", "float_db", "chip_db")}
    return SweepRow(**typed)


def places(
    weights: Sequence[str], chosen: Sequence[str], seeds: int, frames: int, size: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the `SweepRow.place` of everything that the figure shows, seed by seed."""
    for seed in range(seeds):
        for stem in weights:
            for field in chosen:
                for value in AXES[field].values:
                    yield stem, field, float(value), seed, frames, size


def measure(place: tuple[Any, ...], threads: int | None = None) -> SweepRow:
    """Program one chip and let it denoise the embedded clip.

    Parameters
    ----------
    place : tuple
        See `SweepRow.place`.
    threads : int, optional
        Of the engine; they never change a bit.
    """
    stem, field, value, seed, frames, size = place
    first = _learned(stem, seed, frames, size, threads)
    changes = tuple(AXES[field].changes(field, value).items())
    return SweepRow(*place, **(_unchanged(first) if not changes else psnr(first, dict(changes))))


@lru_cache(maxsize=1)
def _unchanged(first: FunctionalRun) -> dict[str, float]:
    """Return the scores of the chip itself, a point of every axis."""
    return psnr(first, {})


def psnr(first: FunctionalRun, changes: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean PSNR of a chip that differs in some fields from `eflash40nm`.

    Parameters
    ----------
    first : FunctionalRun
        Has learned the inputs and rounded the weights of the same graph on the same clip, see
        `FunctionalRun.prepare`; weights are rounded anew only where their width differs.
    changes : mapping of str to value
        Overrides of the chip.

    Returns
    -------
    dict of str to float
        ``noisy_db``, ``float_db`` and ``chip_db``.
    """
    import cimsim
    from cimsim.devices import device_of
    from cimsim.engine.prepare import prepare
    from cimsim.engine.rounding import round_to_inputs
    from cimsim.functional import FunctionalRun, one_torch_thread

    chip = cimsim.load_hw(CHIP, dict(changes))
    mapping = cimsim.map_graph(first.mapping.graph, chip)
    learned = dict(first.learned)
    run = FunctionalRun(mapping, first.clean, first.sigma, first.seed, first.threads)
    with one_torch_thread():
        if chip.weights != first.mapping.chip.weights:
            learned["integers"] = round_to_inputs(mapping, learned["samples"], first.threads)
        run.calibrated = prepare(
            mapping, device_of(chip), seed=first.seed, threads=first.threads, **learned
        )
        run.execute(lambda stage, done, total: None)
    quality = run.quality()
    return {f"{name}_db": round(quality.mean(f"{name}_psnr"), 4)
            for name in ("noisy", "float", "chip")}  # fmt: skip


@lru_cache(maxsize=1)
def _learned(stem: str, seed: int, frames: int, size: int, threads: int | None) -> FunctionalRun:
    """Return a run that has learned what all chips share: inputs and rounded weights."""
    import cimsim
    from cimsim.functional import FunctionalRun, one_torch_thread
    from cimsim.video.embedded import embedded_clip

    card = shipped_card(stem)
    network = cimsim.load_network(card.model, dict(card.options), stem)
    graph = cimsim.trace(network.module, network.example(size, size), name=stem)
    mapping = cimsim.map_graph(graph, cimsim.load_hw(CHIP))
    run = FunctionalRun(mapping, embedded_clip("default", frames, size, size), SIGMA, seed, threads)
    with one_torch_thread():
        run.prepare(None, lambda stage, done, total: None)
    return run


def draw(rows: Sequence[SweepRow]) -> Figure:
    """Draw a panel for each field: mean over the seeds, and the range from seed to seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = list(dict.fromkeys(row.field for row in rows))
    with paper_style():
        figure = Figure(figsize=(2 * WIDTH, 2.4), layout="constrained", dpi=DPI)
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(chosen), sharey=True, squeeze=False)[0]
        for panel, field in zip(panels, chosen, strict=True):
            _panel(panel, AXES[field], [row for row in rows if row.field == field])
        panels[0].set_ylabel("PSNR on the chip (dB)")
        _legend(figure, list(dict.fromkeys(row.weights for row in rows)))
    return figure


def _panel(axes: Axes, axis: Axis, rows: Sequence[SweepRow]) -> None:
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.axvline(axis.own, color="#DDDDDD", linewidth=3, zorder=0)
    for stem in dict.fromkeys(row.weights for row in rows):
        own, look = [row for row in rows if row.weights == stem], _look(stem)
        xs = sorted({row.value for row in own})
        levels = [[row.chip_db for row in own if row.value == x] for x in xs]
        axes.fill_between(
            xs, [min(level) for level in levels], [max(level) for level in levels],
            color=look["color"], alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.plot(xs, [sum(level) / len(level) for level in levels], markersize=3.2, **look)
        reference = sum(row.float_db for row in own) / len(own)
        axes.axhline(reference, color=look["color"], linestyle="--", linewidth=0.9, zorder=1)
    if not axis.unit:
        axes.set_xticks(axis.values, [f"{value:g}" for value in axis.values])
    axes.set_xlabel(axis.label)


def _look(stem: str) -> dict[str, Any]:
    return LOOKS.get(stem, {"color": "#009E73", "marker": "^", "label": stem})


def _legend(figure: Figure, stems: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], markersize=3.2, **_look(stem)) for stem in stems]
    handles += [
        Line2D([], [], color="#555555", linestyle="--", linewidth=0.9, label="float network"),
        Line2D([], [], color="#DDDDDD", linewidth=3, label=f"the value of {CHIP}"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False,
                  handlelength=2.2, columnspacing=1.6, borderaxespad=0.1)  # fmt: skip


def save(figure: Figure, folder: Path) -> None:
    """Write ``sweep.png`` and ``sweep.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    with paper_style():
        figure.savefig(folder / "sweep.png", dpi=DPI)
        figure.savefig(folder / "sweep.svg", metadata={"Date": None})


def main(
    weights: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Shipped weights (often).")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Field of the chip (often).")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Chips that are programmed.")] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the embedded clip.")] = 2,
    size: Annotated[int, typer.Option(min=64, help="Height and width of a frame.")] = 192,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("out/sweep"),
) -> None:
    """Measure what is missing in DIR/sweep.csv and draw the figure."""
    stems, chosen = weights or list(STEMS), field or list(AXES)
    for stem in stems:
        shipped_card(stem)
    for name in chosen:
        if name not in AXES:
            raise ConfigError(f"--field: '{name}' is not swept{suggest(name, AXES)}")
    console, kept = make_console(), out / "sweep.csv"
    rows = {row.place: row for row in read_rows(kept)}
    wanted = list(places(stems, chosen, seeds, frames, size))
    for number, place in enumerate(wanted, 1):
        if place in rows:
            continue
        row = rows[place] = measure(place, threads)
        out.mkdir(parents=True, exist_ok=True)
        write_csv(kept, COLUMNS, map(asdict, rows.values()))
        console.print(
            f"{number} of {len(wanted)}: {row.weights}, seed {row.seed}, {row.field} = "
            f"{row.value:g}: {row.chip_db:.2f} dB (float {row.float_db:.2f})"
        )
    save(draw([rows[place] for place in wanted]), out)
    console.print(f"figure: {out / 'sweep.png'}")


if __name__ == "__main__":
    run_command(main)
