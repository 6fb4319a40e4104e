"""Pictures of a result: before and after, energy and time by layer, PSNR per frame, stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.energy.model import CHIP_ROW, COMPONENTS, STANDING, number_of
from cimsim.errors import SimulationError
from cimsim.report.numbers import rate, with_interval
from cimsim.session.result import Result
from cimsim.units import format_si
from cimsim.video.reel import with_channels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from cimsim.timing.timeline import Timeline

# Okabe-Ito order: told apart by people with any kind of colour vision
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#661100",
            "#999999", "#882255", "#6F4E37", "#000000", "#44AA99", "#AA4499", "#DDCC77", "#332288",
            "#117733", "#BBBBBB")  # fmt: skip
COLOURS = dict(zip(COMPONENTS, _COLOURS, strict=True))
_FOR_TEXT = 12  # times the largest value, on a logarithmic axis: room for the texts
_LETTERS = 11  # of a subtitle for an inch of the figure, which is wider than its axes
_COMPRESSION = 3  # of 9: half the time of matplotlib's 6 for a few per cent more bytes
STAGES = ("load", "drive", "convert", "reduce", "post", "store")


def draw_all(result: Result, folder: Path) -> None:
    """Write every plot that the result has data for into ``folder``."""
    plots = folder / "plots"
    plots.mkdir()
    _save(energy_by_layer(result), plots / "energy_by_layer.png")
    _save(time_by_layer(result), plots / "time_by_layer.png")
    if result.sensitivity:
        _save(tornado(result), plots / "tornado.png")
    if result.quality is not None:
        _save(psnr_per_frame(result), plots / "psnr_per_frame.png")
    if result.frames:
        _save(before_after(result), folder / "before_after.png")


def tornado(result: Result, most: int = 12) -> Figure:
    """Draw which numbers of the chip the energy of a frame depends on most."""
    effects = [one for one in result.sensitivity if one.high_j > one.low_j][:most]
    figure, axes = _figure(8.0, 1.6 + 0.32 * len(effects))
    unit, factor = _scale(result.energy.total_j, "J")
    middle = result.energy.total_j * factor
    for ends, colour, label in (
        ([one.low_j for one in effects], _COLOURS[4], "at its 5 % point"),
        ([one.high_j for one in effects], _COLOURS[1], "at its 95 % point"),
    ):
        widths = [end * factor - middle for end in ends]
        axes.barh([one.path for one in effects], widths, 0.7, middle, color=colour, label=label)
    axes.axvline(middle, color="#555555", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel(f"energy per frame / {unit}")
    _title(axes, "Which number of the chip matters most", _subtitle(result))
    _legend(axes)
    return figure


def energy_by_layer(result: Result) -> Figure:
    """Draw the energy of a frame by component, and bars of that of each layer without static."""
    rows = [row for row in result.layers if dynamic_j(row) > 0]
    shown = [n for n in COMPONENTS if n not in STANDING and any(row.get(f"{n}_j") for row in rows)]
    spent = {name: value for name, value in result.energy.by_component.items() if value}
    # bars of one size, and room for the legend beside few layers
    heights = [0.2 * len(spent), max(0.25 * len(rows), 0.2 * len(shown))]
    figure, (whole, layers) = _figure(10.5, 2.5 + sum(heights), rows=2, height_ratios=heights)
    _by_component(whole, result, spent)
    _by_layer(layers, result, rows, shown)
    left_out = [
        f"{COMPONENTS[n].partition(':')[0]} {format_si(spent[n], 'J')}"
        for n in STANDING
        if n in spent
    ]
    _title(layers, "By layer, without what goes with time", f"left out: {'; '.join(left_out)}")
    for axes in (whole, layers):
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        _plain(axes)
    _legend(layers)
    return figure


def _by_component(axes: Axes, result: Result, spent: Mapping[str, float]) -> None:
    """Draw a point for each component, with what is known of it, on a logarithmic axis.

    Bars would have to begin somewhere, and such an axis has no zero.
    """
    from matplotlib.ticker import EngFormatter

    for place, (name, value) in enumerate(spent.items()):
        ends = result.intervals.get(number_of(name))
        axes.plot(value, place, "o", color=COLOURS[name], markersize=7, zorder=3)
        if ends is not None:
            _whisker(axes, place, value, ends, 1.0)
        reach = value if ends is None else max(value, ends[1])
        axes.annotate(
            with_interval(value, ends, "J"), (reach, place), (6, 0), fontsize=8, va="center",
            textcoords="offset points",
        )  # fmt: skip
    axes.set_yticks(range(len(spent)), [COMPONENTS[name] for name in spent])
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * _FOR_TEXT)
    axes.xaxis.set_major_formatter(EngFormatter("J"))
    axes.set_xlabel(f"energy per frame{_known(result)}")
    total, ends = result.energy.total_j, result.intervals.get("energy.per_frame")
    title = f"Energy of one frame by component: {with_interval(total, ends, 'J')}"
    _title(axes, title, _subtitle(result))


def _by_layer(
    axes: Axes, result: Result, rows: Sequence[Mapping[str, str | float]], shown: Sequence[str]
) -> None:
    """Draw a stacked bar for each layer, and its interval where that is of the bar alone."""
    layers = [row for row in rows if row["layer"] != CHIP_ROW]
    unit, factor = _scale(max(map(dynamic_j, layers or rows)), "J")
    left = np.zeros(len(rows))
    for name in shown:
        widths = np.array([float(row.get(f"{name}_j", 0.0)) * factor for row in rows])
        places = np.arange(len(rows))
        axes.barh(places, widths, 0.8, left, label=COMPONENTS[name], color=COLOURS[name])
        left += widths
    without, reaches = [], left.copy()
    for place, row in enumerate(rows):
        ends = _dynamic_ends(row)
        if ends is not None:
            _whisker(axes, place, dynamic_j(row), ends, factor)
            reaches[place] = max(left[place], ends[1] * factor)
        elif "energy_low_j" in row:
            without.append(str(row["layer"]))
    own = [reach for row, reach in zip(rows, reaches, strict=True) if row["layer"] != CHIP_ROW]
    if own:
        _cut(axes, rows, reaches, 1.05 * max(own))
    axes.set_yticks(np.arange(len(rows)), [str(row["layer"]) for row in rows])
    none = f"; {', '.join(without)}: not known" if without else ""
    axes.set_xlabel(f"energy per frame / {unit}{_known(result)}{none}")


def _cut(
    axes: Axes, rows: Sequence[Mapping[str, str | float]], reaches: NDArray[np.float64], end: float
) -> None:
    """End an axis where the layers do: what the chip has beside them may be many times as much.

    A bar or an interval that goes on is told in words, with an arrow.
    """
    if reaches.max() <= end:
        return
    axes.set_xlim(0, end)
    for place, row in enumerate(rows):
        if reaches[place] > end:
            told = with_interval(dynamic_j(row), _dynamic_ends(row), "J")
            axes.annotate(
                f"{told} \N{RIGHTWARDS ARROW}", (end, place), (-6, 0), fontsize=8, ha="right",
                va="center", textcoords="offset points",
                bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip


def _dynamic_ends(row: Mapping[str, str | float]) -> tuple[float, float] | None:
    """Return the 5 and 95 % points of what `dynamic_j` gives; older results lack the chip's."""
    kind = "working" if any(row.get(f"{n}_j") for n in STANDING) else "energy"
    if f"{kind}_low_j" not in row:
        return None
    return float(row[f"{kind}_low_j"]), float(row[f"{kind}_high_j"])


def _known(result: Result) -> str:
    return ", whiskers: 5 .. 95 % of what the sources allow" if result.intervals else ""


def _whisker(
    axes: Axes, place: int, value: float, ends: tuple[float, float], factor: float
) -> None:
    """Draw the 5 and 95 % points of a bar."""
    low, high = ends
    reach = [[max(value - low, 0.0) * factor], [max(high - value, 0.0) * factor]]
    axes.errorbar(
        value * factor, place, xerr=reach, fmt="none", ecolor="#333333", elinewidth=0.9, capsize=2.5
    )


def dynamic_j(row: Mapping[str, str | float]) -> float:
    """Return the energy of a layer without what goes with time, J."""
    return float(row["energy_j"]) - sum(float(row.get(f"{n}_j", 0.0)) for n in STANDING)


def time_by_layer(result: Result) -> Figure:
    """Bars: how long each stage of each layer is busy for one frame."""
    rows = [row for row in result.layers if any(row.get(f"{s}_cycles") for s in STAGES)]
    clock = result.timing.clock_hz
    longest = max(max(row[f"{s}_cycles"] for s in STAGES) for row in rows) / clock
    interval = result.timing.seconds_per_frame
    unit, factor = _scale(max(longest, interval), "s")
    shown = [s for s in STAGES if any(row[f"{s}_cycles"] for row in rows)]
    figure, axes = _figure(9.0, 1.6 + max(0.3 * len(rows), 0.2 * len(shown)))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    places = np.arange(len(rows))
    height = 0.84 / len(shown)
    for index, stage in enumerate(shown):
        widths = [row[f"{stage}_cycles"] / clock * factor for row in rows]
        offset = (index - (len(shown) - 1) / 2) * height
        axes.barh(places + offset, widths, height, label=stage, color=_COLOURS[index])
    axes.set_yticks(places, [row["layer"] for row in rows])
    axes.invert_yaxis()
    label = f"interval {format_si(interval, 's')}"
    axes.axvline(interval * factor, color="black", linewidth=1, linestyle="--", label=label)
    axes.set_xlabel(f"busy time per frame / {unit}")
    _legend(axes)
    _title(
        axes, f"Time by layer: {rate(result.timing.frames_per_second)} frames/s", _subtitle(result)
    )
    return figure


def busiest_stages(timeline: Timeline) -> Figure:
    """Draw the busiest stage of each layer: shares of cycles in service, waiting, blocked."""
    rows = [row for row in timeline.rows() if float(row["busy"]) > 0]
    figure, axes = _figure(8.0, 1.4 + 0.3 * len(rows))
    names = [f"{row['unit']} {row['stage']}" for row in rows]
    left = np.zeros(len(rows))
    kinds = (("busy", _COLOURS[2]), ("waiting", _COLOURS[1]), ("blocked", _COLOURS[5]))
    for kind, colour in kinds:
        share = np.array([row[kind] for row in rows])
        axes.barh(names, 100 * share, 0.7, 100 * left, color=colour, label=kind)
        left += share
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of all cycles / %")
    _legend(axes)
    text = f"{timeline.schedule}, {timeline.interval:,} cycles between frames"
    _title(axes, "What the busiest stage of each layer does", text)
    return figure


def psnr_per_frame(result: Result) -> Figure:
    """Draw PSNR of input, float network and chip for each frame."""
    quality = result.quality
    if quality is None:
        raise SimulationError("psnr_per_frame: the result has no frames")
    figure, axes = _figure(7.0, 3.8)
    series = (("network in float32", quality.float_psnr, "#0072B2", "o"),
              ("on the chip", quality.chip_psnr, "#D55E00", "s"),
              ("noisy input", quality.noisy_psnr, "#999999", "^"))  # fmt: skip
    for label, values, colour, marker in series[: 3 if quality.is_noisy else 2]:
        axes.plot(range(1, len(values) + 1), values, marker=marker, color=colour, label=label)
    axes.set_xlabel("frame")
    axes.set_ylabel("PSNR / dB")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(quality.chip_psnr) == 1:
        axes.set_xticks([1])
    axes.grid(axis="y", alpha=0.3)
    _legend(axes)
    _title(axes, "PSNR per frame", _subtitle(result))
    return figure


def before_after(result: Result) -> Figure:
    """Show the middle frame: clean (if known), noisy, float and chip, with a detail below."""
    index = len(result.frames["chip"]) // 2
    names = [name for name in ("clean", "noisy", "float", "chip") if name in result.frames]
    pictures = {name: with_channels(np.clip(result.frames[name][index], 0, 1), 3) for name in names}
    height, width = pictures["chip"].shape[:2]
    detail = _detail(pictures[names[0]])
    column = 3.2
    figure, axes = _figure(
        len(names) * column, column * height / width + column + 0.9, rows=2, columns=len(names),
        height_ratios=[height / width, 1.0],
    )  # fmt: skip
    captions = _captions(result, index)
    for number, name in enumerate(names):
        top, bottom = axes[0][number], axes[1][number]
        top.imshow(pictures[name], interpolation="nearest")
        top.set_title(captions[name], fontsize=10)
        y, x, size = detail
        top.add_patch(_frame(x, y, size))
        bottom.imshow(pictures[name][y : y + size, x : x + size], interpolation="nearest")
        for panel in (top, bottom):
            panel.set_axis_off()
    figure.suptitle(_subtitle(result), fontsize=10)
    return figure


def _captions(result: Result, index: int) -> dict[str, str]:
    quality = result.quality
    if quality is None:
        return {"noisy": f"noisy, frame {index + 1}", "float": "float32", "chip": "on the chip"}
    return {
        "clean": f"clean, frame {index + 1}",
        "noisy": f"noisy {quality.noisy_psnr[index]:.2f} dB" if quality.is_noisy else "no noise",
        "float": f"float32 {quality.float_psnr[index]:.2f} dB",
        "chip": f"on the chip {quality.chip_psnr[index]:.2f} dB",
    }


def _detail(picture: NDArray[np.float32]) -> tuple[int, int, int]:
    """Upper left corner and size of the square with the most contrast."""
    height, width = picture.shape[:2]
    size = max(8, min(height, width) // 4)
    grey = picture.mean(axis=2)
    best, place = -1.0, (0, 0)
    for y in range(0, height - size + 1, max(1, size // 2)):
        for x in range(0, width - size + 1, max(1, size // 2)):
            contrast = float(np.abs(np.diff(grey[y : y + size, x : x + size], axis=1)).mean())
            if contrast > best:
                best, place = contrast, (y, x)
    return place[0], place[1], size


def _frame(x: int, y: int, size: int) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), size, size, fill=False, edgecolor="yellow", linewidth=1.2)


def _figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any
) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, gridspec_kw=grid or None)
    return figure, axes


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)


def _legend(axes: Axes) -> None:
    _plain(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _title(axes: Axes, title: str, subtitle: str) -> None:
    """Write a title and, wrapped to the figure, what it is about."""
    import textwrap

    width = _LETTERS * axes.figure.bbox.width / axes.figure.dpi
    lines = textwrap.wrap(subtitle, int(width)) or [""]
    lines = [*lines[:2], "..."] if len(lines) > 3 else lines  # overrides without end
    axes.set_title(title + "\n" * len(lines), fontsize=11, loc="left")
    axes.text(
        0, 1.01, "\n".join(lines), transform=axes.transAxes, fontsize=8, color="#555555",
        va="bottom",
    )  # fmt: skip


def _subtitle(result: Result) -> str:
    _, height, width = result.frame
    return f"{result.model} on {result.chip_label}, {width} x {height}, {result.timing.schedule}"


def _scale(largest: float, unit: str) -> tuple[str, float]:
    text = format_si(largest, unit).split()[1]
    prefix = text.removesuffix(unit)
    factor = {"": 1, "m": 1e3, "µ": 1e6, "n": 1e9, "p": 1e12, "f": 1e15, "k": 1e-3}[prefix]
    return text, factor


def _save(figure: Figure, path: Path) -> None:
    """Write a figure, with the pixels that ``figure.savefig(path)`` gives.

    That draws everything once more before, so that the layout is known.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(path, pil_kwargs={"compress_level": _COMPRESSION})
