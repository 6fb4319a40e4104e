"""What a chip takes for being on: leakage, references, clocks, and what gating saves in waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping as MappingABC

from cimsim.chip.parts.base import REFERENCE_K
from cimsim.chip.spec import Chip
from cimsim.mapping.mapping import Mapping
from cimsim.timing.timeline import Timeline


def static_power_w(mapping: Mapping) -> float:
    """Return what everything that is switched on takes while all of it works, W, by time alone."""
    return sum(standing_j(mapping, 1.0).values())


def leakage_factor(chip: Chip) -> float:
    """Return leakage at ``conditions.temperature`` over that of the description, which is at 25 C.

    Twice for every ``process.leakage_doubling``; of drawn chips an array, one entry per draw.
    """
    above: float = chip.conditions.temperature_k - REFERENCE_K
    factor: float = 2 ** (above / chip.process.leakage_doubling_k)
    return factor


def standing_j(
    mapping: Mapping, time_per_frame_s: float, working_s: MappingABC[str, float] | None = None
) -> dict[str, float]:
    """Return the energy of one frame that goes with time and not with actions, by component, J.

    Parameters
    ----------
    mapping : Mapping
    time_per_frame_s : float
        Interval between frames.
    working_s : mapping, optional
        Node -> time per frame that its tiles work for it, see `working`. By ``tile.idle`` a waiting
        tile takes all that it takes while it works (``on``), all but its clock (``clock_gated``) or
        nothing, and then ``tile.wake_energy`` once per frame if it waits at all (``power_gated``).
    """
    chip, period = mapping.chip, time_per_frame_s
    idle = chip.tile.idle if working_s is not None else "on"
    used = mapping.tiles_used
    # tiles that hold nothing and are not switched off never work: their clock follows `idle`
    spare = 0 if chip.tile.gated else chip.n_tiles - used
    supplied = clocked = (used + spare) * period
    waits = 0
    if idle != "on":
        times = [min(t, period) for t in _by_tile(mapping, working_s or {}).values()]
        clocked = sum(times)
        if idle == "power_gated":
            supplied, waits = clocked, sum(t < period for t in times)
    chips, leaks = chip.system.chips, leakage_factor(chip)
    by_tile = chip.vector.scope == "tile"
    leakage = chip.buffer.leakage_w + (chip.vector.leakage_w if by_tile else 0.0)
    shared = chip.global_buffer.leakage_w + (0.0 if by_tile else chip.vector.leakage_w)
    if chip.matmul is not None and chip.matmul.scope == "tile":
        leakage = leakage + chip.matmul.leakage_w
    elif chip.matmul is not None:
        shared = shared + chip.matmul.leakage_w
    return {
        "references": supplied * chip.tile.arrays * chip.array.reference_power_w,
        "control": clocked * chip.tile.clock_power_w
        + supplied * chip.tile.static_power_w
        + waits * chip.tile.wake_energy_j,
        "interconnect": chips * period * chip.interconnect.static_power_w,
        "dram": 0.0 if chip.dram is None else period * chip.dram.static_power_w,
        "io": chips * period * chip.io.static_power_w,
        "processor": chips * period * chip.processor.power_w * chip.processor.load,
        "static": leaks * (supplied * leakage + chips * period * shared)
        + chips * period * chip.static_power_w,
    }


def working(mapping: Mapping, timeline: Timeline) -> dict[str, float]:
    """Return matrix operation -> seconds per frame that its arrays' tiles work for it.

    ``load N`` is the time in which the tiles of that load are written, if there are several. Stages
    of a pipeline overlap, so it is the longest stage that counts, shared among replicas.
    """
    clock = mapping.chip.process.clock_hz
    return {
        node.name: max(node.busy) / node.replicas / timeline.frames / clock
        for node in timeline.nodes
        if node.name in mapping.layer_of or node.kind == "program"
    }


def _by_tile(mapping: Mapping, working_s: MappingABC[str, float]) -> dict[int, float]:
    """Return tile -> time that its layers work, one after another, s."""
    busy_s: dict[int, float] = defaultdict(float)
    for layer in mapping.layers:
        share = sum(working_s.get(op, 0.0) for op in layer.ops)
        for tile in {slot.tile for slots in layer.slots for slot in slots}:
            busy_s[tile] += share
    for load in range(mapping.loads):
        for tile in {slot.tile for slot in mapping.held(load)}:
            busy_s[tile] += working_s.get(f"load {load}", 0.0)
    return busy_s
