"""What a network consists of, seen from its additions, and the network without a part of it.

A *layer* is a matrix with the operations that it alone feeds, point by point (its ReLU). A *branch*
is an operand of an addition or subtraction: a skip or a residual path, with everything that serves
it alone. Both are found from who reads whom, never from names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import networkx as nx

from cimsim.errors import InputError, suggest
from cimsim.graph.ir import (
    DigitalOp,
    InputOp,
    LayerGraph,
    MatrixOp,
    Op,
    Ref,
    rewire,
    with_constants,
)
from cimsim.graph.reference import apply_digital, apply_matrix

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Cut:
    """A value that is no longer computed for somebody.

    Attributes
    ----------
    value : str
        The node that computes it.
    reader : str or None
        The addition that does without; None: all readers, and the network's output.
    """

    value: str
    reader: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A layer or a branch: what can be taken away in one piece.

    Attributes
    ----------
    kind : {"layer", "branch", "together"}
        The last: several parts at once.
    name : str
        Of the matrix; of the addition's operand (with ``-> addition`` if several read it).
    cuts : tuple of Cut
        One, or one for each use of a matrix that a frame uses several times.
    """

    kind: Literal["layer", "branch", "together"]
    name: str
    cuts: tuple[Cut, ...]

    @property
    def label(self) -> str:
        """Kind and name: unique in a network."""
        return f"{self.kind} {self.name}"


def parts(graph: LayerGraph) -> tuple[Part, ...]:
    """Return all branches of a network, then all its layers, in execution order."""
    return (*branches(graph), *layers(graph))


def layers(graph: LayerGraph) -> tuple[Part, ...]:
    """Return one part for each programmed matrix, with all its uses."""
    uses: dict[str, list[MatrixOp]] = {}
    for op in graph.matrix_ops:
        uses.setdefault(op.weights_id or op.name, []).append(op)
    return tuple(
        Part("layer", ops[0].name, tuple(Cut(handed_on(graph, op.name)) for op in ops))
        for ops in uses.values()
    )


def branches(graph: LayerGraph) -> tuple[Part, ...]:
    """Return one part for each operand of an addition or subtraction.

    Where the same matrices serve operands of several additions in turn (a stage that a frame uses
    three times), these are one branch: the matrices go together or not at all.
    """
    candidates: list[tuple[frozenset[str], set[str], list[Cut]]] = []
    for op in graph:
        for value in operands(op) or ():
            cut = Cut(value, op.name)
            lost = gone(graph, [cut])
            matrices = [m for m in graph.matrix_ops if m.name in lost]
            key = frozenset(m.weights_id or m.name for m in matrices)
            for other, nodes, cuts in candidates:
                if key and key == other and not nodes & lost:
                    nodes |= lost
                    cuts.append(cut)
                    break
            else:
                candidates.append((key, set(lost), [cut]))
    readers = [cuts[0].value for _, _, cuts in candidates]
    return tuple(
        Part("branch", _name(cuts[0], readers.count(cuts[0].value) > 1), tuple(cuts))
        for _, _, cuts in candidates
    )


def find(graph: LayerGraph, names: Iterable[str]) -> tuple[Part, ...]:
    """Return the parts that are meant by names.

    Parameters
    ----------
    graph : LayerGraph
    names : iterable of str
        A part's name or label, or a module's: ``block1.up1`` means all parts inside of it.

    Raises
    ------
    InputError
        For a name that no part has, with those that there are.
    """
    known, chosen = parts(graph), dict[str, Part]()
    for name in names:
        meant = [p for p in known if name in (p.name, p.label) or p.name.startswith(f"{name}.")]
        if not meant:
            raise InputError(
                f"network '{graph.name}' has no layer or branch '{name}'"
                f"{suggest(name, dict.fromkeys(p.name for p in known))}"
            )
        chosen |= {part.label: part for part in meant}
    return tuple(part for part in known if part.label in chosen)


def operands(op: Op) -> tuple[str, str] | None:
    """Return the two values that an operation adds or subtracts, None for any other."""
    if not isinstance(op, DigitalOp) or op.op not in ("add", "sub"):
        return None
    names = [part.name for part in op.args[:2] if isinstance(part, Ref)]
    return (names[0], names[1]) if len(set(names)) == 2 else None


def handed_on(graph: LayerGraph, name: str) -> str:
    """Return the last of the point-by-point operations that a node alone feeds, or the node."""
    while len(readers := graph.consumers(name)) == 1 and name not in graph.outputs:
        op = graph[readers[0]]
        alone = isinstance(op, DigitalOp) and op.locality == "pointwise" and op.inputs == (name,)
        if not alone or op.output != graph[name].output:
            break
        name = op.name
    return name


def gone(graph: LayerGraph, cuts: Iterable[Cut]) -> frozenset[str]:
    """Return the nodes that need not run any more once ``cuts`` are made.

    Those from which no output is reached, and those that no input reaches: they are the same for
    every frame and can be worked out beforehand.
    """
    rest, outputs = nx.DiGraph(graph.nx), set(graph.outputs)
    for cut in cuts:
        readers = [cut.reader] if cut.reader is not None else graph.consumers(cut.value)
        rest.remove_edges_from((cut.value, reader) for reader in readers)
        if cut.reader is None:
            outputs.discard(cut.value)
    return _alive(graph.nx, graph, set(graph.outputs)) - _alive(rest, graph, outputs)


def inside(part: Part, lost: frozenset[str], others: frozenset[str]) -> bool:
    """Whether a part goes anyway when another one does.

    Parameters
    ----------
    part : Part
    lost : frozenset of str
        What goes with it, see `gone`.
    others : frozenset of str
        What goes with the other one.
    """
    return others >= lost.union(cut.reader or cut.value for cut in part.cuts)


def largest(gone_with: Mapping[Part, frozenset[str]]) -> tuple[Part, ...]:
    """Return the parts that are not inside of others, of equal ones the first.

    Parameters
    ----------
    gone_with : mapping of Part to frozenset of str
        What goes with each part, see `gone`.
    """
    kept: list[Part] = []
    for part in sorted(gone_with, key=lambda part: -len(gone_with[part])):
        if not any(inside(part, gone_with[part], gone_with[other]) for other in kept):
            kept.append(part)
    return tuple(part for part in gone_with if part in kept)


def changed(graph: LayerGraph, cuts: Iterable[Cut]) -> frozenset[str]:
    """Return the nodes whose value may be another once ``cuts`` are made."""
    reached: set[str] = set()
    for cut in cuts:
        start = cut.value if cut.reader is None else cut.reader
        reached |= {start} | nx.descendants(graph.nx, start)
    return frozenset(reached)


def without(graph: LayerGraph, replaced: Mapping[Cut, Tensor | None]) -> LayerGraph:
    """Return the network without what the cuts make needless.

    Parameters
    ----------
    graph : LayerGraph
    replaced : mapping of Cut to tensor or None
        What stands in place of each value, in its shape; None leaves an addition's operand out.

    Returns
    -------
    LayerGraph
        What is the same for every frame has become a constant of the operations that read it; an
        addition that lost an operand is gone. Inputs that nobody reads are gone, too.
    """
    import torch

    whole = {cut.value: value for cut, value in replaced.items() if cut.reader is None}
    constants: dict[str, Tensor] = {}
    same: dict[str, str] = {}  # additions that are now their other operand
    ops: list[Op] = []
    for op in graph:
        if op.name in whole:
            constants[op.name] = _tensor(whole[op.name], op)
            continue
        cut = {name: Cut(name, op.name) for name in op.inputs}
        held = {name: constants[name] for name in op.inputs if name in constants}
        left_out = [name for name, c in cut.items() if c in replaced and replaced[c] is None]
        held |= {
            name: _tensor(replaced[c], graph[name]) for name, c in cut.items() if c in replaced
        }
        if not held:
            ops.append(rewire(op, same))
        elif len(held) == len(op.inputs):
            with torch.no_grad():
                constants[op.name] = _apply(op, held)
        elif isinstance(op, DigitalOp):
            other = _other(graph, op, left_out)
            if other is not None:
                same[op.name] = same.get(other, other)
            else:
                ops.append(rewire(with_constants(op, held), same))
    outputs = [same.get(name, name) for name in graph.outputs]
    held_back = [name for name in outputs if name in constants]
    ops += [_constant(name, graph[name], constants[name]) for name in held_back]
    return pruned(graph.with_ops(ops, outputs))


def pruned(graph: LayerGraph) -> LayerGraph:
    """Return the network without nodes that no output needs."""
    needed = set(graph.outputs).union(*(nx.ancestors(graph.nx, name) for name in graph.outputs))
    return graph.with_ops(op for op in graph if op.name in needed)


def rest_of(graph: LayerGraph, nodes: frozenset[str]) -> LayerGraph:
    """Return the part of a network that computes ``nodes``; what they read has become inputs."""
    mine = [op for op in graph if op.name in nodes]
    read = dict.fromkeys(name for op in mine for name in op.inputs if name not in nodes)
    read |= dict.fromkeys(name for name in graph.outputs if name not in nodes)
    inputs = [InputOp(op.name, op.output) for op in graph if op.name in read]
    return graph.with_ops((*inputs, *mine))


def _name(cut: Cut, ambiguous: bool) -> str:
    return f"{cut.value} -> {cut.reader}" if ambiguous else cut.value


def _alive(edges: nx.DiGraph, graph: LayerGraph, outputs: set[str]) -> frozenset[str]:
    """Nodes on a way from an input to an output."""
    sources = [op.name for op in graph.inputs]
    reached = set(sources).union(*(nx.descendants(edges, name) for name in sources))
    needed = outputs.union(*(nx.ancestors(edges, name) for name in outputs))
    return frozenset(reached & needed)


def _tensor(value: Tensor | None, op: Op) -> Tensor:
    import torch

    dtype = getattr(torch, op.output.dtype)
    return torch.zeros(op.output.shape, dtype=dtype) if value is None else value.to(dtype)


def _apply(op: Op, values: Mapping[str, Tensor]) -> Tensor:
    return (
        apply_digital(op, values)
        if isinstance(op, DigitalOp)
        else apply_matrix(_matrix(op), values[op.inputs[0]])
    )


def _matrix(op: Op) -> MatrixOp:
    if not isinstance(op, MatrixOp):
        raise AssertionError(f"'{op.name}' has no inputs")
    return op


def _other(graph: LayerGraph, op: DigitalOp, left_out: list[str]) -> str | None:
    """Return the operand that an addition equals without the other one, if it does."""
    both = operands(op)
    if both is None or len(left_out) != 1 or left_out[0] not in both:
        return None
    stays = both[1 - both.index(left_out[0])]
    plain = op.op == "add" and not op.kwargs and len(op.args) == 2
    alike = graph[stays].output == op.output
    return stays if alike and (stays == both[0] or plain) else None


def _constant(name: str, op: Op, value: Tensor) -> DigitalOp:
    """Return an output that no longer depends on any input."""

    def constant(held: Tensor) -> Tensor:
        return held.clone()

    return DigitalOp(name, (), op.output, "constant", constant, (value,), ops_per_element=0.0)


def matrices(graph: LayerGraph, nodes: Iterable[str]) -> Iterator[str]:
    """Yield the names of the matrix operations among ``nodes``, in execution order."""
    chosen = set(nodes)
    return (op.name for op in graph.matrix_ops if op.name in chosen)
