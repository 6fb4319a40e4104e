"""Run frames: matrix operations on the arrays, everything else with torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.blocks import Sink, counted, fire, plan_of, shared_noise, step_of
from cimsim.engine.calibrated import CalibratedMapping, ReadyOp
from cimsim.engine.flow import Flow, added
from cimsim.engine.maps import (
    CodeMap,
    Pair,
    add_maps,
    empty_map,
    encode_input,
    to_map,
    unfolded,
)
from cimsim.engine.on_torch import TorchArrays, current
from cimsim.engine.statistics import OpStatistics, Statistics
from cimsim.engine.steps import Count, StepQueue
from cimsim.engine.workers import workers
from cimsim.errors import InputError, SimulationError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp
from cimsim.graph.reference import apply_digital, beyond_table
from cimsim.kernels import floats, frame
from cimsim.kernels.arrays import Floats, empty
from cimsim.kernels.borrow import address_of
from cimsim.rng import key

if TYPE_CHECKING:
    from torch import Tensor

Capture = Callable[[MatrixOp, "Tensor", "Tensor"], None]
Value: TypeAlias = "Tensor | Pair"  # two maps stand for their sum
_HELD = 2**26  # bytes of maps that may be there before they are needed


@dataclass(frozen=True, eq=False)
class Execution:
    """One frame through the chip.

    Attributes
    ----------
    outputs : tuple of torch.Tensor
        As the network returns them.
    statistics : Statistics
    """

    outputs: tuple[Tensor, ...]
    statistics: Statistics


def execute(
    calibrated: CalibratedMapping,
    inputs: tuple[Tensor, ...],
    frame: int,
    seed: int,
    threads: int | None = None,
    capture: Capture | None = None,
    graph: LayerGraph | None = None,
    arrays: TorchArrays | None = None,
) -> Execution:
    """Run one frame.

    Parameters
    ----------
    calibrated : CalibratedMapping
    inputs : tuple of torch.Tensor
        The network's inputs, batch 1.
    frame : int
        Number of the frame, >= 0. Noise depends on it and on ``seed``, and on nothing that ran
        before.
    seed : int
    threads : int, optional
        All cores by default; does not change a bit of the result.
    capture : callable, optional
        Called as ``capture(op, x, y)`` with the input and the output map of each `MatrixOp`, as the
        chip computed them; it must not change them.
    graph : LayerGraph, optional
        A part of the network to run instead of all of it, with the network's own matrix operations
        (see `cimsim.graph.cutting`); ``inputs`` are then those of the part. Where it reads the same
        values it has the same bits.
    arrays : TorchArrays, optional
        Reads the arrays on a device of torch's; what it does not take runs here. Default: what
        `cimsim.engine.on_torch.reading_on` has set.

    Raises
    ------
    InputError
        Number or shape of the inputs does not fit the network.
    SimulationError
        A digital operation failed; the message names it.
    """
    flow = calibrated.flow if graph is None else calibrated.flow_of(graph)
    graph = calibrated.programmed.mapping.graph if graph is None else graph
    # a value is dropped after its last reader, so the peak is that of the live maps
    pending = Counter(name for op in graph for name in op.inputs)
    pending.update(graph.outputs)
    flow = flow if capture is None else Flow()
    with workers(threads) as (pool, n_threads):
        values: dict[str, Value] = dict(_bind(graph, inputs))
        with _Frame(calibrated, frame, seed, pool, n_threads, arrays or current()) as running:
            for op in graph:
                if isinstance(op, MatrixOp):
                    x = values.get(op.inputs[0])
                    y = running.run(op, x, flow)
                    if y is not None:
                        values[flow.joined.get(op.name, op.name)] = y
                    if capture is not None and y is not None and not isinstance(x, tuple | None):
                        running.finish()
                        capture(op, x, y)
                    del x, y  # the peak is that of the live maps
                elif isinstance(op, DigitalOp) and op.name not in flow.done:
                    values[op.name] = running.run_digital(op, values, flow)
                for name in op.inputs:
                    pending[name] -= 1
                    if not pending[name]:
                        values.pop(name, None)
    outputs = tuple(_tensor(values[name]).contiguous() for name in graph.outputs)
    return Execution(outputs, Statistics(running.statistics))


def _bind(graph: LayerGraph, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Check the inputs and name them."""
    import torch

    expected: tuple[InputOp, ...] = graph.inputs
    if len(inputs) != len(expected):
        raise InputError(f"{graph.name}: expected {len(expected)} inputs, got {len(inputs)}")
    for op, x in zip(expected, inputs, strict=True):
        if tuple(x.shape) != op.output.shape:
            raise InputError(
                f"{graph.name}: input '{op.name}': expected shape {list(op.output.shape)} as it "
                f"was exported, got {list(x.shape)}"
            )
        # a sum is ten times faster than a test of every value, and finite only if all of them are
        wanted, dtype = op.output.dtype, str(x.dtype).removeprefix("torch.")
        if dtype != wanted or (
            x.dtype.is_floating_point
            and not (bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all()))
        ):
            found = f"torch.{dtype}" if dtype != wanted else "values that are NaN or infinite"
            kind = "finite " if wanted.startswith("float") else ""
            raise InputError(
                f"{graph.name}: input '{op.name}': expected {kind}torch.{wanted}, got {found}"
            )
    return {op.name: x for op, x in zip(expected, inputs, strict=True)}


def _tensor(value: Value) -> Tensor:
    if isinstance(value, tuple):
        raise AssertionError("two maps for one")  # `Flow` leaves sums to matrices
    return value


def _pair(op: DigitalOp, values: Mapping[str, Value]) -> Pair | None:
    """Return the two maps that an operation adds, if that is all it does and they lie alike."""
    names = added(op)
    if names is None:
        return None
    one, two = (_tensor(values[name]) for name in names)
    alike = one.shape == two.shape and one.stride() == two.stride() and one.ndim == 4
    plain = one.dtype == two.dtype and str(one.dtype) == "torch.float32"
    return (one.detach().numpy(), two.detach().numpy()) if alike and plain else None


@dataclass(eq=False)
class _Frame:
    """What all operations of a frame share.

    What compiled code does for several operations stands in a queue: it begins while further ones
    are prepared, and is done when somebody else reads a value of it, or at the end.
    """

    calibrated: CalibratedMapping
    number: int
    seed: int
    pool: Executor
    threads: int
    arrays: TorchArrays | None = None
    statistics: dict[str, OpStatistics] = field(default_factory=dict)
    # codes of operations whose producer has written them, or will have
    _encoded: dict[str, CodeMap] = field(default_factory=dict)
    _queue: StepQueue | None = None
    _undone: set[str] = field(default_factory=set)  # values that are not there yet
    # addresses of the maps that the last step writes, and how many rows are there after each block
    _last: tuple[set[int], NDArray[np.int64]] = field(default_factory=lambda: (set(), frame.ALL))
    _bytes: int = 0  # of maps that the queue keeps

    def __enter__(self) -> _Frame:
        """Begin."""
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Finish, or let nobody go on."""
        if failed is None:
            self.finish()
        elif self._queue is not None:
            self._queue.stop()

    def finish(self) -> None:
        """Do all that was begun: values are there then, and pool and threads are free."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        queue.end()
        self._undone.clear()
        self._last = set(), frame.ALL
        self._bytes = 0

    def run(self, op: MatrixOp, x: Value | None, flow: Flow) -> Tensor | None:
        """Encode the map, fire the arrays, scale their sums into the output map.

        ``x`` is None where the codes are there; the output is where nobody reads its values.
        """
        if op.input.shape[0] != 1:
            raise SimulationError(
                f"layer '{op.name}': exported with a batch of {op.input.shape[0]}; the chip runs "
                "frame by frame, trace with a batch of 1"
            )
        ready = self.calibrated.ready[op.name]
        firing = ready.firing
        codes = self._encoded.pop(op.name, None)
        if x is not None and codes is None:
            codes = self._encode(ready, x)
        if codes is None:
            raise AssertionError(f"layer '{op.name}' has no input")
        readers = {name: self.calibrated.ready[name] for name in flow.feeds.get(op.name, ())}
        fed = [
            CodeMap.empty(reader.op, reader.calibrated.code, reader.places.shape)
            for reader in readers.values()
        ]
        self._encoded.update(zip(readers, fed, strict=True))
        floor = 0.0 if op.name in flow.joined else -np.inf
        sink = OutputMap(ready, floor, fed, keeps=op.name not in flow.silent)
        first = self.number * len(firing.reads.bases)
        noise = key(self.seed, "read", op.name)
        arrays = self.arrays if self.arrays is not None and self.arrays.takes(firing) else None
        step = None
        if arrays is None:
            needs = frame.ALL
            if self._queue is not None and firing.is_compiled:
                reach = plan_of(firing, self.threads).reach
                needs = self._needs((codes.padded,), codes.rows_until(reach))
            step = step_of(firing, codes.flat, first, noise, sink, self.threads, needs)
        if step is not None:
            self._add(
                step, lambda found: self._count(ready, codes, counted(firing, found, sink)),
                sink.maps, sink.rows_after(step.blocks[:, 1]),
            )  # fmt: skip
            self._undone.add(flow.joined.get(op.name, op.name))
            return sink.tensor()
        self.finish()
        try:
            if arrays is not None:
                counts = arrays.fire(firing, codes.flat, first, noise, sink)
            else:
                counts = fire(firing, codes.flat, first, noise, sink, self.pool, self.threads)
        except SimulationError as error:
            raise SimulationError(f"layer '{op.name}': {error}") from None
        self._count(ready, codes, counts)
        return sink.tensor()

    def _add(
        self, step: frame.Step, count: Count, made: Sequence[NDArray[np.generic]],
        rows: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Begin a step that writes some maps, of which so many rows are there after each block."""
        if self._queue is not None and not (self._queue.takes(step) and self._bytes < _HELD):
            self.finish()
        if self._queue is None:
            self._queue = StepQueue(step.like, self.pool, self.threads)
        self._queue.add(step, count)
        self._last = set(map(address_of, made)), rows
        self._bytes += sum(one.nbytes for one in made)

    def _needs(
        self, maps: Sequence[NDArray[np.generic]], rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return how many blocks of the last step must be done for blocks of the next one.

        Parameters
        ----------
        maps : sequence of ndarray
            That the next step reads.
        rows : int64 [n]
            How many of their first rows each block of it does.
        """
        written, done = self._last
        if written.isdisjoint(map(address_of, maps)):
            return np.zeros(len(rows), np.int64)
        return np.minimum(np.searchsorted(done, rows) + 1, len(done))

    def _count(self, ready: ReadyOp, codes: CodeMap, counts: OpStatistics) -> None:
        """Keep what an operation has counted."""
        op, found = ready.op, ready.calibrated
        bits = found.effective_bits
        self.statistics[op.name] = replace(
            counts, frames=1, input_codes=codes.total, inputs=op.input.per_frame,
            input_values=op.input.per_frame * found.code.top,
            clipped=codes.beyond if op.rounding is None else 0,
            effective_sum=counts.effective_sum if bits is None else bits * counts.conversions,
        )  # fmt: skip

    def _encode(self, ready: ReadyOp, x: Value) -> CodeMap:
        """Encode a map, or the sum of two."""
        op, shape = ready.op, ready.places.shape
        maps = x if isinstance(x, tuple) else x.detach().numpy()
        if ready.firing.is_compiled:
            codes = CodeMap.empty(op, ready.calibrated.code, shape)
            like = ready.firing.compiled.like(codes.flat, shared_noise(ready.firing, 0))
            step = codes.step(maps, self.threads, like, self._needs)
            if step is not None:
                made = [codes.padded], step.blocks[:, 1]
                self._add(step, lambda found: codes.add_counts(found.encoded[0]), *made)
                return codes
        self.finish()
        return encode_input(op, maps, ready.calibrated.code, shape, self.pool, self.threads)

    def run_digital(self, op: DigitalOp, values: Mapping[str, Value], flow: Flow) -> Value:
        """Add two maps, or leave that to those who read the sum; have torch do the rest."""
        import torch

        waits = not self._undone.isdisjoint(op.inputs)
        pair = _pair(op, values)
        if pair is not None and op.name in flow.sums:
            if waits:
                self._undone.add(op.name)
            return pair
        if waits or pair is not None:  # the pool is the queue's until that is done
            self.finish()
        if pair is None:
            return _apply(op, values)
        return torch.from_numpy(add_maps(pair, self.pool, self.threads))


def _apply(op: DigitalOp, values: Mapping[str, Value]) -> Tensor:
    """Let torch execute a digital operation."""
    import torch

    tensors = {name: _tensor(values[name]) for name in op.inputs}
    if op.locality in ("view", "barrier"):
        # maps lie channels-last here; a reshape may insist on torch's own order
        tensors = {name: value.contiguous() for name, value in tensors.items()}
    try:
        with torch.no_grad():
            return apply_digital(op, tensors)
    except Exception as error:
        where = f" [{op.source}]" if op.source else ""
        told = beyond_table(op, tensors) or error
        raise SimulationError(f"node '{op.name}' ({op.op}){where}: {told}") from error


class OutputMap(Sink):
    """Puts the outputs of blocks of activations in their places, as values and as codes.

    Parameters
    ----------
    ready : ReadyOp
    floor : float
        Smallest value of an output: 0 where a ReLU follows, else minus infinity.
    fed : sequence of CodeMap
        Input maps of operations that take this one's output, encoded on the way.
    keeps : bool
        Whether somebody reads the values.
    """

    def __init__(
        self, ready: ReadyOp, floor: float, fed: Sequence[CodeMap] = (), keeps: bool = True
    ) -> None:
        self._ready, self._fed, self._floor = ready, fed, floor
        self.scaling = ready.folded, floor
        op = self._op = ready.op
        self._several = ready.firing.layer.windows > 1
        self._y: NDArray[np.float32] | None = None
        if self._several:
            self._y = empty((op.windows, op.n_cols), np.float32)
        elif keeps:
            self._y = empty_map(op)

    def target(self) -> frame.Target | None:
        """Return the maps, unless torch has to round, or activations to be cut into windows."""
        layouts = [codes.layout for codes in self._fed if not codes.is_rounded_first]
        if self._several or len(layouts) < len(self._fed) or not all(map(frame.takes, layouts)):
            return None
        y, ready, op = self._y, self._ready, self._op
        vectors = y if y is not None and y.ndim == 2 else None
        direct = ready.firing.is_direct
        target = frame.target_of(
            frame.VALUES, sums=vectors if direct else None,
            values=None if direct else vectors, pixels=None if y is vectors else y,
        )  # fmt: skip
        codes, scales = frame.encoding(layouts)
        return target._replace(
            grid=(op.window_grid[1], *op.out_block[1:]), folded=ready.folded, floor=self._floor,
            scaling=ready.folded if direct else target.scaling, codes=codes, scales=scales,
        )  # fmt: skip

    def add_encoded(self, counts: NDArray[np.int64]) -> None:
        """Hand them to the maps."""
        for codes, one in zip(self._fed, counts, strict=True):
            codes.add_counts(one)

    def place(self, start: int, n: int) -> NDArray[np.float32] | None:
        """Return the part of the map, if outputs lie there as they come."""
        if self._y is None or self._y.ndim > 2 or self._several:
            return None
        return self._y[start : start + n]

    def put(self, start: int, values: NDArray[np.float32]) -> None:
        """Lay outputs out, and encode them."""
        op, y = self._op, self._y
        if y is not None and self._several:
            # those beyond the map's edge go
            windows = self._ready.places.windows[start : start + len(values)].reshape(-1)
            inside = windows >= 0
            y[windows[inside]] = values.reshape(-1, op.n_cols)[inside]
        elif y is not None and y.ndim == 3:
            floats.unfold(values, start, (op.window_grid[1], *op.out_block[1:]), y)
        for codes in self._fed:
            codes.put_pixels(values, start)

    def add_up(self, start: int, sums: Floats) -> None:
        """Scale sums and put them."""
        place, ready, floor = self.place(start, len(sums)), self._ready, self._floor
        values = np.empty(sums.shape, np.float32) if place is None else place
        if sums.dtype == np.float32:
            floats.rescale_folded(sums, ready.folded, floor, values)
        else:
            floats.rescale(sums, ready.digital, floor, values)
        self.put(start, values)

    @property
    def maps(self) -> list[NDArray[np.generic]]:
        """What is written."""
        maps: list[NDArray[np.generic]] = [codes.padded for codes in self._fed]
        return maps if self._y is None else [self._y, *maps]

    def rows_after(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows of the maps are there after some activations.

        Parameters
        ----------
        ends : int64 [n]
            Activations, counted from the first one; the last number is that of all.
        """
        op = self._op
        rows = ends // op.window_grid[1] * op.out_block[1]
        return rows if op.layout == "nchw" else np.where(ends < ends[-1], 0, rows)

    def tensor(self) -> Tensor | None:
        """Return the map; None where nobody reads values."""
        if self._y is None:
            return None
        return to_map(self._op, unfolded(self._op, self._y) if self._several else self._y)
