"""The network as the chip runs it: units of work and the pixels each window waits for.

Every `MatrixOp` is a unit; pointwise operations ride on the unit that computed their operand last
(its POST stage), views cost nothing and pass dependencies through, and everything else becomes a unit
of its own on the vector unit. Time and energy both start from this list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Window


@dataclass(frozen=True, slots=True)
class Need:
    """Which pixels of ``producer`` window (wy, wx) of a unit reads.

    Attributes
    ----------
    producer : str
        Unit that stores the pixels.
    window : Window or None
        In pixels of the producer's output map: rows ``wy * stride - top`` up to ``+ extent - 1``, clipped to
        the map; ``None`` means the whole map.
    at : {"load", "post"}
        The window's own input, or the second operand of a fused residual addition.
    """

    producer: str
    window: Window | None
    at: Literal["load", "post"] = "load"


@dataclass(frozen=True, slots=True)
class Unit:
    """Work that is done window by window, in raster order.

    Attributes
    ----------
    name : str
        Name of the operation.
    kind : {"input", "matrix", "vector"}
    op : Op
    fused : tuple of DigitalOp
        Pointwise operations done in the same POST stage.
    grid : (int, int)
        Windows along y and x.
    block : (int, int)
        Output pixels that one window writes, along y and x.
    stored : int
        Values that one window writes to buffers.
    vector_ops : float
        Vector-unit operations of one window (scale and bias of a matrix not counted).
    needs : tuple of Need
    """

    name: str
    kind: Literal["input", "matrix", "vector"]
    op: Op
    fused: tuple[DigitalOp, ...]
    grid: tuple[int, int]
    block: tuple[int, int]
    stored: int
    vector_ops: float
    needs: tuple[Need, ...]

    @property
    def windows(self) -> int:
        """Windows of one frame."""
        return self.grid[0] * self.grid[1]


@dataclass(slots=True)
class _Draft:
    """A unit while it is being put together."""

    op: Op
    kind: Literal["input", "matrix", "vector"]
    fused: list[DigitalOp] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)


def units(graph: LayerGraph) -> tuple[Unit, ...]:
    """Cut a layer graph into units, in execution order.

    Returns
    -------
    tuple of Unit
        Inputs first where they come first; every digital operation is in exactly one unit or free.
    """
    drafts: dict[str, _Draft] = {}
    origins: dict[str, tuple[str, ...]] = {}  # value -> units whose stored pixels make it up
    carrier: dict[str, str | None] = {}  # value -> the one unit that holds it whole
    order = {op.name: index for index, op in enumerate(graph)}
    for op in graph:
        if isinstance(op, DigitalOp) and op.locality == "view":
            origins[op.name] = _merge(origins, op.inputs)
            carriers = {carrier[name] for name in op.inputs}
            carrier[op.name] = carriers.pop() if len(op.inputs) == 1 else None
            continue
        host = _host(op, carrier, drafts, order)
        if host is not None and isinstance(op, DigitalOp):
            drafts[host].fused.append(op)
            others = [n for n in _merge(origins, op.inputs) if n != host]
            block = _block(drafts[host].op)
            aligned = Window(block, block)
            drafts[host].needs += [Need(name, aligned, "post") for name in others]
        else:
            host = op.name
            kind = "input" if isinstance(op, InputOp) else "vector"
            drafts[host] = _Draft(op, "matrix" if isinstance(op, MatrixOp) else kind)
            reads = _reads(op)
            drafts[host].needs += [Need(name, reads) for name in _merge(origins, op.inputs)]
        origins[op.name], carrier[op.name] = (host,), host
    return tuple(_finish(graph, name, draft) for name, draft in drafts.items())


def _merge(origins: dict[str, tuple[str, ...]], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(unit for name in names for unit in origins[name]))


def _host(
    op: Op, carrier: dict[str, str | None], drafts: dict[str, _Draft], order: dict[str, int]
) -> str | None:
    """The matrix unit in whose POST stage a pointwise op can be done, if there is one."""
    if not isinstance(op, DigitalOp) or op.locality != "pointwise":
        return None
    found = [carrier[name] for name in op.inputs]
    hosts = [name for name in found if name is not None and drafts[name].kind == "matrix"]
    if not hosts:
        return None
    host = max(hosts, key=order.__getitem__)
    # an operand of a later unit cannot be waited for, and a broadcast map is no block of pixels
    same_map = drafts[host].op.output.grid == op.output.grid
    latest = all(order[n] <= order[host] for n in found if n is not None)
    return host if same_map and latest else None


def _block(op: Op) -> tuple[int, int]:
    return op.out_block[1:] if isinstance(op, MatrixOp) else (1, 1)


def _reads(op: Op) -> Window | None:
    """Window of input pixels that one output window of ``op`` needs."""
    if isinstance(op, MatrixOp):
        return Window() if op.layout == "last" else op.window
    if isinstance(op, DigitalOp):
        if op.locality == "pointwise":
            return Window()
        return op.window if op.locality == "window" else None
    return None


def _finish(graph: LayerGraph, name: str, draft: _Draft) -> Unit:
    op, inside = draft.op, {name, *(f.name for f in draft.fused)}
    if isinstance(op, MatrixOp):
        grid, block = op.window_grid, _block(op)
        if op.layout == "last":
            grid = op.output.grid
    elif isinstance(op, DigitalOp) and op.locality == "barrier":
        grid, block = (1, 1), op.output.grid
    elif isinstance(op, InputOp):
        grid, block = op.output.grid, (1, 1)
    else:
        grid, block = op.output.grid, (1, 1)
    windows = max(1, grid[0] * grid[1])
    stored = sum(
        math.ceil(graph[value].output.per_frame / windows)
        for value in inside
        if value in graph.outputs or any(c not in inside for c in graph.consumers(value))
    )
    digital = [op] if isinstance(op, DigitalOp) else []
    work = sum((f.ops_per_element or 0.0) * f.output.per_frame for f in (*digital, *draft.fused))
    return Unit(
        name, draft.kind, op, tuple(draft.fused), grid, block, stored, work / windows,
        tuple(dict.fromkeys(draft.needs)),
    )  # fmt: skip
