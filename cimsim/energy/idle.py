"""What a chip takes for being on: leakage, clocks, and what gating saves while tiles wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping as MappingABC

from cimsim.mapping.mapping import Mapping
from cimsim.timing.timeline import Timeline


def static_power_w(mapping: Mapping) -> float:
    """Leakage and clock power in watts of everything that is switched on, while all of it works."""
    chip = mapping.chip
    tiles = mapping.tiles_used if chip.tile.gated else chip.n_tiles
    return tiles * (_leakage_w(mapping) + chip.tile.clock_power_w) + chip_power_w(mapping)


def chip_power_w(mapping: Mapping) -> float:
    """Return the static power of what belongs to no tile, W: global buffers, chip level."""
    chip = mapping.chip
    shared = chip.vector.leakage_w if chip.vector.scope == "chip" else 0.0
    return chip.system.chips * (shared + chip.global_buffer.leakage_w + chip.static_power_w)


def static_j(
    mapping: Mapping, time_per_frame_s: float, working_s: MappingABC[str, float] | None = None
) -> float:
    """Leakage and clock energy of one frame, J.

    Parameters
    ----------
    mapping : Mapping
    time_per_frame_s : float
        Interval between frames.
    working_s : mapping, optional
        Unit -> time per frame that its tiles work for it, see `working`. By ``tile.idle`` a waiting
        tile takes leakage and clock (``on``), leakage (``clock_gated``) or neither, and then
        ``tile.wake_energy`` once per frame if it waits at all (``power_gated``).
    """
    chip, leakage = mapping.chip, _leakage_w(mapping)
    idle = chip.tile.idle if working_s is not None else "on"
    used = mapping.tiles_used
    # tiles that hold nothing and are not switched off never work: their clock follows `idle`
    spare = 0 if chip.tile.gated else chip.n_tiles - used
    on = (used + spare) * time_per_frame_s
    if idle == "on":
        tiles = on * (leakage + chip.tile.clock_power_w)
    else:
        times = [min(t, time_per_frame_s) for t in _by_tile(mapping, working_s or {}).values()]
        worked = sum(times)
        tiles = chip.tile.clock_power_w * worked
        if idle == "clock_gated":
            tiles += leakage * on
        else:
            waits = sum(t < time_per_frame_s for t in times)
            tiles += leakage * worked + chip.tile.wake_energy_j * waits
    return tiles + chip_power_w(mapping) * time_per_frame_s


def working(mapping: Mapping, timeline: Timeline) -> dict[str, float]:
    """Return matrix operation -> seconds per frame that its arrays' tiles work for it.

    ``load N`` is the time in which the tiles of that load are written, if there are several. Stages
    of a pipeline overlap, so it is the longest stage that counts, shared among replicas.
    """
    clock = mapping.chip.process.clock_hz
    return {
        unit.name: max(unit.busy) / unit.replicas / timeline.frames / clock
        for unit in timeline.units
        if unit.name in mapping.layer_of or unit.kind == "program"
    }


def _by_tile(mapping: Mapping, working_s: MappingABC[str, float]) -> dict[int, float]:
    """Return tile -> time that its layers work, one after another, s."""
    found: dict[int, float] = defaultdict(float)
    for layer in mapping.layers:
        share = sum(working_s.get(op, 0.0) for op in layer.ops)
        for tile in {slot.tile for slots in layer.slots for slot in slots}:
            found[tile] += share
    for load in range(mapping.loads):
        for tile in {slot.tile for slot in mapping.held(load)}:
            found[tile] += working_s.get(f"load {load}", 0.0)
    return found


def _leakage_w(mapping: Mapping) -> float:
    """Leakage of one tile, W."""
    chip = mapping.chip
    own = chip.vector.leakage_w if chip.vector.scope == "tile" else 0.0
    return chip.tile.static_power_w + chip.buffer.leakage_w + own
