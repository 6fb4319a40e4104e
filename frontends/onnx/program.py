"""The nodes of an ONNX graph, for inputs of known shapes, as calls of torch.

Every value is a constant or has a shape and a kind, which torch finds on its ``meta`` device, where
tensors have no values. So shapes need no rules of our own, whatever computes them in the file
(Shape, Gather, Concat ...) is a constant, and nothing large is made before its size is known.

Half and double precision are computed in float32, 16- and 32-bit whole numbers in int64.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.boundary.limits import shown
from cimsim.errors import GraphError, suggest
from cimsim.frontends.onnx.file import Model, array_of

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

Function = Callable[..., Tensor | Sequence[Tensor]]
T = TypeVar("T")

MOST = 2**31  # elements of a value, as of an input
FOLDED = 1 << 30  # elements of all computed constants
RUNS = 200_000  # nodes; each costs some ten microseconds
_NARROW = {torch.float16, torch.float64, torch.bfloat16}
_WHOLE = {torch.int16, torch.int32}


@dataclass(frozen=True, eq=False)
class Quantised:
    """What whole numbers stand for: ``(number - zero_point) * scale``.

    Attributes
    ----------
    source : Value
        Of an activation, the real numbers that were rounded; of a constant, the stored numbers.
    scale, zero_point : Tensor
        Of no axis, or [n] along ``axis``.
    axis : int
    low, high : int
        Ends of the kind of number.
    """

    source: Value
    scale: Tensor
    zero_point: Tensor
    axis: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor of the graph.

    Attributes
    ----------
    name : str
    meta : Tensor
        Shape and kind, on the device ``meta``.
    const : Tensor or None
        Its numbers, if no input of the network is needed for them.
    codes : Quantised or None
        Where the value is made of whole numbers of few bits, see `cimsim.frontends.onnx.codes`.
    """

    name: str
    meta: Tensor
    const: Tensor | None = None
    codes: Quantised | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its axes."""
        return tuple(self.meta.shape)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.meta.dim()

    @property
    def is_real(self) -> bool:
        """Whether it holds real numbers."""
        return self.meta.is_floating_point()


@dataclass(frozen=True)
class Call:
    """A function of tensors, and what it is called with; None stands for an input left out."""

    function: Function
    values: tuple[Value | None, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """A call that has to be run because it depends on an input of the network.

    Attributes
    ----------
    name : str
        Of the node.
    kind : str
        Operator of the node.
    call : Call
    outputs : tuple of Value
    node : Node
        It is the node's own call, if ``operands`` are the node's inputs.
    operands : tuple of Value
        As the node has them; a call may take some of them as numbers.
    """

    name: str
    kind: str
    call: Call
    outputs: tuple[Value, ...]
    node: Node
    operands: tuple[Value | None, ...]


class Node:
    """One node as its operator sees it."""

    def __init__(self, program: Program, proto: NodeProto, name: str) -> None:
        self.program, self.proto, self.name = program, proto, name
        self.kind, self.opset = str(proto.op_type), program.model.opset
        self._attributes = {entry.name: entry for entry in proto.attribute}
        self.inputs: tuple[Value | None, ...] = tuple(
            program.value(self, given) if given else None for given in proto.input
        )

    @property
    def n_outputs(self) -> int:
        """Outputs, trailing ones without a name left out."""
        names = list(self.proto.output)
        while names and not names[-1]:
            names.pop()
        return len(names)

    @overload
    def attribute(self, name: str) -> object: ...
    @overload
    def attribute(self, name: str, default: T) -> T: ...
    def attribute(self, name: str, default: object = None) -> object:
        """Return an attribute as a number, text, list, tensor or graph."""
        from onnx import AttributeProto, helper

        entry = self._attributes.get(name)
        if entry is None:
            return default
        if entry.type == AttributeProto.TENSOR:
            return self.program.stored(entry.t)
        value = helper.get_attribute_value(entry)
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if default is not None and isinstance(value, list) != isinstance(default, list | tuple):
            raise self.error(f"attribute '{name}' is {shown(value)}")
        if isinstance(default, str) != isinstance(value, str) and default is not None:
            raise self.error(f"attribute '{name}' is {shown(value)}")
        return value

    def given(self, name: str) -> bool:
        """Whether an attribute is there."""
        return name in self._attributes

    def optional(self, index: int) -> Value | None:
        """Return an input, or None if it was left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int) -> Value:
        """Return an input that must be there."""
        found = self.optional(index)
        if found is None:
            raise self.error(f"input {index} is missing")
        return found

    def constant(self, index: int, what: str) -> Tensor | None:
        """Return the numbers of an input that must be constant, or None if it was left out."""
        found = self.optional(index)
        if found is None:
            return None
        if found.const is None:
            raise self.error(
                f"its {what} depends on the values of an input of the network; shapes and what is "
                "read must be known before it runs. Export it with constant ones"
            )
        return found.const

    def whole(self, index: int, what: str) -> list[int] | None:
        """Return an input of constant whole numbers as a list."""
        found = self.constant(index, what)
        if found is None:
            return None
        if found.numel() > MOST >> 12 or found.is_floating_point():
            raise self.error(f"its {what} is no list of whole numbers")
        return [int(n) for n in found.reshape(-1)]

    def axis(self, name: str, default: int, rank: int) -> int:
        """Return an axis attribute, 0 .. rank - 1."""
        return self.within(int(self.attribute(name, default)), rank)

    def within(self, axis: int, rank: int) -> int:
        """Count an axis from the front."""
        if not -rank <= axis < rank:
            raise self.error(f"axis {axis} of a value with {rank} axes")
        return axis % rank

    def made(self, tensor: Tensor, what: str) -> Value:
        """Return a constant that this node computes for itself."""
        return constant(f"{self.name}.{what}", tensor)

    def error(self, problem: str) -> GraphError:
        """Return a message with file, node and operator."""
        return GraphError(
            f"{self.program.model.name}: node {shown(self.name)} ({self.kind}): {problem}"
        )


Outcome = Call | list[Value]
Operator = Callable[[Node], Outcome]


class Program:
    """The calls that are left for inputs of given shapes.

    Parameters
    ----------
    model : Model
    shapes : sequence of tuple of int
        Of the inputs, in their order.
    operators : mapping
        Operator of ONNX -> function that turns a node into a call, or into values at once.
    fusions : mapping
        The same, tried before; they return None where a node is not the end of their group.
    rounding : callable
        From how an activation was rounded to the call that computes its whole numbers.
    path : Path
        Of the file; external data of attributes lie beside it.

    Attributes
    ----------
    steps : list of Step
        In order, each needed for an output.
    outputs : list of Value
    """

    def __init__(
        self, model: Model, shapes: Sequence[tuple[int, ...]], operators: Mapping[str, Operator],
        fusions: Mapping[str, Sequence[Callable[[Node], Outcome | None]]],
        rounding: Callable[[Quantised], Call], path: Path,
    ) -> None:  # fmt: skip
        self.model, self.operators, self.fusions, self.path = model, operators, fusions, path
        self._rounding = rounding
        self.steps: list[Step] = []
        self.made_by: dict[Value, Step] = {}
        self.inputs: list[Value] = []
        self._made: dict[Value, Value] = {}
        self._coders: dict[Value, Node] = {}
        # so that a matrix that several nodes apply stays one
        self.transposes: dict[Value, Value] = {}
        self._values: dict[str, Value] = {}
        self._folded = self._runs = 0
        for given, shape in zip(model.inputs, shapes, strict=True):
            kind = torch.int64 if given.whole else torch.float32
            value = Value(given.name, torch.empty(shape, dtype=kind, device="meta"))
            self.inputs.append(value)
            self._values[given.name] = value
        self._kinds = {entry.name: entry.data_type for entry in model.graph.initializer}
        for name, array in model.constants.items():
            self._values[name] = constant(name, _tensor(model, name, array))
        self.readers = Counter(name for node in model.graph.node for name in node.input)
        self.readers.update(entry.name for entry in model.graph.output)
        self.run(model.graph.node)
        self.outputs = [self._output(entry.name) for entry in model.graph.output]
        self._remove_dead()

    def run(self, nodes: Iterable[NodeProto], prefix: str = "") -> None:
        """Take nodes in their order."""
        for place, proto in enumerate(nodes):
            self._runs += 1
            name = prefix + (proto.name or f"{proto.op_type}_{place}")
            if self._runs > RUNS:
                raise GraphError(f"{self.model.name}: more than {RUNS:,} nodes to go through")
            self._check_known(proto, name)
            node = Node(self, proto, name)
            try:
                outputs = self._outcome(node)
            except GraphError:
                raise
            except Exception as error:  # torch and numpy raise many kinds for sizes that do not fit
                text = str(error).strip().splitlines()
                what = text[0] if text else type(error).__name__
                raise node.error(f"cannot be applied to {_told(node.inputs)}: {what}") from error
            for out, value in zip(proto.output, outputs, strict=False):
                if out:
                    self._values[out] = value
                if value.codes is not None:
                    self._coders[value] = node

    def value(self, node: Node, name: str) -> Value:
        """Return a value that was made before."""
        if name not in self._values:
            raise GraphError(
                f"{self.model.name}: node {shown(node.name)} ({node.kind}): reads {shown(name)}, "
                "which nothing before it makes"
            )
        return self._values[name]

    def known(self, name: str) -> Value:
        """Return a value by its name in the file."""
        return self._values[name]

    def stored(self, proto: TensorProto) -> Tensor:
        """Return a tensor that is stored in a node."""
        return _tensor(self.model, proto.name or "of a node", array_of(proto, self.path))

    def keep(self, proto: TensorProto) -> None:
        """Take a tensor that is stored in a graph inside of a node."""
        self._kinds[proto.name] = proto.data_type
        self._values[proto.name] = constant(proto.name, self.stored(proto))

    def kind_of(self, name: str) -> str:
        """Return the kind of number of a stored tensor as ONNX names it, or ''."""
        from onnx import TensorProto

        number = self._kinds.get(name)
        if number is not None:
            return str(TensorProto.DataType.Name(number))
        value = self._values.get(name)
        kinds = {torch.uint8: "UINT8", torch.int8: "INT8"}
        return kinds.get(value.meta.dtype, "") if value is not None else ""

    def alone(self, value: Value) -> bool:
        """Whether a single node reads a value."""
        return self.readers[value.name] <= 1

    def apply(self, node: Node, call: Call, name: str = "") -> list[Value]:
        """Run a call of constants, or note it for later; return its values."""
        values = tuple(self._rounded(node, one) for one in call.values)
        call = replace(call, values=values)
        metas = [None if one is None else one.meta for one in values]
        with torch.no_grad():
            shapes = _several(call.function(*metas))
        for one in shapes:
            if one.numel() > MOST:
                raise node.error(f"makes {list(one.shape)}, more than {MOST:,} values")
        names = list(node.proto.output)
        names += [f"{node.name}.{i}" for i in range(len(names), len(shapes))]
        names = [name] if name else names
        if all(one is None or one.const is not None for one in values):
            self._folded += sum(one.numel() for one in shapes)
            if self._folded > FOLDED:
                raise node.error(f"constants of more than {FOLDED:,} values would be computed")
            held = [None if one is None else one.const for one in values]
            with torch.no_grad():
                done = _several(call.function(*held))
            return [constant(out, one) for out, one in zip(names, done, strict=False)]
        made = tuple(Value(out, one) for out, one in zip(names, shapes, strict=False))
        step = Step(node.name, node.kind, call, made, node, tuple(node.inputs))
        self.steps.append(step)
        self.made_by |= dict.fromkeys(made, step)
        return list(made)

    def _rounded(self, node: Node, value: Value | None) -> Value | None:
        """Note the rounding of a value whose whole numbers themselves are read."""
        if value is None or value.const is not None or value.codes is None:
            return value
        if value not in self.made_by and value not in self._made:
            call = self._rounding(value.codes)
            self._made[value] = self.apply(node, call, f"{value.name}.codes")[0]
        return self._made.get(value, value)

    def _outcome(self, node: Node) -> list[Value]:
        for fuse in self.fusions.get(node.kind, ()):
            found = fuse(node)
            if found is not None:
                break
        else:
            found = self.operators[node.kind](node)
        if isinstance(found, Call):
            found = self.apply(node, found)
        more = [out for out in node.proto.output[len(found) :] if out and self.readers[out]]
        if more:
            raise node.error(f"its output {shown(more[0])} is read, which is not supported")
        return found

    def _check_known(self, proto: NodeProto, name: str) -> None:
        kind = str(proto.op_type)
        own = proto.domain in ("", "ai.onnx")
        if own and kind in self.operators:
            return
        whose = "" if own else f" of {shown(proto.domain)}"
        if not own and kind.startswith("Q"):
            whose += " (quantise with QuantizeLinear and DequantizeLinear instead: QuantFormat.QDQ)"
        raise GraphError(
            f"{self.model.name}: node {shown(name)}: the operator {shown(kind)}{whose} is not "
            f"supported{suggest(kind, sorted(self.operators))}"
        )

    def _output(self, name: str) -> Value:
        if name not in self._values:
            raise GraphError(f"{self.model.name}: no node makes its output {shown(name)}")
        value = self._values[name]
        if value.const is None and value in self._coders:
            found = self._rounded(self._coders[value], value)
            assert found is not None
            return found
        return value

    def _remove_dead(self) -> None:
        """Leave out the steps that no output needs."""
        needed = set(self.outputs)
        for step in reversed(self.steps):
            if needed.intersection(step.outputs):
                needed.update(one for one in step.call.values if one is not None)
        self.steps = [step for step in self.steps if needed.intersection(step.outputs)]


def constant(name: str, tensor: Tensor) -> Value:
    """Return a value that is known."""
    return Value(name, torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"), tensor)


def renamed(value: Value, name: str) -> Value:
    """Return a constant under another name."""
    return replace(value, name=name)


def torch_kind(dtype: torch.dtype) -> torch.dtype:
    """Return the kind in which a kind of numbers is computed."""
    if dtype in _NARROW:
        return torch.float32
    return torch.int64 if dtype in _WHOLE else dtype


def _tensor(model: Model, name: str, array: NDArray[np.generic]) -> Tensor:
    array = np.asarray(array, order="C")
    if array.dtype.name in ("bfloat16", "float16", "float64"):
        array = array.astype(np.float32)
    elif array.dtype.name == "uint4":
        array = array.astype(np.uint8)
    elif array.dtype.name == "int4":
        array = array.astype(np.int8)
    elif array.dtype.name in ("int16", "int32", "uint16", "uint32"):
        array = array.astype(np.int64)
    if array.dtype.name not in ("float32", "int64", "bool", "uint8", "int8"):
        raise GraphError(
            f"{model.name}: tensor {shown(name)} holds {array.dtype.name}, which is not supported"
        )
    return torch.from_numpy(array)


def _several(found: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


def _told(values: Iterable[Value | None]) -> str:
    shapes = [str(list(one.shape)) for one in values if one is not None]
    return " and ".join(shapes) if math.prod(map(len, shapes)) < 10**6 else "its inputs"
