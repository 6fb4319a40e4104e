"""A picture of a traced simulation: what each layer's pipeline does, in bins of time.

For people without a trace viewer. Above, a row for each layer: what share of a bin its pipeline
served, waited, was blocked or starved. Below, what the largest line buffers hold and how busy the
interconnect is. The work goes with the number of windows, the size of the picture does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import InputError
from cimsim.files import replacing
from cimsim.mapping.mapping import Mapping
from cimsim.report.numbers import rate
from cimsim.report.timeline.bins import largest_in_bins, mean_count, shares_by_priority
from cimsim.report.timeline.traced import Stays, TracedRun
from cimsim.timing.spec.stage import Stage
from cimsim.timing.timeline import Timeline
from cimsim.units import format_si

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SUFFIXES = (".png", ".svg", ".pdf")
# what hides what: a pipeline that serves in any stage is not called starved
STATES = {
    "in service: DRIVE, CONVERT": "#0072B2",
    "in service: other stages only": "#7FC4EE",
    "waiting for a shared resource": "#E69F00",
    "blocked by the next stage": "#D55E00",
    "no credit: a reader's buffer is full": "#CC79A7",
    "starved: input not stored yet": "#DCDCDC",
}
_SERVED, _SERVED_ELSE, _WAITING, _BLOCKED, _NO_CREDIT, _STARVED = range(6)
_LINES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")
_BINS, _MOST_ROWS = 480, 48
_TALL, _GAP = 14, 4  # pixels of a row and of the white below it


@dataclass(frozen=True, slots=True)
class LayerShares:
    """What the pipelines of one node did.

    Attributes
    ----------
    name : str
    replicas : int
    shares : float64 [states, bins]
        Of each bin, in the order of `STATES`, mean over replicas; what is missing to 1 is idle.
    begins : tuple of int
        Cycle in which its first activation of each frame entered.
    """

    name: str
    replicas: int
    shares: Floats
    begins: tuple[int, ...]


def layer_shares(run: TracedRun, u: int, edges: Floats) -> LayerShares:
    """Return what the pipelines of node ``u`` did in each bin of time.

    Parameters
    ----------
    run : TracedRun
    u : int
        Place in `Timeline.nodes`.
    edges : float64 [bins + 1]
        In cycles, ascending.
    """
    job, stays = run.plan.jobs[u], run.stays(u)
    shares = np.zeros((len(STATES), len(edges) - 1))
    for replica in range(len(job.pipes)):
        mine = (stays.replica == replica) & (stays.free < edges[-1])
        shares += shares_by_priority(_spans(stays, mine, job.node.kind == "matrix"), edges)
    entered = stays.enter[:, Stage.LOAD]
    begins = tuple(int(entered[stays.frame == frame].min()) for frame in range(run.timeline.frames))
    return LayerShares(job.node.name, len(job.pipes), shares / len(job.pipes), begins)


def _spans(stays: Stays, mine: NDArray[np.bool_], matrix: bool) -> list[tuple[Ints, Ints]]:
    """Return start and end of the spans of each state, all stages together."""
    enter, waiting, leave = stays.enter[mine], stays.waiting[mine], stays.leave[mine]
    began, served = enter + waiting, stays.served[mine]
    there = enter >= 0
    main = np.zeros(6, np.bool_)
    main[[Stage.DRIVE, Stage.CONVERT] if matrix else [Stage.POST]] = True

    def of(start: Ints, stop: Ints, chosen: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        return start[chosen], stop[chosen]

    free, until = stays.free[mine], stays.starved_until[mine]
    return [
        of(began, served, there & main),
        of(began, served, there & ~main),
        of(enter, began, there),
        of(served, leave, there),
        (until, enter[:, Stage.LOAD]),
        (free, until),
    ]


def save_timeline(mapping: Mapping, timeline: Timeline, path: str | Path, title: str = "") -> None:
    """Draw a traced timeline into a PNG, SVG or PDF file; arguments as of `draw_timeline`.

    Raises
    ------
    SimulationError
        The timeline has no trace.
    InputError
        Another suffix, or the file cannot be written.
    """
    path = check_picture(path)
    figure = draw_timeline(mapping, timeline, title)
    try:
        with replacing(path) as scratch:
            kind = path.suffix[1:].lower()
            if kind == "png":
                figure.savefig(scratch, format=kind, pil_kwargs={"optimize": True})
            else:
                figure.savefig(scratch, format=kind)
    except OSError as error:
        raise InputError(f"--picture: cannot write '{path}': {error.strerror or error}") from None


def check_picture(path: str | Path) -> Path:
    """Refuse a name whose suffix is no kind of picture."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--picture: expected a name in {', '.join(SUFFIXES)}, got '{path}'")
    return path


def draw_timeline(mapping: Mapping, timeline: Timeline, title: str = "") -> Figure:
    """Draw two frames of a traced timeline (sequential schedule: one).

    Parameters
    ----------
    mapping, timeline
        Simulated with ``trace=True``.
    title : str
        Network and frame size; default: the name of the graph.
    """
    run = TracedRun(mapping, timeline)
    clock = mapping.chip.process.clock_hz
    shown = 1 if timeline.schedule == "sequential" else min(2, timeline.frames)
    end = timeline.completions[shown - 1]
    edges = np.linspace(0, end, _BINS + 1)
    nodes = rows_shown(timeline)
    layers = [layer_shares(run, u, edges) for u in nodes]
    figure, (gantt, buffers, resources) = _figure(len(layers))
    unit = format_si(end / clock, "s").split()[1]
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9}[unit] / clock
    times = edges * scale
    _draw_layers(gantt, layers, times, scale)
    _draw_buffers(buffers, run, edges, times)
    _draw_resources(resources, run, edges[::4], times[::4])  # coarser: lines that can be told apart
    for axes in (gantt, buffers, resources):
        for frame, cycle in enumerate(timeline.completions[:shown]):
            axes.axvline(cycle * scale, color="black", lw=0.9, linestyle=(0, (4, 2)), clip_on=False)
            if axes is gantt:
                axes.annotate(
                    f"frame {frame} complete", (cycle * scale, 1), (-3, 3), ha="right",
                    xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7.5,
                )  # fmt: skip
        axes.set_xlim(0, times[-1])
    resources.set_xlabel(f"time / {unit}", fontsize=9)
    _headline(figure, gantt, mapping, timeline, title, layers, end)
    return figure


def rows_shown(timeline: Timeline) -> list[int]:
    """Nodes that have a row: all, or the busiest ones if there are too many."""
    work = [max(node.busy) / node.replicas for node in timeline.nodes]
    busiest = sorted(range(len(work)), key=lambda u: -work[u])[:_MOST_ROWS]
    return sorted(u for u in busiest if work[u] > 0)


def _figure(rows: int) -> tuple[Figure, tuple[Axes, Axes, Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    above = 0.27 * rows
    figure = Figure(figsize=(11.0, above + 4.1), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[above, 1.5, 0.9])
    return figure, (axes[0], axes[1], axes[2])


def _draw_layers(axes: Axes, layers: list[LayerShares], times: Floats, scale: float) -> None:
    from matplotlib.colors import to_rgb

    colours = np.array([*(to_rgb(colour) for colour in STATES.values()), (1.0, 1.0, 1.0)])
    levels = (np.arange(_TALL) + 0.5) / _TALL
    picture = np.ones((len(layers) * (_TALL + _GAP), len(times) - 1, 3))
    for row, layer in enumerate(layers):
        # the state at a height is the first one whose shares so far reach it
        reached = np.cumsum(layer.shares, axis=0)[None] >= levels[:, None, None] - 1e-9
        state = np.where(reached.any(axis=1), reached.argmax(axis=1), len(STATES))
        top = row * (_TALL + _GAP)
        picture[top : top + _TALL] = colours[state[::-1]]
    step = _TALL + _GAP
    axes.imshow(
        picture, aspect="auto", interpolation="nearest",
        extent=(0.0, float(times[-1]), len(layers) - 0.5 * _GAP / step, -0.5 * _GAP / step),
    )  # fmt: skip
    middle = (0.5 * _TALL - 0.5 * _GAP) / step
    for row, layer in enumerate(layers):
        for begin in layer.begins[1:]:
            if begin * scale < times[-1]:
                axes.plot([begin * scale] * 2, [row - 0.08, row + 0.86], color="black", lw=1.4)
        share = float(layer.shares[:2].sum(axis=0).mean())
        axes.annotate(
            f"{100 * share:.0f} %", (1, row + middle), (5, 0), va="center", fontsize=7.5,
            xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip
    axes.annotate(
        "in service", (1, 1), (5, 3), xycoords="axes fraction", textcoords="offset points",
        fontsize=7.5,
    )  # fmt: skip
    names = [
        layer.name if layer.replicas == 1 else f"{layer.name}  ×{layer.replicas}"
        for layer in layers
    ]
    axes.set_yticks([row + middle for row in range(len(layers))], names, fontsize=8)
    axes.tick_params(length=0, labelbottom=False)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_buffers(axes: Axes, run: TracedRun, edges: Floats, times: Floats) -> None:
    """Draw what the largest line buffers hold at most in each bin."""
    found = sorted(enumerate(run.timeline.edges), key=lambda one: -one[1].n_bytes)[: len(_LINES)]
    largest = max((edge.n_bytes for _, edge in found), default=0)
    unit, factor = ("MiB", 2.0**-20) if largest >= 2**20 else ("KiB", 2.0**-10)
    for (e, edge), colour in zip(found, _LINES, strict=False):
        held = largest_in_bins(*run.occupancy(e), edges) * float(run.plan.edges[e].pixel_bytes)
        label = f"{edge.producer} >\n{edge.consumer}{', spilled' if edge.spilled else ''}"
        axes.stairs(held * factor, times, baseline=None, color=colour, lw=1.2, label=label)
    axes.set_ylabel(f"held / {unit}", fontsize=8)
    axes.set_title("Largest line buffers", fontsize=9, loc="left")
    _plain(axes, bool(found))


def _draw_resources(axes: Axes, run: TracedRun, edges: Floats, times: Floats) -> None:
    """Draw the share of each bin in which interconnect and busiest other resource served."""
    kinds = ("interconnect", "link", "chips")
    busy = [resource.busy for resource in run.timeline.resources]
    by_job = sorted(range(len(busy)), key=lambda r: -busy[r])
    links = [r for r in by_job if run.resources[r][0] in kinds and busy[r]]
    others = [r for r in by_job if run.resources[r][0] not in kinds and busy[r]]
    name = run.timeline.resources
    rows = [([r], name[r].name.replace("_", " ")) for r in (*links[:1], *others[:2])]
    if len(links) > 1:
        rows.insert(0, (links, f"mean of {len(links)} links"))
    grants = run.trace.grants
    for (members, label), colour in zip(rows, _LINES, strict=False):
        mine = np.isin(grants.resource, members)
        start = grants.start[mine]
        share = mean_count(start, start + grants.cycles[mine], edges) / len(members)
        axes.stairs(100 * share, times, baseline=None, color=colour, lw=1.2, label=label)
    axes.set_ylim(0, None)
    axes.set_ylabel("busy / %", fontsize=8)
    axes.set_title("Shared resources", fontsize=9, loc="left")
    _plain(axes, bool(rows))


def _plain(axes: Axes, legend: bool) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.set_ylim(0, None)
    if legend:
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _headline(
    figure: Figure,
    gantt: Axes,
    mapping: Mapping,
    timeline: Timeline,
    title: str,
    layers: list[LayerShares],
    end: int,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    clock = mapping.chip.process.clock_hz
    told = rate(timeline.frames_per_second(clock))
    figure.suptitle(
        f"{title or mapping.graph.name} on {mapping.chip.label}, {timeline.schedule}: "
        f"latency {format_si(timeline.latency_s(clock), 's')}, one frame every "
        f"{format_si(timeline.interval_s(clock), 's')} ({told} frames/s)",
        fontsize=11, x=0.01, ha="left",
    )  # fmt: skip
    handles: list[Artist] = [Patch(facecolor=colour, label=name) for name, colour in STATES.items()]
    handles.append(Patch(facecolor="white", edgecolor="#999999", label="idle: nothing left to do"))
    if any(begin < end for layer in layers for begin in layer.begins[1:]):
        tick = Line2D([], [], color="black", marker="|", markersize=9, markeredgewidth=1.4)
        tick.set(linestyle="none", label="the next frame begins")
        handles.append(tick)
    gantt.legend(
        handles=handles, ncols=4, frameon=False, fontsize=8, loc="lower left",
        bbox_to_anchor=(0, 1.03), borderaxespad=0.0, handlelength=1.2,
    )  # fmt: skip
    left_out = len(timeline.nodes) - len(layers)
    if left_out:
        gantt.annotate(
            f"{left_out} nodes with less work are not shown", (0, 0), (0, -3), va="top",
            xycoords="axes fraction", textcoords="offset points", fontsize=7.5,
        )  # fmt: skip
