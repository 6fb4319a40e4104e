"""Exported programs of plain networks of the zoo, without the compiler that `torch.export` loads.

`torch.export` imports torch's compiler, which takes longer than everything else about a small
network. A network of the zoo's and torch's own layers that calls the operators below alone is
recorded in one run on tensors that have shapes and no values. What it calls is noted as
`torch.export` does, with the same operators, arguments, module paths and source lines; tests hold
the two together. Any other network is exported.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export.graph_signature import (
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, Node
from torch.fx.node import Argument
from torch.utils._python_dispatch import TorchDispatchMode

from cimsim.frontends.explain import is_foreign_file

_aten = torch.ops.aten
_ROOMS = ("torch.nn.modules.", "cimsim.zoo.")


class NotPlain(Exception):
    """The network calls something else; no error of the user's, it is exported."""


@dataclass(frozen=True)
class Signature:
    """What the inputs and outputs of a program are; see `torch.export.ExportGraphSignature`."""

    input_specs: list[InputSpec]
    output_specs: list[OutputSpec]
    user_inputs: tuple[str, ...]


@dataclass(frozen=True)
class Body:
    """Holds the graph of a program."""

    graph: Graph


@dataclass(frozen=True)
class Program:
    """The parts of a `torch.export.ExportedProgram` that the importer reads."""

    graph_module: Body
    graph_signature: Signature
    state_dict: dict[str, Tensor]
    constants: dict[str, Tensor]


# A call as `torch.export` notes it: operator, arguments, and a result without values.
Noted: TypeAlias = tuple[OpOverload, tuple[Argument, ...], Tensor]


def is_plain(model: nn.Module) -> bool:
    """Whether all parts of a network are the zoo's or torch's own, each of them in one place."""
    if not all(type(part).__module__.startswith(_ROOMS) for part in model.modules()):
        return False
    parts = [part for _, part in model.named_modules(remove_duplicate=False)]
    held = [value for value in _state(model).values() if value.numel()]
    places = {value.untyped_storage().data_ptr() for value in held}
    return len({id(part) for part in parts}) == len(parts) and len(places) == len(held)


def recorded(model: nn.Module, inputs: tuple[Tensor, ...]) -> Program | None:
    """Return the program of a plain network in eval mode, or None where it has to be exported.

    Parameters
    ----------
    model : torch.nn.Module
    inputs : tuple of torch.Tensor
        Of which shapes and dtypes count.
    """
    if not is_plain(model):
        return None
    recorder = _Recorder(model)
    hooks = [part.register_forward_pre_hook(recorder.enter) for part in model.modules()]
    hooks += [
        part.register_forward_hook(recorder.leave, always_call=True) for part in model.modules()
    ]
    try:
        given = recorder.inputs(model, inputs)
        with torch.no_grad(), recorder:
            found = model(*given)
        return recorder.program(found)
    except Exception:  # noqa: BLE001 - torch.export says in its own words what is wrong
        return None
    finally:
        for hook in hooks:
            hook.remove()


def _state(model: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    return state | dict(model.named_buffers())


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that a network calls."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would load its compiler to keep it out of here

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self.paths = {id(part): path for path, part in model.named_modules()}
        self.state = _state(model)
        self.names = {id(value): name for name, value in self.state.items()}
        self.nodes: dict[int, Node] = {}
        self.alive: list[Tensor] = []  # an address stands for one tensor as long as it lives
        self.specs: list[InputSpec] = []
        self.stack: list[tuple[str, tuple[str, str]]] = []
        self.calls: Counter[str] = Counter()

    # --- modules --------------------------------------------------------------------------------

    def enter(self, part: nn.Module, _: object) -> None:
        """Note that a module is called."""
        path, kind = self.paths[id(part)], type(part)
        self.calls[path] += 1
        told = (path, f"{kind.__module__}.{kind.__qualname__}")
        self.stack.append((f"{path}@{self.calls[path]}", told))

    def leave(self, *_: object) -> None:
        """Note that it is done."""
        self.stack.pop()

    # --- tensors --------------------------------------------------------------------------------

    def inputs(self, model: nn.Module, given: tuple[Tensor, ...]) -> list[Tensor]:
        """Return tensors without values in the place of the inputs."""
        import inspect

        names = list(inspect.signature(model.forward).parameters)
        if len(names) < len(given):
            raise NotPlain
        found = []
        for name, value in zip(names, given, strict=False):
            if value.dtype != torch.float32:
                raise NotPlain
            blank = _blank(value.shape)
            self._placeholder(name, blank, InputKind.USER_INPUT, None)
            found.append(blank)
        return found

    def _placeholder(self, name: str, value: Tensor, kind: InputKind, target: str | None) -> Node:
        node = self.graph.placeholder(name)
        node.meta["val"] = value
        self.specs.append(InputSpec(kind, TensorArgument(name=node.name), target, True))
        self._keep(node, value)
        return node

    def _keep(self, node: Node, value: Tensor) -> None:
        self.nodes[id(value)] = node
        self.alive.append(value)

    def _nodes(self, values: tuple[Argument, ...]) -> tuple[Argument, ...]:
        """Return arguments with nodes in the place of tensors."""
        return tuple(self._node(value) for value in values)

    def _node(self, value: Argument) -> Argument:
        if isinstance(value, list):
            return [self._node(part) for part in value]
        if isinstance(value, tuple):
            return self._nodes(value)
        if not isinstance(value, Tensor):
            return value
        if id(value) in self.nodes:
            return self.nodes[id(value)]
        name = self.names.get(id(value))
        if name is None:
            raise NotPlain  # made on the way, or a view of a parameter
        kind = InputKind.PARAMETER if isinstance(value, nn.Parameter) else InputKind.BUFFER
        place = f"p_{name}".replace(".", "_")
        before = next(iter(self.graph.nodes), None)
        with self.graph.inserting_before(before):
            return self._placeholder(place, value, kind, name)

    # --- operators ------------------------------------------------------------------------------

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[Argument, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Note an operator and return a result without values."""
        if func is _aten.empty.memory_format:
            return func(*args, **(kwargs or {}))  # a batch norm's scratch, which nobody reads
        if kwargs:
            raise NotPlain
        noted = _noted(func, args)
        if noted is None:
            return args[0]
        target, told, value = noted
        node = self.graph.call_function(target, self._nodes(told))
        node.meta |= {
            "val": value, "nn_module_stack": dict(self.stack), "stack_trace": _told(_frames()),
        }  # fmt: skip
        self._keep(node, value)
        return (value, _blank((0,)), _blank((0,))) if func in _NORMS else value

    def program(self, outputs: Argument) -> Program:
        """Return what was recorded.

        Raises
        ------
        NotPlain
            The network returns something else than results of its own.
        """
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        found = self._nodes(several)
        nodes = tuple(node for node in found if isinstance(node, Node))
        if nodes != found or not all(node.op == "call_function" for node in nodes):
            raise NotPlain
        self.graph.output(nodes)
        told = [
            OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(name=node.name), None)
            for node in nodes
        ]
        users = tuple(s.arg.name for s in self.specs if s.kind is InputKind.USER_INPUT)
        signature = Signature(self.specs, told, users)
        return Program(Body(self.graph), signature, self.state, {})


def _blank(shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, device="meta")


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    *rest: Argument,
) -> Noted:
    transposed, _, groups = rest
    if transposed or not isinstance(groups, int):
        raise NotPlain
    if len(weight.shape) != 4 or len(x.shape) != 4 or x.shape[1] != weight.shape[1] * groups:
        raise NotPlain
    grid = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(
            x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    if min(grid) < 1:
        raise NotPlain
    told = _without_defaults(
        (x, weight, bias, stride, padding, dilation, groups),
        (..., ..., None, [1, 1], [0, 0], [1, 1], 1),
    )
    return _aten.conv2d.default, told, _blank((x.shape[0], weight.shape[0], *grid))


def _without_defaults(
    args: tuple[Argument, ...], defaults: tuple[object, ...]
) -> tuple[Argument, ...]:
    """Leave out the last arguments as long as they are the defaults."""
    n = len(args)
    while n and args[n - 1] == defaults[n - 1]:
        n -= 1
    return args[:n]


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    *rest: Argument,
) -> Noted:
    training = rest[0]
    if training or mean.shape[0] != x.shape[1]:
        raise NotPlain
    told = (x, weight, bias, mean, var, *rest, torch.backends.cudnn.enabled)
    return _aten.batch_norm.default, told, _blank(x.shape)


def _replicated(x: Tensor, pads: list[int]) -> Noted:
    if len(x.shape) != 4:
        raise NotPlain
    left, right, top, bottom = pads
    shape = (*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    return _aten.pad.default, (x, pads, "replicate"), _blank(shape)


_NORMS = (_aten.native_batch_norm.default, _aten._native_batch_norm_legit_no_training.default)
# operators that `torch.export` notes as others
_OTHERWISE: dict[OpOverload, Callable[..., Noted]] = {
    _aten.convolution.default: _convolution,
    _aten.replication_pad2d.default: _replicated,
    **dict.fromkeys(_NORMS, _batch_norm),
}


def _elementwise(a: Tensor | float, b: Tensor | float) -> tuple[int, ...]:
    return np.broadcast_shapes(*(x.shape for x in (a, b) if isinstance(x, Tensor)))


def _joined(parts: list[Tensor], dim: int = 0) -> list[int]:
    dim %= len(parts[0].shape)
    shape = list(parts[0].shape)
    for part in parts:
        if [*part.shape[:dim], *part.shape[dim + 1 :]] != [*shape[:dim], *shape[dim + 1 :]]:
            raise NotPlain
    shape[dim] = sum(part.shape[dim] for part in parts)
    return shape


def _sliced(
    x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> list[int] | None:
    if start in (None, 0) and (end is None or end >= x.shape[dim]) and step == 1:
        return None  # the axis as it is: `torch.export` notes nothing
    shape = list(x.shape)  # as Python slices: torch's own start and end mean the same
    shape[dim] = len(range(shape[dim])[start:end:step])
    return shape


def _expanded(x: Tensor, sizes: list[int]) -> list[int]:
    if len(sizes) != len(x.shape):
        raise NotPlain
    shape = [n if wanted == -1 else wanted for n, wanted in zip(x.shape, sizes, strict=True)]
    if any(n != 1 and n != m for n, m in zip(x.shape, shape, strict=True)):
        raise NotPlain
    return shape


def _shuffled(x: Tensor, factor: int) -> tuple[int, ...]:
    batch, channels, height, width = x.shape
    if channels % factor**2:
        raise NotPlain
    return batch, channels // factor**2, height * factor, width * factor


def _unshuffled(x: Tensor, factor: int) -> tuple[int, ...]:
    batch, channels, height, width = x.shape
    if height % factor or width % factor:
        raise NotPlain
    return batch, channels * factor**2, height // factor, width // factor


# operators that are noted as they are -> the shape of what they return, None: their input; torch's
# own shapes of most of them load its compiler, too
_SHAPES: dict[OpOverload, Callable[..., Sequence[int] | None]] = {
    _aten.add.Tensor: _elementwise,
    _aten.sub.Tensor: _elementwise,
    _aten.mul.Tensor: _elementwise,
    _aten.cat.default: _joined,
    _aten.relu.default: lambda x: x.shape,
    _aten.relu_.default: lambda x: x.shape,
    _aten.slice.Tensor: _sliced,
    _aten.expand.default: _expanded,
    _aten.pixel_shuffle.default: _shuffled,
    _aten.pixel_unshuffle.default: _unshuffled,
}


def _noted(func: OpOverload, args: tuple[Argument, ...]) -> Noted | None:
    """Return a call as `torch.export` notes it; None where it gives its input as it is."""
    if func in _OTHERWISE:
        return _OTHERWISE[func](*args)
    if func not in _SHAPES:
        raise NotPlain
    shape = _SHAPES[func](*args)
    if shape is None:
        return None
    x = args[0]
    if func is _aten.relu_.default and isinstance(x, Tensor):
        return func, args, x
    return func, args, _blank(shape)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _told(frames: Iterator[FrameType]) -> str:
    """Return the innermost line of the network's code as a traceback would have it."""
    for frame in frames:
        code = frame.f_code
        if code.co_name == "forward" and is_foreign_file(code.co_filename):
            return f'File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n    '
    return ""
