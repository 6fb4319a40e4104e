"""The float32 interpreter of a layer graph: what every other executor is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cimsim.errors import GraphError, InputError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Ref, nested_tensors

if TYPE_CHECKING:
    from torch import Tensor

Capture = Callable[[MatrixOp, "Tensor"], None]
_TABLES = ("embedding", "embedding_bag")  # operations whose inputs are rows of a table


class TorchWeights:
    """Matrices and biases of one graph as `torch_weights` returns them, each converted once."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Tensor, Tensor | None]] = {}

    def __getitem__(self, op: MatrixOp) -> tuple[Tensor, Tensor | None]:
        # one weights_id can serve different window shapes of the same matrix
        key = f"{op.weights_id or op.name}|{op.window.kernel}|{op.layout}"
        if key not in self._held:
            self._held[key] = torch_weights(op)
        return self._held[key]


def run(
    graph: LayerGraph, *inputs: object, capture: Capture | None = None,
    weights: TorchWeights | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Execute ``graph`` in float32.

    Shapes are static, so a larger batch is run in pieces of the exported batch size (one frame, as
    a rule) and the results are joined.

    Parameters
    ----------
    graph : LayerGraph
    *inputs : torch.Tensor [k * B, ...]
        One per input node, in their order; ``B`` is the exported batch. Or the very arguments that
        the network was exported with: tensors inside of dictionaries, lists and tuples are taken in
        the order in which they stand there, and what is no tensor is passed over.
    capture : callable, optional
        Called as ``capture(op, x)`` with the input tensor of each `MatrixOp` before it is applied.
    weights : TorchWeights, optional
        To be filled, for further calls with this graph.

    Returns
    -------
    tuple of torch.Tensor
        One per output of the graph.

    Raises
    ------
    InputError
        Number or shapes of the inputs do not fit the graph.
    GraphError
        A node failed; the message names it, its operator and its source.
    """
    import torch

    pieces = _pieces(graph, tuple(nested_tensors(inputs)))
    weights = TorchWeights() if weights is None else weights
    with torch.no_grad():
        results = [
            _run_piece(graph, [x[i] for x in pieces], weights, capture)
            for i in range(len(pieces[0]) if pieces else 1)
        ]
        if len(results) == 1:
            return results[0]
        return tuple(torch.cat(parts, dim=0) for parts in zip(*results, strict=True))


def apply_digital(op: DigitalOp, values: Mapping[str, Tensor]) -> Tensor:
    """Execute one digital node.

    Parameters
    ----------
    op : DigitalOp
    values : mapping of node name to torch.Tensor
        Must hold every input of ``op``.
    """
    assert op.target is not None
    args = [_fill(value, values) for value in op.args]
    return op.target(*args, **{name: _fill(value, values) for name, value in op.kwargs.items()})


def beyond_table(
    op: DigitalOp, values: Mapping[str, Tensor], graph: LayerGraph | None = None
) -> str:  # fmt: skip
    """Return what is wrong where a network asks a table for a row that it has not; else nothing.

    Parameters
    ----------
    op : DigitalOp
        An operation that failed.
    values : mapping of node name to torch.Tensor
        Its inputs.
    graph : LayerGraph, optional
        Whose inputs the indices may be, in another shape.
    """
    import torch

    if op.op not in _TABLES:
        return ""
    given = [_fill(value, values) for value in (*op.args, *op.kwargs.values())]
    tensors = [value for value in given if isinstance(value, torch.Tensor)]
    table = next((one for one in tensors if one.is_floating_point() and one.dim() == 2), None)
    indices = next((one for one in tensors if not one.is_floating_point()), None)
    if table is None or indices is None or not indices.numel():
        return ""
    rows, low, high = table.shape[0], int(indices.min()), int(indices.max())
    if low >= 0 and high < rows:
        return ""
    whole = [one.output for one in graph.inputs if "int" in one.output.dtype] if graph else []
    sizes = whole[0].shape if len(whole) == 1 else tuple(indices.shape)
    shape = "x".join(map(str, sizes))
    return (
        f"index {low if low < 0 else high} is none of its table's {rows} rows, 0 .. {rows - 1}; "
        f"give whole numbers below {rows}: --input-shape {shape}:int{rows} for random ones"
    )


def apply_matrix(
    op: MatrixOp, x: Tensor, weights: tuple[Tensor, Tensor | None] | None = None
) -> Tensor:
    """Execute one matrix node in float32 from its own matrix.

    Parameters
    ----------
    op : MatrixOp
    x : torch.Tensor float32 [B, C, H, W] or [B, ..., F]
    weights : optional
        What `torch_weights` returned for this op, to spare the conversion.

    Returns
    -------
    torch.Tensor
        [B, C_out, n_wy * block_h, n_wx * block_w], or [B, ..., cols] for a linear layer.
    """
    from torch.nn import functional

    weight, bias = torch_weights(op) if weights is None else weights
    x = x if op.rounding is None else op.rounding(x)
    if op.layout == "last":
        return functional.linear(x, weight, bias)
    top, bottom, left, right = op.window.padding
    symmetric = top == bottom and left == right
    if not symmetric:
        x = functional.pad(x, (left, right, top, bottom))
    y = functional.conv2d(
        x,
        weight,
        bias,
        stride=op.window.stride,
        padding=(top, left) if symmetric else 0,
        dilation=op.window.dilation,
        groups=op.groups,
    )
    channels, block_h, block_w = op.out_block
    if block_h == block_w == 1:
        return y
    batch, _, n_wy, n_wx = y.shape
    blocks = y.reshape(batch, channels, block_h, block_w, n_wy, n_wx)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels, n_wy * block_h, n_wx * block_w)


def torch_weights(op: MatrixOp) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias as torch's convolution or linear layer takes them.

    Returns
    -------
    torch.Tensor [groups * cols, C_in / groups, k_y, k_x] or, linear, [cols, rows]
    torch.Tensor [n_cols] or None
    """
    import numpy as np
    import torch

    bias = None if op.bias is None else torch.from_numpy(op.bias.copy())
    if op.layout == "last":
        return torch.from_numpy(np.array(op.weight[0].T, order="C")), bias
    k_y, k_x = op.window.kernel
    matrix = op.weight.reshape(op.groups, k_y, k_x, -1, op.group_cols).transpose(0, 4, 3, 1, 2)
    return torch.from_numpy(np.array(matrix.reshape(op.n_cols, -1, k_y, k_x), order="C")), bias


def _pieces(graph: LayerGraph, inputs: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """Cut each input into exported batches, after checking number, dtype and shape."""
    import torch

    expected = graph.inputs
    if len(inputs) != len(expected):
        names = ", ".join(op.name for op in expected)
        raise InputError(
            f"{graph.name}: got {len(inputs)} inputs, expected {len(expected)} ({names})"
        )
    pieces = []
    for op, x in zip(expected, inputs, strict=True):
        shape, dtype = op.output.shape, str(x.dtype).removeprefix("torch.")
        batch = shape[0] if shape else 1
        fits = tuple(x.shape[1:]) == shape[1:] and x.dim() == len(shape)
        if not fits or (shape and (x.shape[0] == 0 or x.shape[0] % batch)):
            raise InputError(
                f"{graph.name}: input '{op.name}' has shape {list(x.shape)}, expected "
                f"[k * {batch}, {', '.join(map(str, shape[1:]))}] (trace again for another size)"
            )
        if dtype != op.output.dtype:
            raise InputError(
                f"{graph.name}: input '{op.name}' is {dtype}, expected {op.output.dtype}"
            )
        pieces.append(torch.split(x, batch) if shape else (x,))
    counts = {op.name: len(cut) for op, cut in zip(expected, pieces, strict=True)}
    if len(set(counts.values())) > 1:
        raise InputError(f"{graph.name}: inputs hold different numbers of frames: {counts}")
    return pieces


def _run_piece(
    graph: LayerGraph,
    inputs: list[Tensor],
    weights: TorchWeights,
    capture: Capture | None,
) -> tuple[Tensor, ...]:
    values: dict[str, Tensor] = {}
    arguments = iter(inputs)
    pending = Counter(name for op in graph for name in op.inputs)
    pending.update(graph.outputs)
    for op in graph:
        if isinstance(op, InputOp):
            values[op.name] = next(arguments)
            continue
        values[op.name] = _apply(graph, op, values, weights, capture)
        for name in op.inputs:
            pending[name] -= 1
            if not pending[name]:
                del values[name]
    return tuple(values[name] for name in graph.outputs)


def _apply(
    graph: LayerGraph,
    op: MatrixOp | DigitalOp,
    values: dict[str, Tensor],
    weights: TorchWeights,
    capture: Capture | None,
) -> Tensor:
    try:
        if isinstance(op, DigitalOp):
            y = apply_digital(op, values)
        else:
            x = values[op.inputs[0]]
            if capture is not None:
                capture(op, x)
            y = apply_matrix(op, x, weights[op])
    except Exception as error:
        told = (isinstance(op, DigitalOp) and beyond_table(op, values, graph)) or error
        raise GraphError(f"{_place(graph, op)}: {told}") from error
    if tuple(y.shape) != op.output.shape:
        raise GraphError(
            f"{_place(graph, op)}: computed shape {list(y.shape)}, expected {list(op.output.shape)}"
        )
    return y


def _place(graph: LayerGraph, op: Op) -> str:
    kind = op.kind if isinstance(op, MatrixOp) else getattr(op, "op", "input")
    source = getattr(op, "source", "")
    return f"{graph.name}: node '{op.name}' ({kind}){f' [{source}]' if source else ''}"


def _fill(value: object, values: Mapping[str, Tensor]) -> object:
    """Replace every `Ref` in nested arguments by its value."""
    if isinstance(value, Ref):
        return values[value.name]
    if isinstance(value, list | tuple):
        return type(value)(_fill(item, values) for item in value)
    if isinstance(value, dict):
        return {key: _fill(item, values) for key, item in value.items()}
    return value
