"""How long arrays that layers share are at work: what sharing costs in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cimsim.chip.spec import Chip
from cimsim.mapping.allocation.base import Request
from cimsim.mapping.placement import PlacedLayer, Slot


def work_s(request: Request, slots: Sequence[Slot], chip: Chip) -> float:
    """Return for how long one frame of a layer on one replica keeps its arrays, s.

    All operations that use the matrix; local arrays of it in one array fire one after another.
    """
    turns = Counter(slots)
    columns: Counter[Slot] = Counter()
    for slot, used in zip(slots, request.layout.cols_used, strict=True):
        columns[slot] += -(-used * chip.weights.slices // chip.adc.count)
    drive = max(turns.values()) * chip.drive_s
    convert = max(columns.values()) * chip.adc.conversion_s
    wpa = request.layout.windows_per_activation
    pulses = sum(-(-op.windows // wpa) * chip.pulses_for(op.signed) for op in request.ops)
    return pulses * (
        max(drive, convert) if chip.tile.sample_hold == "double" else drive + convert
    )  # fmt: skip


def busiest_s(requests: Sequence[Request], layers: Sequence[PlacedLayer], chip: Chip) -> float:
    """Return the time of one frame that the busiest layers linked by shared arrays take, s.

    Layers that have an array in common, directly or through others, take turns.
    """
    by_tile = chip.adc.shared == "tile"
    owner: dict[object, int] = {}
    groups: dict[int, set[int]] = {}
    for number, layer in enumerate(layers):
        mine = {number}
        for place in {slot.tile if by_tile else slot for slots in layer.slots for slot in slots}:
            if place in owner:
                mine |= groups[owner[place]]
            owner[place] = number
        for one in mine:
            groups[one] = mine
            owner |= {place: number for place, by in owner.items() if by == one}
        groups[number] = mine
    taken = [
        work_s(request, layer.slots[0], chip) / len(layer.slots)
        for request, layer in zip(requests, layers, strict=True)
    ]
    return max(sum(taken[one] for one in mine) for mine in groups.values())
