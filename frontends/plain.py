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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.graph_signature import (
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, Node
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
    state_dict: dict[str, Any]
    constants: dict[str, Any]


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

    def enter(self, part: nn.Module, _: Any) -> None:
        """Note that a module is called."""
        path, kind = self.paths[id(part)], type(part)
        self.calls[path] += 1
        told = (path, f"{kind.__module__}.{kind.__qualname__}")
        self.stack.append((f"{path}@{self.calls[path]}", told))

    def leave(self, *_: Any) -> None:
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

    def _node(self, value: Any) -> Any:
        """Return an argument with nodes in the place of tensors."""
        if isinstance(value, list | tuple):
            return type(value)(self._node(part) for part in value)
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
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Note an operator and return a result without values."""
        if func is _aten.empty.memory_format:
            return func(*args, **(kwargs or {}))  # a batch norm's scratch, which nobody reads
        if kwargs:
            raise NotPlain
        if func is _aten.slice.Tensor and _is_whole(args):
            return args[0]  # as torch.export has it: nothing happens here
        target, noted, value = self._call(func, args)
        node = self.graph.call_function(target, self._node(noted))
        node.meta |= {
            "val": value, "nn_module_stack": dict(self.stack), "stack_trace": _told(_frames()),
        }  # fmt: skip
        self._keep(node, value)
        return (value, _blank((0,)), _blank((0,))) if func in _NORMS else value

    def _call(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], Tensor]:
        """Return the operator as `torch.export` notes it, its arguments, and a result."""
        if func is _aten.convolution.default and not args[6]:
            x, weight, bias, stride, padding, dilation, _, _, groups = args
            return _aten.conv2d.default, _without_defaults(
                (x, weight, bias, stride, padding, dilation, groups),
                (..., ..., None, [1, 1], [0, 0], [1, 1], 1),
            ), _convolved(*args)  # fmt: skip
        if func in _NORMS and not args[5] and args[3].shape[0] == args[0].shape[1]:
            enabled = torch.backends.cudnn.enabled
            return _aten.batch_norm.default, (*args, enabled), _blank(args[0].shape)
        if func is _aten.replication_pad2d.default and len(args[0].shape) == 4:
            x, pads = args
            return _aten.pad.default, (x, pads, "replicate"), _blank(_padded(x, *pads))
        shape = _SHAPES.get(func)
        if shape is None:
            raise NotPlain
        if func is _aten.relu_.default:
            return func, args, args[0]
        return func, args, _blank(shape(*args))

    def program(self, outputs: Any) -> Program:
        """Return what was recorded.

        Raises
        ------
        NotPlain
            The network returns something else than results of its own.
        """
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        nodes = tuple(self._node(value) for value in several)
        if not all(isinstance(node, Node) and node.op == "call_function" for node in nodes):
            raise NotPlain
        self.graph.output(nodes)
        told = [
            OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(name=node.name), None)
            for node in nodes
        ]
        users = tuple(s.arg.name for s in self.specs if s.kind is InputKind.USER_INPUT)
        signature = Signature(self.specs, told, users)
        return Program(Body(self.graph), signature, self.state, {})


def _blank(shape: Any) -> Tensor:
    return torch.empty(shape, device="meta")


_NORMS = (_aten.native_batch_norm.default, _aten._native_batch_norm_legit_no_training.default)


def _is_whole(args: tuple[Any, ...]) -> bool:
    """Whether a slice takes an axis as it is."""
    given: list[Any] = [*args, *(0, None, None, 1)[len(args) - 1 :]]
    x, dim, start, end, step = given
    return start in (None, 0) and (end is None or end >= x.shape[dim]) and step == 1


def _elementwise(a: Any, b: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(*(x.shape for x in (a, b) if isinstance(x, Tensor)))


def _joined(parts: Any, dim: int = 0) -> list[int]:
    dim %= len(parts[0].shape)
    shape = list(parts[0].shape)
    for part in parts:
        if [*part.shape[:dim], *part.shape[dim + 1 :]] != [*shape[:dim], *shape[dim + 1 :]]:
            raise NotPlain
    shape[dim] = sum(part.shape[dim] for part in parts)
    return shape


def _sliced(x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
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


def _padded(x: Tensor, left: int, right: int, top: int, bottom: int) -> tuple[int, ...]:
    return *x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right


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


# operators that are noted as they are -> the shape of what they return; torch's own shapes of most
# of them load its compiler, too
_SHAPES: dict[Any, Any] = {
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


def _without_defaults(args: tuple[Any, ...], defaults: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out the last arguments as long as they are the defaults."""
    n = len(args)
    while n and args[n - 1] == defaults[n - 1]:
        n -= 1
    return args[:n]


def _convolved(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, *rest: Any
) -> Tensor:
    """Return the shape of a convolution, as an empty tensor."""
    groups = int(rest[-1])
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
    return _blank((x.shape[0], weight.shape[0], *grid))


def _frames() -> Iterator[Any]:
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def _told(frames: Iterator[Any]) -> str:
    """Return the innermost line of the network's code as a traceback would have it."""
    for frame in frames:
        code = frame.f_code
        if code.co_name == "forward" and is_foreign_file(code.co_filename):
            return f'File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n    '
    return ""
