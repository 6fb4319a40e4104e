"""What a timing simulation answers: cycles of each frame, who was busy, and who held up whom."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from cimsim.display import drawing
from cimsim.display.tables import Rows, html_table
from cimsim.timing.spec.stage import STAGES


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node over all simulated frames, all replicas added up; counted while it ran.

    Attributes
    ----------
    name : str
        Operation.
    kind : {"matrix", "vector", "input", "output", "program"}
    layer : str
        Pipeline: the programmed matrix (several nodes may share it), or the vector unit itself.
    replicas : int
    windows : int
        Windows stored.
    activations, pulses, conversions : int
        Array activations, array pulses and ADC conversions; 0 for a vector unit.
    busy, waiting, blocked : tuple of int
        Cycles of each stage: in service, waiting for a shared resource, done but held up by the
        next stage (for DRIVE also: holding a pulse for CONVERT).
    starved : int
        Cycles in which LOAD was free and the input of the next activation not yet stored, from
        cycle 0 to the entry of the last activation.
    no_credit : int
        Cycles in which LOAD was free and the input there, but a reader's line buffer full.
    """

    name: str
    kind: Literal["input", "matrix", "vector", "output", "program"]
    layer: str
    replicas: int
    windows: int
    activations: int
    pulses: int
    conversions: int
    busy: tuple[int, ...]
    waiting: tuple[int, ...]
    blocked: tuple[int, ...]
    starved: int
    no_credit: int = 0


@dataclass(frozen=True, slots=True)
class ResourceTime:
    """Cycles in which a shared resource served somebody; ``share`` is of all cycles."""

    name: str
    busy: int
    share: float


@dataclass(frozen=True, slots=True)
class EdgePeak:
    """A line buffer.

    Attributes
    ----------
    producer, consumer : str
    pixels : int
        Most pixels of ``producer`` that were held for ``consumer``.
    frame : int
        Pixels of the whole map.
    n_bytes : int
        Bytes of ``pixels``.
    capacity : int or None
        Pixels that it has room for; None: no limit.
    memory : str
        ``global_buffer`` or ``dram`` where it is kept there; empty: in the tile.
    """

    producer: str
    consumer: str
    pixels: int
    frame: int
    n_bytes: int = 0
    capacity: int | None = None
    memory: str = ""

    @property
    def spilled(self) -> bool:
        """Whether it is kept outside of the tile."""
        return bool(self.memory)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What was busy for the largest share of all cycles.

    Attributes
    ----------
    name : str
        Layer, vector unit, or shared resource.
    stage : str
        One of the stages, or ``resource``.
    share : float
        Busy cycles by all cycles, mean over replicas.
    """

    name: str
    stage: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Grants:
    """When shared resources served whom; row by row, in no promised order.

    Attributes
    ----------
    resource : int64 [rows]
        Indexes `Timeline.resources`.
    node, replica, frame, activation, stage : int64 [rows]
        As in `Trace`; ``stage`` indexes `cimsim.timing.spec.rules.STAGES`.
    start, cycles : int64 [rows]
    """

    resource: NDArray[np.int64]
    node: NDArray[np.int64]
    replica: NDArray[np.int64]
    frame: NDArray[np.int64]
    activation: NDArray[np.int64]
    stage: NDArray[np.int64]
    start: NDArray[np.int64]
    cycles: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """When each activation entered and left each stage; row by row, in no promised order.

    Attributes
    ----------
    node, replica, frame, activation : int64 [rows]
        ``node`` indexes `Timeline.nodes`; ``activation`` counts from 0 in each frame.
    enter, leave : int64 [rows, 6]
        Cycles by stage; -1 where the pipeline has no such stage. DRIVE is left with the last pulse
        (single sample-and-hold: with CONVERT), CONVERT is entered with the first.
    stored : int64 [rows]
        Cycle in which consumers may read the output.
    grants : Grants
    """

    node: NDArray[np.int64]
    replica: NDArray[np.int64]
    frame: NDArray[np.int64]
    activation: NDArray[np.int64]
    enter: NDArray[np.int64]
    leave: NDArray[np.int64]
    stored: NDArray[np.int64]
    grants: Grants


@dataclass(frozen=True)
class Timeline(Rows):
    """The cycles of some frames on a mapped chip.

    Attributes
    ----------
    schedule : {"pipelined", "sequential"}
    completions : tuple of int
        Cycle in which each frame was complete, while the following ones stream in behind it.
    least_interval : int
        Work of one frame for the busiest stage or shared resource: no steady interval is shorter.
    nodes : tuple of NodeTime
        In execution order, inputs left out.
    resources : tuple of ResourceTime
    edges : tuple of EdgePeak
    trace : Trace or None
    """

    schedule: Literal["pipelined", "sequential"]
    completions: tuple[int, ...]
    least_interval: int
    nodes: tuple[NodeTime, ...]
    resources: tuple[ResourceTime, ...]
    edges: tuple[EdgePeak, ...]
    trace: Trace | None = None

    @property
    def units(self) -> tuple[NodeTime, ...]:
        """What `nodes` was called until 0.3."""
        warnings.warn("Timeline.units is Timeline.nodes", DeprecationWarning, stacklevel=2)
        return self.nodes

    def __repr__(self) -> str:
        busiest = self.bottleneck
        return (
            f"Timeline({self.schedule}, {self.frames} frames: {self.interval:,} cycles between "
            f"frames, {self.cycles_first_frame:,} for the first; {busiest.name} {busiest.stage} "
            f"{busiest.share:.0%} busy)"
        )

    def _repr_html_(self) -> str:
        head = ("unit", "stage", "replicas", "busy", "waiting", "blocked")
        rows = [
            [row[name] if isinstance(row[name], int | str) else f"{row[name]:.1%}" for name in head]
            for row in self.rows()
        ]
        return html_table(repr(self), rows, head)

    def rows(self) -> list[dict[str, str | int | float]]:
        """Return a plain row for each node: its busiest stage, shares of all cycles, counts."""
        rows = []
        for node in self.nodes:
            stage = max(range(len(STAGES)), key=lambda s: node.busy[s])
            whole = self.cycles * node.replicas
            shares = {
                "busy": node.busy[stage] / whole, "waiting": node.waiting[stage] / whole,
                "blocked": node.blocked[stage] / whole,
            }  # fmt: skip
            row: dict[str, str | int | float] = {
                "unit": node.name, "kind": node.kind, "stage": STAGES[stage],
                "replicas": node.replicas, "windows": node.windows,
                "activations": node.activations, "conversions": node.conversions, **shares,
                "starved_cycles": node.starved, "no_credit_cycles": node.no_credit,
            }  # fmt: skip
            row |= {f"busy_{name.lower()}": node.busy[s] for s, name in enumerate(STAGES)}
            rows.append(row)
        return rows

    @property
    def plot(self) -> drawing.TimelinePictures:
        """Pictures: ``timeline.plot.stages()``."""
        return cast(
            "drawing.TimelinePictures", drawing.above("cimsim.report.show:TimelinePictures")(self)
        )

    @property
    def spilled(self) -> dict[tuple[str, str], str]:
        """Producer and consumer of line buffers outside of the tiles -> the memory they are in."""
        return {(edge.producer, edge.consumer): edge.memory for edge in self.edges if edge.memory}

    @property
    def frames(self) -> int:
        """Frames simulated."""
        return len(self.completions)

    @property
    def cycles(self) -> int:
        """Cycles until the last frame is complete."""
        return max(self.completions)

    @property
    def cycles_first_frame(self) -> int:
        """Latency: cycles until the first frame is complete."""
        return self.completions[0]

    @property
    def interval(self) -> int:
        """Cycles per frame in the steady state: between the last two completions.

        The last frame has nobody behind it and may come a little early; then the work of the
        busiest stage counts. With a single frame it is that frame's latency.
        """
        if self.frames == 1:
            return self.completions[0]
        return max(self.completions[-1] - self.completions[-2], self.least_interval)

    def latency_s(self, clock_hz: float) -> float:
        """Seconds until the first frame is complete."""
        return self.cycles_first_frame / clock_hz

    def interval_s(self, clock_hz: float) -> float:
        """Seconds per frame in the steady state."""
        return self.interval / clock_hz

    def frames_per_second(self, clock_hz: float) -> float:
        """Frames per second in the steady state."""
        return clock_hz / self.interval

    @property
    def windows(self) -> int:
        """Windows of crossbar layers that were executed, all frames."""
        return sum(node.windows for node in self.nodes if node.kind == "matrix")

    @property
    def activations(self) -> int:
        """Array activations fired, all frames."""
        return sum(node.activations for node in self.nodes)

    @property
    def pulses(self) -> int:
        """Pulses fired, all arrays and frames."""
        return sum(node.pulses for node in self.nodes)

    @property
    def conversions(self) -> int:
        """ADC conversions, all frames."""
        return sum(node.conversions for node in self.nodes)

    @cached_property
    def by_name(self) -> dict[str, NodeTime]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def bottleneck(self) -> Bottleneck:
        """The stage or resource with the largest busy share; the earlier one of equals."""
        layers: dict[tuple[str, str], float] = {}
        for node in self.nodes:
            for stage, busy in zip(STAGES, node.busy, strict=True):
                share = busy / (node.replicas * self.cycles)
                layers[node.layer, stage] = layers.get((node.layer, stage), 0.0) + share
        candidates = [Bottleneck(name, stage, share) for (name, stage), share in layers.items()]
        # a stage that is alone on its resource is as busy as it: the stage says more
        candidates += [Bottleneck(r.name, "resource", r.share) for r in self.resources]
        return max(candidates, key=lambda one: one.share)
