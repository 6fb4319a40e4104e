"""torch.export programs turned into layer graphs.

`trace` exports a module and hands the program to `from_exported`, which walks it node by node:
constants are computed, calls in `cimsim.frontends.recipes.RECIPES` become matrices, everything else
becomes a digital op described by `cimsim.frontends.aten.TABLE`. The passes of
`cimsim.frontends.passes` then fold and fuse.
"""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from cimsim.boundary.memory import give_back
from cimsim.errors import GraphError
from cimsim.frontends import passes
from cimsim.frontends.aten import TABLE, packet, short_name
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.explain import explain_failure, module_path, packed_module, source_of
from cimsim.frontends.functional import is_functional, target_of
from cimsim.frontends.locality import Call
from cimsim.frontends.plain import Program, recorded
from cimsim.frontends.recipes import RECIPES, SELDOM
from cimsim.frontends.recurrent import RECURRENT
from cimsim.frontends.rounding import weight_ends
from cimsim.frontends.trainers import lowered
from cimsim.graph.ir import LayerGraph, Ref, TensorSpec
from cimsim.graph.verify import references, verify, verify_numbers

# What ``forward`` may be given: tensors, and anything of plain Python around and beside them.
Argument: TypeAlias = "Tensor | float | str | Sequence[Argument] | Mapping[str, Argument] | None"

_aten = torch.ops.aten
_log = logging.getLogger(__name__)

# Loggers of torch that tell of an error before it is raised.
_LOUD = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor", "torch.export")
# Operators that return their input: nothing happens in them that a layer graph knows of.
_ONE_AT_A_TIME = threading.RLock()  # torch.export keeps its modes in the process, not in a thread

_ALIASES = {
    "aten.clone",
    "aten.alias",
    "aten.detach",
    "aten.contiguous",
    "aten.lift_fresh_copy",
    "aten.lift_fresh",
    "aten.dropout",
    "aten.feature_dropout",
    "aten.alpha_dropout",
}
# Operators that insist on the strides of their input -> the same without.
_LAYOUT_FREE = {
    _aten.view.default: _aten.reshape.default,
    _aten._unsafe_view.default: _aten.reshape.default,
    # constants are dense here, see `Parameters`
    _aten._sparse_mm.default: _aten.mm.default,
}
# Operators whose parts check values, which no graph can hold: they stay whole.
_CHECKED = {
    f"aten.linalg_{name}"
    for name in ("lu_factor", "ldl_factor", "tensorinv", "tensorsolve", "matrix_power", "cond")
}
# Matrix operators whose recipes know real numbers alone; complex ones run digitally.
_REAL = {name for name in RECIPES if "conv" in name} | {"aten.bilinear"}
# Operators that use only the shape of their input.
_SHAPE_ONLY = {"aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.empty_like"} | {
    "aten.new_zeros",
    "aten.new_ones",
    "aten.new_full",
    "aten.new_empty",
}


def trace(
    model: nn.Module,
    example_inputs: tuple[Argument, ...],
    name: str | None = None,
    batch: int | None = None,
    kwargs: Mapping[str, Argument] | None = None,
) -> LayerGraph:
    """Turn a torch module into a layer graph.

    The module is exported in eval mode (its own mode is restored), for the shapes of the example
    inputs. What wraps a module without changing it (``torch.compile``, ``nn.DataParallel``) is
    taken off first.

    Parameters
    ----------
    model : torch.nn.Module
    example_inputs : tuple
        Positional arguments of ``forward``; the first axis of the first tensor is the batch, one
        frame as a rule. Of tensors values do not matter, shapes and dtypes do; each is an input of
        the graph, also those inside of dictionaries, lists and tuples, in the order in which they
        stand there. Anything else (numbers, flags, None) becomes part of the graph.
    name : str, optional
        Name of the graph; the module's class by default.
    batch : int, optional
        Samples in the example inputs. By default the first axis of the first input; where torch's
        own recurrent layers or attention read it with time first, as they do unless they are told
        ``batch_first``, the second one.
    kwargs : mapping of str, optional
        Arguments of ``forward`` by name; their tensors are inputs behind the positional ones.

    Raises
    ------
    GraphError
        The export failed (control flow that depends on values, wrong input shapes), or the program
        holds something that no layer graph can express. The message names module, source line and a
        way out.
    """
    model = _unwrapped(model)
    name = name or type(model).__name__
    named = dict(kwargs or {})
    leaves = _leaves(example_inputs, named, name)
    if isinstance(model, torch.jit.ScriptModule):
        raise GraphError(
            f"{name}: a TorchScript module, whose source is gone; give the module it was made "
            "from with its state_dict, or a program of torch.export.save (.pt2)"
        )
    packed = packed_module(model)
    if packed is not None:
        raise GraphError(
            f"{name}: {packed}, was quantised by torch.ao in a way that torch.export cannot write "
            "down; quantise it with PT2E (torchao.quantization.pt2e) and give the converted "
            "program (.pt2), or an ONNX file with QuantizeLinear and DequantizeLinear"
        )
    model = lowered(model)
    fixed: Any = getattr(model, "fixed_for", None)
    if fixed is not None:
        # a model file, whose operators depend on the shapes of its inputs
        model = fixed(leaves)
    ready: Any = getattr(model, "exported_program", None)
    takes: Any = getattr(model, "takes", None)
    if ready is not None and takes(leaves):
        return from_exported(ready, name, batch)
    with _ONE_AT_A_TIME:
        program = _exported(model, (example_inputs, named), name, ready)
    if batch is None:
        batch = _batch_of_attention(model, program)
    graph = from_exported(program, name, batch)
    del program
    give_back()
    return graph


def _unwrapped(model: nn.Module) -> nn.Module:
    """Take off wrappers that run the module inside as it is, only elsewhere or compiled."""
    while True:
        inside = getattr(model, "_orig_mod", None)
        if inside is None and isinstance(model, nn.DataParallel):
            inside = model.module
        if not isinstance(inside, nn.Module):
            return model
        model = inside


def _leaves(args: object, kwargs: Mapping[str, object], name: str) -> tuple[Tensor, ...]:
    """Return the tensors among nested arguments.

    Raises
    ------
    GraphError
        No tuple, no tensor among them, or something that a program cannot hold.
    """
    if not isinstance(args, tuple):
        raise GraphError(
            f"{name}: example_inputs must be a tuple, the arguments of forward(), got "
            f"{type(args).__name__}"
        )
    found = tree_leaves((args, kwargs))
    for one in found:
        if not isinstance(one, Tensor | int | float | str | None):
            raise GraphError(
                f"{name}: an argument of forward() is {type(one).__name__}; expected tensors, "
                "numbers, text, None, or dictionaries, lists and tuples of them"
            )
    tensors = tuple(one for one in found if isinstance(one, Tensor))
    if not tensors:
        raise GraphError(f"{name}: example_inputs hold no tensor")
    return tensors


def _exported(
    model: nn.Module,
    arguments: tuple[tuple[object, ...], Mapping[str, object]],
    name: str,
    ready: ExportedProgram | None,
) -> ExportedProgram | Program:
    example_inputs, kwargs = arguments
    leaves = _leaves(example_inputs, kwargs, name)
    flat = not kwargs and len(leaves) == len(example_inputs)
    modes = {module: module.training for module in model.modules()}
    if ready is None:
        model.eval()
    try:
        with torch.no_grad(), _quiet():
            program = recorded(model, leaves) if ready is None and flat else None
            if program is not None and is_functional(program.graph_module.graph, _KNOWN):
                return program
            # a program with open sizes is exported again for those of the inputs
            source = model if ready is None else ready.module()
            return torch.export.export(source, example_inputs, kwargs)
    except Exception as error:
        raise GraphError(explain_failure(model, name, error, leaves)) from error
    finally:
        for module, training in modes.items():
            module.training = training


def from_exported(
    program: ExportedProgram | Program, name: str, batch: int | None = None
) -> LayerGraph:
    """Turn an exported program, of `torch.export.export` or from a ``.pt2`` file, into a graph.

    Parameters
    ----------
    program : torch.export.ExportedProgram, or Program
        Exported in eval mode, or recorded by `cimsim.frontends.plain`.
    name : str
        Name of the graph.
    batch : int, optional
        See `trace`.
    """
    with torch.no_grad(), _quiet():
        known = is_functional(program.graph_module.graph, _KNOWN)
        if not known and isinstance(program, ExportedProgram):
            # in-place operators become functional ones, and what nobody knows is taken apart
            program = program.run_decompositions(_composites(program))
        graph = _Importer(program, name, batch).run()
    verify(graph)
    graph = passes.run_all(graph)
    verify_numbers(graph)
    return graph


def _composites(program: ExportedProgram) -> dict[OpOverload, Callable[..., object]]:
    """Return how unknown operators are taken apart that torch itself composes of others."""
    users = set(program.graph_signature.user_inputs)
    moving: set[Node] = set()
    unknown = set()
    for node in program.graph_module.graph.nodes:
        if node.name not in users and moving.isdisjoint(node.all_input_nodes):
            continue  # constants are computed, whatever calls them
        moving.add(node)
        target = node.target
        known = packet(target_of(node)) in _KNOWN
        if packet(target) in _CHECKED:
            continue
        if isinstance(target, torch._ops.OpOverload) and not known and target._can_decompose():
            unknown.add(target)
    table = torch.export.default_decompositions() if unknown else {}
    return {target: table[target] for target in unknown if target in table}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back torch's own deprecations, and the programs that it prints before it fails."""
    printed = io.StringIO()
    logs = [logging.getLogger(name) for name in _LOUD]
    levels = [log.level for log in logs]
    for log in logs:
        # what fails is said once, in the exception's own words
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(printed):
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            # a recurrent layer lists its own parameters; nothing of them changes
            warnings.filterwarnings("ignore", r"The tensor attributes? .* assigned during export")
            yield
    except Exception:
        _log.debug("torch printed before it failed:\n%s", printed.getvalue())
        raise
    else:
        sys.stderr.write(printed.getvalue())
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _is_complex(call: Call) -> bool:
    """Tell whether a call computes with complex numbers."""
    return any("complex" in spec.dtype for spec in (call.output, *call.inputs))


@dataclass(frozen=True)
class _Several:
    """The not yet chosen outputs of a call that returns a tuple."""

    node: Node
    args: tuple[object, ...]
    kwargs: Mapping[str, object]


class _Importer:
    """Walks the nodes of one exported program."""

    def __init__(self, program: ExportedProgram | Program, name: str, batch: int | None) -> None:
        self.program = program
        if batch is None:
            batch = _batch_of_series(program)
        self.build = GraphBuilder(name, batch)
        self.values: dict[Node, Any] = {}
        self.charged: set[Node] = set()
        nodes = program.graph_module.graph.nodes
        calls = [n for n in nodes if n.op == "call_function" and _is_call(n)]
        self.calls_of_module = Counter(_stack(n) for n in calls)
        self.matrices_of_module = Counter(
            _stack(n) for n in calls if packet(target_of(n)) in RECIPES
        )

    def run(self) -> LayerGraph:
        """Import all nodes."""
        steps: dict[str, Callable[[Node], None]] = {
            "placeholder": self._placeholder,
            "call_function": self._call,
            "get_attr": self._attribute,
        }
        nodes = list(self.program.graph_module.graph.nodes)
        for node in nodes[:-1]:
            steps[node.op](node)
        return self.build.finish(self._outputs(nodes[-1]))

    def _placeholder(self, node: Node) -> None:
        spec = next(s for s in self.program.graph_signature.input_specs if s.arg.name == node.name)
        if spec.kind is InputKind.USER_INPUT:
            value = node.meta.get("val")
            if isinstance(value, Tensor):
                self.values[node] = self.build.input(node.name, _spec(value))
            else:
                self.values[node] = value
            return
        if spec.kind is InputKind.TOKEN:
            raise self._error(
                node,
                "the network calls an operator with effects (a check of values, a print), which a "
                "layer graph cannot express; leave it out",
            )
        target = str(spec.target)
        tensor = self.program.state_dict.get(target)
        if tensor is None:
            tensor = self.program.constants.get(target)
        if not isinstance(tensor, Tensor):
            raise self._error(node, f"constant '{target}' is {type(tensor).__name__}, not a tensor")
        self.values[node] = self.build.parameters.parameter(target, tensor)

    def _attribute(self, node: Node) -> None:
        raise self._error(
            node,
            "the network holds a sub-program (torch.cond, while_loop, autocast ...), which a layer "
            "graph cannot express; write it without (torch.where) or trace its parts",
        )

    def _call(self, node: Node) -> None:
        if not node.users:
            return
        if _is_random(node):
            raise self._error(
                node,
                f"the network draws random numbers ({packet(target_of(node))}), so no two runs of "
                "it are the same; leave them out, or make them an input of the network",
            )
        args, kwargs = self._read(node.args), self._read(node.kwargs)
        name = packet(target_of(node))
        if node.target is operator.getitem and isinstance(args[0], _Several):
            self.values[node] = self._pick(args[0], int(args[1]), node)
        elif node.target is operator.getitem and isinstance(args[0], tuple):
            self.values[node] = args[0][int(args[1])]
        elif _is_alias(node, args):
            self.values[node] = args[0]
        elif not any(True for _ in references((args, tuple(kwargs.values())))):
            self.values[node] = self._constant(node, args, kwargs)
        elif name in _SHAPE_ONLY:
            blank = _blank(self.build.spec(args[0]))
            self.values[node] = self._constant(node, (blank, *args[1:]), kwargs)
        elif name in RECURRENT and (states := self._recurrent(node, args, kwargs)) is not None:
            self.values[node] = states
        elif isinstance(node.meta.get("val"), list | tuple):
            self.values[node] = _Several(node, args, kwargs)
        else:
            self.values[node] = self._single(node, args, kwargs)

    def _single(self, node: Node, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Ref:
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            raise self._error(node, "its result is no tensor but a number that depends on values")
        # a graph has values, no memory: a copy is none, so a view must not ask how memory lies
        target = _LAYOUT_FREE.get(target_of(node), target_of(node))
        if packet(target) == "aten.as_strided":
            self._check_dense(node)
        call = self.build.call(target, args, kwargs, self._output(node, value))
        name, source = self._name(node), source_of(node)
        recipe = RECIPES.get(packet(target)) or SELDOM.get(packet(target))
        if _is_complex(call) and packet(target) in _REAL:
            recipe = None
        result = recipe(self.build, call, name, source) if recipe is not None else None
        if result is None:
            return self.build.digital(name, call, source)
        if self.build.spec(result) != call.output:
            raise self._error(
                node,
                f"built {self.build.spec(result)}, but torch says {call.output}; "
                "please report this",
            )
        return result

    def _recurrent(
        self, node: Node, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Ref | tuple[Ref, ...] | None:
        """Lower a recurrent layer or cell to gates; the value, or values, that it returns."""
        target, meta = target_of(node), node.meta["val"]
        first = meta[0] if isinstance(meta, list | tuple) else meta
        call = self.build.call(target, args, kwargs, self._output(node, first))
        if any(not isinstance(n, int) for n in first.shape):
            return None
        found = RECURRENT[packet(target)](self.build, call, self._name(node), source_of(node))
        if found is None:
            return None
        return found if isinstance(meta, list | tuple) else found[0]

    def _check_dense(self, node: Node) -> None:
        """Refuse a read through strides of memory that does not lie in the order of its axes."""
        source = node.args[0]
        value = source.meta.get("val") if isinstance(source, Node) else None
        if not isinstance(value, Tensor) or not value.is_contiguous() or value.storage_offset():
            raise self._error(
                node,
                "it reads memory by strides, and its input does not lie in the order of its axes; "
                "call .contiguous() before, or write it with slices and reshape",
            )

    def _pick(self, several: _Several, index: int, node: Node) -> Ref:
        """Import ``several[index]`` as a call with one output."""
        origin, output = several.node, self._output(node, node.meta["val"])
        name, source = self._name(origin), source_of(origin)
        call = self.build.call(target_of(origin), several.args, several.kwargs, output)
        part = _PARTS.get(packet(target_of(origin)))
        single = part(call, index, origin.meta["val"]) if part is not None else None
        if single is None:
            # whichever output is read first: nobody may read the first one (topk for its places)
            charged = origin not in self.charged
            self.charged.add(origin)
            return self.build.digital(name, call, source, pick=index, charged=charged)
        target, args = single
        return self.build.digital(name, self.build.call(target, args, {}, output), source)

    def _constant(
        self, node: Node, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Compute a call that reads no input of the network."""
        # a constant may lie otherwise in memory than the one that torch saw
        target = _LAYOUT_FREE.get(target_of(node), target_of(node))
        if not callable(target):
            raise self._error(node, "is no operator")
        try:
            result = target(*args, **kwargs)
        except Exception as error:
            raise self._error(node, f"computing a constant failed: {error}") from error
        if isinstance(result, Tensor):
            made = self.build.parameters.computed(self._name(node), result)
            if (found := weight_ends(packet(target), args)) is not None:
                self.build.parameters.coded(made, *found)
            return made
        return result

    def _output(self, node: Node, value: Tensor) -> TensorSpec:
        if all(isinstance(n, int) for n in value.shape):
            return _spec(value)
        raise self._error(node, "its shape depends on values (a mask, nonzero, unique ...)")

    def _outputs(self, node: Node) -> list[str]:
        names = []
        items: Any = node.args[0]
        for spec, item in zip(self.program.graph_signature.output_specs, items, strict=True):
            if spec.kind is OutputKind.BUFFER_MUTATION:
                raise GraphError(
                    f"{self.build.name}: forward() writes the buffer '{spec.target}'; a layer "
                    "graph has no state, return the new value or leave the buffer as it is"
                )
            if spec.kind is not OutputKind.USER_OUTPUT or item is None:
                continue
            value = self._read(item)
            if isinstance(value, Tensor):
                call = self.build.call(_aten.clone.default, (value,), {}, _spec(value))
                value = self.build.digital("constant", call, "")
            if not isinstance(value, Ref):
                raise GraphError(f"{self.build.name}: output {value!r} is no tensor")
            names.append(value.name)
        return names

    def _read(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self.values[value]
        if isinstance(value, list | tuple):
            return type(value)(self._read(item) for item in value)
        if isinstance(value, dict):
            return {key: self._read(item) for key, item in value.items()}
        return value

    def _name(self, node: Node) -> str:
        """Return the path of a torch layer with one call (or one matrix); else path.operator."""
        path, is_layer = module_path(node)
        stack = _stack(node)
        alone = self.calls_of_module[stack] == 1 or (
            packet(target_of(node)) in RECIPES and self.matrices_of_module[stack] == 1
        )
        if path and is_layer and alone:
            return path
        return f"{path}.{short_name(target_of(node))}".lstrip(".")

    def _error(self, node: Node, problem: str) -> GraphError:
        return GraphError(
            f"{self.build.name}: cannot import '{packet(node.target)}' [{source_of(node)}]: "
            f"{problem}"
        )


# An operator and its arguments.
_Part: TypeAlias = tuple[OpOverload, tuple[object, ...]]


def _split_part(call: Call, index: int, outputs: Sequence[Tensor]) -> _Part:
    dim = call.named["dim"]
    start = sum(int(t.shape[dim]) for t in outputs[:index])
    stop = start + int(outputs[index].shape[dim])
    return _aten.slice.Tensor, (call.args[0], dim, start, stop)


def _unbind_part(call: Call, index: int, outputs: Sequence[Tensor]) -> _Part:
    return _aten.select.int, (call.args[0], call.named["dim"], index)


def _batch_norm_part(call: Call, index: int, outputs: Sequence[Tensor]) -> _Part | None:
    n = call.named
    if index:
        return None
    stats = (n["running_mean"], n["running_var"])
    arguments = (
        call.args[0],
        n["weight"],
        n["bias"],
        *stats,
        False,
        n["momentum"],
        n["eps"],
        False,
    )
    return _aten.batch_norm.default, arguments


# Calls with several outputs, each of which is a simple call of its own.
_PARTS: dict[str, Callable[[Call, int, Sequence[Tensor]], _Part | None]] = {
    "aten.split": _split_part,
    "aten.split_with_sizes": _split_part,
    "aten.chunk": _split_part,
    "aten.tensor_split": _split_part,
    "aten.unbind": _unbind_part,
    "aten._native_batch_norm_legit_no_training": _batch_norm_part,
}

_KNOWN = frozenset({*TABLE, *RECIPES, *RECURRENT, *_ALIASES, *_SHAPE_ONLY, *_PARTS, "getitem"})


def _batch_of_series(program: ExportedProgram | Program) -> int | None:
    """Return the batch where a recurrent layer reads time first, [T, B, F] or [T, F].

    The first input of the network must have these very axes in front, as it has where the layer
    reads it, or reads what was computed from it step by step.
    """
    first = _first_input(program)
    if first is None:
        return None
    for node in program.graph_module.graph.nodes:
        name = packet(node.target)
        if node.op != "call_function" or name not in RECURRENT or "cell" in name:
            continue
        shape = tuple(node.args[0].meta["val"].shape)
        if node.args[-1] or len(shape) != 3:
            continue  # batch first, or packed
        found = _samples(first, shape)
        if found is not None:
            return found
    return None


def _batch_of_attention(model: nn.Module, program: ExportedProgram | Program) -> int | None:
    """Return the batch where torch's own attention reads time first, as `_batch_of_series` does.

    A program does not tell which axis is which, so the module is asked; an input without a batch,
    [T, F], gets one inside of the module whatever it says.
    """
    layers = {path: part.batch_first for path, part in model.named_modules()
              if isinstance(part, nn.MultiheadAttention)}  # fmt: skip
    first = _first_input(program)
    if not layers or first is None:
        return None
    seen = set()
    for node in program.graph_module.graph.nodes:
        path = module_path(node)[0] if node.op == "call_function" else None
        if path not in layers or path in seen or not isinstance(node.args[0], Node):
            continue
        seen.add(path)  # its first call reads the query
        shape = tuple(node.args[0].meta["val"].shape)
        if len(shape) == 2:
            shape = (shape[0], 1, shape[1])
        elif layers[path]:
            continue
        found = _samples(first, shape)
        if found is not None:
            return found
    return None


def _samples(first: Tensor, shape: tuple[int, ...]) -> int | None:
    """Return B where a layer reads [T, B, F] and the network's first input has these very axes.

    That is [T, B, ...], or [T, B] of whole numbers that were looked up, or [T, ...] where torch
    added a batch of one.
    """
    given = tuple(first.shape)
    if given[:2] == shape[:2] and (len(given) == 3 or not first.is_floating_point()):
        return int(shape[1])
    if len(given) == 2 and shape[:2] == (given[0], 1):
        return 1
    return None


def _first_input(program: ExportedProgram | Program) -> Tensor | None:
    users = set(program.graph_signature.user_inputs)
    nodes = program.graph_module.graph.nodes
    first = next((n for n in nodes if n.op == "placeholder" and n.name in users), None)
    value = None if first is None else first.meta.get("val")
    return value if isinstance(value, Tensor) else None


def _spec(value: Tensor) -> TensorSpec:
    return TensorSpec(tuple(int(n) for n in value.shape), str(value.dtype).removeprefix("torch."))


def _blank(spec: TensorSpec) -> Tensor:
    return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype))


def _stack(node: Node) -> tuple[str, ...]:
    """Return the keys of the module calls around ``node``, one of their own for each call."""
    return tuple(node.meta.get("nn_module_stack") or ())


def _is_call(node: Node) -> bool:
    aliases = node.target is operator.getitem or packet(node.target) in _ALIASES
    return bool(node.users) and not aliases


def _is_alias(node: Node, args: tuple[object, ...]) -> bool:
    name, value = packet(node.target), node.meta.get("val")
    if not args or not isinstance(value, Tensor):
        return False
    if name.endswith("dropout"):
        return name in _ALIASES and not args[2]
    if name in ("aten._to_copy", "aten.to", "aten.expand", "aten.view", "aten.reshape"):
        source = node.args[0]
        before = source.meta.get("val") if isinstance(source, Node) else None
        return isinstance(before, Tensor) and _spec(before) == _spec(value)
    return name in _ALIASES


def _is_random(node: Node) -> bool:
    """Tell whether an operator draws; dropout and what holds it do not outside of training."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    given = {}
    for place, argument in enumerate(target_of(node)._schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        positional = node.args[place] if place < len(node.args) else default
        given[argument.name] = node.kwargs.get(argument.name, positional)
    if given.get("dropout_p") == 0 or (given.get("p") == 0 and "train" in given):
        return False
    return not any(given.get(name, True) is False for name in ("train", "training"))
