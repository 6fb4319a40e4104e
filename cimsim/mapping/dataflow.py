"""The network as the chip runs it: a dataflow graph, with the pixels each window waits for.

Every `MatrixOp` is a node. A pointwise operation rides on the node that computed its operands last
(its POST stage). An operation that only moves data (a view, or any other with zero operations per
element: cat, slice, crop, reshape) is an address, costs nothing and passes dependencies through.
Everything else becomes a node of its own on the vector unit. Time and energy both start from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from cimsim.chip.spec import Chip
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Window


@dataclass(frozen=True, slots=True)
class Dependency:
    """Which pixels of ``producer`` window (wy, wx) of a node reads.

    Attributes
    ----------
    producer : str
        Node that stores the pixels.
    window : Window or None
        In pixels of the producer's output map: rows ``wy * stride - top`` up to ``+ extent - 1``,
        clipped to the map; ``None`` means the whole map. Never less than what is read.
    at : {"load", "post"}
        The window's own input, or the second operand of a fused residual addition.
    """

    producer: str
    window: Window | None
    at: Literal["load", "post"] = "load"


@dataclass(frozen=True, slots=True)
class Node:
    """Work that is done window by window, in raster order.

    Attributes
    ----------
    name : str
        Name of the operation.
    kind : {"input", "matrix", "vector", "output", "program"}
        The last two stand only in the plan of the cycle engine.
    op : Op or None
        None: nothing of the network is computed.
    fused : tuple of DigitalOp
        Pointwise operations done in the same POST stage.
    grid : (int, int)
        Windows along y and x.
    block : (int, int)
        Output pixels that one window writes, along y and x.
    stored : int
        Values that one window writes to buffers.
    vector_ops : float
        Vector-unit operations of one window (scale and bias of a matrix not counted), of a chip
        without a matmul unit; see `vector_work`.
    dependencies : tuple of Dependency
    products : float
        Products of computed values in one window, which ``vector_ops`` counts twice each.
    operands : int
        Values that these products read in one window, each once.
    """

    name: str
    kind: Literal["input", "matrix", "vector", "output", "program"]
    op: Op | None
    fused: tuple[DigitalOp, ...]
    grid: tuple[int, int]
    block: tuple[int, int]
    stored: int
    vector_ops: float
    dependencies: tuple[Dependency, ...]
    products: float = 0.0
    operands: int = 0

    def vector_work(self, chip: Chip) -> float:
        """Operations of one window on a chip's vector unit."""
        return self.vector_ops - (0.0 if chip.matmul is None else 2 * self.products)

    @property
    def windows(self) -> int:
        """Windows of one frame."""
        return self.grid[0] * self.grid[1]


def nodes(graph: LayerGraph) -> tuple[Node, ...]:
    """Cut a layer graph into nodes, in execution order.

    Returns
    -------
    tuple of Node
        A node needs only nodes before it. Every digital operation is in exactly one node or free.
    """
    draft = _Draft(graph)
    for op in graph:
        draft.add(op)
    return tuple(_finish(graph, part) for part in draft.parts.values())


def frame_nodes(graph: LayerGraph) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Return nodes that bring in the inputs and take out the outputs, one pixel row at a time.

    Those of inputs have the names of the inputs and needs of nothing; those of outputs are called
    ``NAME (out)``.
    """
    draft = _Draft(graph)
    for op in graph:
        draft.add(op)
    inputs = tuple(
        _rows(op.name, "input", graph, op.name, ()) for op in graph if isinstance(op, InputOp)
    )
    outputs = tuple(
        _rows(f"{name} (out)", "output", graph, name, draft.row_dependencies(name))
        for name in dict.fromkeys(graph.outputs)
    )
    return inputs, outputs


def _rows(
    name: str, kind: Literal["input", "output"], graph: LayerGraph, value: str,
    dependencies: tuple[Dependency, ...],
) -> Node:  # fmt: skip
    tensor = graph[value].output
    rows, cols = tensor.grid
    stored = math.ceil(graph.per_sample(value) / rows)
    return Node(name, kind, None, (), (rows, 1), (1, cols), stored, 0.0, dependencies)


# A value seen from the node that stored it: window (y, x) of that node's output map makes up pixel
# (y, x) of the value; None: any pixel may need the whole map.
_Reach = Window | None
_SAME = Window()


@dataclass(slots=True)
class _Part:
    """A node while it is being put together."""

    op: Op
    kind: Literal["input", "matrix", "vector"]
    fused: list[DigitalOp] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)


class _Draft:
    """All nodes so far, and for each value of the graph the stored maps that it is made of."""

    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self.parts: dict[str, _Part] = {}
        self.order: dict[str, int] = {}
        self.origins: dict[str, tuple[tuple[str, _Reach], ...]] = {}

    def add(self, op: Op) -> None:
        """Put ``op`` into a node, or nowhere if it only moves data."""
        if isinstance(op, DigitalOp) and _is_free(op):
            self.origins[op.name] = self._read(op.inputs, _reads(op))
            return
        host = self._host(op)
        if host is not None and isinstance(op, DigitalOp):
            block = _block(self.parts[host].op)
            others = [(name, reach) for name, reach in self._read(op.inputs, _SAME) if name != host]
            aligned = Window(block, block)
            self.parts[host].fused.append(op)
            self.parts[host].dependencies += [
                Dependency(n, _compose(aligned, r), "post") for n, r in others
            ]
        else:
            host = op.name
            kind: Literal["input", "matrix", "vector"] = (
                "input" if isinstance(op, InputOp) else
                "matrix" if isinstance(op, MatrixOp) else "vector"
            )  # fmt: skip
            self.order[host] = len(self.order)
            dependencies = [
                Dependency(name, reach) for name, reach in self._read(op.inputs, _reads(op))
            ]
            self.parts[host] = _Part(op, kind, [], dependencies)
        self.origins[op.name] = ((host, _SAME),)

    def row_dependencies(self, value: str) -> tuple[Dependency, ...]:
        """Return the needs of a reader that takes one pixel row of ``value`` at a time."""
        row = Window((1, self.graph[value].output.grid[1]))
        return tuple(Dependency(name, reach) for name, reach in self._read((value,), row))

    def _read(self, values: tuple[str, ...], window: _Reach) -> tuple[tuple[str, _Reach], ...]:
        """Return the stored maps behind ``values``, as a reader with ``window`` sees them."""
        maps = [(node, _compose(window, reach)) for v in values for node, reach in self.origins[v]]
        return tuple(dict.fromkeys(maps))

    def _host(self, op: Op) -> str | None:
        """Return the node in whose POST stage a pointwise op can be done, if there is one.

        It is the last of all nodes whose values the op reads (it cannot wait for a later one),
        holds one operand whole, and writes the pixels of the op's own map.
        """
        if not isinstance(op, DigitalOp) or op.locality != "pointwise":
            return None
        read = {node for node, _ in self._read(op.inputs, _SAME)}
        if not read:
            return None
        host = max(read, key=self.order.__getitem__)
        whole = any(self.origins[value] == ((host, _SAME),) for value in op.inputs)
        same_map = self.parts[host].op.output.grid == op.output.grid
        return host if whole and same_map and self.parts[host].kind != "input" else None


def _is_free(op: DigitalOp) -> bool:
    return op.locality == "view" or op.ops_per_element == 0.0


def _compose(outer: _Reach, inner: _Reach) -> _Reach:
    """Window of the inner map that a window of the outer map reads (or a little more)."""
    if outer is None or inner is None:
        return None
    if inner == _SAME:
        return outer
    (oy, ox), (iy, ix) = outer.extent, inner.extent
    (sy, sx), (ty, tx) = inner.stride, outer.stride
    top, bottom, left, right = (
        o * s + i for o, s, i in zip(outer.padding, (sy, sy, sx, sx), inner.padding, strict=True)
    )
    return Window(
        ((oy - 1) * sy + iy, (ox - 1) * sx + ix), (sy * ty, sx * tx), (top, bottom, left, right)
    )


def _block(op: Op) -> tuple[int, int]:
    """Output pixels that one window writes."""
    if isinstance(op, MatrixOp):
        return op.out_block[1], op.out_block[2]
    barrier = isinstance(op, DigitalOp) and op.locality == "barrier"
    return op.output.grid if barrier else (1, 1)


def _reads(op: Op) -> _Reach:
    """Window of input pixels that one output window of ``op`` needs."""
    if isinstance(op, MatrixOp):
        return _SAME if op.layout == "last" else op.window
    if isinstance(op, DigitalOp):
        return _SAME if op.locality in ("pointwise", "view") else op.window
    return None


def _finish(graph: LayerGraph, part: _Part) -> Node:
    op, inside = part.op, {part.op.name, *(f.name for f in part.fused)}
    height, width = op.output.grid
    block = _block(op)
    grid = op.window_grid if isinstance(op, MatrixOp) else (height // block[0], width // block[1])
    windows = max(1, grid[0] * grid[1])
    stored = sum(
        math.ceil(graph.per_sample(value) / windows)
        for value in sorted(inside)
        if value in graph.outputs or any(c not in inside for c in graph.consumers(value))
    )
    digital = [op] if isinstance(op, DigitalOp) else []
    work = sum(
        (f.ops_per_element or 0.0) * graph.per_sample(f.name) for f in (*digital, *part.fused)
    )
    products = sum(d.macs_per_element * graph.per_sample(d.name) for d in digital)
    read = sum(graph.per_sample(name) for name in op.inputs) if products else 0
    return Node(
        op.name, part.kind, op, tuple(part.fused), grid, block, stored, work / windows,
        tuple(dict.fromkeys(part.dependencies)), products / windows, math.ceil(read / windows),
    )  # fmt: skip
