"""The rules of the cycle model, complete, and the cycles of each stage that follow from them.

Time is an integer number of cycles from 0. What follows defines every cycle; the event loop in
`cimsim.timing.loop.kernels` is one way to compute it. All numbers that it needs (who needs what,
which resource for how long) are laid out in a `cimsim.timing.plan.plan.Plan`.

**Nodes, activations, pipelines.** The plan's jobs stand in execution order; the *order* of a node
is its place there. A matrix node does its windows in raster order, ``per_activation`` consecutive
ones at a time (or a rectangle of the map at a time, `Layout.window_shape`, which then counts as one
window of a coarser map: `cimsim.timing.plan.plan.by_rectangles`); such a group is an *activation*,
the last one of a frame may hold fewer windows and costs as much. All other nodes do one window at a
time. Activation ``g = 0 .. n-1`` of each frame belongs to replica ``g % R``. Each replica of a
`PlacedLayer` is one pipeline, shared by all nodes that use the layer; every other node has a
pipeline of its own. A node's *sequence number* is ``frame * n + g``. For each node and replica the
activations enter the pipeline in sequence; the first that has not entered is the *head*.

**Frames.** With ``frames: resident`` all pixels of all input frames are in the line buffers of
their readers at cycle 0, and outputs stay where they are. With ``global_buffer`` or ``dram`` each
input is an *input* node at the head of the order: one window per pixel row, read at that port and
sent to the readers' stations; each output is an *output* node at the end: one window per pixel
row, sent from its producer's home tile to the port.

**Stages.** A matrix pipeline is LOAD, DRIVE, CONVERT, REDUCE, POST, STORE, any other LOAD, POST,
STORE. A stage holds at most one activation (DRIVE and CONVERT: one pulse). An activation leaves a
stage in the first cycle in which its service there is over and the next stage is free; the next
stage is entered, and the left one is free, in that same cycle. STORE is left when its service is
over. A stage of zero cycles is passed in the cycle of entry if the next one is free. So activations
keep their order.

**Service.** A `Service` has *reservations* on shared resources and ``own`` cycles that keep only
the stage busy. A reservation without parent asks for its resource in the cycle in which the stage
is entered (CONVERT: for each pulse); another one ``delay`` cycles after its parent's service began.
A reservation keeps its resource for ``cycles``. The service of the stage is over ``own`` cycles
after the end of its last reservation, or after entry where there is none. A resource serves one
request at a time, without interruption, in the order of (cycle of the request, order of the node,
sequence number, number of the reservation); it takes a waiting request in the cycle in which it
becomes free, or a new one at once. Since a reservation lasts a cycle or more and ``delay`` is one
or more, the requests of a cycle never depend on its grants.

========  =====================================================  ==================================
stage     cycles                                                 resource
========  =====================================================  ==================================
LOAD      reservation: bytes / ``buffer.bytes_per_cycle``        buffer port of the home tile
DRIVE     own, per pulse: ``array.t_read`` (+ steps)             none
CONVERT   reservation, per pulse: ADC rounds x one conversion    ADCs of the home tile, if shared
REDUCE    transfers of partial sums between tiles                interconnect
          own: latency + additions / ``adder.lanes``
POST      reservation: products / ``matmul.lanes``, if any       matmul unit of home tile, or chip
          reservation: vector operations / ``vector.lanes``      vector unit of home tile, or chip
STORE     a transfer of the stored values                        interconnect
========  =====================================================  ==================================

Every quotient is rounded up, durations in seconds by `cimsim.units.to_cycles`.

- *Home tile* of a replica: that of its array 0. A vector unit's: that of the last (in order) node
  it needs, tile of the first layer if it needs inputs only. Simplification: a layer on several
  tiles asks for the buffer port, shared converters and vector unit of its home tile only.
- *Stations* of a replica: its home tile and, on each other chip that it lies on, the tile of its
  first array there. What it reads arrives at all of them. Other nodes have their home tile only.
- LOAD, matrix: the arrays load at the same time, the slowest counts. An array's bytes are
  ``inputs.bits / 8`` (rounded up) times its driven rows: all of them for the replica's first
  activation in each map row and whenever ``tile.input_reuse`` is ``none``; otherwise ``ceil(rows *
  new / all)``, where ``all`` are the pixel columns that the activation's windows read (relative to
  the first window) and ``new`` those that no earlier activation of this replica in this map row has
  read, for an endless row. For a dense kernel that is ``min(stride, kernel)`` of ``kernel``
  columns. An activation is in the map row of its first window. LOAD of other nodes takes 0 cycles,
  but for products on a matmul unit: a reservation at the buffer port with their operands.
- DRIVE, CONVERT: ``ceil(inputs.bits / dac.bits)`` pulses; for inputs that may be negative, with
  ``inputs.signed: phases``, twice those of ``inputs.bits - 1``, with ``rows`` once those. One
  conversion takes ``adc.t_conversion``, with ``adc.t_step`` 2**bits steps more (SAR: bits), one
  drive ``array.t_read``, with ``dac.t_step`` 2**dac.bits - 1 steps more. ADC rounds:
  ``ceil(columns / adc.count)``; columns are the physical ones (weight columns x slices) used in the
  array that has most, or, when ``adc.shared`` is ``tile``, in all arrays of this replica on the
  tile that has most. A pulse enters CONVERT when it is driven and CONVERT is free. ``sample_hold:
  double``: DRIVE is then free, for the next pulse or, after the last pulse, the next activation.
  ``single``: the next pulse is driven when the conversion of this one is over; the next activation
  enters DRIVE when this one has left CONVERT. A pulse other than the last leaves CONVERT when its
  conversion is over; with the last one the activation moves on to REDUCE.
- Where several local arrays of a replica sit in one array they fire one after another: DRIVE and
  CONVERT of a pulse take the cycles of all of them.
- *Shared arrays.* Where pipelines have arrays in common (with ``adc.shared: tile``: tiles in common
  on which an array is shared), all that are linked so form one group with one resource. Their
  pulses are not told apart: DRIVE is a single reservation on the group's resource, ``pulses *
  max(drive, convert)`` cycles with double sample-and-hold, else ``pulses * (drive + convert)``;
  CONVERT is own, ``min(drive, convert)`` cycles or none. An activation then counts as one pulse
  here.
- REDUCE: output values are added up in the tile that holds their first row tile, on each chip by
  itself. Each column of each other row tile is one addition; those from other tiles are first
  moved, ``4`` bytes each, all tiles at once. Of each chip other than that of the home tile one
  message with all its output values, ``4`` bytes each, then goes from the station to the home tile,
  asked for when that transfer on its chip is over which would end last if nobody else were there
  (at once if there is none); these values are added, too. Latency is charged if anything is moved.
  Shift-add over pulses and slices is hidden behind CONVERT.
- *Clocked tile pipelines* (``tile.t_stage``): LOAD of a matrix, REDUCE, POST and STORE end with a
  stage of that length: their ``own`` cycles are so many more that each takes, if nobody else is
  there, whole stages, one at least; REDUCE, of a matrix, then takes one more, the register between
  the last conversion's shift-add and the sum over arrays. DRIVE and CONVERT have their own times.
- POST: one operation for each output value of a matrix (scale and bias) plus the node's
  ``vector_ops``, two of which are a product of computed values; a chip with ``matmul`` does these
  there, and what is left of the operation (softmax) on the vector unit behind it.
- STORE: the values that the node's windows store, ``inputs.bits / 8`` bytes each, once for all
  consumers: from the replica's home tile to the stations of all replicas of all nodes that read
  them; what only output nodes read stays at home. The activation counts as *stored*
  ``interconnect.latency_cycles`` after it has left STORE (at once if it moves nothing).

**Transfers.** Which links a message takes says `cimsim.chip.interconnects`, also for kinds of the
user's own. ``interconnect.kind: ideal`` moves everything in 0 cycles without latency. ``bus``: one
reservation on the bus of the chip, whether or not the tiles differ (all partial sums of REDUCE that
stay on a chip are one message). ``mesh``: the tiles of a chip stand row by row in a grid of
``ceil(sqrt(tile.count))`` columns; a message goes along x first, then along y; each directed link
on its way is one reservation of bytes / ``bytes_per_cycle``, asked for ``hop_cycles`` after the
reservation on the link before began (cut-through, with room for a message at each router). To
several tiles the ways form a tree, each link of which carries the message once. Between tiles of
equal number nothing is moved. Several chips (``system.chips``) stand in a chain; tile 0 of each is
its gateway and the global buffer and DRAM are at tile 0 of chip 0. On the way to another chip a
message is stored whole at each gateway: the reservation on the link between two chips is asked for
when the one before is over; what follows comes ``system.latency_cycles`` after the end of the
link's.

**Line buffers.** An *edge* leads from a node to a node that reads its pixels. *Released* are all
pixel rows (of producer windows) above the first one that any row of the consumer reads that is not
yet wholly in its stored prefix; after the last row of a frame all of it is. Where
``buffer.overflow`` is not ``ignore`` each edge has a *capacity*: every tile's ``buffer.size`` is
divided among the edges into the layers and nodes on it in proportion to their working sets (window
height x one pixel row of the producer; ``None``: the whole map); an edge has what it gets on the
tiles of one replica on one chip together, the least of all replicas and chips, in whole pixels.
Edges into output nodes have no limit.

**Admission.** Of each node, only its stored prefix counts: windows 0 .. k-1 of a frame, all stored,
and all earlier frames. The head of a node and replica is *ready* in the first cycle in which (a)
its predecessor has entered LOAD (the first one: cycle 0), (b) all its dependencies are in the
stored prefixes of this frame: for each `Dependency`, at load and at post alike, the producer's
window that wrote the bottom right needed pixel (clipped to the map; nothing is needed if the window
lies above or left of it), and for ``window=None`` all windows, and (c) for each edge to a consumer,
the pixels of all activations up to this one (of all frames, by sequence number), less those
released, are at most the capacity. An activation needs what any of its windows needs. A ready head
enters LOAD as soon as LOAD is free; if several nodes share the pipeline, the one that was ready
first, ties by order. With ``schedule = sequential`` (b) reads instead: the node before (in order)
has stored this whole frame; for the first node the last node has stored the whole frame before.

**Too small.** If nothing can happen any more and frames are not complete, buffers are too small. Of
each node the next activation counts (of all replicas the first in sequence that has not entered).
Of the nodes whose next one lacks nothing but credit, those come first whose pixels the next one of
another node lacks; of these those of the earliest frame; of these the last in order. Its edges that
lack credit are given the capacity that the activation needs, in the cycle in which the last
activation so far was stored. So each edge ends at the smallest capacity with which the network can
run, the others being as they are. With ``overflow: error`` that is the message; otherwise these
edges are *spilled*, and the simulation begins anew: the producer stores to that port (too, or
instead), and readers LOAD (post operands: POST) from there, the first activation in a map row with
``dram.latency_cycles`` more, later ones read ahead; a spilled edge has no limit. Frames that come
in are not copied for that: who reads them reads them where they are, and an input node with no
other reader takes no time. Where lines go, and what the memories hold, is said in
`cimsim.timing.spec.memories`.

**Programming.** If the layers are loaded in turn, each load begins with a *program* node of one
window: POST takes the cycles of erasing and writing its arrays. It needs all nodes of the load
before (the first one: of the last load, one frame earlier), and all nodes of its load need it.

**Completion.** A frame is complete when all nodes have stored all its windows.

Simplifications, each one named: rows of a line buffer are released whole; a broadcast is one
transfer and keeps its stage until it has arrived; routers have room for a message and tiles any
number of ports; a layer on several chips has its whole input on each of them.

**Occupancy** of an edge (inputs that are resident left out), in pixels of the producer's map:
written pixels of the producer's stored prefix, less all released. The peak is that of the ends of
all cycles.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.dataflow import Node
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Slot
from cimsim.mapping.traffic import PartialSums, load_bytes, partial_sums, stations
from cimsim.timing.spec.routes import IO_TILE, Reservation, Resource, Route, Service
from cimsim.timing.spec.stage import Served
from cimsim.units import to_cycles


@dataclass(frozen=True, slots=True)
class Services:
    """What one replica of a node does for one activation.

    Attributes
    ----------
    stages : tuple of Service
        LOAD of the first activation in a map row, DRIVE and CONVERT of a pulse, REDUCE, POST,
        STORE, LOAD of a later activation in a map row: by `Served`.
    pulses : int
    double : bool
        Double sample-and-hold.
    latency : int
        From leaving STORE to being stored.
    """

    stages: tuple[Service, ...]
    pulses: int = 1
    double: bool = True
    latency: int = 0

    def alone(self, stage: int) -> int:
        """Cycles of a stage (DRIVE and CONVERT: of one pulse) that meets nobody."""
        return self.stages[stage].alone

    @property
    def analog(self) -> int:
        """Cycles between two activations that DRIVE and CONVERT alone allow."""
        drive, convert = self.alone(Served.DRIVE), self.alone(Served.CONVERT)
        return self.pulses * (max(drive, convert) if self.double else drive + convert)

    @property
    def interval(self) -> int:
        """Initiation interval: cycles between two later activations of a map row, undisturbed."""
        stages = (Served.REDUCE, Served.POST, Served.STORE, Served.LOAD_NEXT)
        return max(self.analog, *(self.alone(stage) for stage in stages))

    @property
    def serial(self) -> int:
        """Cycles of a first activation that meets nobody, until it is stored."""
        drive, convert = self.alone(Served.DRIVE), self.alone(Served.CONVERT)
        analog = self.analog
        if self.double:
            # the first pulse is driven alone, each further one behind the slower of both
            analog = drive + (self.pulses - 1) * max(drive, convert) + convert
        stages = (Served.LOAD, Served.REDUCE, Served.POST, Served.STORE)
        return analog + self.latency + sum(self.alone(stage) for stage in stages)


Moves = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Spill:
    """What a node reads from and writes to spilled line buffers, in bytes of one activation.

    Attributes
    ----------
    load : str
        A matrix: memory that all its input comes from; empty: from the tile.
    read, operand, write : tuple of (str, int)
        Memory and bytes: what another node, and what POST, reads; what is stored.
    """

    load: str = ""
    read: Moves = ()
    operand: Moves = ()
    write: Moves = ()


def matrix_services(
    node: Node,
    layout: Layout,
    slots: tuple[Slot, ...],
    replicas: int,
    chip: Chip,
    targets: Iterable[int] | None,
    shared: Resource | None = None,
    spill: Spill = Spill(),
) -> Services:
    """Return the services of a matrix node on the replica that sits in ``slots``.

    Parameters
    ----------
    node, layout, slots, replicas, chip
    targets : iterable of int or None
        Stations of the nodes that read what it stores; None: it stays at home.
    shared : Resource, optional
        Group of pipelines that have arrays in common.
    spill : Spill
    """
    op = node.op
    if not isinstance(op, MatrixOp):
        raise TypeError(f"node '{node.name}' is no matrix")
    home, wpa = slots[0].tile, layout.windows_per_activation
    arrive = stations(slots, chip)
    first, later = load_bytes(op, layout, replicas, chip)
    pulses, double = chip.pulses_for(op.signed), chip.tile.sample_hold == "double"
    drive = max(Counter(slots).values()) * to_cycles(chip.drive_s, chip.process.clock_hz)
    convert = _adc_rounds(layout, slots, chip) * to_cycles(
        chip.adc.conversion_s, chip.process.clock_hz
    )
    store, latency = _store(chip, home, targets, wpa * node.stored * chip.input_bytes, spill)
    adc = ("adc", home) if chip.adc.shared == "tile" else None
    analog = Service((), drive), _on(adc, convert)
    if shared is not None:
        whole = pulses * (max(drive, convert) if double else drive + convert)
        analog = _on(shared, whole), Service((), min(drive, convert) if double else 0)
        pulses = 1
    loads = (
        _load(op, chip, arrive, max(n_bytes), max(first), spill, ahead)
        for n_bytes, ahead in ((first, False), (later, True))
    )
    reduce = _reduce(layout, slots, chip)
    post = _post(wpa * (op.n_cols + node.vector_ops), chip, home, spill)
    load, following, reduce, post, store = (
        _in_stages(service, chip, more)
        for service, more in zip((*loads, reduce, post, store), (0, 0, 1, 0, 0), strict=True)
    )
    return Services(
        (load, *analog, reduce, post, store, following), pulses, double, latency,
    )  # fmt: skip


def vector_services(
    node: Node, chip: Chip, home: int, targets: Iterable[int] | None, spill: Spill = Spill()
) -> Services:
    """Return the services of a node on the vector unit of its home tile."""
    store, latency = _store(chip, home, targets, node.stored * chip.input_bytes, spill)
    read = node.operands * chip.input_bytes if chip.matmul is not None else 0
    first, later = (_operands(chip, home, spill.read, ahead, read) for ahead in (False, True))
    products = node.products if chip.matmul is not None else 0.0
    post = _in_stages(_post(node.vector_work(chip), chip, home, spill, products), chip)
    store = _in_stages(store, chip)
    return Services((first, Service(), Service(), Service(), post, store, later), latency=latency)


def input_services(node: Node, chip: Chip, targets: Iterable[int] | None) -> Services:
    """Return the services of one pixel row that comes in; none if no tile keeps it."""
    if not targets:
        return _only_store(Service(), 0)
    route = Route(chip)
    n_bytes = node.stored * chip.input_bytes
    port, wait = _port(chip, chip.frames)
    begin = route.use(port, _port_cycles(chip, chip.frames, n_bytes), n_bytes=n_bytes)
    ends = route.send(IO_TILE, targets, n_bytes, begin, wait)
    moved = len(route.reservations) > 1
    own = 0 if moved else wait
    return _only_store(
        Service(tuple(route.reservations), own), _latency(chip, route, ends.values(), moved)
    )


def output_services(node: Node, chip: Chip, home: int) -> Services:
    """Return the services of one pixel row that goes out."""
    route = Route(chip)
    n_bytes = node.stored * chip.input_bytes
    ends = route.send(home, (IO_TILE,), n_bytes)
    latency = _latency(chip, route, (), len(route.reservations) > 0)
    port, _ = _port(chip, chip.frames)
    cycles = _port_cycles(chip, chip.frames, n_bytes)
    route.use(port, cycles, ends[IO_TILE], n_bytes=n_bytes)
    return _only_store(Service(tuple(route.reservations)), latency)


def program_services(cycles: int) -> Services:
    """Return the services of writing the arrays of one load."""
    return Services((*[Service()] * 4, Service((), cycles), Service(), Service()))


def _latency(chip: Chip, route: Route, ends: Iterable[int], moved: bool) -> int:
    """Cycles from the last reservation to the arrival at all targets, which ``ends`` reach."""
    between_chips = max((route.latency(reservation) for reservation in ends), default=0)
    return between_chips + (chip.interconnect.latency_cycles if moved else 0)


def _only_store(store: Service, latency: int) -> Services:
    return Services((*[Service()] * 5, store, Service()), latency=latency)


def whole_stages(cycles: int, chip: Chip) -> int:
    """Return the cycles of a stage of a clocked tile pipeline that needs so many; 0 is one stage.

    Without ``tile.t_stage`` they are the cycles that it needs.
    """
    stage = to_cycles(chip.tile.t_stage_s, chip.process.clock_hz)
    return max(1, -(-cycles // stage)) * stage if stage else cycles


def _in_stages(service: Service, chip: Chip, more: int = 0) -> Service:
    """Return the service in whole stages, and ``more`` of them."""
    alone = service.alone
    idle = whole_stages(alone, chip) - alone + more * whole_stages(0, chip)
    return replace(service, own=service.own + idle)


def _on(resource: Resource | None, cycles: int) -> Service:
    """Return a service of ``cycles`` on a resource, or without."""
    if resource is None:
        return Service((), cycles)
    return Service((Reservation(resource, cycles),) if cycles else ())


def _port(chip: Chip, where: str) -> tuple[Resource, int]:
    """Return the port of the global buffer or DRAM, and the cycles that a read takes longer."""
    if where == "dram" and chip.dram is not None:
        return ("dram", 0), chip.dram.latency_cycles
    return ("global_buffer", 0), 0


def _port_cycles(chip: Chip, where: str, n_bytes: int) -> int:
    dram = chip.dram if where == "dram" else None
    width = chip.global_buffer.bytes_per_cycle if dram is None else dram.bytes_per_cycle
    return math.ceil(n_bytes / width)


def _operands(chip: Chip, home: int, moves: Moves, ahead: bool, n_bytes: int) -> Service:
    """Return the service of reading spilled pixels, and operands of products at the buffer port."""
    route, end, wait = _read_spilled(chip, (home,), moves, ahead)
    cycles = math.ceil(n_bytes / chip.buffer.bytes_per_cycle)
    route.use(("buffer", home), cycles, end, wait)
    return Service(tuple(route.reservations), 0 if cycles else wait)


def _read_spilled(
    chip: Chip, arrive: tuple[int, ...], moves: Moves, ahead: bool = True
) -> tuple[Route, int, int]:
    """Return the reservations from ports to all stations, the last one to the home tile; the wait.

    What is read ahead has been asked for so early that the latency of DRAM is over. Of two memories
    one is read after the other.
    """
    route, end, left = Route(chip), -1, 0
    for memory, n_bytes in moves:
        if n_bytes == 0:
            continue
        port, wait = _port(chip, memory)
        wait = 0 if ahead else wait
        cycles = _port_cycles(chip, memory, n_bytes)
        begin = route.use(port, cycles, end, left, n_bytes=n_bytes)
        end = route.send(IO_TILE, arrive, n_bytes, begin, wait)[arrive[0]]
        left = wait if end == begin else 0
    return route, end, left


def _load(
    op: MatrixOp,
    chip: Chip,
    arrive: tuple[int, ...],
    n_bytes: int,
    first: int,
    spill: Spill,
    ahead: bool,
) -> Service:
    """LOAD: the slowest array's bytes; a spilled input is read whole, once for all arrays."""
    rows = op.groups * op.group_rows if spill.load else 0
    whole = -(-rows * n_bytes // first) * chip.input_bytes
    route, end, wait = _read_spilled(chip, arrive, ((spill.load, whole),), ahead)
    route.use(("buffer", arrive[0]), math.ceil(n_bytes / chip.buffer.bytes_per_cycle), end, wait)
    return Service(tuple(route.reservations))


def _adc_rounds(layout: Layout, slots: tuple[Slot, ...], chip: Chip) -> int:
    """Conversions that the busiest converter does one after another for one pulse."""
    used = [columns * chip.weights.slices for columns in layout.cols_used]
    rounds: dict[Slot | int, int] = defaultdict(int)
    if chip.adc.shared == "tile":
        for slot, columns in zip(slots, used, strict=True):
            rounds[slot.tile] += columns
        return math.ceil(max(rounds.values()) / chip.adc.count)
    for slot, columns in zip(slots, used, strict=True):
        rounds[slot] += math.ceil(columns / chip.adc.count)
    return max(rounds.values())


def _reduce(layout: Layout, slots: tuple[Slot, ...], chip: Chip) -> Service:
    sums = partial_sums(layout, slots, chip)
    route, n_bytes = Route(chip), chip.partial_sum_bytes
    arrive = stations(slots, chip)
    last = {station: _gather(route, station, sums, n_bytes) for station in arrive}
    ends = [
        route.send(station, arrive[:1], sums.home[station] * n_bytes, last[station])[arrive[0]]
        for station in arrive[1:]
    ]
    own = math.ceil(sums.added / chip.adder.lanes)
    return Service(
        tuple(route.reservations), own + _latency(chip, route, ends, len(route.reservations) > 0)
    )


def _gather(route: Route, station: int, sums: PartialSums, n_bytes: int) -> int:
    """Add what changes tiles on the chip of a station; returns the reservation that ends last."""
    per_chip, begun = route.chip.tile.count, len(route.reservations)
    mine = {way: n for way, n in sums.moves.items() if way[0] // per_chip == station // per_chip}
    if route.interconnect.is_one_wire:  # one transfer for all of them
        route.send(station, (), sum(mine.values()) * n_bytes)
    else:
        for (source, target), count in sorted(mine.items()):
            route.send(source, (target,), count * n_bytes)
    return max(range(begun, len(route.reservations)), key=route.ends, default=-1)


def _post(
    operations: float, chip: Chip, home: int, spill: Spill, products: float = 0.0
) -> Service:  # fmt: skip
    vector = ("vector", home if chip.vector.scope == "tile" else home // chip.tile.count)
    route, end, wait = _read_spilled(chip, (home,), spill.operand)
    if chip.matmul is not None and products:
        unit = ("matmul", home if chip.matmul.scope == "tile" else home // chip.tile.count)
        end = route.use(unit, math.ceil(products / chip.matmul.lanes - 1e-9), end, wait)
        wait = 0
    # operations per window are an average over the map: 1e-9 forgives its rounding error
    cycles = math.ceil(operations / chip.vector.lanes - 1e-9)
    route.use(vector, cycles, end, wait)
    return Service(tuple(route.reservations), 0 if cycles else wait)


def _store(
    chip: Chip, home: int, targets: Iterable[int] | None, n_bytes: int, spill: Spill
) -> tuple[Service, int]:
    """STORE and the latency behind it; spilled values go on to the port."""
    route = Route(chip)
    if targets is None and not spill.write:
        return Service(), 0
    wanted = {*(targets or ()), *([IO_TILE] if spill.write else [])}
    ends = route.send(home, wanted, n_bytes)
    latency = _latency(chip, route, ends.values(), len(route.reservations) > 0)
    for memory, written in spill.write:
        port, _ = _port(chip, memory)
        route.use(port, _port_cycles(chip, memory, written), ends[IO_TILE], n_bytes=written)
    return Service(tuple(route.reservations)), latency
