"""Which input pixels an output pixel of a digital operation needs.

Every function takes a `Call` and returns a `Reach`: a locality and, for ``window``, the window in
terms of the output grid. A window may be larger than what is really read (its last row and column
tell when an output pixel can be computed), never smaller. What cannot be said so is a ``barrier``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch._ops import OpOverload

from cimsim.graph.ir import Locality, TensorSpec, Window

Reach = tuple[Locality, Window | None]

BARRIER: Reach = ("barrier", None)
VIEW: Reach = ("view", None)
POINTWISE: Reach = ("pointwise", None)


@dataclass(frozen=True, slots=True)
class Call:
    """One exported operator call.

    Attributes
    ----------
    target : OpOverload
        The torch operator.
    args, kwargs
        Its arguments with `cimsim.graph.ir.Ref` and tensors.
    named : dict
        The same by parameter name, defaults filled in.
    inputs : tuple of TensorSpec
        Of the graph values it reads, in order of appearance.
    output : TensorSpec
    """

    target: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    named: dict[str, Any]
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec


def reach_of(call: Call, claimed: Reach) -> Reach:
    """Return ``claimed``, or a barrier if the grids of inputs and output do not allow it."""
    locality, window = claimed
    if not call.inputs:
        return BARRIER
    for spec in call.inputs:
        if len(spec.shape) != len(call.output.shape) and spec.grid != (1, 1):
            return BARRIER
        if locality in ("pointwise", "view") and spec.grid != call.output.grid:
            return BARRIER
        if window is not None:
            rows, cols = window.positions(*spec.grid)
            if rows < call.output.grid[0] or cols < call.output.grid[1]:
                return BARRIER
    return claimed


def pointwise(call: Call) -> Reach:
    """Arithmetic on the same pixel; all channels of it may be read."""
    return POINTWISE


def view(call: Call) -> Reach:
    """Channels are moved or copied, pixels stay where they are."""
    return VIEW


def barrier(call: Call) -> Reach:
    """Every output pixel needs the whole input."""
    return BARRIER


def reshaped(call: Call) -> Reach:
    """Reshape, permute, squeeze: a view if nothing moves between pixels."""
    before, after = call.inputs[0], call.output
    if before.shape == after.shape and not _permuted(call):
        return VIEW
    return VIEW if before.grid == after.grid == (1, 1) else BARRIER


def moved(call: Call) -> Reach:
    """Flip and roll: a view if only channels (or frames) change places."""
    dims = _dims(call.named.get("dims") or call.named.get("dim"), len(call.output.shape))
    return VIEW if dims and set(dims) <= set(_free_axes(call.output)) else BARRIER


def joined(call: Call) -> Reach:
    """Concatenation along channels or frames."""
    dims = _dims(call.named["dim"], len(call.output.shape))
    return VIEW if set(dims) <= set(_free_axes(call.output)) else BARRIER


def reduced(call: Call) -> Reach:
    """Reductions and softmax: pointwise along channels, a barrier otherwise."""
    rank = len(call.inputs[0].shape)
    dims = _dims(call.named.get("dim"), rank)
    channel = {1} if rank == 4 else {rank - 1}
    return POINTWISE if set(dims) == channel and rank == len(call.output.shape) else BARRIER


def batch_normed(call: Call) -> Reach:
    """BatchNorm: pointwise with stored statistics."""
    return BARRIER if call.named["training"] else POINTWISE


def sliced(call: Call) -> Reach:
    """Cut along channels and frames (a view), or along rows or columns of a map (a window)."""
    rank = len(call.inputs[0].shape)
    (dim,) = _dims(call.named["dim"], rank)
    if dim in _free_axes(call.inputs[0]):
        return VIEW
    if rank != 4:
        return BARRIER
    size = call.inputs[0].shape[dim]
    start = call.named.get("start") or 0
    start = min(max(start + size if start < 0 else start, 0), size)
    step = call.named.get("step", 1)
    if dim == 2:
        return "window", Window((start + 1, 1), (step, 1))
    return "window", Window((1, start + 1), (1, step))


def padded(call: Call) -> Reach:
    """Put a border around a map; reflected and replicated borders widen the window."""
    rank, pads = len(call.output.shape), list(call.named.get("pad") or call.named["padding"])
    if rank != 4 or min(pads) < 0 or any(pads[4:]):
        return BARRIER
    pads += [0] * (4 - len(pads))
    mode = call.named.get("mode") or _pad_mode(call.target)
    if mode == "circular":
        return BARRIER
    # a border pixel reads up to this many pixels away from its own place (in units of the padding)
    reach = {"constant": 0, "replicate": 1, "reflect": 2}[mode]
    far_x, far_y = reach * max(pads[:2]), reach * max(pads[2:4])
    left, right, top, bottom = pads[:4]
    return "window", Window(
        (2 * far_y + 1, 2 * far_x + 1),
        padding=(top + far_y, bottom + far_y, left + far_x, right + far_x),
    )


def pooled(call: Call) -> Reach:
    """2-D pooling; with ``ceil_mode`` the last windows hang over the border."""
    if len(call.output.shape) != 4:
        return BARRIER
    kernel = pair(call.named["kernel_size"])
    stride = pair(call.named.get("stride") or kernel)
    dilation = pair(call.named.get("dilation") or 1)
    before = pair(call.named.get("padding") or 0)
    after = [
        max((n_out - 1) * s + (k - 1) * d + 1 - n_in - p, 0)
        for n_out, n_in, k, s, d, p in zip(
            call.output.grid, call.inputs[0].grid, kernel, stride, dilation, before, strict=True
        )
    ]
    return "window", Window(kernel, stride, (before[0], after[0], before[1], after[1]), dilation)


def unshuffled(call: Call) -> Reach:
    """``pixel_unshuffle``: one output pixel holds a block of input pixels."""
    factor = int(call.named["downscale_factor"])
    return "window", Window((factor, factor), (factor, factor))


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return ``value`` as (y, x)."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _free_axes(spec: TensorSpec) -> tuple[int, ...]:
    """Axes along which pixels keep their place: batch and channels."""
    rank = len(spec.shape)
    return (0, 1) if rank == 4 else (0, rank - 1) if rank in (2, 3) else (0,)


def _dims(value: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    if value is None:
        return tuple(range(rank))
    dims = (value,) if isinstance(value, int) else tuple(value)
    return tuple(dim % rank for dim in dims) if rank else ()


def _permuted(call: Call) -> bool:
    rank = len(call.inputs[0].shape)
    if "dim0" in call.named:
        return (call.named["dim0"] - call.named["dim1"]) % rank != 0
    if "dims" in call.named:
        return _dims(call.named["dims"], rank) != tuple(range(rank))
    return getattr(call.target, "__name__", "").startswith("t.")


def _pad_mode(target: OpOverload) -> str:
    name = str(target)
    return next((mode for mode in ("reflect", "replicat") if mode in name), "constant").replace(
        "replicat", "replicate"
    )
