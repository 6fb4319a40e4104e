"""Interconnects, one per file. A new one is a file and a line in `INTERCONNECTS`.

One of the user's own needs no change here: ``kind: package.module:Class``, or the name of an entry
point of the group ``cimsim.interconnects``.
"""

from __future__ import annotations

from typing import cast

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import class_of
from cimsim.boundary.own import Rule, amount, built_on, flag, is_own, require, text, whole
from cimsim.chip.interconnects.base import AbstractInterconnect, Hop
from cimsim.chip.interconnects.bus import Bus
from cimsim.chip.interconnects.ideal import IdealInterconnect
from cimsim.chip.interconnects.mesh import Mesh
from cimsim.chip.parts.system import INTERCONNECT_GROUP
from cimsim.chip.spec import Chip

INTERCONNECTS: dict[str, type[AbstractInterconnect]] = {
    "bus": Bus, "ideal": IdealInterconnect, "mesh": Mesh
}  # fmt: skip

__all__ = [
    "INTERCONNECTS", "AbstractInterconnect", "Hop", "check_interconnect", "interconnect_of"
]  # fmt: skip


def _way(value: object, source: int, targets: tuple[int, ...]) -> None:
    """Hold a way to links that follow each other and reach every target."""
    require(isinstance(value, tuple) and all(isinstance(hop, Hop) for hop in value),
            f"expected a tuple of Hop, got {shown(value)}")  # fmt: skip
    hops = cast(tuple[Hop, ...], value)
    links = [hop.link for hop in hops]
    for place, hop in enumerate(hops):
        require(
            isinstance(hop.link, tuple) and all(isinstance(n, int) for n in hop.link),
            f"hop {place}: link: expected whole numbers, got {shown(hop.link)}",
        )
        require(
            isinstance(hop.after, int) and -1 <= hop.after < place,
            f"hop {place} follows one that is not before it, {shown(hop.after)}",
        )
    require(len(set(links)) == len(links), "has a link twice")
    lost = {*targets} - {source} - {tile for hop in hops for tile in hop.tiles}
    require(not lost, f"tile {min(lost, default=-1)} is not reached")


RULES: dict[str, Rule | None] = {
    "is_free": flag, "is_one_wire": flag, "resource": text, "cycles": whole(1), "delay": whole(1),
    "way": _way, "energy_j_b": amount, "area_m2": amount,
}  # fmt: skip


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
    return built_on(made, chip, "chip", place, kind, RULES)


def check_interconnect(chip: Chip) -> None:
    """Ask an interconnect of the user's own for its numbers; built-in ones are known to have them.

    Raises
    ------
    ConfigError
        It has none, or one that no interconnect can have.
    """
    net = interconnect_of(chip)
    if is_own(net):
        for name in ("is_free", "is_one_wire", "resource", "area_m2"):
            getattr(net, name)
        net.cycles(1)
        net.delay(1)
