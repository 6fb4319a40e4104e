"""The records of the event loop: fields, what they mean, what they may change to.

A field that says nothing of that stands from the beginning and is never written. The order of the
fields is that in which the loop needs them together.
"""

from __future__ import annotations

from enum import IntEnum

from cimsim.timing.loop.schema import Numbers, Record, Refs, Ring, Rows, anything, cell, declare
from cimsim.timing.spec.stage import Served, Stage

EMPTY = -1  # sequence number in a stage that nobody is in
UNKNOWN = -1  # a cycle, or how much a head waits for, that is not known yet
FAR = 1 << 62  # no cycle is as late
NO_LIMIT = 1 << 60  # pixels of a line buffer that always has room
TURN = len(Stage)  # kind of the record where nodes that share a pipeline wait for their turn

ORDER_BITS, PHASE_BITS, RESERVATION_BITS = 16, 2, 12
CYCLE = ORDER_BITS + PHASE_BITS


class Phase(IntEnum):
    """Events of one cycle, in this order."""

    STORED = 0
    ADMITTED = 1
    ASKED = 2


# --- what may follow a value ------------------------------------------------------------------


def growing(old: int, new: int) -> bool:
    """Whether a cycle, or a count, does not go back."""
    return new >= old


def next_one(old: int, new: int) -> bool:
    """Whether one more is counted."""
    return new == old + 1


def next_or_first(old: int, new: int) -> bool:
    """Whether one more is counted, or counting begins anew."""
    return new in (old + 1, 0)


def up_or_down(old: int, new: int) -> bool:
    """Whether one is put on a stack or taken from it."""
    return new >= 0 and new in (old + 1, old - 1)


def one_less(old: int, new: int) -> bool:
    """Whether one of those that are left is done."""
    return 0 <= new == old - 1


def written_once(old: int, new: int) -> bool:
    """Whether what is unknown becomes known."""
    return old == UNKNOWN and new >= 0


def entered_or_left(old: int, new: int) -> bool:
    """Whether an empty stage is entered or a taken one is left."""
    return (old == EMPTY) != (new == EMPTY)


def all_or_one_less(old: int, new: int) -> bool:
    """Whether none was left, or one of those that are left is done."""
    return old == 0 or 0 <= new == old - 1


def sooner_or_over(old: int, new: int) -> bool:
    """Whether an admission is put forward or taken; FAR: there is none."""
    return new < old or new == FAR


def known_or_not(old: int, new: int) -> bool:
    """Whether it is a cycle, or UNKNOWN."""
    return new >= UNKNOWN


def yes_or_no(old: int, new: int) -> bool:
    """Whether it is 0 or 1."""
    return new in (0, 1)


# --- the records ------------------------------------------------------------------------------


class Header(Record):
    """Where everything is, and what the loop is doing; the memory begins with it."""

    total: int = cell("cells of all records; in a checked build more are behind them")
    pipes: Rows[Pipe] = cell("pipelines")
    heap: Rows[Event] = cell("events, the earliest first, and room for more")
    events: int = cell("events that wait", up_or_down)
    stack: Refs[Pipe] = cell("pipelines to look at, and room for more", anything)
    calls: int = cell("pipelines to look at", up_or_down)
    ring: int = cell("stores that each node remembers")
    frames: Rows[Frame] = cell("frames")
    nodes: Rows[Node] = cell("nodes in execution order")
    latest: int = cell("cycle of the latest store", growing)
    full: int = cell("1: a ring was too short", yes_or_no)
    now: int = cell("cycle at hand", growing)
    log: Rows[Grant] = cell("services of shared resources; none: no log")
    logged: int = cell("services in the log", next_one)
    back: int = cell("how far back stores of activations were looked up", growing)
    rows_back: int = cell("how far back stores of map rows were looked up", growing)


class Node(Record):
    """A node of the plan, and its stored prefix."""

    order: int = cell("place in execution order")
    windows: int = cell("windows of a frame")
    activations: int = cell("activations of a frame")
    row: int = cell("windows of a map row")
    rows: int = cell("map rows")
    per_activation: int = cell("windows of an activation")
    queues: Rows[Queue] = cell("by replica")
    dependencies: Rows[Dependency] = cell("what an activation waits for")
    watches: Rows[Watch] = cell("who may wait for its stores")
    out: Rows[Edge] = cell("edges to its readers")
    into: Refs[Edge] = cell("edges from other nodes")
    credits: Refs[Edge] = cell("edges of limited capacity to its readers")
    block: int = cell("pixels of a window")
    pixels: int = cell("pixels of a frame")
    stores: Ring = cell("cycle in which each activation, and all before, were stored", anything)
    row_stores: Ring = cell("the same by map row", anything)
    prefix: int = cell("activations stored, all frames", next_one)
    done: int = cell("windows stored, all frames", growing)
    in_frame: int = cell("windows stored of this frame", anything)
    x: int = cell("windows stored of this map row", anything)
    y: int = cell("map rows stored of this frame", next_or_first)
    frame: int = cell("frames stored", next_one)
    at: int = cell("cycle of the last store in the prefix", growing)


class Queue(Record):
    """Activations of a node on one replica, in order: the head, the next to enter, and totals."""

    node: Node = cell("the node")
    pipe: Pipe = cell("the pipeline")
    replica: int = cell("the replica")
    frame: int = cell("head: frame", next_one)
    index: int = cell("head: activation of the frame", anything)
    x: int = cell("head: column of its first window", anything)
    y: int = cell("head: row of its first window", anything)
    last_row: int = cell("map row of the one before in this frame; -1: none", anything)
    dependency: int = cell("head: first dependency, then credit, not known to be there", anything)
    wanted: int = cell("head: how much of it, or UNKNOWN", anything)
    fed: int = cell("head: cycle from which all dependencies are there", growing)
    ready: int = cell("head: cycle from which all, credit too, is there", growing)
    undone_frame: int = cell("frame of the first activation that is not stored", next_one)
    undone_index: int = cell("that activation", anything)
    pulses: int = cell("pulses of an activation")
    double: int = cell("1: double sample-and-hold")
    latency: int = cell("cycles from leaving STORE to being stored")
    trace: Rows[Passage] = cell("by sequence number; none: no trace")
    fired: int = cell("activations that entered CONVERT", next_one)
    first: int = cell("activations that were the first in their map row", next_one)
    pulsed: int = cell("pulses converted", growing)
    starved: int = cell("cycles in which LOAD was free and input missing", growing)
    no_credit: int = cell("cycles in which LOAD was free and only room missing", growing)
    left_drive: int = cell("sum of the cycles in which DRIVE was left", growing)
    left_store: int = cell("sum of the cycles in which STORE was left", growing)
    entered: Numbers = cell("sums of the cycles of entry", growing, length=len(Stage))
    waited: Numbers = cell("cycles waited for resources", growing, length=len(Stage))
    services: Rows[Service] = cell("by `Served`", length=len(Served))


class Service(Record):
    """A service of an activation."""

    alone: int = cell("cycles if nobody else is there")
    own: int = cell("cycles after the last reservation")
    reservations: Rows[Reservation] = cell("none: nobody else uses its resources")


class Reservation(Record):
    """One occupation of a resource."""

    resource: Resource = cell("the resource")
    cycles: int = cell("cycles occupied")
    root: int = cell("1: asks when the stage is entered")
    children: Rows[Child] = cell("reservations that ask after it")


class Child(Record):
    """A reservation that asks after another one."""

    reservation: int = cell("number of the reservation")
    delay: int = cell("cycles after the other one began")


class Resource(Record):
    """Something that one activation at a time may use."""

    free: int = cell("cycle from which it is free", growing)


class StageState(Record):
    """A stage of a pipeline, and who is in it."""

    sequence: int = cell("sequence number of the activation, or EMPTY", entered_or_left)
    queue: Queue = cell("whose activation it is", anything)
    end: int = cell("end of service; UNKNOWN: a request waits (DRIVE: for CONVERT)", known_or_not)
    free: int = cell("cycle from which it is free", growing)
    service: Service = cell("the service", anything)
    began: int = cell(
        "cycle in which the reservations, or those of this pulse, were asked for", growing
    )
    reservations: int = cell("reservations that are not served", all_or_one_less)
    last: int = cell("end of the last reservation so far", anything)
    pipe: Pipe = cell("the pipeline")
    kind: int = cell("a `Stage`, or TURN")
    after: StageState = cell("the next stage")
    before: StageState = cell("the stage before; none: it is the first")


class Pipe(Record):
    """A pipeline."""

    queues: Refs[Queue] = cell("who uses it, in execution order")
    pulse: int = cell("pulse in CONVERT", next_or_first)
    pending: int = cell("key of the next admission to a shared pipeline, or FAR", sooner_or_over)
    stages: Rows[StageState] = cell("by `Stage`, then TURN", length=len(Stage) + 1)


class Dependency(Record):
    """What each activation of a node waits for; window (y, x): the first rows[y] + cols[x]."""

    producer: Node = cell("whose windows")
    rows: Numbers = cell("windows, by map row")
    cols: Numbers = cell("further windows, by column")
    frame: int = cell("0: of this frame, -1: of the one before")


class Edge(Record):
    """A line buffer, and its occupancy as far as it is measured."""

    producer: Node = cell("who stores")
    consumer: Node = cell("who reads")
    released: Numbers = cell("pixels released once so many map rows are stored")
    freed: int = cell("pixels released, all frames", growing)
    peak: int = cell("most pixels held", growing)
    capacity: int = cell("pixels that it holds, or NO_LIMIT", growing)
    credit: int = cell("place among the credits of its producer")
    seen: int = cell("activations measured", growing)
    written: int = cell("pixels written by these", growing)
    row: int = cell("map rows of the reader released by then", growing)
    gone: int = cell("pixels released by then", growing)


class Watch(Record):
    """Who has to be looked at when a node stores."""

    queue: Queue = cell("whose head may wait")
    dependency: int = cell("for which dependency")


class Event(Record):
    """Something that happens in a cycle."""

    key: int = cell("cycle, phase and order of the node", anything)
    what: int = cell("address of a stage and number of a reservation", anything)


class Frame(Record):
    """A frame."""

    left: int = cell("nodes that are not done with it", one_less)
    complete: int = cell("cycle of the last store", growing)


class Passage(Record):
    """An activation on its way through the stages; -1: not yet, or there is no such stage."""

    enter: Numbers = cell("cycle of entry, by stage", written_once, length=len(Stage))
    leave: Numbers = cell("cycle of leaving, by stage", written_once, length=len(Stage))
    stored: int = cell("cycle from which readers may have it", written_once)


class Grant(Record):
    """A service of a resource that others use, too; -1: not yet."""

    reservation: int = cell("stage and number of the reservation", written_once)
    queue: Queue = cell("whose", written_once)
    sequence: int = cell("which activation", written_once)
    start: int = cell("cycle in which it began", written_once)


# those that stand in others come first, but for the header
FIELDS = declare(
    Header, Service, StageState, Node, Queue, Reservation, Child, Resource, Pipe, Dependency, Edge,
    Watch, Event, Frame, Passage, Grant,
)  # fmt: skip
