"""Where frames and line buffers are kept that no tile holds, and what to do if nothing holds them.

Frames that are ``resident`` or stream from the ``global_buffer`` take room there: all inputs and
outputs of the network, once. Line buffers that a tile has no room for take their peaks there, too.
With ``buffer.overflow: spill`` the largest of them go to DRAM until the rest fits; ``ignore``
checks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.errors import SimulationError
from cimsim.mapping.mapping import Mapping
from cimsim.units import format_si

Edge = tuple[str, str]
_OTHERWISE = "another mapping, a larger stride or smaller frames"


@dataclass(frozen=True, slots=True)
class TooSmall:
    """A line buffer that a network cannot run with.

    Attributes
    ----------
    producer, consumer : str
    capacity, pixels : int
        What it holds and what it needs at least.
    n_bytes : int
        Of ``pixels``.
    """

    producer: str
    consumer: str
    capacity: int
    pixels: int
    n_bytes: int


def first_memory(chip: Chip) -> str:
    """Return where a line buffer goes at first that does not fit its tile."""
    return "dram" if chip.buffer.overflow == "dram" else "global_buffer"


def frame_bytes(mapping: Mapping) -> int:
    """Bytes of all inputs and outputs of one frame."""
    graph = mapping.graph
    values = sum(op.output.per_frame for op in graph.inputs)
    values += sum(graph[name].output.per_frame for name in graph.outputs)
    return values * mapping.chip.input_bytes


def check_frames(mapping: Mapping) -> None:
    """Refuse frames that the global buffer should hold and does not.

    Raises
    ------
    SimulationError
        With three ways out.
    """
    chip, needed = mapping.chip, frame_bytes(mapping)
    size = int(chip.global_buffer.size_b)
    if chip.buffer.overflow == "ignore" or chip.frames == "dram" or needed <= size:
        return
    raise SimulationError(
        f"global_buffer.size: inputs and outputs of one frame take {needed:,} B (frames: "
        f"{chip.frames}), the global buffer of chip '{chip.name}' has {size:,} B. Ways out: --set "
        f"global_buffer.size={_kib(needed)}; {_dram(chip, 'frames=dram')}; smaller frames"
    )


def to_dram(
    mapping: Mapping, held: MappingABC[Edge, int], tight: Sequence[TooSmall]
) -> tuple[Edge, ...]:
    """Return the line buffers that must leave the global buffer for DRAM, the largest first.

    Parameters
    ----------
    mapping : Mapping
    held : mapping
        Line buffer in the global buffer -> bytes at its peak.
    tight : sequence of TooSmall
        What did not fit the tiles, for the message.

    Raises
    ------
    SimulationError
        They do not fit and there is no DRAM, or ``buffer.overflow`` rules it out.
    """
    chip, size = mapping.chip, int(mapping.chip.global_buffer.size_b)
    frames = 0 if chip.frames == "dram" else frame_bytes(mapping)
    room, taken = size - frames, sum(held.values())
    if taken <= room or not held:
        return ()
    if chip.buffer.overflow != "spill" or chip.dram is None:
        kept = f" beside frames of {frames:,} B" if frames else ""
        raise SimulationError(
            f"global_buffer.size: {len(held)} line buffers that the tiles do not hold take up to "
            f"{taken:,} B{kept}, the global buffer of chip '{chip.name}' has {size:,} B. Ways out: "
            f"--set buffer.size={enough(chip, tight)}; --set "
            f"global_buffer.size={_kib(taken + frames)}; {_dram(chip, 'buffer.overflow=spill')}; "
            f"{_OTHERWISE}"
        )
    moved: list[Edge] = []
    for edge in sorted(held, key=lambda edge: (-held[edge], edge)):
        if taken <= room:
            break
        moved.append(edge)
        taken -= held[edge]
    return tuple(moved)


def tell_too_small(chip: Chip, tight: Sequence[TooSmall]) -> str:
    """Return the message for line buffers that fit no tile where nothing may spill."""
    lines = [
        f"{one.producer} -> {one.consumer} holds {one.capacity} pixels and needs {one.pixels} "
        f"({one.n_bytes} B)"
        for one in tight
    ]
    more = f"; and {len(lines) - 4} more" if len(lines) > 4 else ""
    return (
        f"buffer.size: line buffers are too small, the network would stop for ever: "
        f"{'; '.join(lines[:4])}{more}. Ways out: --set buffer.size={enough(chip, tight)}; let "
        f"them spill to the global buffer or DRAM with --set buffer.overflow=spill; {_OTHERWISE}"
    )


def enough(chip: Chip, tight: Sequence[TooSmall]) -> str:
    """Return a ``buffer.size`` with which these line buffers have what they need."""
    factor = max(
        ((one.pixels + 1) / max(one.capacity, 0.5) for one in tight), default=1.0
    )  # fmt: skip
    return f"{math.ceil(chip.buffer.size_b * factor / 1024)}KiB"


def doubt(chip: Chip, peak_bytes: int) -> str:
    """Return what to say where memories are taken as endless and would not be; '': nothing."""
    if chip.buffer.overflow != "ignore" or peak_bytes <= chip.buffer.size_b:
        return ""
    return (
        f"a what-if, no chip: line buffers take up to {format_si(peak_bytes, 'B')} where a tile "
        f"has {format_si(chip.buffer.size_b, 'B')}, and buffer.overflow = ignore lets them; time "
        "and energy of moving them are missing (--set buffer.overflow=spill counts them)"
    )


def _dram(chip: Chip, option: str) -> str:
    if chip.dram is not None:
        return f"--set {option}"
    return f"--set dram.bytes_per_cycle=32 (a section dram) with --set {option}"


def _kib(n_bytes: int) -> str:
    return f"{math.ceil(n_bytes / 1024)}KiB"
