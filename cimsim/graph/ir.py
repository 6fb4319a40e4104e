"""The layer graph: what a network computes, split into crossbar matrices and digital operations.

A `LayerGraph` is a directed graph of frozen nodes; ``graph.nx`` is the same as networkx has it.
There are three kinds: `InputOp`, `MatrixOp` (one matrix that is applied to every window of its
input) and `DigitalOp` (anything else, executed by torch itself with the exported operator). Shapes
are static.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import GraphError, suggest

if TYPE_CHECKING:
    from networkx import DiGraph
    from torch import Tensor

    from cimsim.graph.reference import TorchWeights

Locality = Literal["pointwise", "view", "window", "barrier"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of one tensor; the first axis is the batch."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def per_frame(self) -> int:
        """Elements of one batch entry."""
        return math.prod(self.shape[1:])

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of a [B, C, H, W] map; (1, positions) of a [B, ..., features] tensor."""
        if len(self.shape) == 4:
            return self.shape[2], self.shape[3]
        return 1, math.prod(self.shape[1:-1]) if len(self.shape) > 2 else 1


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window.

    Attributes
    ----------
    kernel, stride, dilation : (int, int)
        Vertical, horizontal.
    padding : (int, int, int, int)
        Zero pixels at the top, bottom, left and right; negative padding is not allowed.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width that one window spans, dilation included."""
        return (
            (self.kernel[0] - 1) * self.dilation[0] + 1,
            (self.kernel[1] - 1) * self.dilation[1] + 1,
        )

    def positions(self, height: int, width: int) -> tuple[int, int]:
        """Return the number of windows along each axis of a map of ``height`` x ``width``."""
        top, bottom, left, right = self.padding
        rows = (height + top + bottom - self.extent[0]) // self.stride[0] + 1
        cols = (width + left + right - self.extent[1]) // self.stride[1] + 1
        return max(rows, 0), max(cols, 0)


@dataclass(frozen=True, slots=True)
class InputOp:
    """One input tensor of the network."""

    name: str
    output: TensorSpec
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rounding:
    """How a quantised network rounds an activation.

    Attributes
    ----------
    scale : float
        Activation per step.
    zero_point : int
        Whole number that stands for 0.
    low, high : int
        Smallest and largest whole number.
    by_reciprocal : bool
        Whether it multiplies by ``1 / scale``, as torch does, or divides, as ONNX does; the two
        differ in the last bit.
    """

    scale: float
    zero_point: int
    low: int
    high: int
    by_reciprocal: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Round a tensor to what its whole numbers stand for."""
        import torch

        steps = x * (1.0 / self.scale) if self.by_reciprocal else x / self.scale
        whole = torch.clamp(torch.round(steps) + self.zero_point, self.low, self.high)
        return (whole - self.zero_point) * self.scale

    @property
    def is_twos_complement(self) -> bool:
        """Whether there is one whole number more below 0 than above, as of a signed kind."""
        return (self.zero_point - self.low) - (self.high - self.zero_point) == 1

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest activation."""
        low, high = self.low - self.zero_point, self.high - self.zero_point
        return low * self.scale, high * self.scale

    def ends_of(self, bits: int, magnitude: bool = False) -> tuple[float, float]:
        """Return ends of a chip's code of so many bits, with a sign of its own or without.

        A code that can hold all of the network's whole numbers has its steps, or several equal ones
        to each: codes are multiplied by a whole number. Of a smaller one the ends are all that is
        kept. -127 .. 127 is one number short of 8 bits: the code begins at -128.
        """
        low, high = self.ends
        if magnitude and self.is_twos_complement:
            low = -high  # the lowest code has no counterpart
        top, need = self._codes(bits, magnitude)
        if top < need or (top == need and not magnitude):
            return low, high
        reach = top * self.scale / (top // need)
        if magnitude:
            return -reach, reach
        return (0.0, reach) if low >= 0 else (max(high, 0.0) - reach, max(high, 0.0))

    def goes_before(self, bits: int, magnitude: bool = False) -> bool:
        """Tell whether a chip's code of so many bits holds more than the network's numbers.

        Values are then rounded as the network does it and encoded afterwards, which loses nothing.
        A code of the same numbers rounds alike by itself, one of fewer cannot.
        """
        top, need = self._codes(bits, magnitude)
        return top > need

    def _codes(self, bits: int, magnitude: bool) -> tuple[int, int]:
        """Return the largest code, and how many steps the network needs of it, 0 included."""
        below, above = max(self.zero_point - self.low, 0), max(self.high - self.zero_point, 0)
        if not magnitude:
            return 2**bits - 1, max(below + above, 1)
        need = above if self.is_twos_complement else max(below, above)
        return 2 ** (bits - 1) - 1, max(need, 1)


@dataclass(frozen=True, slots=True, eq=False)
class MatrixOp:
    """A matrix that is applied to every window of its one input: convolution, linear, CIM-CONV.

    Attributes
    ----------
    name : str
        Unique; the module path where there is one (``inc.convblock.0``).
    inputs : (str,)
        The one producer.
    output : TensorSpec
        [B, C_out, n_wy * block_h, n_wx * block_w] for ``layout == "nchw"``, else [B, ..., cols].
    weight : float32 [groups, rows, cols]
        ``rows`` in im2col order **(kernel y, kernel x, input channel of the group)**, ``cols`` the
        output values of one group; output value ``j`` of group ``g`` is column ``g * cols + j`` of
        the layer and means (channel, dy, dx) of the output block in C order.
    bias : float32 [groups * cols] or None
    window : Window
    out_block : (int, int, int)
        (C_out, block_h, block_w): how one output vector unfolds into pixels; (C, 1, 1) for a
        convolution.
    layout : {"nchw", "last"}
        ``last`` is a linear layer: features on the last axis, every other position is a window.
    kind : str
        ``conv2d``, ``linear``, ``conv_transpose2d`` or ``cim_conv``; for people only.
    weights_id : str
        Operations with the same id hold the same numbers and share one programmed copy.
    source : str
        Module path and source line, for messages.
    signed : bool
        Whether the input may be negative; False only where the graph proves that it is not.
    rounding : Rounding or None
        Of the input, where the network is a quantised one: a chip's input code takes its ends.
    weight_ends : float64 [n_cols] or None
        Largest magnitude that the network's own weight code of a column has, where it has one.
    """

    name: str
    inputs: tuple[str, ...]
    input: TensorSpec
    output: TensorSpec
    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    window: Window
    out_block: tuple[int, int, int]
    layout: Literal["nchw", "last"] = "nchw"
    kind: str = "conv2d"
    weights_id: str = ""
    source: str = ""
    signed: bool = True
    rounding: Rounding | None = None
    weight_ends: NDArray[np.float64] | None = None

    @property
    def groups(self) -> int:
        """Number of independent blocks of the matrix."""
        return int(self.weight.shape[0])

    @property
    def group_rows(self) -> int:
        """Rows of one group's matrix."""
        return int(self.weight.shape[1])

    @property
    def group_cols(self) -> int:
        """Columns of one group's matrix."""
        return int(self.weight.shape[2])

    @property
    def n_rows(self) -> int:
        """Length of one input vector (all groups)."""
        return self.groups * self.group_rows

    @property
    def n_cols(self) -> int:
        """Length of one output vector (all groups)."""
        return self.groups * self.group_cols

    @property
    def n_weights(self) -> int:
        """Weights without the zeros between groups, without bias."""
        return int(self.weight.size)

    @property
    def window_grid(self) -> tuple[int, int]:
        """Windows of one frame along (y, x), in raster order."""
        if self.layout == "last":
            return self.input.grid
        return self.window.positions(*self.input.grid)

    @property
    def windows(self) -> int:
        """Windows of one frame."""
        rows, cols = self.window_grid
        return rows * cols


@dataclass(frozen=True, slots=True, eq=False)
class Ref:
    """Stands for the value of node ``name`` in the arguments of a `DigitalOp`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class DigitalOp:
    """Anything that is no crossbar matrix; torch executes it and the vector unit is charged for it.

    Attributes
    ----------
    op : str
        What it computes, in codes of our own that a frontend sets: ``relu``, ``add``, ``cat``.
        Everything that looks at an operation reads this; none knows whose operator it was.
    target : callable or None
        What computes it, called as ``target(*args, **kwargs)``; no more is known of it.
        None in an outline, which nobody executes.
    args, kwargs
        Its arguments; every graph value is a `Ref`, nested in lists and tuples where torch has it
        so, constants (scalars, tensors) stand as they are.
    locality : {"pointwise", "view", "window", "barrier"}
        Which input pixels an output pixel needs: the same one; the same one and no arithmetic at
        all (cat, slice, reshape); a window of them (pooling); all of them.
    ops_per_element : float or None
        Vector-unit operations per output element; ``None`` if no cost rule is known (*uncosted*).
    macs_per_element : float
        Products of computed values per output element; ``ops_per_element`` counts each twice. A
        chip's matmul unit does them, where it has one.
    window : Window or None
        For ``locality == "window"``.
    """

    name: str
    inputs: tuple[str, ...]
    output: TensorSpec
    op: str
    target: Callable[..., Tensor] | None
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)
    locality: Locality = "barrier"
    ops_per_element: float | None = None
    window: Window | None = None
    source: str = ""
    macs_per_element: float = 0.0


Op = InputOp | MatrixOp | DigitalOp


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether an argument of an operation is a tensor, told without loading torch."""
    return hasattr(value, "numel")


def nested_tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors of nested arguments, in the order in which they stand."""
    if isinstance(value, dict):
        yield from nested_tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from nested_tensors(item)
    elif is_tensor(value):
        yield value


class LayerGraph:
    """A directed acyclic graph of `InputOp`, `MatrixOp` and `DigitalOp`.

    Parameters
    ----------
    name : str
        Name of the network.
    ops : iterable of Op
        In an order in which each op comes after its inputs.
    outputs : sequence of str
        Names of the ops whose values the network returns.
    batch : int, optional
        Samples that one execution answers; by default the first axis of the first input. A network
        that puts time first, [T, B, ...], has another one.
    """

    def __init__(
        self, name: str, ops: Iterable[Op], outputs: Iterable[str], batch: int | None = None
    ) -> None:
        self.name = name
        self._batch = batch
        self.outputs = tuple(outputs)
        self._ops: dict[str, Op] = {}
        self._readers: dict[str, dict[str, None]] = {}
        for op in ops:
            if op.name in self._ops:
                raise GraphError(f"{name}: two nodes are called '{op.name}'")
            self._ops[op.name], self._readers[op.name] = op, {}
            for source in op.inputs:
                if source not in self._ops:
                    raise GraphError(
                        f"{name}: node '{op.name}' reads '{source}', "
                        "which comes later or is missing"
                    )
                self._readers[source][op.name] = None
        for output in self.outputs:
            if output not in self._ops:
                raise GraphError(
                    f"{name}: output '{output}' is no node{suggest(output, self._ops)}"
                )

    @cached_property
    def nx(self) -> DiGraph:
        """The same as a networkx graph whose nodes have an ``op``; made when it is asked for."""
        from networkx import DiGraph  # takes longer to import than to count a network

        graph = DiGraph()
        for op in self:
            graph.add_node(op.name, op=op)
            graph.add_edges_from((source, op.name) for source in op.inputs)
        return graph

    def __repr__(self) -> str:
        kinds = {"MatrixOp": "matrices", "DigitalOp": "digital operations"}
        counts = ", ".join(
            f"{sum(type(op).__name__ == kind for op in self)} {name}"
            for kind, name in kinds.items()
        )
        return f"LayerGraph({self.name}: {counts})"

    def __iter__(self) -> Iterator[Op]:
        """Yield the ops in execution order."""
        yield from self._ops.values()

    def __len__(self) -> int:
        return len(self._ops)

    def __getitem__(self, name: str) -> Op:
        """Return the op called ``name``."""
        if name not in self._ops:
            raise GraphError(f"{self.name}: no node '{name}'{suggest(name, self._ops)}")
        return self._ops[name]

    @property
    def inputs(self) -> tuple[InputOp, ...]:
        """Input nodes in the order of the network's arguments."""
        return tuple(op for op in self if isinstance(op, InputOp))

    @property
    def batch(self) -> int:
        """Samples of one execution; every count, time and energy is per sample."""
        if self._batch is not None:
            return self._batch
        first = next((op.output.shape for op in self.inputs), ())
        return first[0] if len(first) > 1 else 1

    def per_sample(self, name: str) -> int:
        """Elements of a value that one sample has, rounded up where samples share it."""
        return -(-math.prod(self[name].output.shape) // self.batch)

    @property
    def matrix_ops(self) -> tuple[MatrixOp, ...]:
        """Crossbar layers in execution order."""
        return tuple(op for op in self if isinstance(op, MatrixOp))

    @property
    def digital_ops(self) -> tuple[DigitalOp, ...]:
        """Digital operations in execution order."""
        return tuple(op for op in self if isinstance(op, DigitalOp))

    @property
    def uncosted(self) -> tuple[DigitalOp, ...]:
        """Digital operations for which no cost rule is known."""
        return tuple(op for op in self.digital_ops if op.ops_per_element is None)

    def consumers(self, name: str) -> tuple[str, ...]:
        """Names of the ops that read ``name``, in execution order."""
        return tuple(self._readers[name])

    def with_ops(self, ops: Iterable[Op], outputs: Iterable[str] | None = None) -> LayerGraph:
        """Return a graph of the same name from other ops."""
        return LayerGraph(self.name, ops, self.outputs if outputs is None else outputs, self._batch)

    def reference(self, *inputs: Tensor, weights: TorchWeights | None = None) -> tuple[Tensor, ...]:
        """Execute in float32 with torch; see `cimsim.graph.reference.run`."""
        from cimsim.graph.reference import run

        return run(self, *inputs, weights=weights)


def rewire(op: Op, names: dict[str, str]) -> Op:
    """Return ``op`` reading other nodes: ``names`` maps old producers to new ones."""
    if isinstance(op, InputOp) or not any(name in names for name in op.inputs):
        return op
    inputs = tuple(dict.fromkeys(names.get(name, name) for name in op.inputs))
    if isinstance(op, MatrixOp):
        return replace(op, inputs=inputs)

    def renamed(ref: Ref) -> Ref:
        return Ref(names.get(ref.name, ref.name))

    return _swapped(op, inputs, renamed)


def with_constants(op: DigitalOp, values: Mapping[str, object]) -> DigitalOp:
    """Return ``op`` with constants in place of some of its inputs, by the names of those."""

    def held(ref: Ref) -> object:
        return values.get(ref.name, ref)

    inputs = tuple(name for name in op.inputs if name not in values)
    return _swapped(op, inputs, held)


def _swapped(op: DigitalOp, inputs: tuple[str, ...], change: Callable[[Ref], object]) -> DigitalOp:
    args = tuple(_swap(value, change) for value in op.args)
    kwargs = {name: _swap(value, change) for name, value in op.kwargs.items()}
    return replace(op, inputs=inputs, args=args, kwargs=kwargs)


def _swap(value: object, change: Callable[[Ref], object]) -> object:
    if isinstance(value, Ref):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_swap(item, change) for item in value)
    if isinstance(value, dict):
        return {key: _swap(item, change) for key, item in value.items()}
    return value
