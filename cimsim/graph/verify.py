"""What a legal node is: one table of rules per node kind, checked after every pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cimsim.errors import GraphError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Ref
from cimsim.graph.layout import block_columns, output_shape

O_contra = TypeVar("O_contra", InputOp, MatrixOp, DigitalOp, contravariant=True)


class Rule(Protocol[O_contra]):
    """Returns None or a sentence ``..., expected ...``."""

    __name__: str

    def __call__(self, graph: LayerGraph, op: O_contra, /) -> str | None:
        """Say what is wrong with a node."""


def verify(graph: LayerGraph) -> None:
    """Check every node of ``graph``.

    Raises
    ------
    GraphError
        Names the graph, the node and its source, what was found and what is expected.
    """
    if not graph.outputs:
        raise GraphError(f"{graph.name}: the graph has no outputs, expected at least one")
    for output in graph.outputs:
        if output not in graph.nx:
            raise GraphError(f"{graph.name}: output '{output}' is no node of the graph")
    if not nx.is_directed_acyclic_graph(graph.nx):
        cycle = " -> ".join(edge[0] for edge in nx.find_cycle(graph.nx))
        raise GraphError(f"{graph.name}: the graph has a cycle ({cycle}), expected none")
    for key, data in graph.nx.nodes(data=True):
        op = data.get("op")
        if not isinstance(op, Op):
            raise GraphError(
                f"{graph.name}: node '{key}' holds {type(op).__name__}, "
                "expected InputOp, MatrixOp or DigitalOp"
            )
        _check_edges(graph, key, op)
        problem = next(filter(None, _problems(graph, op)), None)
        if problem is not None:
            raise GraphError(_message(graph, op, problem))
    _check_shared_weights(graph)


def verify_numbers(graph: LayerGraph) -> None:
    """Refuse weights and biases that are not finite; once for a graph, since it reads them all.

    Raises
    ------
    GraphError
        Names the graph, the layer and its source.
    """
    seen: set[int] = set()
    for op in graph.matrix_ops:
        for what, held in (("weight", op.weight), ("bias", op.bias)):
            if held is None or id(held) in seen:
                continue
            seen.add(id(held))
            if not _is_finite(held):
                problem = (
                    f"{what} holds NaN or infinity, expected finite numbers; load other weights, "
                    "or look where training diverged (a batch norm with a variance below 0 gives "
                    "NaN, too)"
                )
                raise GraphError(_message(graph, op, problem))


def _is_finite(held: NDArray[np.float32]) -> bool:
    if not held.size:
        return True
    if not any(held.strides):  # one number in all places
        return bool(np.isfinite(held.flat[0]))
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(held.min()) and np.isfinite(held.max()))  # both pass NaN on


def _problems(graph: LayerGraph, op: Op) -> Iterator[str | None]:
    """Yield what each rule of its kind says of a node."""
    if isinstance(op, InputOp):
        yield from (rule(graph, op) for rule in INPUT_RULES)
    elif isinstance(op, MatrixOp):
        yield from (rule(graph, op) for rule in MATRIX_RULES)
    else:
        yield from (rule(graph, op) for rule in DIGITAL_RULES)


def references(value: object) -> Iterator[str]:
    """Yield the names of all `Ref` in nested arguments, in order, repeats included."""
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)


def _message(graph: LayerGraph, op: Op, problem: str) -> str:
    source = getattr(op, "source", "")
    return f"{graph.name}: node '{op.name}'{f' [{source}]' if source else ''}: {problem}"


def _check_edges(graph: LayerGraph, key: str, op: Op) -> None:
    if op.name != key:
        raise GraphError(f"{graph.name}: node '{key}' calls itself '{op.name}', expected '{key}'")
    for name in op.inputs:
        if name not in graph.nx or "op" not in graph.nx.nodes[name]:
            raise GraphError(_message(graph, op, f"reads '{name}', expected an existing node"))
    if set(graph.nx.predecessors(key)) != set(op.inputs):
        sources = sorted(graph.nx.predecessors(key))
        raise GraphError(_message(graph, op, f"edges from {sources}, expected {sorted(op.inputs)}"))


def _check_shared_weights(graph: LayerGraph) -> None:
    first: dict[str, MatrixOp] = {}
    for op in graph.matrix_ops:
        other = first.setdefault(op.weights_id, op)
        if not (_same(op.weight, other.weight) and _same(op.bias, other.bias)):
            raise GraphError(
                _message(
                    graph,
                    op,
                    f"weights_id '{op.weights_id}' is shared with '{other.name}' but the numbers "
                    "differ, expected equal weights and biases",
                )
            )


def _same(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (a.shape == b.shape and bool(np.array_equal(a, b)))


# Input nodes


def _input_reads_nothing(graph: LayerGraph, op: InputOp) -> str | None:
    return f"an input reads {list(op.inputs)}, expected no inputs" if op.inputs else None


def _shape_is_positive(graph: LayerGraph, op: Op) -> str | None:
    if all(isinstance(n, int) and n > 0 for n in op.output.shape):
        return None
    return f"output shape {list(op.output.shape)}, expected positive integers"


# Matrix nodes


def _one_input(graph: LayerGraph, op: MatrixOp) -> str | None:
    if len(op.inputs) != 1:
        return f"reads {list(op.inputs)}, expected exactly one input"
    given = graph[op.inputs[0]].output
    if given != op.input:
        return f"input spec {op.input}, expected that of '{op.inputs[0]}': {given}"
    return None


def _is_float32(graph: LayerGraph, op: MatrixOp) -> str | None:
    dtypes = {"input": op.input.dtype, "output": op.output.dtype, "weight": str(op.weight.dtype)}
    if op.bias is not None:
        dtypes["bias"] = str(op.bias.dtype)
    for what, dtype in dtypes.items():
        if dtype != "float32":
            return f"{what} is {dtype}, expected float32 (convert the module with .float())"
    return None


def _layout(graph: LayerGraph, op: MatrixOp) -> str | None:
    rank = len(op.input.shape)
    if op.layout == "nchw":
        return None if rank == 4 else f"input of rank {rank}, expected [B, C, H, W]"
    if op.layout != "last":
        return f"layout '{op.layout}', expected 'nchw' or 'last'"
    if rank not in (2, 3):
        return f"linear input of rank {rank}, expected [B, F] or [B, positions, F]"
    return None


def _window(graph: LayerGraph, op: MatrixOp) -> str | None:
    window = op.window
    if min(*window.kernel, *window.stride, *window.dilation) < 1 or min(window.padding) < 0:
        return f"{window}, expected kernel, stride, dilation >= 1 and padding >= 0"
    trivial = window.extent == window.stride == (1, 1) and not any(window.padding)
    if op.layout == "last" and not trivial:
        return f"{window} on a linear layer, expected a 1 x 1 window"
    return None


def _rows(graph: LayerGraph, op: MatrixOp) -> str | None:
    if op.weight.ndim != 3:
        return f"weight of shape {op.weight.shape}, expected [groups, rows, cols]"
    channels = op.input.shape[-1] if op.layout == "last" else op.input.shape[1]
    if channels % op.groups:
        return f"{op.groups} groups, expected a divisor of the {channels} input channels"
    rows = op.window.kernel[0] * op.window.kernel[1] * channels // op.groups
    if op.group_rows != rows:
        return f"{op.group_rows} matrix rows, expected kernel * channels / groups = {rows}"
    return None


def _columns(graph: LayerGraph, op: MatrixOp) -> str | None:
    if op.layout == "last" and op.out_block[1:] != (1, 1):
        return f"out_block {op.out_block} on a linear layer, expected (features, 1, 1)"
    if min(op.out_block) < 1 or block_columns(op) != op.n_cols:
        return f"out_block {op.out_block}, expected a product of {op.n_cols} matrix columns"
    return None


def _bias(graph: LayerGraph, op: MatrixOp) -> str | None:
    if op.bias is None or op.bias.shape == (op.n_cols,):
        return None
    return f"bias of shape {op.bias.shape}, expected ({op.n_cols},)"


def _output(graph: LayerGraph, op: MatrixOp) -> str | None:
    expected = output_shape(op)
    if op.output.shape == expected:
        return None
    return f"output shape {list(op.output.shape)}, expected {list(expected)} from window and block"


def _has_weights_id(graph: LayerGraph, op: MatrixOp) -> str | None:
    return None if op.weights_id else "weights_id is empty, expected a name"


# Digital nodes


def _refs_equal_inputs(graph: LayerGraph, op: DigitalOp) -> str | None:
    referred = tuple(dict.fromkeys((*references(op.args), *references(op.kwargs))))
    if referred == op.inputs:
        return None
    return f"arguments refer to {list(referred)}, expected the inputs {list(op.inputs)}"


def _is_callable(graph: LayerGraph, op: DigitalOp) -> str | None:
    return None if callable(op.target) else f"target {op.target!r}, expected something callable"


def _cost(graph: LayerGraph, op: DigitalOp) -> str | None:
    if op.ops_per_element is not None and op.ops_per_element < 0:
        return f"ops_per_element {op.ops_per_element}, expected None or a number >= 0"
    most = (op.ops_per_element or 0.0) / 2
    if 0 <= op.macs_per_element <= most:
        return None
    return f"macs_per_element {op.macs_per_element}, expected 0 .. {most} (half of ops_per_element)"


def _locality(graph: LayerGraph, op: DigitalOp) -> str | None:
    if op.locality not in ("pointwise", "view", "window", "barrier"):
        return f"locality '{op.locality}', expected pointwise, view, window or barrier"
    if (op.window is not None) != (op.locality == "window"):
        return (
            f"locality '{op.locality}' with window {op.window}, expected one exactly for 'window'"
        )
    grids = {name: graph[name].output.grid for name in op.inputs}
    if op.locality in ("pointwise", "view"):
        for name, grid in grids.items():
            if grid != op.output.grid:
                return (
                    f"locality '{op.locality}' reads '{name}' of grid {grid}, "
                    f"expected {op.output.grid}"
                )
    if op.window is not None:
        for name, grid in grids.items():
            covered = op.window.positions(*grid)
            if covered[0] < op.output.grid[0] or covered[1] < op.output.grid[1]:
                return (
                    f"{op.window} covers {covered} positions of '{name}', "
                    f"expected at least the output grid {op.output.grid}"
                )
    return None


INPUT_RULES: tuple[Rule[InputOp], ...] = (_input_reads_nothing, _shape_is_positive)
MATRIX_RULES: tuple[Rule[MatrixOp], ...] = (
    _shape_is_positive, _one_input, _is_float32, _layout, _window, _rows, _columns, _bias, _output,
    _has_weights_id,
)  # fmt: skip
DIGITAL_RULES: tuple[Rule[DigitalOp], ...] = (
    _shape_is_positive, _refs_equal_inputs, _is_callable, _cost, _locality,
)  # fmt: skip
