"""A mapping in numbers: one row per layer, and what the whole comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cimsim.mapping.allocation import requests_of
from cimsim.mapping.allocation.chips import crossing_bytes
from cimsim.mapping.mapping import Mapping
from cimsim.timing.timeline import Timeline


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One programmed matrix on its arrays.

    Attributes
    ----------
    number : int
        As in the floor plan, from 1.
    layer : str
    uses : int
        Operations that use the matrix for one frame.
    windows : int
        Windows of one frame, all uses together.
    rows, cols : int
        Matrix, the groups of a grouped convolution on its diagonal.
    arrays : int
        Arrays of one replica.
    replicas : int
    shared : int
        Layers that share an array with this one, itself not counted.
    utilisation : float
        Cells of this layer over the cells of all arrays that it takes part in.
    activations : int
        Array activations of one frame.
    windows_per_activation : int
    """

    number: int
    layer: str
    uses: int
    windows: int
    rows: int
    cols: int
    arrays: int
    replicas: int
    shared: int
    utilisation: float
    activations: int
    windows_per_activation: int


def layer_rows(mapping: Mapping) -> tuple[LayerRow, ...]:
    """Return one row per programmed matrix, in execution order."""
    holders = [
        {slot: {p.layer for p in places} for slot, places in mapping.held(load).items()}
        for load in range(mapping.loads)
    ]
    cells = mapping.chip.array.rows * mapping.chip.weight_cols
    found = []
    for number, layer in enumerate(mapping.layers, 1):
        layout = layer.layout
        slots = {slot for replica in layer.slots for slot in replica}
        held = layout.cells_used * layout.lines_per_row * len(layer.slots)
        counts = [mapping.counts[name] for name in layer.ops]
        found.append(
            LayerRow(
                number, layer.name, len(layer.ops), sum(c.windows for c in counts),
                layout.groups * layout.group_rows, layout.groups * layout.group_cols,
                layout.n_arrays, len(layer.slots),
                len(set().union(*(holders[layer.load][slot] for slot in slots))) - 1,
                held / (len(slots) * cells), sum(c.activations for c in counts),
                layout.windows_per_activation,
            )
        )  # fmt: skip
    return tuple(found)


def chip_lines(mapping: Mapping) -> list[str]:
    """Return what each of several chips holds, and what passes on to the next one."""
    if mapping.chip.system.chips == 1:
        return []
    per_chip = mapping.chip.tile.count
    holders: dict[int, list[int]] = {}
    for number, layer in enumerate(mapping.layers, 1):
        for used in sorted({s.tile // per_chip for slots in layer.slots for s in slots}):
            holders.setdefault(used, []).append(number)
    requests = requests_of(mapping.graph, {o: p.layout for o, p in mapping.layer_of.items()})
    cost = crossing_bytes(mapping.graph, requests, mapping.chip)
    found = []
    for used, numbers in sorted(holders.items()):
        arrays = len({s for s in mapping.slots_used if s.tile // per_chip == used})
        line = f"chip {used}: layers {_spans(numbers)}, {arrays} arrays"
        passes = used < max(holders) and numbers[-1] not in holders.get(used + 1, [])
        if passes and numbers[-1] < len(cost):
            line += f", {cost[numbers[-1]]:,} bytes per frame to and from the next"
        elif numbers[-1] in holders.get(used + 1, []):
            line += f", layer {numbers[-1]} goes on on the next"
        found.append(line)
    return found


def _spans(numbers: list[int]) -> str:
    """``1..3, 7`` for 1, 2, 3, 7."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}..{s[-1]}" for s in found)


def summary(mapping: Mapping, timeline: Timeline) -> dict[str, object]:
    """Return what the mapping comes to, per frame where it says so, as plain data."""
    chip, total = mapping.chip, mapping.total
    return {
        "network": mapping.graph.name,
        "chip": chip.name,
        "overrides": list(chip.history.overrides),
        "strategy": mapping.strategy,
        "allocation": mapping.allocation,
        "arrays_used": mapping.arrays_used,
        "arrays": chip.n_arrays,
        "utilisation": mapping.utilisation,
        "windows": total.windows,
        "activations": total.activations,
        "conversions": total.conversions,
        "interval_cycles": timeline.interval,
        "interval_s": timeline.interval_s(chip.process.clock_hz),
        "least_interval_cycles": timeline.least_interval,
        "bottleneck": f"{timeline.bottleneck.name}",
    }


def to_data(mapping: Mapping, timeline: Timeline) -> dict[str, object]:
    """Return `summary` and all rows, for JSON."""
    return summary(mapping, timeline) | {"layers": [asdict(row) for row in layer_rows(mapping)]}
