"""Which activation a pipeline lets in, and when: dependencies, credit, turns of several nodes."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.loop.heap import push
from cimsim.timing.loop.places import header_of
from cimsim.timing.loop.records import (
    CYCLE,
    EMPTY,
    FAR,
    RESERVATION_BITS,
    TURN,
    UNKNOWN,
    Dependency,
    Edge,
    Node,
    Phase,
    Pipe,
    Queue,
    StageState,
)
from cimsim.timing.loop.stages import begin, event_key, may_leave, move
from cimsim.timing.spec.stage import Served, Stage


@jit
def admit(pipe: Pipe) -> None:
    """Let the head of a pipeline's only node in, or call for the next of several nodes."""
    if len(pipe.queues) > 1:
        _call_next(pipe)
        return
    queue, load = pipe.queues[0], pipe.stages[Stage.LOAD]
    while load.sequence == EMPTY and _is_ready(queue):
        _enter_load(queue, load, max(queue.ready, load.free))
        stage = load
        while may_leave(stage):
            stage = move(stage)


@jit
def _is_ready(queue: Queue) -> bool:
    """Whether all dependencies of a queue's head are stored and its output has room.

    Then its ``ready`` is the first cycle in which that is so.
    """
    node = queue.node
    if queue.frame == len(header_of(queue).frames) or queue.index >= node.activations:
        return False
    dependencies = node.dependencies
    while queue.dependency < len(dependencies):
        dependency = dependencies[queue.dependency]
        if queue.wanted == UNKNOWN:
            queue.wanted = windows_wanted(queue, node, dependency)
        producer, wanted = dependency.producer, queue.wanted
        if producer.done < wanted:
            return False
        if wanted > 0 and producer.at > queue.ready:
            queue.ready = max(queue.ready, _stored_at(producer, wanted))
        queue.dependency += 1
        queue.wanted = UNKNOWN
        queue.fed = queue.ready
    credits = node.credits
    while queue.dependency < len(dependencies) + len(credits):
        edge = credits[queue.dependency - len(dependencies)]
        if queue.wanted == UNKNOWN:
            queue.wanted = pixels_through(queue, node) - edge.capacity
        if edge.freed < queue.wanted:
            return False
        _wait_for_release(queue, edge, queue.wanted)
        queue.dependency += 1
        queue.wanted = UNKNOWN
    return True


@jit
def windows_wanted(queue: Queue, node: Node, dependency: Dependency) -> int:
    """Windows of the producer, all frames counted, that the head of a queue waits for."""
    y, x = queue.y, queue.x
    wanted, per_activation = 0, node.per_activation
    if per_activation > 1:
        first = queue.index * per_activation
        x += min(per_activation, node.windows - first) - 1
        while x >= node.row:  # the activation goes on in the next map row
            wanted = max(wanted, dependency.rows[y] + dependency.cols[node.row - 1])
            x -= node.row
            y += 1
    wanted = max(wanted, dependency.rows[y] + dependency.cols[x])
    frame = queue.frame + dependency.frame
    if wanted <= 0 or frame < 0:
        return 0
    return frame * dependency.producer.windows + wanted


@jit
def _stored_at(node: Node, windows: int) -> int:
    """Cycle in which the prefix of a node reached ``windows``; 0 if that is long ago."""
    header, index = header_of(node), windows - 1
    if node.per_activation > 1:
        frame = index // node.windows
        inside = index - frame * node.windows
        index = frame * node.activations + inside // node.per_activation
    back = node.prefix - index
    if 2 * back > header.ring:
        return 0
    header.back = max(header.back, back)
    return node.stores[index]


@jit
def pixels_through(queue: Queue, node: Node) -> int:
    """Pixels of all activations up to the head of a queue, all frames counted."""
    upto = (queue.index + 1) * node.per_activation
    windows = queue.frame * node.windows + min(upto, node.windows)
    return windows * node.block


@jit
def _wait_for_release(queue: Queue, edge: Edge, wanted: int) -> None:
    """Move ``ready`` to the cycle in which ``wanted`` pixels of an edge had been released."""
    header, consumer = header_of(queue), edge.consumer
    rows, newest = consumer.rows, consumer.frame * consumer.rows + consumer.y
    row, oldest = newest, max(0, newest - header.ring)
    while row > oldest and wanted > 0:  # from the last released row back
        header.rows_back = max(header.rows_back, newest - row + 1)
        when = consumer.row_stores[row - 1]
        if when <= queue.ready:
            return
        row -= 1
        freed = row // rows * edge.producer.pixels
        if freed + edge.released[row % rows] < wanted:
            queue.ready = when
            return


@jit
def _enter_load(queue: Queue, load: StageState, at: int) -> None:
    """Let the head of a queue enter LOAD and make the next activation the head."""
    node, y = queue.node, queue.y
    step = len(node.queues)
    sequence = queue.frame * node.activations + queue.index
    queue.starved += max(0, queue.fed - load.free)
    queue.no_credit += max(0, queue.ready - max(queue.fed, load.free))
    service = queue.services[Served.LOAD_NEXT]
    if y != queue.last_row:
        service = queue.services[Served.LOAD]
        queue.first += 1
        queue.last_row = y
    x = queue.x + step * node.per_activation
    queue.index += step
    if queue.index >= node.activations:
        queue.frame += 1
        queue.index = queue.replica
        x = queue.replica * node.per_activation
        y = 0
        queue.last_row = -1
    while x >= node.row:
        x -= node.row
        y += 1
    queue.x, queue.y = x, y
    queue.dependency = 0
    queue.ready = at
    queue.fed = at
    load.sequence = sequence
    load.queue = queue
    load.service = service
    begin(load, at)


@jit
def _call_next(pipe: Pipe) -> None:
    """Schedule the admission of a pipeline that several nodes share.

    Heads are looked at even while LOAD is taken: who was ready first must be known exactly.
    """
    index, load = _first_ready(pipe), pipe.stages[Stage.LOAD]
    if index < 0 or load.sequence != EMPTY:
        return
    queue = pipe.queues[index]
    key = event_key(queue, max(queue.ready, load.free), Phase.ADMITTED)
    if key < pipe.pending:
        pipe.pending = key
        push(header_of(pipe), key, pipe.stages[TURN].address << RESERVATION_BITS)


@jit
def _first_ready(pipe: Pipe) -> int:
    """Place of the queue whose head was ready first, ties by order; -1 if none is ready."""
    best, ready = -1, FAR
    for index in range(len(pipe.queues)):
        queue = pipe.queues[index]
        if _is_ready(queue) and queue.ready < ready:
            best, ready = index, queue.ready
    return best


@jit
def admit_first(pipe: Pipe, key: int) -> bool:
    """Take the head that was ready first into a shared pipeline; returns whether there was one."""
    if key != pipe.pending:  # a better head came and was taken
        return False
    pipe.pending = FAR
    _enter_load(pipe.queues[_first_ready(pipe)], pipe.stages[Stage.LOAD], key >> CYCLE)
    return True
