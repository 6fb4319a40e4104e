"""A chip that is ready to run: written arrays, input codes, converter ranges, corrections."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.adc import AdcRange
from cimsim.crossbar.encode import InputCode
from cimsim.engine.firing import Firing
from cimsim.engine.flow import Flow
from cimsim.engine.on_torch import current
from cimsim.engine.program import ProgrammedMapping
from cimsim.engine.windows import Places, Reads
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.kernels import floats
from cimsim.kernels.products import ARITHMETIC

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CalibratedOp:
    """What one operation takes from calibration.

    Attributes
    ----------
    code : InputCode
    ranges : tuple of AdcRange
        One for each array of its layer.
    gain : float64 [windows_per_activation * n_cols]
    offset : float64 [windows_per_activation * n_cols]
        Digital correction of an output column in weight LSB times input LSB: ``gain * acc +
        offset``; each copy of a column that answers another window has its own.
    windows : int
        Sampled windows behind these numbers; where one activation answers several, activations.
    effective_bits : float or None
        Mean over the arrays of `AdcRange.effective_bits`; None for ideal converters.
    """

    code: InputCode
    ranges: tuple[AdcRange, ...]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    windows: int
    effective_bits: float | None = None


@dataclass(frozen=True, eq=False)
class ReadyOp:
    """What every frame of an operation needs, worked out once.

    Attributes
    ----------
    op : MatrixOp
    calibrated : CalibratedOp
    places : Places
        Where activations read and write.
    firing : Firing
    digital : float64 [5, windows_per_activation * n_cols]
        As `cimsim.kernels.floats.rescale` takes it.
    folded : float32 [2, windows_per_activation * n_cols]
        As `cimsim.kernels.floats.rescale_folded` does.
    """

    op: MatrixOp
    calibrated: CalibratedOp
    places: Places
    firing: Firing
    digital: NDArray[np.float64]
    folded: NDArray[np.float32]

    @classmethod
    def of(cls, op: MatrixOp, programmed: ProgrammedMapping, found: CalibratedOp) -> ReadyOp:
        """Put together what calibration, mapping and chip say."""
        layer, code = programmed.layer_of(op.name), found.code
        mapping = programmed.mapping
        places = Places.of(op, mapping.layer_of[op.name].layout)
        firing = Firing.of(
            layer, Reads.of_places(places, code.lines), found.ranges, mapping.chip,
            programmed.device, code, mapping,
        )  # fmt: skip
        digital = np.zeros((5, layer.n_outputs))
        digital[0] = np.tile(code.zero_point * layer.column_sums, layer.windows)
        digital[1:3] = found.gain, found.offset
        digital[3] = np.tile(layer.scales * code.scale, layer.windows)
        if op.bias is not None:
            digital[4] = np.tile(op.bias, layer.windows)
        return cls(op, found, places, firing, digital, floats.fold(digital))


@dataclass(frozen=True, eq=False)
class CalibratedMapping:
    """A programmed mapping that is ready to run.

    Attributes
    ----------
    programmed : ProgrammedMapping
    ops : dict of str to CalibratedOp
        By operation name.
    """

    programmed: ProgrammedMapping
    ops: dict[str, CalibratedOp]

    @cached_property
    def ready(self) -> dict[str, ReadyOp]:
        """How each operation runs, by its name."""
        found = {
            op.name: ReadyOp.of(op, self.programmed, self.ops[op.name])
            for op in self.programmed.mapping.graph.matrix_ops
        }
        if log.isEnabledFor(logging.INFO):  # else nobody waits for paths before the first frame
            for name, ready in found.items():
                log.info("layer '%s': read %s", name, _told(ready.firing))
        return found

    @cached_property
    def flow(self) -> Flow:
        """Which steps of a frame one pass does together."""
        return self.flow_of(self.programmed.mapping.graph)

    def flow_of(self, graph: LayerGraph) -> Flow:
        """Which steps one pass does together in a part of the network."""
        windows = {name: ready.firing.layer.windows for name, ready in self.ready.items()}
        return Flow.of(graph, windows)


def _told(firing: Firing) -> str:
    """Say which arithmetic reads arrays, and why."""
    path, elsewhere = firing.path, current()
    if elsewhere is None:
        by = "" if path.way == "floats" else f" ({ARITHMETIC})"
        return f"by {path.way}{by}: {path.why}"
    against = elsewhere.why_not(firing)
    if against is None:
        return f"by torch on {elsewhere.name}: {path.why}"
    return f"by {path.way}, not on {elsewhere.name}: {against}"
