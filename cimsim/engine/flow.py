"""What goes from operation to operation: values, or the codes that a matrix is driven with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from cimsim.graph.ir import DigitalOp, LayerGraph, MatrixOp, Ref


@dataclass(frozen=True, eq=False)
class Flow:
    """Which steps of a frame one pass does together.

    Attributes
    ----------
    joined : dict of str to str
        The ReLU that alone reads a matrix operation, by its name: one pass does both.
    feeds : dict of str to tuple of str
        Matrix operations whose input codes are written while a matrix operation's output is made.
    silent : frozenset of str
        Matrix operations whose output nobody reads but those that they feed.
    sums : frozenset of str
        Additions of two values that matrix operations alone read: their encoding adds.
    """

    joined: Mapping[str, str] = field(default_factory=dict)
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    sums: frozenset[str] = frozenset()

    @property
    def done(self) -> frozenset[str]:
        """Digital operations that matrix operations do."""
        return frozenset(self.joined.values())

    @classmethod
    def of(cls, graph: LayerGraph, windows: Mapping[str, int]) -> Flow:
        """Look at who reads whom.

        Parameters
        ----------
        graph : LayerGraph
        windows : mapping of str to int
            Windows that one activation of an operation answers.
        """
        readers: dict[str, list[str]] = defaultdict(list)
        for op in graph:
            for name in op.inputs:
                readers[name].append(op.name)
        uses = Counter({name: len(found) for name, found in readers.items()})
        uses.update(graph.outputs)
        joined = {
            op.inputs[0]: op.name
            for op in graph
            if isinstance(op, DigitalOp)
            and op.op == "relu"
            and isinstance(graph[op.inputs[0]], MatrixOp)
            and uses[op.inputs[0]] == 1
        }
        feeds, silent = {}, set()
        for op in graph.matrix_ops:
            value = joined.get(op.name, op.name)
            by_pixel = op.layout == "nchw" and op.out_block[1:] == (1, 1) and windows[op.name] == 1
            fed = [graph[name] for name in readers[value]]
            takers = [to for to in fed if isinstance(to, MatrixOp) and to.layout == "nchw"]
            if by_pixel and takers:
                feeds[op.name] = tuple(to.name for to in takers)
                if uses[value] == len(takers):
                    silent.add(op.name)
        sums = frozenset(
            op.name
            for op in graph
            if isinstance(op, DigitalOp)
            and added(op) is not None
            and uses[op.name] == len(readers[op.name])
            and all(isinstance(graph[name], MatrixOp) for name in readers[op.name])
        )
        return cls(joined, feeds, frozenset(silent), sums)


def added(op: DigitalOp) -> tuple[str, str] | None:
    """Return the two values that an operation adds, if that is all it does."""
    plain = op.op == "add" and not op.kwargs and len(op.args) == 2
    names = [part.name for part in op.args if isinstance(part, Ref)]
    return (names[0], names[1]) if plain and len(names) == 2 else None
