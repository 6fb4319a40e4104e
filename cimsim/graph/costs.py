"""What digital operations cost on a chip that says so itself: ``vector.costs``, by operation.

A graph comes with the costs that its frontend knows; those of a chip stand above them, and cover
operations that the frontend has no cost for.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from difflib import get_close_matches
from typing import cast

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import built, class_of
from cimsim.boundary.own import ask, number
from cimsim.chip.load import OP_COSTS
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError
from cimsim.graph.ir import DigitalOp, LayerGraph, TensorSpec


class AbstractOpCost(ABC):
    """What a digital operation costs on the vector unit of a chip.

    A chip names it for an operation: ``vector: {costs: {erf: "mypkg.costs:Erf"}}``.
    """

    @abstractmethod
    def operations(self, op: DigitalOp, inputs: tuple[TensorSpec, ...]) -> float:
        """Return the operations of the vector unit for one value of the output.

        Parameters
        ----------
        op : DigitalOp
            ``op.op`` is its name, ``op.args`` its arguments, ``op.output`` shape and type.
        inputs : tuple of TensorSpec
            Shapes and types of ``op.inputs``.

        Returns
        -------
        float
            Finite, >= 0; 0 for what a chip does in passing.
        """


def costed(graph: LayerGraph, chip: Chip) -> LayerGraph:
    """Return a graph with the costs of a chip in place of the frontend's; itself where it has none.

    Raises
    ------
    ConfigError
        A cost that cannot be had, is negative or not finite, is one of an operation that only moves
        values, or less than the products that the operation consists of.
    """
    costs = chip.vector.costs
    if not costs:
        return graph
    given = {name: _cost(name, value) for name, value in costs.items()}
    return graph.with_ops(
        _with_cost(op, given[op.op], graph)
        if isinstance(op, DigitalOp) and op.op in given else op
        for op in graph
    )  # fmt: skip


def misspelt(graph: LayerGraph, chip: Chip) -> list[tuple[str, str]]:
    """Return costs of operations that the network does not have, with one of nearly that name."""
    there = sorted({op.op for op in graph.digital_ops})
    near = {name: get_close_matches(name, there, 1, 0.8) for name in chip.vector.costs}
    return [(name, others[0]) for name, others in near.items() if others and name not in there]


def _cost(name: str, value: float | str) -> float | AbstractOpCost:
    place = f"vector.costs.{name}"
    if not isinstance(value, str):
        return _checked(value, place)
    kind = class_of(value, {}, AbstractOpCost, OP_COSTS, place, ConfigError)
    return built(kind, value, place, ConfigError)


def _with_cost(op: DigitalOp, cost: float | AbstractOpCost, graph: LayerGraph) -> DigitalOp:
    place = f"vector.costs.{op.op}"
    if op.locality == "view":
        raise ConfigError(
            f"{place}: '{op.name}' only gives values other places, which are charged where they "
            "are stored and read; leave it out"
        )
    if isinstance(cost, AbstractOpCost):
        inputs = tuple(graph[name].output for name in op.inputs)
        given = ask(cost, "operations", op, inputs, place=place, rule=number())
        cost = float(cast(float, given))
    if cost < 2 * op.macs_per_element:
        raise ConfigError(
            f"{place}: '{op.name}' has {op.macs_per_element:g} products for each value, two "
            f"operations each; expected at least {2 * op.macs_per_element:g}, got {cost:g}"
        )
    return replace(op, ops_per_element=cost)


def _checked(value: float, place: str) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(
            f"{place}: expected operations for one value, finite and >= 0, or "
            f"package.module:Class, got {shown(value)}"
        )
    return value
