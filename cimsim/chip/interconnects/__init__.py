"""Interconnects, one per file. A new one is a file and a line in `INTERCONNECTS`.

One of the user's own needs no change here: ``kind: package.module:Class``, or the name of an entry
point of the group ``cimsim.interconnects``.
"""

from __future__ import annotations

from cimsim.boundary.outside import class_of, first_line
from cimsim.chip.interconnects.base import AbstractInterconnect, Hop
from cimsim.chip.interconnects.bus import Bus
from cimsim.chip.interconnects.ideal import IdealInterconnect
from cimsim.chip.interconnects.mesh import Mesh
from cimsim.chip.parts.system import INTERCONNECT_GROUP
from cimsim.chip.spec import Chip
from cimsim.errors import CimsimError, ConfigError

INTERCONNECTS: dict[str, type[AbstractInterconnect]] = {
    "bus": Bus, "ideal": IdealInterconnect, "mesh": Mesh
}  # fmt: skip

__all__ = ["INTERCONNECTS", "AbstractInterconnect", "Hop", "interconnect_of"]


def interconnect_of(chip: Chip) -> AbstractInterconnect:
    """Return what joins the tiles of a chip: built in, ``package.module:Class``, an entry point.

    Raises
    ------
    ConfigError
        Unknown, cannot be imported or built, or no interconnect.
    """
    kind = chip.interconnect.kind
    known = INTERCONNECTS.get(kind)
    if known is not None:
        return known(chip)
    place = "interconnect.kind"
    made = class_of(kind, INTERCONNECTS, AbstractInterconnect, INTERCONNECT_GROUP, place)
    try:
        return made(chip)
    except CimsimError:
        raise
    except Exception as why:  # the user's own code may raise anything
        raise ConfigError(f"{place}: '{kind}' cannot be built: {first_line(why)}") from why
