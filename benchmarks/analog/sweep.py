"""PSNR on the chip against converters, cells and operand widths, each alone around `eflash40nm`.

python -m benchmarks.analog.sweep                        # CIM-NET and the FastDVDnet block
python -m benchmarks.analog.sweep --seeds 1 --weights cimnet_s8_eflash40nm --field adc.bits

Finished points are kept in --out and not run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.analog.runs import band, measure_missing, prepared, save, scores, shipped_card
from benchmarks.paper.console import make_console, run_command
from benchmarks.paper.record import read_plain
from benchmarks.paper.style import DPI, WIDTH, paper_style
from cimsim.errors import ConfigError, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cimsim.session.functional import FunctionalRun

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
    return read_plain(path, SweepRow)


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
    first = prepared(stem, seed, frames, size, threads, CHIP)
    changes = AXES[field].changes(field, value)
    return SweepRow(*place, **(_unchanged(first) if not changes else scores(first, changes)))


@lru_cache(maxsize=1)
def _unchanged(first: FunctionalRun) -> dict[str, float]:
    """Return the scores of the chip itself, a point of every axis."""
    return scores(first, {})


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
        band(axes, xs, levels, 0.2, markersize=3.2, **look)
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
    wanted = list(places(stems, chosen, seeds, frames, size))

    def tell(number: int, row: SweepRow) -> None:
        console.print(
            f"{number} of {len(wanted)}: {row.weights}, seed {row.seed}, {row.field} = "
            f"{row.value:g}: {row.chip_db:.2f} dB (float {row.float_db:.2f})"
        )

    rows = measure_missing(
        kept, COLUMNS, read_rows(kept), wanted, lambda place: measure(place, threads), tell
    )
    console.print(f"figure: {save(draw(rows), out, 'sweep')}")


if __name__ == "__main__":
    run_command(main)
