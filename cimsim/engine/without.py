"""A chip without some of its errors."""

from __future__ import annotations

import copy
from collections.abc import Set
from typing import TYPE_CHECKING

from cimsim.chip.parts.array import Wires
from cimsim.chip.parts.cells import Faults

if TYPE_CHECKING:
    from cimsim.chip.cells.base import AbstractDevice
    from cimsim.chip.parts.converters import Dac
    from cimsim.chip.spec import Chip


def without(chip: Chip, device: AbstractDevice, off: Set[str]) -> tuple[Chip, AbstractDevice]:
    """Return a chip and its cells with some causes of error switched off.

    Parameters
    ----------
    chip : Chip
    device : AbstractDevice
    off : set of str
        Causes of `cimsim.engine.error_parts.CAUSES`; of these ``faults``, ``wires``, ``drivers``
        and ``cell curve`` are switched here, all others are left as they are.
    """
    new: dict[str, Faults | Wires | Dac] = {}
    if "faults" in off:
        new["faults"] = Faults()
    if "wires" in off:
        new["wires"] = Wires()
    if "drivers" in off:
        new["dac"] = chip.dac.model_copy(update={"gain_sigma": 0.0, "inl_lsb": 0.0})
    if "cell curve" in off:
        device = copy.copy(device)
        device.nonlinearity = 2.0
    return chip.model_copy(update=new), device
