"""Which channels can only be removed together, read off a network's layer graph.

A channel is a set of columns of the matrix that writes it and a set of rows of every matrix that
reads it. Additions, concatenations, grouped convolutions and shared matrices tie channels to each
other; what is tied is one `ChannelSet`. Each map carries a label per channel through the graph, and
labels that meet are joined (union-find). A convolution with a pixel shuffle behind it is one matrix
here whose channel has several columns, so shuffles need no rule. What is not understood ties its
channels to the frame, which cannot be cut: nothing is ever removed wrongly, only kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from networkx.utils import UnionFind
from numpy.typing import NDArray

from cimsim.graph.ir import DigitalOp, LayerGraph, MatrixOp, Op, TensorSpec
from cimsim.mapping.mapping import matrix_name

Labels = list[int]
FIXED = -1  # the label of what must stay

# channel c of the result depends on channel c of each argument alone, and zeros stay zeros where
# the readers' rows are gone anyway
_CHANNELWISE = frozenset(
    {
        *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "sigmoid", "tanh"),
        *("hardtanh", "hardswish", "hardsigmoid", "softplus", "clamp", "abs", "exp", "sqrt"),
        *("add", "sub", "rsub", "mul", "div", "neg", "pow", "square"),
        *("clone", "contiguous", "dropout", "alias", "detach"),
        *("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"),
        *("upsample_nearest2d", "upsample_bilinear2d"),
    }
)


@dataclass(frozen=True, slots=True)
class ChannelSet:
    """Channels that can only go together (*coupled channels*).

    Attributes
    ----------
    outputs, inputs : tuple of (str, int)
        Matrix and its output channel, matrix and its input channel.
    """

    outputs: tuple[tuple[str, int], ...]
    inputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Sets that may stand for each other: they take as much of the same matrices.

    Attributes
    ----------
    name : str
        The matrices that write its channels; unique.
    sets : tuple of int
        Numbers of its sets in `Channels.sets`.
    """

    name: str
    sets: tuple[int, ...]


class Channels:
    """The channels of every map of a network, and what must be removed together.

    Parameters
    ----------
    graph : LayerGraph
    prunable : callable, optional
        Tells of a `MatrixOp` whether its rows and columns may be cut; by default of all.

    Attributes
    ----------
    sets : tuple of ChannelSet
        All that can be removed, in the order of the graph.
    groups : tuple of Group
        The same, sorted by what they take.
    """

    def __init__(
        self, graph: LayerGraph, prunable: Callable[[MatrixOp], bool] = lambda op: True
    ) -> None:
        self.graph, self._prunable = graph, prunable
        self._joined: UnionFind = UnionFind([FIXED])
        self._maps: dict[str, Labels] = {}
        self._outputs: dict[int, tuple[str, int]] = {}  # label -> what writes it
        self._starts: dict[str, int] = {}  # matrix -> label of its first channel
        self._readers: list[tuple[str, int, int]] = []  # matrix, input channel, label
        for op in graph:
            self._maps[op.name] = self._follow(op)
        for name in graph.outputs:
            self._fix(self._maps[name])
        self.sets, self._set_of = self._found()
        self.groups = tuple(self._grouped())

    def width(self, map_name: str, kept: NDArray[np.bool_]) -> int:
        """Return the channels that a map has left.

        Parameters
        ----------
        map_name : str
            Of the operation that makes it.
        kept : bool [n_sets]
        """
        own = self._sets_in(map_name)
        return int(np.count_nonzero(own < 0) + np.count_nonzero(kept[own[own >= 0]]))

    def narrowed(self, kept: NDArray[np.bool_]) -> LayerGraph:
        """Return the graph with shapes as if the other sets were gone: to map, not to run.

        Parameters
        ----------
        kept : bool [n_sets]
        """
        return self.graph.with_ops(self._narrow(op, kept) for op in self.graph)

    def _narrow(self, op: Op, kept: NDArray[np.bool_]) -> Op:
        spec = _with_channels(op.output, self.width(op.name, kept))
        if not isinstance(op, MatrixOp):
            return replace(op, output=spec)
        taken = _with_channels(op.input, self.width(op.inputs[0], kept))
        kernel = op.group_rows * op.groups // _channels(op.input)
        block = (_channels(spec), *op.out_block[1:])
        shape = (
            op.groups, kernel * _channels(taken) // op.groups, int(np.prod(block)) // op.groups,
        )  # fmt: skip
        # counts look at shapes alone: no memory for the values
        weight = np.broadcast_to(np.float32(0), shape)
        return replace(
            op,
            input=taken,
            output=spec,
            weight=weight,
            bias=None,
            out_block=block,
            weight_ends=None,
        )

    def _sets_in(self, map_name: str) -> NDArray[np.int64]:
        return self._set_of[map_name]

    def _new(self, matrix: str, channels: int) -> Labels:
        """Return labels of a matrix's outputs; the same ones for each of its uses."""
        if matrix not in self._starts:
            first = self._starts[matrix] = len(self._outputs)
            self._outputs |= {first + c: (matrix, c) for c in range(channels)}
        return list(range(self._starts[matrix], self._starts[matrix] + channels))

    def _fix(self, labels: Sequence[int]) -> None:
        self._joined.union(FIXED, *labels)

    def _join(self, *rows: Labels) -> Labels:
        for together in zip(*rows, strict=True):
            self._joined.union(*together)
        return rows[0]

    def _follow(self, op: Op) -> Labels:
        """Return the labels of what an operation makes."""
        if isinstance(op, MatrixOp):
            return self._matrix(op)
        sources = [self._maps[name] for name in op.inputs]
        made = self._digital(op, sources) if isinstance(op, DigitalOp) else None
        if made is None or len(made) != _channels(op.output):
            for labels in sources:
                self._fix(labels)
            return [FIXED] * _channels(op.output)
        return made

    def _matrix(self, op: MatrixOp) -> Labels:
        matrix, source = matrix_name(op), self._maps[op.inputs[0]]
        labels = self._new(matrix, _channels(op.output))
        readers = [(matrix, c, label) for c, label in enumerate(source)]
        known = {(m, c): label for m, c, label in self._readers}
        for m, c, label in readers:  # a shared matrix has one set of rows for all its inputs
            self._joined.union(label, known.get((m, c), label))
        self._readers += readers
        last = op.layout == "last" and len(op.input.shape) == 4  # features are not on axis 1
        if last or not self._prunable(op):
            self._fix(source)
            self._fix(labels)
        for whole in (source, labels) if op.groups > 1 else ():  # groups stay of one size
            size = len(whole) // op.groups
            self._join(*(whole[g * size : (g + 1) * size] for g in range(op.groups)))
        return labels

    def _digital(self, op: DigitalOp, sources: list[Labels]) -> Labels | None:
        """Return the labels of a result whose channels are understood, else None."""
        if op.op == "cat":
            parts, axis = op.args[0], op.args[1] if len(op.args) > 1 else 0
            assert isinstance(parts, list | tuple)
            return [x for part in parts for x in self._maps[part.name]] if axis == 1 else None
        if op.op == "slice":  # a program's slice has its numbers written in it
            axis = op.args[1] if len(op.args) > 1 else 0
            return None if axis == 1 else sources[0]
        constants = any(hasattr(value, "numel") and value.numel() > 1 for value in op.args)
        widths = {len(labels) for labels in sources}
        if op.op.rstrip("_") not in _CHANNELWISE or constants or len(widths) != 1:
            return None
        return self._join(*sources)

    def _found(self) -> tuple[tuple[ChannelSet, ...], dict[str, NDArray[np.int64]]]:
        """Return all sets, and for each map the set of each channel (-1: fixed)."""
        outputs: dict[int, list[tuple[str, int]]] = defaultdict(list)
        inputs: dict[int, dict[tuple[str, int], None]] = defaultdict(dict)
        for label, writer in self._outputs.items():
            outputs[self._joined[label]].append(writer)
        for matrix, channel, label in self._readers:
            inputs[self._joined[label]][matrix, channel] = None
        fixed = self._joined[FIXED]
        number: dict[int, int] = {}
        sets: list[ChannelSet] = []
        for root, writers in outputs.items():
            if root != fixed:
                number[root] = len(sets)
                sets.append(ChannelSet(tuple(writers), tuple(inputs[root])))
        maps = {
            name: np.array([number.get(self._joined[x], -1) for x in labels], np.int64)
            for name, labels in self._maps.items()
        }
        return tuple(sets), maps

    def _grouped(self) -> Iterator[Group]:
        channels: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = defaultdict(list)
        for number, each in enumerate(self.sets):
            key = tuple(m for m, _ in each.outputs), tuple(sorted(m for m, _ in each.inputs))
            channels[key].append(number)
        used: Counter[str] = Counter()
        for (writers, _), members in channels.items():
            name = " + ".join(dict.fromkeys(writers))
            used[name] += 1  # a matrix may have channels that are read by others than the rest
            yield Group(name if used[name] == 1 else f"{name} #{used[name]}", tuple(members))


def _channels(spec: TensorSpec) -> int:
    """Return the channels of a map [B, C, H, W], or the features of [B, ..., F]."""
    return spec.shape[1] if len(spec.shape) == 4 else spec.shape[-1]


def _with_channels(spec: TensorSpec, channels: int) -> TensorSpec:
    shape = list(spec.shape)
    shape[1 if len(shape) == 4 else -1] = channels
    return replace(spec, shape=tuple(shape))
