"""Run frames: matrix operations on the arrays, everything else with torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays import kernels
from cimsim.arrays.encode import InputCode
from cimsim.engine.blocks import fire
from cimsim.engine.calibrated import CalibratedMapping
from cimsim.engine.statistics import OpStatistics, Statistics
from cimsim.engine.windows import padded_shape
from cimsim.engine.workers import workers
from cimsim.errors import InputError, SimulationError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp
from cimsim.graph.layout import to_nhwc
from cimsim.graph.reference import apply_digital
from cimsim.rng import key

if TYPE_CHECKING:
    from torch import Tensor

_SMALL = 2**16  # values; waking another thread takes as long as encoding them

Capture = Callable[[MatrixOp, "Tensor", "Tensor"], None]


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

    Raises
    ------
    InputError
        Number or shape of the inputs does not fit the network.
    SimulationError
        A digital operation failed; the message names it.
    """
    graph = calibrated.programmed.mapping.graph
    statistics: dict[str, OpStatistics] = {}
    # a value is dropped after its last reader, so the peak is that of the live maps
    pending = Counter(name for op in graph for name in op.inputs)
    pending.update(graph.outputs)
    joined = {} if capture is not None else _joined(graph)
    with workers(threads) as (pool, n_threads):
        values: dict[str, Tensor] = _bind(graph, inputs)
        for op in graph:
            if isinstance(op, MatrixOp):
                x = values[op.inputs[0]]
                floor = 0.0 if op.name in joined else -np.inf
                y, statistics[op.name] = _run_matrix(
                    op, x, calibrated, frame, seed, pool, n_threads, floor
                )
                values[joined.get(op.name, op.name)] = y
                if capture is not None:
                    capture(op, x, y)
                del x, y  # the peak is that of the live maps
            elif isinstance(op, DigitalOp) and op.name not in values:
                values[op.name] = _run_digital(op, values)
            for name in op.inputs:
                pending[name] -= 1
                if not pending[name]:
                    values.pop(name, None)
    outputs = tuple(values[name].contiguous() for name in graph.outputs)
    return Execution(outputs, Statistics(statistics))


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
                f"was traced, got {list(x.shape)}"
            )
        # a sum is ten times faster than a test of every value, and finite only if all of them are
        if x.dtype != torch.float32 or not (
            bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())
        ):
            found = x.dtype if x.dtype != torch.float32 else "values that are NaN or infinite"
            raise InputError(
                f"{graph.name}: input '{op.name}': expected finite torch.float32, got {found}"
            )
    return {op.name: x for op, x in zip(expected, inputs, strict=True)}


def _joined(graph: LayerGraph) -> dict[str, str]:
    """Return the ReLUs that alone read a matrix operation, by its name: one pass does both."""
    readers = Counter(name for op in graph for name in op.inputs)
    readers.update(graph.outputs)
    return {
        op.inputs[0]: op.name
        for op in graph
        if isinstance(op, DigitalOp)
        and str(op.target) == "aten.relu.default"
        and isinstance(graph[op.inputs[0]], MatrixOp)
        and readers[op.inputs[0]] == 1
    }


def _run_digital(op: DigitalOp, values: dict[str, Tensor]) -> Tensor:
    import torch

    if op.locality in ("view", "barrier"):
        # maps lie channels-last here; a reshape may insist on torch's own order
        values = {name: values[name].contiguous() for name in op.inputs}
    try:
        with torch.no_grad():
            return apply_digital(op, values)
    except Exception as error:
        where = f" [{op.source}]" if op.source else ""
        raise SimulationError(f"node '{op.name}' ({op.op}){where}: {error}") from error


def _run_matrix(
    op: MatrixOp,
    x: Tensor,
    calibrated: CalibratedMapping,
    frame: int,
    seed: int,
    pool: Executor,
    threads: int,
    floor: float,
) -> tuple[Tensor, OpStatistics]:
    """Encode the map, fire the arrays, scale their sums into the output map, cut at ``floor``."""
    if op.input.shape[0] != 1:
        raise SimulationError(
            f"layer '{op.name}': traced with a batch of {op.input.shape[0]}; the chip runs frame "
            "by frame, trace with a batch of 1"
        )
    ready = calibrated.ready[op.name]
    firing, places, found = ready.firing, ready.places, ready.calibrated
    several = firing.layer.windows > 1
    codes, total = encode_input(op, x.detach().numpy(), found.code, places.shape, pool, threads)
    y = np.empty((op.windows, op.n_cols), np.float32) if several else empty_map(op)

    def store(start: int, acc: NDArray[np.float64]) -> None:
        if y.ndim == 2:
            kernels.rescale(acc, ready.digital, floor, y[start : start + len(acc)])
            return
        vectors = np.empty(acc.shape, np.float32)
        kernels.rescale(acc, ready.digital, floor, vectors)
        kernels.unfold(vectors, start, (op.window_grid[1], *op.out_block[1:]), y)

    def spread(start: int, acc: NDArray[np.float64]) -> None:
        """Put several windows of an activation where they belong; those beyond the map go."""
        values = np.empty(acc.shape, np.float32)
        kernels.rescale(acc, ready.digital, floor, values)
        windows = places.windows[start : start + len(acc)].reshape(-1)
        inside = windows >= 0
        y[windows[inside]] = values.reshape(-1, op.n_cols)[inside]

    first = frame * len(firing.reads.bases)
    noise = key(seed, "read", op.name)
    counts = fire(firing, codes, first, noise, spread if several else store, pool, threads)
    if several:
        y = _unfolded(op, y)
    values = op.input.per_frame * found.code.top
    counts = replace(counts, frames=1, input_codes=total, input_values=values)
    if found.effective_bits is not None:
        counts = replace(counts, effective_sum=found.effective_bits * counts.conversions)
    return to_map(op, y), counts


def encode_input(
    op: MatrixOp,
    x: NDArray[np.float32],
    code: InputCode,
    shape: tuple[int, int, int] | None = None,
    pool: Executor | None = None,
    threads: int = 1,
) -> tuple[NDArray[Any], int]:
    """Return the codes of the padded, channels-last map (flat), and the sum of those inside.

    ``shape`` is (height, width, channels) of a map that is padded further at the bottom and right.
    """
    height, width, channels = shape or padded_shape(op)
    nhwc = to_nhwc(op, x)[0]
    top, _, left, _ = op.window.padding
    flat, first = nhwc.reshape(nhwc.shape[0], -1), left * channels * code.lines
    padded = np.full((height, width * channels * code.lines), code.zero_point, code.dtype)

    def encode(rows: slice) -> int:
        part, corner = flat[rows], (top + rows.start, first)
        if code.signed == "offset":
            found = kernels.encode_map(part, code.scale, code.zero_point, code.top, padded, corner)
        else:
            shift = code.magnitude_bits if code.signed == "phases" else 0
            found = kernels.encode_signed(part, code.scale, code.top, shift, padded, corner)
        return int(found)

    step = max(1, -(-len(flat) // threads))
    parts = [slice(start, start + step) for start in range(0, len(flat), step)]
    if pool is None or flat.size < _SMALL:
        return padded.reshape(-1), sum(encode(part) for part in parts)
    others = [pool.submit(encode, part) for part in parts[1:]]
    total = encode(parts[0]) + sum(other.result() for other in others)
    return padded.reshape(-1), total


def empty_map(op: MatrixOp) -> NDArray[np.float32]:
    """Return where output values go, channels last.

    Returns
    -------
    float32 [windows, n_cols], or [height, width, channels] where vectors unfold into blocks
    """
    channels, block_h, block_w = op.out_block
    if op.layout == "last" or block_h == block_w == 1:
        return np.empty((op.windows, op.n_cols), np.float32)
    n_wy, n_wx = op.window_grid
    return np.empty((n_wy * block_h, n_wx * block_w, channels), np.float32)


def _unfolded(op: MatrixOp, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring output vectors in raster order of the windows into the form of `empty_map`."""
    found = empty_map(op)
    if found.ndim == 2:
        return vectors
    kernels.unfold(vectors, 0, (op.window_grid[1], *op.out_block[1:]), found)
    return found


def to_map(op: MatrixOp, y: NDArray[np.float32]) -> Tensor:
    """Return output values as a torch tensor whose memory is channels-last.

    The next layer collects its windows from channels-last memory without a copy.

    Parameters
    ----------
    op : MatrixOp
    y : float32
        Like `empty_map`.
    """
    import torch

    flat = torch.from_numpy(y)
    if op.layout == "last":
        return flat.reshape(op.output.shape)
    (n_wy, n_wx), (channels, block_h, block_w) = op.window_grid, op.out_block
    return flat.reshape(1, n_wy * block_h, n_wx * block_w, channels).permute(0, 3, 1, 2)
