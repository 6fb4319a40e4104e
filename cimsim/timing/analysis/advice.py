"""What would help: single changes of the chip or the mapping, each simulated anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from pydantic import BaseModel

from cimsim.chip.interconnects import interconnect_of
from cimsim.errors import CimsimError
from cimsim.mapping.mapping import Mapping, Slot
from cimsim.timing.plan.plan import Schedule
from cimsim.timing.simulate import simulate
from cimsim.timing.timeline import Timeline

_AS_SLOW = 0.95  # of the busiest layer: these set the pace together
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One change and what it does.

    Attributes
    ----------
    what : str
        In words.
    option : str
        How to ask for it on the command line; empty where that is not possible.
    interval, cycles_first_frame : int
        Cycles with the change.
    gain : float
        Interval without it by interval with it; of a single frame or a sequential schedule: of the
        latency.
    """

    what: str
    option: str
    interval: int
    cycles_first_frame: int
    gain: float


# component, field, factor, words, when it can matter
_PARTS: tuple[tuple[str, str, float, str, str], ...] = (
    ("adc", "count", 2, "twice the converters", ""),
    ("adc", "t_conversion_s", 0.5, "conversions in half the time", ""),
    ("array", "t_read_s", 0.5, "array reads in half the time", ""),
    ("buffer", "bytes_per_cycle", 2, "tile buffer ports twice as wide", ""),
    ("interconnect", "bytes_per_cycle", 2, "an interconnect twice as wide", "not ideal"),
    ("vector", "lanes", 2, "twice the vector lanes", ""),
    ("matmul", "lanes", 2, "twice the lanes of the matmul units", ""),
    ("adder", "lanes", 2, "twice the adders", ""),
    ("global_buffer", "bytes_per_cycle", 2, "a global buffer port twice as wide", "global_buffer"),
    ("dram", "bytes_per_cycle", 2, "a DRAM port twice as wide", "dram"),
    ("buffer", "size_b", 2, "tile buffers twice as large", "limited"),
)


def advice(
    mapping: Mapping,
    timeline: Timeline,
    schedule: Schedule = "pipelined",
    progress: Progress | None = None,
) -> tuple[Change, ...]:
    """Simulate one change after another and tell what each gains, the best first.

    Parameters
    ----------
    mapping : Mapping
    timeline : Timeline
        Of the mapping as it is; the number of frames is taken from it.
    schedule : {"pipelined", "sequential"}
    progress : callable, optional
        Called with the changes done and all of them.

    Returns
    -------
    tuple of Change
        Only those that are faster by 0.1 % or more.
    """
    trials = list(_trials(mapping, timeline))
    report = progress or (lambda done, total: None)
    changes = []
    for number, (what, option, changed) in enumerate(trials):
        report(number, len(trials))
        try:
            trial = simulate(changed, timeline.frames, schedule)
        except CimsimError:  # a change that the chip cannot have
            continue
        gain = timeline.interval / trial.interval
        if timeline.frames == 1 or schedule == "sequential":
            gain = timeline.cycles_first_frame / trial.cycles_first_frame
        if gain >= 1.001:
            changes.append(Change(what, option, trial.interval, trial.cycles_first_frame, gain))
    report(len(trials), len(trials))
    return tuple(sorted(changes, key=lambda change: -change.gain))


def _trials(mapping: Mapping, timeline: Timeline) -> Iterator[tuple[str, str, Mapping]]:
    chip = mapping.chip
    for component, field, factor, words, needs in _PARTS:
        part = getattr(chip, component)
        if part is None or not _matters(mapping, timeline, needs):
            continue
        value = getattr(part, field)
        new = value * factor
        alias = type(part).model_fields[field].alias or field
        option = f"--set {component}.{alias}={_told(new, field)}"
        yield words, option, _with(mapping, component, {field: type(value)(new)})
    if chip.tile.sample_hold == "single":
        yield (
            "double sample-and-hold", "--set tile.sample_hold=double",
            _with(mapping, "tile", {"sample_hold": "double"}),
        )  # fmt: skip
    if chip.tile.input_reuse == "none":
        yield (
            "windows that keep what their left neighbour read", "--set tile.input_reuse=row",
            _with(mapping, "tile", {"input_reuse": "row"}),
        )  # fmt: skip
    if chip.buffer.overflow != "ignore":
        yield (
            "a what-if: memories without a limit", "--set buffer.overflow=ignore",
            _with(mapping, "buffer", {"overflow": "ignore"}),
        )  # fmt: skip
    yield from _one_more(mapping, timeline)


def _matters(mapping: Mapping, timeline: Timeline, needs: str) -> bool:
    chip = mapping.chip
    if needs == "not ideal":
        return not interconnect_of(chip).is_free
    if needs == "limited":
        return chip.buffer.overflow != "ignore"
    return not needs or needs in (chip.frames, *timeline.spilled.values())


def _told(value: float, field: str) -> str:
    if field.endswith("_s"):
        return f"{value * 1e9:.6g}ns"
    return f"{value:.0f}B" if field.endswith("_b") else f"{value:.0f}"


def _with(mapping: Mapping, component: str, changes: dict[str, str | float]) -> Mapping:
    part: BaseModel = getattr(mapping.chip, component)
    chip = mapping.chip.model_copy(update={component: part.model_copy(update=changes)})
    return replace(mapping, chip=chip)


def _one_more(mapping: Mapping, timeline: Timeline) -> Iterator[tuple[str, str, Mapping]]:
    """Yield the mapping with one more replica of all layers that set the pace together."""
    chip, used = mapping.chip, mapping.slots_used
    free = iter(
        slot
        for tile in range(chip.n_tiles)
        for slot in (Slot(tile, array) for array in range(chip.tile.arrays))
        if slot not in used
    )
    busy: dict[str, float] = defaultdict(float)
    for node in timeline.nodes:
        if node.kind == "matrix":
            busy[node.layer] += max(node.busy) / node.replicas
    slowest = [name for name, cycles in busy.items() if cycles >= _AS_SLOW * max(busy.values())]
    layers, needed = list(mapping.layers), 0
    for index, layer in enumerate(layers):
        if layer.name in slowest:
            needed += layer.layout.n_arrays
            slots = tuple(islice(free, layer.layout.n_arrays))
            corner = ((0, 0),) * layer.layout.n_arrays
            layers[index] = replace(
                layer, slots=(*layer.slots, slots),
                origins=(*layer.origins, corner) if layer.origins else (),
            )  # fmt: skip
    if needed > chip.n_arrays - len(used):
        return
    names = [layer.ops[0] for layer in mapping.layers if layer.name in slowest]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    yield (
        f"one more replica of {listed} ({needed} of {chip.n_arrays - len(used)} spare arrays)",
        "--allocation whole_copies", replace(mapping, layers=tuple(layers)),
    )  # fmt: skip
