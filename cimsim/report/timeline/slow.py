"""Why it is slow, as data for a page: timeline in bins, critical path, what would help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from cimsim.mapping.mapping import Mapping
from cimsim.report.timeline.plot import STATES, layer_shares, rows_shown
from cimsim.report.timeline.traced import TracedRun
from cimsim.report.timeline.why_slow import MOST_TRACED, activations, why

if TYPE_CHECKING:
    from cimsim.timing.plan.plan import Schedule


class SpentPart(TypedDict):
    """A part of the critical path."""

    unit: str
    what: str
    cycles: int
    s: float
    share: float


class ChangeData(TypedDict):
    """One change that was simulated, and what it gives."""

    what: str
    option: str
    interval_s: float
    latency_s: float
    gain: float


class LayerData(TypedDict):
    """For each state the share of each bin, %."""

    name: str
    shares: list[list[int]]


class SlowData(TypedDict):
    """What a page shows of why it is slow; times in seconds."""

    clock_hz: float
    interval_s: float
    schedule: str
    states: list[list[str]]
    rows: list[LayerData]
    frames_s: list[float]
    path: list[SpentPart]
    changes: list[ChangeData]


FILE = "timeline.json"
"""Name of the file in a run's folder that `cimsim report` looks for."""

BINS = 960


def slow_data(
    mapping: Mapping, schedule: Schedule, report: Callable[[str, int, int], None]
) -> SlowData:
    """Simulate the cycles once more, with a trace, and return what a page shows of them.

    Parameters
    ----------
    mapping : Mapping
    schedule : {"pipelined", "sequential"}
    report : callable
        ``report(stage, done, total)``.

    Returns
    -------
    dict
        Times in seconds. ``rows`` hold, for each layer and state, the share of each bin in %.
    """
    from cimsim.timing.simulate import simulate

    report("timing", 0, 1)
    traced = activations(mapping) <= MOST_TRACED
    timeline = simulate(mapping, schedule=schedule, trace=traced)
    report("timing", 1, 1)
    clock = mapping.chip.process.clock_hz
    path, changes = why(mapping, timeline, schedule, report)
    found: SlowData = {
        "clock_hz": clock, "interval_s": timeline.interval / clock, "schedule": schedule,
        "states": [[name, colour] for name, colour in STATES.items()], "rows": [], "frames_s": [],
        "path": [{"unit": p.node, "what": p.what, "cycles": p.cycles, "s": p.cycles / clock,
                  "share": p.cycles / timeline.cycles_first_frame} for p in path],
        "changes": [{"what": c.what, "option": c.option, "interval_s": c.interval / clock,
                     "latency_s": c.cycles_first_frame / clock, "gain": c.gain} for c in changes],
    }  # fmt: skip
    if traced:
        run = TracedRun(mapping, timeline)
        shown = 1 if schedule == "sequential" else min(2, timeline.frames)
        edges = np.linspace(0, timeline.completions[shown - 1], BINS + 1)
        found["frames_s"] = [cycle / clock for cycle in timeline.completions[:shown]]
        for u in rows_shown(timeline):
            layer = layer_shares(run, u, edges)
            percent = np.rint(100 * layer.shares).astype(int)
            found["rows"].append({"name": layer.name, "shares": percent.tolist()})
    return found
