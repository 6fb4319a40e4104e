"""Rewrites of a layer graph, each verified: padding, BatchNorm, shuffles, frames, signs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import networkx as nx
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.frontends.aten import TABLE, bind, packet
from cimsim.frontends.matrices import is_blank
from cimsim.frontends.rounding import fold_roundings, join_roundings
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Ref, TensorSpec, rewire
from cimsim.graph.layout import output_shape
from cimsim.graph.signs import mark_signs
from cimsim.graph.verify import verify

Pass = Callable[[LayerGraph], LayerGraph]

_aten = torch.ops.aten


def run_all(graph: LayerGraph) -> LayerGraph:
    """Run every pass in order and verify the graph after each.

    BatchNorm is folded twice: before the pixel shuffles, because it stands between convolution and
    shuffle, and after them, where it follows a shuffle.
    """
    for step in PASSES:
        graph = step(graph)
        verify(graph)
    return graph


def remove_dead(graph: LayerGraph) -> LayerGraph:
    """Remove the ops that no output needs; inputs stay, they are the network's arguments."""
    needed = set(graph.outputs)
    for output in graph.outputs:
        needed |= nx.ancestors(graph.nx, output)
    return graph.with_ops(op for op in graph if op.name in needed or isinstance(op, InputOp))


def fold_zero_padding(graph: LayerGraph) -> LayerGraph:
    """Move zero padding into the windows of the convolutions that read it."""
    changed: dict[str, Op] = {}
    for op in graph.matrix_ops:
        pad = graph[op.inputs[0]]
        if op.layout != "nchw" or not isinstance(pad, DigitalOp):
            continue
        pads = _zero_pads(pad)
        if pads is None:
            continue
        left, right, top, bottom = pads
        old = op.window.padding
        padding = (old[0] + top, old[1] + bottom, old[2] + left, old[3] + right)
        changed[op.name] = replace(
            op,
            inputs=pad.inputs,
            input=graph[pad.inputs[0]].output,
            window=replace(op.window, padding=padding),
        )
    return remove_dead(_rebuilt(graph, changed))


def fold_batch_norm(graph: LayerGraph) -> LayerGraph:
    """Multiply a BatchNorm (eval) into the matrix before it, if nothing else reads that output.

    The crop behind a transposed convolution may stand between them. Each weight set is folded once
    per BatchNorm, so that a module that is called several times still has one matrix.
    """
    changed: dict[str, Op] = {}
    names: dict[str, str] = {}
    folded: dict[tuple[object, ...], MatrixOp] = {}
    taken = {op.weights_id for op in graph.matrix_ops}
    for norm in graph.digital_ops:
        matrix = _normed_matrix(graph, norm)
        if matrix is None:
            continue
        key = (matrix.weights_id, *_identity(norm))
        if key not in folded:
            new_id = _fresh(f"{matrix.weights_id}*{norm.name.partition('#')[0]}", taken)
            folded[key] = _scaled(matrix, norm, new_id)
        twin = folded[key]
        changed[matrix.name] = replace(
            matrix,
            weight=twin.weight,
            bias=twin.bias,
            weights_id=twin.weights_id,
            weight_ends=twin.weight_ends,
        )
        names[norm.name] = norm.inputs[0]
    return _rebuilt(graph, changed, names)


def fuse_pixel_shuffle(graph: LayerGraph) -> LayerGraph:
    """Let a matrix write the block that a pixel shuffle makes of its output.

    ``conv -> elementwise ops -> pixel_shuffle(r)`` becomes a matrix with ``out_block (C, r, r)``
    (kind ``cim_conv``) and the same elementwise ops on the shuffled map: they commute with the
    permutation.
    """
    while (found := _next_shuffle(graph)) is not None:
        matrix, chain, shuffle, factor = found
        fused = _shuffled(matrix, factor)
        changed: dict[str, Op] = {matrix.name: fused}
        changed |= {op.name: replace(op, output=fused.output) for op in chain}
        last = chain[-1].name if chain else matrix.name
        graph = _rebuilt(graph, changed, {shuffle.name: last})
    return graph


def unroll_frames(graph: LayerGraph) -> LayerGraph:
    """Split a convolution over frames that were folded into its batch axis into one op per frame.

    ``[T * B, C, H, W]`` in a graph traced with B samples means T applications of one matrix to each
    of them; they share its programmed copy.
    """
    batch = graph.batch
    ops: list[Op] = []
    for op in graph:
        frames = op.input.shape[0] if isinstance(op, MatrixOp) else batch
        if isinstance(op, MatrixOp) and frames > batch and frames % batch == 0:
            ops += _frames(op, frames // batch, batch)
        else:
            ops.append(op)
    return graph.with_ops(ops)


PASSES: tuple[Pass, ...] = (
    remove_dead,
    join_roundings,
    fold_zero_padding,
    fold_batch_norm,
    fuse_pixel_shuffle,
    fold_batch_norm,
    fold_roundings,
    unroll_frames,
    mark_signs,
)


def _rebuilt(
    graph: LayerGraph, changed: Mapping[str, Op], names: Mapping[str, str] | None = None
) -> LayerGraph:
    """Replace ops by name; a key of ``names`` is removed and its readers read the value instead."""
    final: dict[str, str] = {}
    for old, new in (names or {}).items():
        final[old] = final.get(new, new)
    ops = (rewire(changed.get(op.name, op), final) for op in graph if op.name not in final)
    return graph.with_ops(ops, [final.get(name, name) for name in graph.outputs])


def _only_reader(graph: LayerGraph, name: str) -> bool:
    return len(graph.consumers(name)) == 1 and name not in graph.outputs


def _fresh(name: str, taken: set[str]) -> str:
    unique, k = name, 2
    while unique in taken:
        unique, k = f"{name}~{k}", k + 1
    taken.add(unique)
    return unique


# Padding


def _zero_pads(op: DigitalOp) -> tuple[int, int, int, int] | None:
    """Return (left, right, top, bottom) of a zero padding of a map, else None."""
    if packet(op.target) not in ("aten.pad", "aten.constant_pad_nd") or len(op.output.shape) != 4:
        return None
    named = bind(op.target, op.args, op.kwargs)
    pads = [int(n) for n in named["pad"]]
    zero = named.get("mode", "constant") == "constant" and not named.get("value")
    if not zero or min(pads) < 0 or any(pads[4:]):
        return None
    left, right, top, bottom = [*pads, 0, 0][:4]
    return left, right, top, bottom


# BatchNorm


_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def _identity(norm: DigitalOp) -> tuple[object, ...]:
    """Return what makes two BatchNorms the same."""
    named = bind(norm.target, norm.args, norm.kwargs)
    return (*(id(named[key]) for key in _STATISTICS), named["eps"])


def _normed_matrix(graph: LayerGraph, norm: DigitalOp) -> MatrixOp | None:
    """Return the matrix that ``norm`` can be folded into."""
    if packet(norm.target) != "aten.batch_norm":
        return None
    named = bind(norm.target, norm.args, norm.kwargs)
    if named["training"] or not isinstance(named["running_mean"], Tensor):
        return None
    if any(isinstance(named[key], Ref) for key in _STATISTICS):
        return None
    before = graph[norm.inputs[0]]
    if not _only_reader(graph, before.name):
        return None
    if isinstance(before, DigitalOp) and before.op == "crop":
        before = graph[before.inputs[0]]
        if not _only_reader(graph, before.name):
            return None
    if not isinstance(before, MatrixOp):
        return None
    # BatchNorm counts channels on axis 1: a linear layer's features only without a position axis
    return before if before.layout == "nchw" or len(before.output.shape) == 2 else None


# what is not finite is refused with the name of its layer, after all passes
@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def _scaled(matrix: MatrixOp, norm: DigitalOp, weights_id: str) -> MatrixOp:
    """Fold ``gamma (W x + b - mean) / sqrt(var + eps) + beta`` into ``W`` and ``b``, in float64."""
    named = bind(norm.target, norm.args, norm.kwargs)
    given = {k: named[k].numpy().astype(np.float64) for k in _STATISTICS if named[k] is not None}
    gamma, beta = given.get("weight"), given.get("bias")
    mean, variance = given["running_mean"], given["running_var"]
    scale = 1.0 / np.sqrt(variance + named["eps"])
    scale = scale if gamma is None else scale * gamma
    per_channel = matrix.n_cols // matrix.out_block[0]
    columns = np.repeat(scale, per_channel)
    bias = np.zeros(matrix.n_cols) if matrix.bias is None else matrix.bias.astype(np.float64)
    bias = (bias - np.repeat(mean, per_channel)) * columns
    if beta is not None:
        bias += np.repeat(beta, per_channel)
    weight = matrix.weight
    if not is_blank(weight):
        weight = _float32(weight * columns.reshape(matrix.groups, 1, matrix.group_cols))
    ends = None if matrix.weight_ends is None else matrix.weight_ends * np.abs(columns)
    return replace(
        matrix,
        weight=weight,
        bias=_float32(bias),
        weights_id=weights_id,
        weight_ends=ends,
    )


def _float32(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)


# Pixel shuffle


def _next_shuffle(
    graph: LayerGraph,
) -> tuple[MatrixOp, list[DigitalOp], DigitalOp, int] | None:
    for shuffle in graph.digital_ops:
        if packet(shuffle.target) != "aten.pixel_shuffle" or len(shuffle.output.shape) != 4:
            continue
        factor = int(bind(shuffle.target, shuffle.args, shuffle.kwargs)["upscale_factor"])
        chain: list[DigitalOp] = []
        before = graph[shuffle.inputs[0]]
        while isinstance(before, DigitalOp) and _is_elementwise(before):
            if not _only_reader(graph, before.name):
                break
            chain.insert(0, before)
            before = graph[before.inputs[0]]
        if (
            isinstance(before, MatrixOp)
            and before.layout == "nchw"
            and _only_reader(graph, before.name)
            and _can_shuffle(before, factor)
        ):
            return before, chain, shuffle, factor
    return None


def _is_elementwise(op: DigitalOp) -> bool:
    """Tell whether ``op`` maps each element of one input by itself, by numbers alone."""
    rule = TABLE.get(packet(op.target))
    if rule is None or not rule.elementwise or op.locality != "pointwise":
        return False
    values = [*op.args, *op.kwargs.values()]
    scalar = all(v.numel() == 1 for v in values if isinstance(v, Tensor))
    return scalar and len(op.inputs) == 1 and op.output.dtype == "float32"


def _can_shuffle(matrix: MatrixOp, factor: int) -> bool:
    channels, block_h, block_w = matrix.out_block
    if channels % factor**2:
        return False
    # a block of its own is permuted column by column, which must not cross groups
    return block_h == block_w == 1 or channels // factor**2 % matrix.groups == 0


def _shuffled(matrix: MatrixOp, factor: int) -> MatrixOp:
    """Return ``matrix`` writing the shuffled map; columns are permuted only if it had blocks."""
    channels, block_h, block_w = matrix.out_block
    c_out = channels // factor**2
    order = np.arange(matrix.n_cols).reshape(c_out, factor, factor, block_h, block_w)
    # pixel (dy, dx) of the block, then the shuffle's own: y = dy * r + ry
    order = order.transpose(0, 3, 1, 4, 2).reshape(-1)
    weight, bias, weights_id = matrix.weight, matrix.bias, matrix.weights_id
    ends = matrix.weight_ends
    if block_h * block_w > 1:
        per_group = (order.reshape(matrix.groups, -1) % matrix.group_cols)[:, None, :]
        weight = np.take_along_axis(weight, per_group, axis=2)
        bias = None if bias is None else np.ascontiguousarray(bias[order])
        ends = None if ends is None else ends[order]
        weights_id = f"{weights_id}*shuffle{factor}"
    fused = replace(
        matrix,
        weight=weight,
        bias=bias,
        weights_id=weights_id,
        weight_ends=ends,
        out_block=(c_out, block_h * factor, block_w * factor),
        kind="cim_conv",
    )
    return replace(fused, output=TensorSpec(output_shape(fused), matrix.output.dtype))


# Frames


def _frames(op: MatrixOp, frames: int, batch: int) -> list[Op]:
    """Return slices, one op per frame, and their concatenation under the old name."""
    one = TensorSpec((batch, *op.input.shape[1:]), op.input.dtype)
    out = TensorSpec((batch, *op.output.shape[1:]), op.output.dtype)
    ops: list[Op] = []
    parts = []
    for k in range(frames):
        part = DigitalOp(
            name=f"{op.name}.frame{k}.input",
            inputs=op.inputs,
            output=one,
            op="slice",
            target=_aten.slice.Tensor,
            args=(Ref(op.inputs[0]), 0, k * batch, (k + 1) * batch),
            locality="view",
            ops_per_element=0.0,
            source=op.source,
        )
        parts.append(f"{op.name}.frame{k}")
        ops += [part, replace(op, name=parts[-1], inputs=(part.name,), input=one, output=out)]
    joined = DigitalOp(
        name=op.name,
        inputs=tuple(parts),
        output=op.output,
        op="cat",
        target=_aten.cat.default,
        args=([Ref(name) for name in parts], 0),
        locality="view",
        ops_per_element=0.0,
        source=op.source,
    )
    return [*ops, joined]
