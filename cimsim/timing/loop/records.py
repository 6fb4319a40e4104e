"""The records of the event loop: fields, what they mean, what they may change to.

A field that says nothing of that stands from the beginning and is never written. The order of the
fields is that in which the loop needs them together.
"""

from __future__ import annotations

from enum import IntEnum

from cimsim.timing.loop.schema import Numbers, Record, Refs, Ring, Rows, anything, declare, word
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

    total: int = word("words of all records; in a checked build more are behind them")
    pipes: Rows[Pipe] = word("pipelines")
    heap: Rows[Event] = word("events, the earliest first, and room for more")
    events: int = word("events that wait", up_or_down)
    stack: Refs[Pipe] = word("pipelines to look at, and room for more", anything)
    calls: int = word("pipelines to look at", up_or_down)
    ring: int = word("stores that each node remembers")
    frames: Rows[Frame] = word("frames")
    nodes: Rows[Node] = word("nodes in execution order")
    latest: int = word("cycle of the latest store", growing)
    full: int = word("1: a ring was too short", yes_or_no)
    now: int = word("cycle at hand", growing)
    log: Rows[Grant] = word("services of shared resources; none: no log")
    logged: int = word("services in the log", next_one)
    back: int = word("how far back stores of activations were looked up", growing)
    rows_back: int = word("how far back stores of map rows were looked up", growing)


class Node(Record):
    """A node of the plan, and its stored prefix."""

    order: int = word("place in execution order")
    windows: int = word("windows of a frame")
    activations: int = word("activations of a frame")
    row: int = word("windows of a map row")
    rows: int = word("map rows")
    per_activation: int = word("windows of an activation")
    queues: Rows[Queue] = word("by replica")
    dependencies: Rows[Dependency] = word("what an activation waits for")
    watches: Rows[Watch] = word("who may wait for its stores")
    out: Rows[Edge] = word("edges to its readers")
    into: Refs[Edge] = word("edges from other nodes")
    credits: Refs[Edge] = word("edges of limited capacity to its readers")
    block: int = word("pixels of a window")
    pixels: int = word("pixels of a frame")
    stores: Ring = word("cycle in which each activation, and all before, were stored", anything)
    row_stores: Ring = word("the same by map row", anything)
    prefix: int = word("activations stored, all frames", next_one)
    done: int = word("windows stored, all frames", growing)
    in_frame: int = word("windows stored of this frame", anything)
    x: int = word("windows stored of this map row", anything)
    y: int = word("map rows stored of this frame", next_or_first)
    frame: int = word("frames stored", next_one)
    at: int = word("cycle of the last store in the prefix", growing)


class Queue(Record):
    """Activations of a node on one replica, in order: the head, the next to enter, and totals."""

    node: Node = word("the node")
    pipe: Pipe = word("the pipeline")
    replica: int = word("the replica")
    frame: int = word("head: frame", next_one)
    index: int = word("head: activation of the frame", anything)
    x: int = word("head: column of its first window", anything)
    y: int = word("head: row of its first window", anything)
    last_row: int = word("map row of the one before in this frame; -1: none", anything)
    dependency: int = word("head: first dependency, then credit, not known to be there", anything)
    wanted: int = word("head: how much of it, or UNKNOWN", anything)
    fed: int = word("head: cycle from which all dependencies are there", growing)
    ready: int = word("head: cycle from which all, credit too, is there", growing)
    undone_frame: int = word("frame of the first activation that is not stored", next_one)
    undone_index: int = word("that activation", anything)
    pulses: int = word("pulses of an activation")
    double: int = word("1: double sample-and-hold")
    latency: int = word("cycles from leaving STORE to being stored")
    trace: Rows[Passage] = word("by sequence number; none: no trace")
    fired: int = word("activations that entered CONVERT", next_one)
    first: int = word("activations that were the first in their map row", next_one)
    pulsed: int = word("pulses converted", growing)
    starved: int = word("cycles in which LOAD was free and input missing", growing)
    no_credit: int = word("cycles in which LOAD was free and only room missing", growing)
    left_drive: int = word("sum of the cycles in which DRIVE was left", growing)
    left_store: int = word("sum of the cycles in which STORE was left", growing)
    entered: Numbers = word("sums of the cycles of entry", growing, length=len(Stage))
    waited: Numbers = word("cycles waited for resources", growing, length=len(Stage))
    services: Rows[Service] = word("by `Served`", length=len(Served))


class Service(Record):
    """A service of an activation."""

    alone: int = word("cycles if nobody else is there")
    own: int = word("cycles after the last reservation")
    reservations: Rows[Reservation] = word("none: nobody else uses its resources")


class Reservation(Record):
    """One occupation of a resource."""

    resource: Resource = word("the resource")
    cycles: int = word("cycles occupied")
    root: int = word("1: asks when the stage is entered")
    children: Rows[Child] = word("reservations that ask after it")


class Child(Record):
    """A reservation that asks after another one."""

    reservation: int = word("number of the reservation")
    delay: int = word("cycles after the other one began")


class Resource(Record):
    """Something that one activation at a time may use."""

    free: int = word("cycle from which it is free", growing)


class StageState(Record):
    """A stage of a pipeline, and who is in it."""

    sequence: int = word("sequence number of the activation, or EMPTY", entered_or_left)
    queue: Queue = word("whose activation it is", anything)
    end: int = word("end of service; UNKNOWN: a request waits (DRIVE: for CONVERT)", known_or_not)
    free: int = word("cycle from which it is free", growing)
    service: Service = word("the service", anything)
    began: int = word(
        "cycle in which the reservations, or those of this pulse, were asked for", growing
    )
    reservations: int = word("reservations that are not served", all_or_one_less)
    last: int = word("end of the last reservation so far", anything)
    pipe: Pipe = word("the pipeline")
    kind: int = word("a `Stage`, or TURN")
    after: StageState = word("the next stage")
    before: StageState = word("the stage before; none: it is the first")


class Pipe(Record):
    """A pipeline."""

    queues: Refs[Queue] = word("who uses it, in execution order")
    pulse: int = word("pulse in CONVERT", next_or_first)
    pending: int = word("key of the next admission to a shared pipeline, or FAR", sooner_or_over)
    stages: Rows[StageState] = word("by `Stage`, then TURN", length=len(Stage) + 1)


class Dependency(Record):
    """What each activation of a node waits for; window (y, x): the first rows[y] + cols[x]."""

    producer: Node = word("whose windows")
    rows: Numbers = word("windows, by map row")
    cols: Numbers = word("further windows, by column")
    frame: int = word("0: of this frame, -1: of the one before")


class Edge(Record):
    """A line buffer, and its occupancy as far as it is measured."""

    producer: Node = word("who stores")
    consumer: Node = word("who reads")
    released: Numbers = word("pixels released once so many map rows are stored")
    freed: int = word("pixels released, all frames", growing)
    peak: int = word("most pixels held", growing)
    capacity: int = word("pixels that it holds, or NO_LIMIT", growing)
    credit: int = word("place among the credits of its producer")
    seen: int = word("activations measured", growing)
    written: int = word("pixels written by these", growing)
    row: int = word("map rows of the reader released by then", growing)
    gone: int = word("pixels released by then", growing)


class Watch(Record):
    """Who has to be looked at when a node stores."""

    queue: Queue = word("whose head may wait")
    dependency: int = word("for which dependency")


class Event(Record):
    """Something that happens in a cycle."""

    key: int = word("cycle, phase and order of the node", anything)
    what: int = word("address of a stage and number of a reservation", anything)


class Frame(Record):
    """A frame."""

    left: int = word("nodes that are not done with it", one_less)
    complete: int = word("cycle of the last store", growing)


class Passage(Record):
    """An activation on its way through the stages; -1: not yet, or there is no such stage."""

    enter: Numbers = word("cycle of entry, by stage", written_once, length=len(Stage))
    leave: Numbers = word("cycle of leaving, by stage", written_once, length=len(Stage))
    stored: int = word("cycle from which readers may have it", written_once)


class Grant(Record):
    """A service of a resource that others use, too; -1: not yet."""

    reservation: int = word("stage and number of the reservation", written_once)
    queue: Queue = word("whose", written_once)
    sequence: int = word("which activation", written_once)
    start: int = word("cycle in which it began", written_once)


# those that stand in others come first, but for the header
FIELDS = declare(
    Header, Service, StageState, Node, Queue, Reservation, Child, Resource, Pipe, Dependency, Edge,
    Watch, Event, Frame, Passage, Grant,
)  # fmt: skip
