"""Write, calibrate and age a chip in the order that its conditions ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingABC
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells.base import AbstractDevice
from cimsim.engine.calibrate import calibrate
from cimsim.engine.calibrated import CalibratedMapping
from cimsim.engine.program import program
from cimsim.engine.samples import Samples
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
    ``conditions.recalibrate`` they are fixed on the aged cells instead. Either way the aged cells
    are the same ones.

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
    conditions = mapping.chip.conditions
    calibrated_fresh = not (conditions.fresh or conditions.recalibrate)
    written = program(mapping, device, seed, integers, aged=not calibrated_fresh, progress=progress)
    found = calibrate(written, frames, seed, threads, samples)
    if calibrated_fresh:
        # the streams of programming are named: these are the same cells, some time later
        found = CalibratedMapping(
            program(mapping, device, seed, integers, progress=progress), found.ops
        )
    return found
