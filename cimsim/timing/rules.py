"""The rules of the cycle model, complete, and the cycles of each stage that follow from them.

Time is an integer number of cycles from 0. What follows defines every cycle; the event loop in
`cimsim.timing.kernels` is one way to compute it.

**Units, activations, pipelines.** The network is the list of units of
`cimsim.mapping.dataflow.units`; a unit's *order* is its place in that list. Input units do no work:
all pixels of all frames are stored at cycle 0. A matrix unit does its windows in raster order,
``windows_per_activation`` (wpa) consecutive windows at a time; such a group is an *activation*, the
last one of a frame may hold fewer windows and costs as much. A vector unit has wpa = 1. Activation
``g = 0 .. n-1`` of each frame belongs to replica ``g % R``. Each replica of a `PlacedLayer` is one
pipeline, shared by all units that use the layer; each vector unit has a pipeline of its own. A
unit's *sequence number* is ``frame * n + g``. For each unit and replica the activations enter the
pipeline in sequence; the first that has not entered is the *head*.

**Stages.** A matrix pipeline is LOAD, DRIVE, CONVERT, REDUCE, POST, STORE, a vector pipeline LOAD,
POST, STORE. A stage holds at most one activation (DRIVE and CONVERT: one pulse). An activation
leaves a stage in the first cycle in which its service there is over and the next stage is free; the
next stage is entered, and the left one is free, in that same cycle. STORE is left when its service
is over. A stage of zero cycles is passed in the cycle of entry if the next one is free. So
activations keep their order.

**Service.** A service takes ``bus`` cycles on a shared resource (if the stage has one) and then
``own`` cycles more that keep only the stage busy. A service with ``bus = 0`` never asks for the
resource. The others ask for it in the cycle in which they enter the stage (CONVERT: for each
pulse). A resource serves one request at a time, without interruption, in the order of (cycle of the
request, order of the unit, sequence number); it takes a waiting request in the cycle in which it
becomes free, or a new one at once. Since a granted service lasts a cycle or more, the requests of a
cycle never depend on its grants.

========  =====================================================  ==================================
stage     cycles                                                 resource
========  =====================================================  ==================================
LOAD      bus: bytes / ``buffer.bytes_per_cycle``                buffer port of the home tile
DRIVE     own, per pulse: ``array.t_read``                       none
CONVERT   bus, per pulse: ADC rounds x one ADC conversion        ADCs of the home tile, if shared
REDUCE    bus: bytes / ``interconnect.bytes_per_cycle``          interconnect
          own: latency + additions / ``adder.lanes``
POST      bus: vector operations / ``vector.lanes``              vector unit of home tile, or chip
STORE     bus: bytes / ``interconnect.bytes_per_cycle``          interconnect
========  =====================================================  ==================================

Every quotient is rounded up, durations in seconds by `cimsim.units.to_cycles`.

- *Home tile* of a replica: that of its array 0. A vector unit's: that of the last (in order) unit
  it needs, tile of the first layer if it needs inputs only. Simplification: a layer on several
  tiles asks for the shared resources of its home tile only.
- LOAD, matrix: the arrays load at the same time, the slowest counts. An array's bytes are
  ``inputs.bits / 8`` (rounded up) times its driven rows: all of them for the replica's first
  activation in each map row and whenever ``tile.input_reuse`` is ``none``; otherwise ``ceil(rows *
  new / all)``, where ``all`` are the pixel columns that the activation's windows read (relative to
  the first window) and ``new`` those that no earlier activation of this replica in this map row has
  read, for an endless row. For a dense kernel that is ``min(stride, kernel)`` of ``kernel``
  columns. An activation is in the map row of its first window. LOAD of a vector unit takes 0
  cycles.
- DRIVE, CONVERT: ``ceil(inputs.bits / dac.bits)`` pulses; for inputs that may be negative, with
  ``inputs.signed: phases``, twice those of ``inputs.bits - 1``, with ``rows`` once those. One
  conversion takes ``adc.t_conversion``, with ``adc.t_step`` 2**bits steps more. ADC rounds:
  ``ceil(columns / adc.count)``; columns are the physical ones (weight columns x slices) used in the
  array that has most, or, when ``adc.shared`` is ``tile``, in all arrays of this replica on the
  tile that has most. A pulse enters CONVERT when it is driven and CONVERT is free. ``sample_hold:
  double``: DRIVE is then free, for the next pulse or, after the last pulse, the next activation.
  ``single``: the next pulse is driven when the conversion of this one is over; the next activation
  enters DRIVE when this one has left CONVERT. A pulse other than the last leaves CONVERT when its
  conversion is over; with the last one the activation moves on to REDUCE.
- REDUCE: output values are added up in the tile that holds their first row tile. Each column of
  each other row tile is one addition; those from other tiles are first moved, ``4`` bytes each.
  Latency is charged if anything is moved. Shift-add over pulses and slices is hidden behind
  CONVERT.
- POST: one operation for each output value of a matrix (scale and bias) plus the unit's
  ``vector_ops``.
- STORE: the values that the unit's windows store, ``inputs.bits / 8`` bytes each, once for all
  consumers. The activation counts as *stored* ``interconnect.latency_cycles`` after it has left
  STORE (at once if it stores nothing). ``interconnect.kind: ideal`` moves everything in 0 cycles
  without latency.

**Admission.** Of each unit, only its stored prefix counts: windows 0 .. k-1 of a frame, all stored,
and all earlier frames. The head of a unit and replica is *ready* in the first cycle in which (a)
its predecessor has entered LOAD (the first one: cycle 0), and (b) all its needs are in the stored
prefixes of this frame: for each `Need`, at load and at post alike, the producer's window that wrote
the bottom right needed pixel (clipped to the map; nothing is needed if the window lies above or
left of it), and for ``window=None`` all windows. Of an activation the windows up to its last in
raster order count. A ready head enters LOAD as soon as LOAD is free; if several units share the
pipeline, the one that was ready first, ties by order. With ``schedule = sequential`` (b) reads
instead: the unit before (in order, inputs left out) has stored this whole frame; for the first unit
the last unit has stored the whole frame before.

**Completion.** A frame is complete when all units have stored all its windows.

Simplifications, each one named: all replicas take the cycles of the slowest in each stage; buffers
are unlimited (occupancy is reported); reading input frames from the global buffer costs LOAD only;
weights are resident; a broadcast is one transfer.

**Occupancy** of an edge producer -> consumer (inputs left out), in pixels of the producer's map:
written pixels of the producer's stored prefix, less all rows (of producer windows) that no row of
the consumer reads that is not yet wholly in its stored prefix. After the last row of a frame
nothing of it is held. The peak is taken whenever the producer's prefix grows; activations that are
stored in the same cycle count in the order in which they entered STORE.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from cimsim.graph.ir import MatrixOp
from cimsim.hw.spec import Chip
from cimsim.mapping.dataflow import Unit
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Slot
from cimsim.mapping.traffic import load_bytes, partial_sums
from cimsim.units import to_cycles

STAGES = ("LOAD", "DRIVE", "CONVERT", "REDUCE", "POST", "STORE")


@dataclass(frozen=True, slots=True)
class StageCycles:
    """Cycles of one activation of a unit on one replica.

    Attributes
    ----------
    load_first, load_next : int
        LOAD of the first and of a later activation in a map row.
    pulses, drive, convert : int
        Pulses, and DRIVE and CONVERT of one of them.
    double : bool
        Double sample-and-hold.
    reduce_bus, reduce_own : int
    post, store : int
    latency : int
        From leaving STORE to being stored.
    """

    load_first: int
    load_next: int
    pulses: int
    drive: int
    convert: int
    double: bool
    reduce_bus: int
    reduce_own: int
    post: int
    store: int
    latency: int

    @property
    def analog(self) -> int:
        """Cycles between two activations that DRIVE and CONVERT alone allow."""
        if self.double:
            return self.pulses * max(self.drive, self.convert)
        return self.pulses * (self.drive + self.convert)

    @property
    def interval(self) -> int:
        """Initiation interval: cycles between two later activations of a map row, undisturbed."""
        return max(
            self.load_next, self.analog, self.reduce_bus + self.reduce_own, self.post, self.store
        )

    @property
    def serial(self) -> int:
        """Cycles of a first activation that meets nobody, until it is stored."""
        if self.double:
            # the first pulse is driven alone, each further one behind the slower of both
            analog = self.drive + (self.pulses - 1) * max(self.drive, self.convert) + self.convert
        else:
            analog = self.analog
        reduce = self.reduce_bus + self.reduce_own
        return self.load_first + analog + reduce + self.post + self.store + self.latency


def matrix_cycles(
    unit: Unit, layout: Layout, slots: tuple[Slot, ...], replicas: int, chip: Chip
) -> StageCycles:
    """Return the stage cycles of a matrix unit on the replica that sits in ``slots``."""
    op = unit.op
    if not isinstance(op, MatrixOp):
        raise TypeError(f"unit '{unit.name}' is no matrix")
    wpa = layout.windows_per_activation
    load_first, load_next = _load(op, layout, replicas, chip)
    moved, added = partial_sums(layout, slots)
    transfer, latency = _transfer(moved * chip.partial_sum_bytes, chip)
    store, stored_after = _transfer(wpa * unit.stored * chip.input_bytes, chip)
    return StageCycles(
        load_first=load_first,
        load_next=load_next,
        pulses=chip.pulses_for(op.signed),
        drive=to_cycles(chip.array.t_read_s, chip.process.clock_hz),
        convert=_adc_rounds(layout, slots, chip)
        * to_cycles(chip.adc.conversion_s, chip.process.clock_hz),
        double=chip.tile.sample_hold == "double",
        reduce_bus=transfer,
        reduce_own=latency + math.ceil(added / chip.adder.lanes),
        post=_post(wpa * (op.n_cols + unit.vector_ops), chip),
        store=store,
        latency=stored_after,
    )


def vector_cycles(unit: Unit, chip: Chip) -> StageCycles:
    """Return the stage cycles of a vector unit."""
    store, latency = _transfer(unit.stored * chip.input_bytes, chip)
    return StageCycles(
        0, 0, 0, 0, 0, True, 0, 0, _post(unit.vector_ops, chip), store, latency
    )  # fmt: skip


def _load(op: MatrixOp, layout: Layout, replicas: int, chip: Chip) -> tuple[int, int]:
    """LOAD cycles of the first and of a later activation in a map row."""
    first, later = (
        math.ceil(max(n_bytes) / chip.buffer.bytes_per_cycle)
        for n_bytes in load_bytes(op, layout, replicas, chip)
    )
    return first, later


def _adc_rounds(layout: Layout, slots: tuple[Slot, ...], chip: Chip) -> int:
    """Conversions that the busiest converter does one after another for one pulse."""
    columns: dict[Slot | int, int] = defaultdict(int)
    for slot, used in zip(slots, layout.cols_used, strict=True):
        columns[slot.tile if chip.adc.shared == "tile" else slot] += used * chip.weights.slices
    return math.ceil(max(columns.values()) / chip.adc.count)


def _transfer(n_bytes: int, chip: Chip) -> tuple[int, int]:
    """Interconnect cycles and latency of a transfer."""
    if n_bytes == 0 or chip.interconnect.kind == "ideal":
        return 0, 0
    return math.ceil(n_bytes / chip.interconnect.bytes_per_cycle), chip.interconnect.latency_cycles


def _post(operations: float, chip: Chip) -> int:
    # operations per window are an average over the map: 1e-9 forgives its rounding error
    return math.ceil(operations / chip.vector.lanes - 1e-9)
