"""What stored activations set free: readers, line buffers, frames."""

from __future__ import annotations

from cimsim.jit import jit, jit_inline
from cimsim.timing.loop.admission import pixels_through, windows_wanted
from cimsim.timing.loop.places import header_of
from cimsim.timing.loop.records import FAR, NO_LIMIT, UNKNOWN, Edge, Header, Pipe, Queue, Unit


@jit
def finish(queue: Queue, sequence: int, at: int) -> None:
    """Count a stored activation and extend the unit's stored prefix."""
    unit, header = queue.unit, header_of(queue)
    if len(queue.trace) > 0:
        queue.trace[sequence].stored = at
    header.latest = max(header.latest, at)
    unit.stores[sequence] = at
    replicas, n = len(unit.queues), unit.activations
    if replicas == 1:
        _extend(unit)
        return
    if 2 * (sequence - unit.prefix) >= header.ring:
        header.full = 1
    queue.undone_index += replicas
    if queue.undone_index >= n:
        queue.undone_index = queue.replica
        queue.undone_frame += 1
    prefix = FAR
    for replica in range(min(replicas, n)):
        other = unit.queues[replica]
        prefix = min(prefix, other.undone_frame * n + other.undone_index)
    while unit.prefix < prefix:
        _extend(unit)


@jit
def _extend(unit: Unit) -> None:
    """Add one activation to the stored prefix: occupancy, frames, and who waits for it."""
    at = max(unit.at, unit.stores[unit.prefix])
    unit.stores[unit.prefix] = at
    unit.at = at
    unit.prefix += 1
    windows = min(unit.per_activation, unit.windows - unit.in_frame)
    done = unit.done + windows
    unit.done = done
    unit.in_frame += windows
    x = unit.x + windows
    while x >= unit.row:
        x -= unit.row
        _end_row(unit, at)
    unit.x = x
    measure_all(unit)
    for index in range(len(unit.watches)):
        watch = unit.watches[index]
        queue = watch.queue
        # who waits does so for more than was there before, so it is called exactly once
        if queue.dependency == watch.dependency and done - windows < queue.wanted <= done:
            _call(queue.pipe)


@jit
def _end_row(unit: Unit, at: int) -> None:
    """Free what a finished map row held, and close its frame after the last one."""
    unit.row_stores[unit.frame * unit.rows + unit.y] = at
    unit.y += 1
    if unit.y == unit.rows:
        frame = header_of(unit).frames[unit.frame]
        frame.left -= 1
        frame.complete = max(frame.complete, at)
        unit.frame += 1
        unit.in_frame = 0
        unit.y = 0
    for index in range(len(unit.into)):
        edge = unit.into[index]
        before, producer = edge.freed, edge.producer
        _measure(edge)
        freed = unit.frame * producer.pixels + edge.released[unit.y]
        edge.freed = freed
        if edge.capacity == NO_LIMIT:
            continue
        waits = len(producer.dependencies) + edge.credit
        for replica in range(len(producer.queues)):
            queue = producer.queues[replica]
            if queue.dependency == waits and before < queue.wanted <= freed:
                _call(queue.pipe)


@jit
def measure_all(unit: Unit) -> None:
    """Look for the peaks of all edges from a unit."""
    for index in range(len(unit.out)):
        _measure(unit.out[index])


@jit_inline
def _release(edge: Edge, at: int) -> None:
    """Go on to the map rows of the reader that are stored in cycle ``at``."""
    header, consumer = header_of(edge), edge.consumer
    rows = consumer.rows
    known = consumer.frame * rows + consumer.y
    row = max(edge.row, known - header.ring // 2)
    header.rows_back = max(header.rows_back, known - row)
    while row < known and consumer.row_stores[row] <= at:
        row += 1
    if row != edge.row:
        edge.row = row
        frame = row // rows
        edge.gone = frame * edge.producer.pixels + edge.released[row - frame * rows]


@jit
def _measure(edge: Edge) -> None:
    """Look for the peak of an edge at all stores before the cycle at hand.

    Those of later cycles must wait, since what is released until then is not known.
    """
    header, unit = header_of(edge), edge.producer
    seen, prefix, now = edge.seen, unit.prefix, header.now
    while seen < prefix:
        at = unit.stores[seen]
        header.back = max(header.back, prefix - seen)
        if at >= now:
            break
        _release(edge, at)
        seen += 1
        windows = unit.per_activation
        if windows > 1 and seen % unit.activations == 0:
            windows = unit.windows - (unit.activations - 1) * windows
        written = edge.written + windows * unit.block
        edge.written = written
        edge.peak = max(edge.peak, written - edge.gone)
    edge.seen = seen


@jit
def _call(pipe: Pipe) -> None:
    """Have a pipeline looked at."""
    header = header_of(pipe)
    header.stack[header.calls] = pipe
    header.calls += 1


@jit
def _next_of(unit: Unit) -> int:
    """Replica that has the next activation of a unit, the first in sequence; -1: there is none."""
    first, head = -1, FAR
    for replica in range(min(len(unit.queues), unit.activations)):
        queue = unit.queues[replica]
        sequence = queue.frame * unit.activations + queue.index
        if queue.frame < len(header_of(unit).frames) and sequence < head:
            first, head = replica, sequence
    return first


@jit
def _is_awaited(unit: Unit) -> bool:
    """Whether the next activation of another unit lacks pixels of this one."""
    for index in range(len(unit.watches)):
        watch = unit.watches[index]
        queue = watch.queue
        reader = queue.unit
        if watch.dependency < queue.dependency or queue.replica != _next_of(reader):
            continue
        if unit.done < windows_wanted(queue, reader, reader.dependencies[watch.dependency]):
            return True
    return False


@jit
def widen(header: Header) -> bool:
    """Nothing can happen: give a unit that lacks nothing but credit what it lacks."""
    first, first_replica, best = -1, -1, FAR
    for place in range(len(header.units) - 1, -1, -1):
        unit = header.units[place]
        replica = _next_of(unit)
        if replica < 0 or unit.queues[replica].dependency < len(unit.dependencies):
            continue
        late = unit.queues[replica].frame
        if late < best and not _is_awaited(unit):
            late += len(header.frames)
        if late < best:
            first, first_replica, best = place, replica, late
    if first < 0:
        return False
    unit = header.units[first]
    queue = unit.queues[first_replica]
    written = pixels_through(queue, unit)
    for index in range(len(unit.credits)):
        edge = unit.credits[index]
        edge.capacity = max(edge.capacity, written - edge.freed)
    queue.ready = max(queue.ready, header.latest)
    for replica in range(len(unit.queues)):
        queue = unit.queues[replica]
        if queue.dependency >= len(unit.dependencies):
            # what it waited for was counted with the room that there was
            queue.dependency = len(unit.dependencies)
            queue.wanted = UNKNOWN
            _call(queue.pipe)
    return True
