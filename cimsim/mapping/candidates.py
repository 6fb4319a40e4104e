"""What every built-in way to map one layer would cost, counted without building its layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cimsim.chip.spec import Chip
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.strategies import Im2col, Omm, Sdk, Smd, Tally, Vwsdk, array_size
from cimsim.mapping.strategies.choice import single
from cimsim.mapping.strategies.vwsdk import rectangles

Parameters = dict[str, int | tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to map a layer, in the counts of `cimsim.mapping.layout.Counts`.

    Attributes
    ----------
    strategy : str
        Name that `cimsim.mapping.strategies.strategy` takes, with its parameter: ``vwsdk:4x2``.
    parameters : dict
        ``windows_per_activation`` and, for a rectangle, ``window_shape``.
    arrays : int
        Arrays of one replica.
    activations : int
        Array activations of a frame: arrays times how often they fire.
    conversions, dac_conversions : int
        Columns digitised and rows driven in a frame, over all pulses.
    utilisation : float
        Share of the cells of the arrays that hold a weight.
    """

    strategy: str
    parameters: Parameters
    arrays: int
    activations: int
    conversions: int
    dac_conversions: int
    utilisation: float

    @property
    def firings(self) -> int:
        """How often the arrays fire together in a frame: what a replica's time goes with."""
        return self.activations // self.arrays


def candidates(op: MatrixOp, chip: Chip) -> Iterator[Candidate]:
    """Yield every layout that a built-in strategy can give a layer.

    im2col; all numbers of copies (smd); all numbers of merged windows that take no more column
    tiles than one (omm; multi-point is one of them); all squares that SDK allows; all rectangles of
    which an array has room for a channel (vwsdk). Counts equal those of the layout.
    """
    name = Im2col.name
    yield _of(op, chip, name, {"windows_per_activation": 1}, single(op, chip).tally())
    copies = Smd().cut(op, chip)
    for n in range(2, 1 if copies is None else copies.copies + 1):
        cut = Smd(n).cut(op, chip)
        if cut is not None:
            yield _of(op, chip, Smd(n).name, {"windows_per_activation": n}, cut.tally())
    for windows in range(2, Omm.most(op, chip) + 1):
        merged = Omm(windows)
        yield _rectangle(op, chip, merged.name, (1, windows), merged.cut(op, chip).tally())
    for side in range(2, Sdk().cut(op, chip).shape[0] + 1):
        square = Sdk(side)
        yield _rectangle(op, chip, square.name, (side, side), square.cut(op, chip).tally())
    ways = rectangles(op, array_size(op, chip))
    for y, x in np.argwhere(ways.fits & (ways.windows > 1)).tolist():
        shape = (y + 1, x + 1)
        yield _rectangle(op, chip, Vwsdk(shape).name, shape, ways.tally(y, x))


def _rectangle(
    op: MatrixOp, chip: Chip, name: str, shape: tuple[int, int], tally: Tally
) -> Candidate:
    parameters: Parameters = {"windows_per_activation": shape[0] * shape[1], "window_shape": shape}
    return _of(op, chip, name, parameters, tally)


def _of(op: MatrixOp, chip: Chip, name: str, parameters: Parameters, tally: Tally) -> Candidate:
    rows, cols = array_size(op, chip)
    pulses = tally.activations * chip.pulses_for(op.signed)
    return Candidate(
        name, parameters, tally.arrays, tally.fired,
        tally.cols * chip.weights.slices * pulses,
        tally.rows * chip.lines_per_input(op.signed) * pulses,
        tally.windows * op.n_weights / (tally.arrays * rows * cols),
    )  # fmt: skip
