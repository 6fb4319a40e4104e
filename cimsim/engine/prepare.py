"""Write, calibrate and age a chip in the order that its conditions ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingABC
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells.base import AbstractDevice
from cimsim.engine.calibrate import Known, calibrate
from cimsim.engine.calibrated import CalibratedMapping
from cimsim.engine.compensate import scaled_globally
from cimsim.engine.program import ProgrammedMapping, program
from cimsim.engine.samples import Samples, collect
from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    from torch import Tensor


def prepare(
    mapping: Mapping,
    device: AbstractDevice,
    frames: Sequence[tuple[Tensor, ...]],
    seed: int,
    *,
    integers: MappingABC[str, NDArray[np.int32]] | None = None,
    samples: MappingABC[str, Samples] | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CalibratedMapping:
    """Return a chip that is ready to run under the conditions of its description.

    Converter ranges and the digital gain and offset of columns are fixed right after programming,
    at 25 C, and kept while the cells age, as on a chip that is calibrated once in the factory. With
    ``conditions.compensation: global`` each array's numbers are then multiplied by one factor (see
    `cimsim.engine.compensate`), with ``column`` gain and offset of the columns are fitted anew on
    the aged cells. With ``conditions.recalibrate`` the converter ranges are fixed on the aged
    cells, too. In all cases the aged cells are the same ones.

    Parameters
    ----------
    mapping, device, seed, integers, progress
        See `cimsim.engine.program.program`.
    frames, samples, threads
        See `cimsim.engine.calibrate.calibrate`.

    Raises
    ------
    ConfigError, SimulationError
        As those two.
    """
    fresh, aged = cells(mapping, device, seed, integers, progress)
    if aged is not None and mapping.chip.conditions.compensation == "column" and samples is None:
        layouts = {name: layer.layout for name, layer in mapping.layer_of.items()}
        samples = collect(mapping.graph, mapping.chip, frames, layouts)
    return calibrated(fresh, aged, frames, seed, threads, samples)


def cells(
    mapping: Mapping,
    device: AbstractDevice,
    seed: int,
    integers: MappingABC[str, NDArray[np.int32]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[ProgrammedMapping, ProgrammedMapping | None]:
    """Write the cells of `prepare`, without calibrating anything.

    Returns
    -------
    ProgrammedMapping
        What the converter ranges are fixed on.
    ProgrammedMapping or None
        The same cells under the chip's conditions, with what ``compensation: global`` takes back;
        None where the first ones are those already.
    """
    conditions = mapping.chip.conditions
    calibrated_fresh = not (conditions.fresh or conditions.recalibrate)
    first = program(mapping, device, seed, integers, aged=not calibrated_fresh, progress=progress)
    if not calibrated_fresh:
        return first, None
    # the streams of programming are named: these are the same cells, some time later
    aged = program(mapping, device, seed, integers, progress=progress)
    if conditions.compensation == "global":
        aged = scaled_globally(first, aged, seed)
    return first, aged


def calibrated(
    fresh: ProgrammedMapping,
    aged: ProgrammedMapping | None,
    frames: Sequence[tuple[Tensor, ...]],
    seed: int,
    threads: int | None = None,
    samples: MappingABC[str, Samples] | None = None,
    known: Known | None = None,
) -> CalibratedMapping:
    """Calibrate what `cells` wrote; see `prepare`, and `calibrate` for ``known``."""
    known = Known() if known is None else known
    found = calibrate(fresh, frames, seed, threads, samples, known=known)
    if aged is None:
        return found
    if aged.mapping.chip.conditions.compensation == "column":
        return calibrate(aged, frames, seed, threads, samples, found.ops, known)
    return CalibratedMapping(aged, found.ops)
