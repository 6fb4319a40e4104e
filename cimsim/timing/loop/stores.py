"""What stored activations set free: readers, line buffers, frames."""

from __future__ import annotations

from cimsim.jit import jit, jit_inline
from cimsim.timing.loop.admission import pixels_through, windows_wanted
from cimsim.timing.loop.places import header_of
from cimsim.timing.loop.records import FAR, NO_LIMIT, UNKNOWN, Edge, Header, Node, Pipe, Queue


@jit
def finish(queue: Queue, sequence: int, at: int) -> None:
    """Count a stored activation and extend the node's stored prefix."""
    node, header = queue.node, header_of(queue)
    if len(queue.trace) > 0:
        queue.trace[sequence].stored = at
    header.latest = max(header.latest, at)
    node.stores[sequence] = at
    replicas, n = len(node.queues), node.activations
    if replicas == 1:
        _extend(node)
        return
    if 2 * (sequence - node.prefix) >= header.ring:
        header.full = 1
    queue.undone_index += replicas
    if queue.undone_index >= n:
        queue.undone_index = queue.replica
        queue.undone_frame += 1
    prefix = FAR
    for replica in range(min(replicas, n)):
        other = node.queues[replica]
        prefix = min(prefix, other.undone_frame * n + other.undone_index)
    while node.prefix < prefix:
        _extend(node)


@jit
def _extend(node: Node) -> None:
    """Add one activation to the stored prefix: occupancy, frames, and who waits for it."""
    at = max(node.at, node.stores[node.prefix])
    node.stores[node.prefix] = at
    node.at = at
    node.prefix += 1
    windows = min(node.per_activation, node.windows - node.in_frame)
    done = node.done + windows
    node.done = done
    node.in_frame += windows
    x = node.x + windows
    while x >= node.row:
        x -= node.row
        _end_row(node, at)
    node.x = x
    measure_all(node)
    for index in range(len(node.watches)):
        watch = node.watches[index]
        queue = watch.queue
        # who waits does so for more than was there before, so it is called exactly once
        if queue.dependency == watch.dependency and done - windows < queue.wanted <= done:
            _call(queue.pipe)


@jit
def _end_row(node: Node, at: int) -> None:
    """Free what a finished map row held, and close its frame after the last one."""
    node.row_stores[node.frame * node.rows + node.y] = at
    node.y += 1
    if node.y == node.rows:
        frame = header_of(node).frames[node.frame]
        frame.left -= 1
        frame.complete = max(frame.complete, at)
        node.frame += 1
        node.in_frame = 0
        node.y = 0
    for index in range(len(node.into)):
        edge = node.into[index]
        before, producer = edge.freed, edge.producer
        _measure(edge)
        freed = node.frame * producer.pixels + edge.released[node.y]
        edge.freed = freed
        if edge.capacity == NO_LIMIT:
            continue
        waits = len(producer.dependencies) + edge.credit
        for replica in range(len(producer.queues)):
            queue = producer.queues[replica]
            if queue.dependency == waits and before < queue.wanted <= freed:
                _call(queue.pipe)


@jit
def measure_all(node: Node) -> None:
    """Look for the peaks of all edges from a node."""
    for index in range(len(node.out)):
        _measure(node.out[index])


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
    header, node = header_of(edge), edge.producer
    seen, prefix, now = edge.seen, node.prefix, header.now
    while seen < prefix:
        at = node.stores[seen]
        header.back = max(header.back, prefix - seen)
        if at >= now:
            break
        _release(edge, at)
        seen += 1
        windows = node.per_activation
        if windows > 1 and seen % node.activations == 0:
            windows = node.windows - (node.activations - 1) * windows
        written = edge.written + windows * node.block
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
def _next_of(node: Node) -> int:
    """Replica that has the next activation of a node, the first in sequence; -1: there is none."""
    first, head = -1, FAR
    for replica in range(min(len(node.queues), node.activations)):
        queue = node.queues[replica]
        sequence = queue.frame * node.activations + queue.index
        if queue.frame < len(header_of(node).frames) and sequence < head:
            first, head = replica, sequence
    return first


@jit
def _is_awaited(node: Node) -> bool:
    """Whether the next activation of another node lacks pixels of this one."""
    for index in range(len(node.watches)):
        watch = node.watches[index]
        queue = watch.queue
        reader = queue.node
        if watch.dependency < queue.dependency or queue.replica != _next_of(reader):
            continue
        if node.done < windows_wanted(queue, reader, reader.dependencies[watch.dependency]):
            return True
    return False


@jit
def widen(header: Header) -> bool:
    """Nothing can happen: give a node that lacks nothing but credit what it lacks."""
    first, first_replica, best = -1, -1, FAR
    for place in range(len(header.nodes) - 1, -1, -1):
        node = header.nodes[place]
        replica = _next_of(node)
        if replica < 0 or node.queues[replica].dependency < len(node.dependencies):
            continue
        late = node.queues[replica].frame
        if late < best and not _is_awaited(node):
            late += len(header.frames)
        if late < best:
            first, first_replica, best = place, replica, late
    if first < 0:
        return False
    node = header.nodes[first]
    queue = node.queues[first_replica]
    written = pixels_through(queue, node)
    for index in range(len(node.credits)):
        edge = node.credits[index]
        edge.capacity = max(edge.capacity, written - edge.freed)
    queue.ready = max(queue.ready, header.latest)
    for replica in range(len(node.queues)):
        queue = node.queues[replica]
        if queue.dependency >= len(node.dependencies):
            # what it waited for was counted with the room that there was
            queue.dependency = len(node.dependencies)
            queue.wanted = UNKNOWN
            _call(queue.pipe)
    return True
