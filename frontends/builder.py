"""Collects the ops of a layer graph: unique names, constants, what digital calls reach and cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cimsim.frontends.aten import bind, describe, products, short_name
from cimsim.frontends.locality import Call
from cimsim.frontends.parameters import Parameters, WeightSets
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Op, Ref, TensorSpec
from cimsim.graph.verify import references

# which axis of a weight has the columns of its matrix, by how it is applied
_COLUMN_AXIS: dict[Hashable, int] = {"conv": 0, "linear": 0, "matmul": 1, "transposed": 1}


@dataclass(frozen=True)
class Pick:
    """One output of an operator that has several; runs the operator and returns that one.

    Attributes
    ----------
    target : callable
        The torch operator.
    index : int
    """

    target: Callable[..., tuple[Tensor, ...]]
    index: int

    def __call__(self, *args: object, **kwargs: object) -> Tensor:
        """Run the operator and return the chosen output."""
        return self.target(*args, **kwargs)[self.index]


class GraphBuilder:
    """Grows a `LayerGraph` op by op.

    Parameters
    ----------
    name : str
        Of the network.
    batch : int, optional
        Samples of one execution; default: the first axis of the first input.
    """

    def __init__(self, name: str, batch: int | None = None) -> None:
        self.name = name
        self._batch = batch
        self.parameters = Parameters()
        self._ops: dict[str, Op] = {}
        self._sets = WeightSets()

    @property
    def batch(self) -> int:
        """Traced batch size."""
        if self._batch is not None:
            return self._batch
        first = next((op for op in self._ops.values() if isinstance(op, InputOp)), None)
        return first.output.shape[0] if first is not None and len(first.output.shape) > 1 else 1

    def finish(self, outputs: list[str]) -> LayerGraph:
        """Return the graph."""
        return LayerGraph(self.name, self._ops.values(), outputs, self._batch)

    def unique(self, base: str) -> str:
        """Return ``base``, or ``base#2``, ``base#3`` if it is taken."""
        name, k = base, 2
        while name in self._ops:
            name, k = f"{base}#{k}", k + 1
        return name

    def spec(self, ref: Ref) -> TensorSpec:
        """Return shape and dtype of a graph value."""
        return self._ops[ref.name].output

    def made(self, ref: Ref) -> Op:
        """Return the node of a graph value."""
        return self._ops[ref.name]

    def input(self, name: str, spec: TensorSpec) -> Ref:
        """Add an input node."""
        return self.add(InputOp(self.unique(name), spec))

    def call(
        self,
        target: object,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        output: TensorSpec,
    ) -> Call:
        """Describe an operator call in terms of this graph."""
        names = dict.fromkeys((*references(args), *references(kwargs)))
        specs = tuple(self._ops[name].output for name in names)
        return Call(target, args, kwargs, bind(target, args, kwargs), specs, output)

    def digital(
        self, name: str, call: Call, source: str, pick: int | None = None, charged: bool = True
    ) -> Ref:
        """Add a digital node called ``name``.

        ``pick`` chooses one output of an operator that has several; one of them is ``charged``, the
        others come from the same run of the unit.
        """
        locality, window, cost = describe(call)
        if not charged:
            cost = 0.0 if cost is not None else None
        inputs = tuple(dict.fromkeys((*references(call.args), *references(call.kwargs))))
        return self.add(
            DigitalOp(
                name=self.unique(name),
                inputs=inputs,
                output=call.output,
                op=short_name(call.target),
                target=call.target if pick is None else Pick(call.target, pick),
                args=cast("tuple[object, ...]", self._own(call.args)),
                kwargs=cast("dict[str, object]", self._own(call.kwargs)),
                locality=locality,
                ops_per_element=cost,
                window=window,
                source=source,
                macs_per_element=products(call) if cost else 0.0,
            )
        )

    def matrix(
        self, op: MatrixOp, weight: Tensor, bias: Tensor | None, how: tuple[Hashable, ...] = ()
    ) -> Ref:
        """Add a matrix node; ``how`` tells apart different matrices made of the same parameters."""
        op = replace(op, weight_ends=self._ends(op, weight, how))
        key = (id(weight), None if bias is None else id(bias), op.weight.shape, how)
        known = self._sets.known(key)
        if known is not None:
            weights_id, (matrix, vector) = known
            op = replace(op, weight=matrix, bias=vector)
        else:
            label = self.parameters.label(weight).removesuffix(".weight")
            if bias is not None and self.parameters.label(bias) != f"{label}.bias":
                label = f"{label}+{self.parameters.label(bias)}"
            weights_id = self._sets.add(key, label, (op.weight, op.bias))
        return self.add(replace(op, weights_id=weights_id))

    def add(self, op: Op) -> Ref:
        """Add a node that is complete already."""
        self._ops[op.name] = op
        return Ref(op.name)

    def _ends(
        self, op: MatrixOp, weight: Tensor, how: tuple[Hashable, ...]
    ) -> NDArray[np.float64] | None:
        """Return the ends of the weight codes of each column, where the network has such."""
        found = self.parameters.ends(weight)
        if found is None:
            return None
        ends, axis = found
        if ends.size == 1:
            return np.full(op.n_cols, float(ends.reshape(-1)[0]))
        if not how or _COLUMN_AXIS.get(how[0]) != axis:
            return None
        channels = op.out_block[0]
        if channels % ends.size:
            return None
        return np.repeat(np.tile(ends, channels // ends.size), op.n_cols // channels)

    def _own(self, value: object) -> object:
        """Replace tensors in nested arguments by copies of their own."""
        if isinstance(value, Ref):
            return value
        if isinstance(value, list | tuple):
            return type(value)(self._own(item) for item in value)
        if isinstance(value, dict):
            return {key: self._own(item) for key, item in value.items()}
        return self.parameters.own(value) if isinstance(value, Tensor) else value
