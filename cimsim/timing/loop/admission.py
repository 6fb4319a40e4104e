"""Which activation a pipeline lets in, and when: needs, credit, turns of several units."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.loop.heap import push
from cimsim.timing.loop.places import header_of
from cimsim.timing.loop.records import (
    CYCLE,
    EMPTY,
    FAR,
    LEG_BITS,
    TURN,
    UNKNOWN,
    Edge,
    Feeder,
    Need,
    Phase,
    Pipe,
    StageState,
    Unit,
)
from cimsim.timing.loop.stages import begin, event_key, may_leave, move
from cimsim.timing.spec.stage import Served, Stage


@jit
def admit(pipe: Pipe) -> None:
    """Let the head of a pipeline's only unit in, or call for the next of several units."""
    if len(pipe.feeders) > 1:
        _call_next(pipe)
        return
    feeder, load = pipe.feeders[0], pipe.stages[Stage.LOAD]
    while load.sequence == EMPTY and _is_ready(feeder):
        _enter_load(feeder, load, max(feeder.ready, load.free))
        stage = load
        while may_leave(stage):
            stage = move(stage)


@jit
def _is_ready(feeder: Feeder) -> bool:
    """Whether all needs of a feeder's head are stored and its output has room.

    Then its ``ready`` is the first cycle in which that is so.
    """
    unit = feeder.unit
    if feeder.frame == len(header_of(feeder).frames) or feeder.index >= unit.activations:
        return False
    needs = unit.needs
    while feeder.need < len(needs):
        need = needs[feeder.need]
        if feeder.wanted == UNKNOWN:
            feeder.wanted = windows_wanted(feeder, unit, need)
        producer, wanted = need.producer, feeder.wanted
        if producer.done < wanted:
            return False
        if wanted > 0 and producer.at > feeder.ready:
            feeder.ready = max(feeder.ready, _stored_at(producer, wanted))
        feeder.need += 1
        feeder.wanted = UNKNOWN
        feeder.fed = feeder.ready
    credits = unit.credits
    while feeder.need < len(needs) + len(credits):
        edge = credits[feeder.need - len(needs)]
        if feeder.wanted == UNKNOWN:
            feeder.wanted = pixels_through(feeder, unit) - edge.capacity
        if edge.freed < feeder.wanted:
            return False
        _wait_for_release(feeder, edge, feeder.wanted)
        feeder.need += 1
        feeder.wanted = UNKNOWN
    return True


@jit
def windows_wanted(feeder: Feeder, unit: Unit, need: Need) -> int:
    """Windows of the producer, all frames counted, that the head of a feeder waits for."""
    y, x = feeder.y, feeder.x
    found, per_activation = 0, unit.per_activation
    if per_activation > 1:
        first = feeder.index * per_activation
        x += min(per_activation, unit.windows - first) - 1
        while x >= unit.row:  # the activation goes on in the next map row
            found = max(found, need.rows[y] + need.cols[unit.row - 1])
            x -= unit.row
            y += 1
    found = max(found, need.rows[y] + need.cols[x])
    frame = feeder.frame + need.frame
    if found <= 0 or frame < 0:
        return 0
    return frame * need.producer.windows + found


@jit
def _stored_at(unit: Unit, windows: int) -> int:
    """Cycle in which the prefix of a unit reached ``windows``; 0 if that is long ago."""
    header, index = header_of(unit), windows - 1
    if unit.per_activation > 1:
        frame = index // unit.windows
        inside = index - frame * unit.windows
        index = frame * unit.activations + inside // unit.per_activation
    back = unit.prefix - index
    if 2 * back > header.ring:
        return 0
    header.back = max(header.back, back)
    return unit.stores[index]


@jit
def pixels_through(feeder: Feeder, unit: Unit) -> int:
    """Pixels of all activations up to the head of a feeder, all frames counted."""
    upto = (feeder.index + 1) * unit.per_activation
    windows = feeder.frame * unit.windows + min(upto, unit.windows)
    return windows * unit.block


@jit
def _wait_for_release(feeder: Feeder, edge: Edge, wanted: int) -> None:
    """Move ``ready`` to the cycle in which ``wanted`` pixels of an edge had been released."""
    header, consumer = header_of(feeder), edge.consumer
    rows, newest = consumer.rows, consumer.frame * consumer.rows + consumer.y
    row, oldest = newest, max(0, newest - header.ring)
    while row > oldest and wanted > 0:  # from the last released row back
        header.rows_back = max(header.rows_back, newest - row + 1)
        when = consumer.row_stores[row - 1]
        if when <= feeder.ready:
            return
        row -= 1
        freed = row // rows * edge.producer.pixels
        if freed + edge.released[row % rows] < wanted:
            feeder.ready = when
            return


@jit
def _enter_load(feeder: Feeder, load: StageState, at: int) -> None:
    """Let the head of a feeder enter LOAD and make the next activation the head."""
    unit, y = feeder.unit, feeder.y
    step = len(unit.feeders)
    sequence = feeder.frame * unit.activations + feeder.index
    feeder.starved += max(0, feeder.fed - load.free)
    feeder.no_credit += max(0, feeder.ready - max(feeder.fed, load.free))
    service = feeder.services[Served.LOAD_NEXT]
    if y != feeder.last_row:
        service = feeder.services[Served.LOAD]
        feeder.first += 1
        feeder.last_row = y
    x = feeder.x + step * unit.per_activation
    feeder.index += step
    if feeder.index >= unit.activations:
        feeder.frame += 1
        feeder.index = feeder.replica
        x = feeder.replica * unit.per_activation
        y = 0
        feeder.last_row = -1
    while x >= unit.row:
        x -= unit.row
        y += 1
    feeder.x, feeder.y = x, y
    feeder.need = 0
    feeder.ready = at
    feeder.fed = at
    load.sequence = sequence
    load.feeder = feeder
    load.service = service
    begin(load, at)


@jit
def _call_next(pipe: Pipe) -> None:
    """Schedule the admission of a pipeline that several units share.

    Heads are looked at even while LOAD is taken: who was ready first must be known exactly.
    """
    index, load = _first_ready(pipe), pipe.stages[Stage.LOAD]
    if index < 0 or load.sequence != EMPTY:
        return
    feeder = pipe.feeders[index]
    key = event_key(feeder, max(feeder.ready, load.free), Phase.ADMITTED)
    if key < pipe.pending:
        pipe.pending = key
        push(header_of(pipe), key, pipe.stages[TURN].address << LEG_BITS)


@jit
def _first_ready(pipe: Pipe) -> int:
    """Place of the feeder whose head was ready first, ties by order; -1 if none is ready."""
    best, ready = -1, FAR
    for index in range(len(pipe.feeders)):
        feeder = pipe.feeders[index]
        if _is_ready(feeder) and feeder.ready < ready:
            best, ready = index, feeder.ready
    return best


@jit
def admit_first(pipe: Pipe, key: int) -> bool:
    """Take the head that was ready first into a shared pipeline; returns whether there was one."""
    if key != pipe.pending:  # a better head came and was taken
        return False
    pipe.pending = FAR
    _enter_load(pipe.feeders[_first_ready(pipe)], pipe.stages[Stage.LOAD], key >> CYCLE)
    return True
