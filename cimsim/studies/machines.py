"""What runs a network, or a part of it: float32 arithmetic, or a programmed chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cimsim.graph.ir import LayerGraph
from cimsim.tasks.contract import Tensors

if TYPE_CHECKING:
    from cimsim.engine.calibrated import CalibratedMapping

Sums = dict[str, float]


class Machine(Protocol):
    """Runs a network or a part of it."""

    def run(self, graph: LayerGraph, inputs: Tensors, number: int) -> tuple[Tensors, Sums]:
        """Run one sample.

        Parameters
        ----------
        graph : LayerGraph
            The network, or a part of it with the network's own matrix operations.
        inputs : tuple of torch.Tensor
            Those of ``graph``, in order.
        number : int
            Of the sample: read noise depends on it.

        Returns
        -------
        tuple of torch.Tensor
            Outputs of ``graph``.
        dict of str to float
            Matrix operation -> operand sum, see `cimsim.energy.model.energy`; empty where no
            arrays fire.
        """
        ...


class Float:
    """The float32 network."""

    def run(self, graph: LayerGraph, inputs: Tensors, number: int) -> tuple[Tensors, Sums]:
        """Run one sample; see `Machine.run`."""
        return graph.reference(*inputs), {}


@dataclass(frozen=True, eq=False)
class Programmed:
    """One programmed chip.

    Attributes
    ----------
    cells : CalibratedMapping
    seed : int
        Of the reads.
    threads : int or None
    """

    cells: CalibratedMapping
    seed: int
    threads: int | None

    def run(self, graph: LayerGraph, inputs: Tensors, number: int) -> tuple[Tensors, Sums]:
        """Run one sample; see `Machine.run`."""
        from cimsim.engine.execute import execute

        done = execute(self.cells, inputs, number, self.seed, self.threads, graph=graph)
        return done.outputs, {n: each.conductance_s for n, each in done.statistics.by_op.items()}
