"""PSNR on the chip against the time since programming, with and without a new calibration.

python -m benchmarks.analog.drift                        # CIM-NET and the FastDVDnet block
python -m benchmarks.analog.drift --seeds 1 --device pcm --weights cimnet_s8_eflash40nm

The geometry is that of `eflash40nm`; its cells are replaced by cells whose drift was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.analog.runs import band, measure_missing, prepared, save, scores, shipped_card
from benchmarks.paper.console import make_console, run_command
from benchmarks.paper.record import read_plain
from benchmarks.paper.style import new_figure, paper_style
from cimsim.errors import ConfigError, suggest
from cimsim.units import format_duration, parse_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Times at which a chip is looked at; a device's own data end the list.
TIMES = {
    "pcm": ("0 s", "1 min", "10 min", "1 h", "10 h", "1 d", "10 d", "100 d", "1 y", "10 y"),
    "sonos40": ("0 s", "1 h", "10 h", "1 d", "2 d", "3 d", "4 d", "5 d"),
    "rram": ("0 s", "1 min", "10 min", "1 h", "10 h", "1 d", "2 d"),
}
TITLES = {"cimnet_s8_eflash40nm": "CIM-NET, S = 8", "fastdvdnet-block": "FastDVDnet block"}
LOOKS = {
    "pcm": {"color": "#D55E00", "marker": "o"},
    "sonos40": {"color": "#0072B2", "marker": "s"},
    "rram": {"color": "#009E73", "marker": "^"},
}
LABELS = {"pcm": "PCM", "sonos40": "SONOS 40 nm", "rram": "RRAM"}
ZERO_AT_S = 12.0  # where time 0 stands on the logarithmic axis, left of a break


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One chip at one time.

    Attributes
    ----------
    weights, device : str
        Shipped weights, and kind of the cells.
    time_s : float
        Since programming.
    recalibrated : bool
        Whether ranges and column corrections are those of this time, or of time 0.
    seed, frames, size : int
        Seed of chip and noise; frames of the embedded clip, of size x size pixels.
    noisy_db, float_db, chip_db : float
        Mean PSNR of the input, of the float network and of the chip.
    """

    weights: str
    device: str
    time_s: float
    recalibrated: bool
    seed: int
    frames: int
    size: int
    noisy_db: float
    float_db: float
    chip_db: float

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about."""
        return (self.weights, self.device, self.time_s, self.recalibrated, self.seed, self.frames,
                self.size)  # fmt: skip


COLUMNS = tuple(field.name for field in fields(DriftRow))


def read_rows(path: Path) -> list[DriftRow]:
    """Read rows; none when the file does not exist."""
    return read_plain(path, DriftRow)


def places(
    weights: Sequence[str], devices: Sequence[str], seeds: int, frames: int, size: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the `DriftRow.place` of everything that the figure shows, seed by seed.

    At time 0 there is nothing to renew, so it occurs once.
    """
    for seed in range(seeds):
        for stem in weights:
            for device in devices:
                for text in TIMES[device]:
                    time_s = parse_quantity(text, "s")
                    for renewed in (False, True) if time_s else (False,):
                        yield stem, device, time_s, renewed, seed, frames, size


def psnr_after(place: tuple[Any, ...], threads: int | None = None) -> DriftRow:
    """Program a chip, age it and let it denoise the embedded clip.

    Parameters
    ----------
    place : tuple
        See `DriftRow.place`.
    threads : int, optional
        Of the engine; they never change a bit.
    """
    stem, device, time_s, renewed, seed, frames, size = place
    changes = {
        "device.kind": device,
        "conditions.time": f"{time_s!r} s",
        "conditions.recalibrate": renewed,
    }
    return DriftRow(*place, **scores(prepared(stem, seed, frames, size, threads), changes))


def draw(rows: Sequence[DriftRow]) -> Figure:
    """Draw a panel for each network: mean over the seeds, and the range from seed to seed."""
    stems = list(dict.fromkeys(row.weights for row in rows))
    with paper_style():
        figure, axes = new_figure(0.7 + 1.75 * len(stems), len(stems), 1, sharex=True,
                                  squeeze=False)  # fmt: skip
        for panel, stem in zip(axes[:, 0], stems, strict=True):
            _panel(panel, [row for row in rows if row.weights == stem])
            panel.set_title(TITLES.get(stem, stem), loc="left")
            panel.set_ylabel("PSNR (dB)")
        _time_axis(axes[-1, 0], max(row.time_s for row in rows))
        _legend(figure, list(dict.fromkeys(row.device for row in rows)))
    return figure


def _panel(axes: Axes, rows: Sequence[DriftRow]) -> None:
    for device in dict.fromkeys(row.device for row in rows):
        own = [row for row in rows if row.device == device]
        for renewed in (True, False):
            # both lines start from the same chip at time 0
            chosen = [row for row in own if row.recalibrated == renewed or row.time_s == 0]
            times = sorted({row.time_s for row in chosen})
            levels = [[row.chip_db for row in chosen if row.time_s == t] for t in times]
            xs = [_x(t) for t in times]
            look = LOOKS[device]
            band(axes, xs, levels, 0.15, **_line(look, renewed), clip_on=False, zorder=3)
    ends = (_x(0) / 1.8, 10 * _YEAR_S * 1.8)
    # each label where no line of a drifting chip passes: top right, and below the line on the left
    ten_minutes = parse_quantity("10 min", "s")
    labels = {"float_db": ("float network", ends[1], (-2, 2), "right", "bottom"),
              "noisy_db": ("noisy input", ten_minutes, (0, -2), "left", "top")}  # fmt: skip
    for name, (text, x, offset, ha, va) in labels.items():
        level = sum(getattr(row, name) for row in rows) / len(rows)
        axes.axhline(level, color="#777777", linestyle=(0, (1, 1.5)), linewidth=0.9, zorder=1)
        axes.annotate(
            text, (x, level), offset, textcoords="offset points", ha=ha, va=va,
            color="#555555", fontsize=7,
        )  # fmt: skip
    axes.set_xlim(*ends)
    axes.margins(y=0.08)


def _line(look: dict[str, Any], renewed: bool) -> dict[str, Any]:
    """Dash a line and open its marks where the calibration was renewed."""
    face = "white" if renewed else look["color"]
    return look | {
        "linestyle": "--" if renewed else "-", "markerfacecolor": face, "markersize": 3.8,
    }  # fmt: skip


_YEAR_S = parse_quantity("1 y", "s")


def _x(time_s: float) -> float:
    return time_s if time_s else ZERO_AT_S


def _time_axis(axes: Axes, longest_s: float) -> None:
    """Make x a logarithmic axis of familiar times, with time 0 left of a break."""
    shown = ["1 min", "1 h", "1 d", "30 d", "1 y", "10 y"]
    axes.set_xscale("log")
    axes.set_xticks([ZERO_AT_S, *(parse_quantity(text, "s") for text in shown)], ["0", *shown])
    axes.minorticks_off()
    axes.set_xlabel("time since programming")
    gap = math.sqrt(ZERO_AT_S * parse_quantity("1 min", "s"))
    axes.plot(
        [gap / 1.12, gap * 1.12], [0, 0], transform=axes.get_xaxis_transform(), clip_on=False,
        linestyle="none", marker=[(-0.4, -1), (0.4, 1)], markersize=6, color="black",
        markeredgewidth=0.7, zorder=5,
    )  # fmt: skip


def _legend(figure: Figure, devices: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    grey = {"color": "#555555", "marker": "o"}
    handles = [Line2D([], [], label=LABELS[device], **LOOKS[device]) for device in devices]
    handles += [
        Line2D([], [], label="calibrated once", **_line(grey, False)),
        Line2D([], [], label="calibrated anew", **_line(grey, True)),
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=2,
        frameon=False,
        handlelength=2.6,
        labelspacing=0.3,
        columnspacing=1.2,
        borderaxespad=0.1,
    )


def main(
    weights: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Shipped weights (often).")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="pcm, sonos40 or rram (often).")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Chips that are programmed.")] = 3,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the embedded clip.")] = 2,
    size: Annotated[int, typer.Option(min=64, help="Height and width of a frame.")] = 256,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("out/drift"),
) -> None:
    """Measure what is missing in DIR/drift.csv and draw the figure."""
    stems = weights or ["cimnet_s8_eflash40nm", "fastdvdnet-block"]
    devices = device or ["pcm", "sonos40"]
    for stem in stems:
        shipped_card(stem)
    for kind in devices:
        if kind not in TIMES:
            raise ConfigError(f"--device: '{kind}' is unknown{suggest(kind, TIMES)}")
    console, kept = make_console(), out / "drift.csv"
    wanted = list(places(stems, devices, seeds, frames, size))

    def tell(number: int, row: DriftRow) -> None:
        how = "calibrated anew" if row.recalibrated else "calibrated once"
        console.print(
            f"{number} of {len(wanted)}: {row.weights}, {row.device}, seed {row.seed}, "
            f"{format_duration(row.time_s)}, {how}: {row.chip_db:.2f} dB"
        )

    rows = measure_missing(
        kept, COLUMNS, read_rows(kept), wanted, lambda place: psnr_after(place, threads), tell
    )
    console.print(f"figure: {save(draw(rows), out, 'drift')}")


if __name__ == "__main__":
    run_command(main)
