"""The event loop of `cimsim.timing.spec.rules`, compiled.

Three kinds of events, handled in the order (cycle, `Phase`, order of the node, sequence number,
reservation): an activation enters a STORE that no other uses; a pipeline that several nodes share
takes its next activation; a reservation asks for a resource that others use, too. Everything
between two events follows at once, because a stage is left at ``max(end of service, cycle in which
the next stage is free)``: `advance` moves each activation as far as those two are known, even if
that lies in the future. Whatever is computed while the event of cycle t is handled lies at t or
later, what follows from a grant later than t, so no later event can change it. An activation that
waits for pixels or for credit is moved on when the node that it waits for stores or lets go of them
(`stores.finish`).

Memory: all records lie in one int64 array (`cimsim.timing.loop.records`), which
`cimsim.timing.loop.tables` lays out. What it takes to read and write them is in
`cimsim.timing.loop.accessors`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from cimsim.jit import jit, jit_inline
from cimsim.timing.loop.admission import admit, admit_first
from cimsim.timing.loop.heap import pop
from cimsim.timing.loop.places import stage_at
from cimsim.timing.loop.progress import advance, grant, store
from cimsim.timing.loop.records import (
    CYCLE,
    FAR,
    ORDER_BITS,
    RESERVATION_BITS,
    TURN,
    Header,
    Node,
    Phase,
)
from cimsim.timing.loop.schema import CorruptMemory
from cimsim.timing.loop.stores import measure_all, widen

P = ParamSpec("P")
T = TypeVar("T")


def _named(kernel: Callable[Concatenate[Header, P], T]) -> Callable[Concatenate[Header, P], T]:
    """Let a kernel that finds the memory corrupt, in the checked build, say where."""

    @functools.wraps(kernel)
    def call(header: Header, /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return kernel(header, *arguments, **named)
        except CorruptMemory:
            raise CorruptMemory.read(header.words) from None

    return call


@jit
def _admit_called(header: Header) -> None:
    """Let activations into all pipelines of which something has changed that they wait for."""
    while header.calls > 0:
        header.calls -= 1
        admit(header.stack[header.calls])


@_named
@jit
def begin(header: Header) -> None:
    """Have all pipelines looked at."""
    for index in range(len(header.pipes)):
        header.stack[index] = header.pipes[index]
        header.calls += 1


@jit_inline
def _handle_first(header: Header) -> None:
    """Take the first event, go to its cycle and do what it says."""
    event = header.heap[0]
    key, what = event.key, event.what
    pop(header)
    now, stage = key >> CYCLE, stage_at(header, what >> RESERVATION_BITS)
    header.now = now
    if stage.kind == TURN:
        entered = admit_first(stage.pipe, key)
        if entered:
            advance(stage.pipe.stages[0])
    elif (key >> ORDER_BITS) & 3 == Phase.STORED:
        store(stage, now + stage.service.alone)
    else:
        grant(stage, what & ((1 << RESERVATION_BITS) - 1), now)


@_named
@jit
def proceed(header: Header, node: Node, rows: int) -> bool:
    """Go on until a node has stored so many map rows of all frames.

    Whether it has; else nothing can happen any more, or a ring was too short.
    """
    while header.full == 0:
        _admit_called(header)
        if node.frame * node.rows + node.y >= rows:
            return True
        if header.events > 0:
            _handle_first(header)
        elif not widen(header):
            break
    return False


@_named
@jit
def end(header: Header) -> None:
    """Look for the peaks of the last stores."""
    header.now = FAR
    for place in range(len(header.nodes)):
        measure_all(header.nodes[place])


def run(header: Header) -> None:
    """Simulate until all frames are complete, or `Header.full` says that a ring was too short."""
    begin(header)
    proceed(header, header.nodes[0], FAR)
    end(header)
