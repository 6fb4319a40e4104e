"""The contract of an interconnect: which links a message takes in a chip, and what they cost."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from cimsim.chip.spec import Chip


@dataclass(frozen=True, slots=True)
class Hop:
    """One link on the way of a message; one message at a time passes it.

    Attributes
    ----------
    link : tuple of int
        What names it among the links of its chip: from, to.
    after : int
        Place, in the same way, of the hop that it follows; -1: it begins at the source.
    tiles : tuple of int
        Tiles that the message has reached behind it.
    """

    link: tuple[int, ...]
    after: int = -1
    tiles: tuple[int, ...] = ()


class AbstractInterconnect(ABC):
    """What joins the tiles of one chip: ways between them, and what a link takes.

    Tiles are numbered 0 .. ``tile.count`` - 1 inside of their chip; at tile 0 are the global
    buffer, DRAM and the links to other chips. Only what all messages share is asked of it: who
    waits for whom on a link is the cycle simulator's affair (`cimsim.timing.spec.rules`).

    Parameters
    ----------
    chip : Chip
        ``chip.interconnect`` has the numbers of a chip file.

    Attributes
    ----------
    is_free : bool
        Everything moves in no time and at no energy; `way` is not asked.
    is_one_wire : bool
        All messages take the same link, also from a tile to itself: the partial sums of one
        activation that stay on a chip are one message. `way` is then asked without targets, too.
    """

    is_free: ClassVar[bool] = False
    is_one_wire: ClassVar[bool] = False

    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    @abstractmethod
    def way(self, source: int, targets: tuple[int, ...]) -> tuple[Hop, ...]:
        """Return the links that carry a message from a tile to others, each link once.

        Parameters
        ----------
        source : int
        targets : tuple of int
            Sorted; ``source`` may be among them.

        Returns
        -------
        tuple of Hop
            A hop stands behind the one that it follows. Every target but the source is reached.
        """

    @property
    def resource(self) -> str:
        """What tables and pictures call a link."""
        return "interconnect" if self.is_one_wire else "link"

    def cycles(self, n_bytes: int) -> int:
        """Return for how many cycles a message keeps a link."""
        return math.ceil(n_bytes / self.chip.interconnect.bytes_per_cycle)

    def delay(self, n_bytes: int) -> int:
        """Return the cycles, at least 1, from the begin on a link to the request for the next.

        ``hop_cycles`` where a message goes on before all of it is there (cut-through).
        """
        return self.chip.interconnect.hop_cycles

    def energy_j_b(self, link: tuple[int, ...]) -> float:
        """Return the energy of one byte on a link, J."""
        return self.chip.interconnect.energy_j_b

    @property
    def area_m2(self) -> float:
        """Area of the interconnect of one chip, m2."""
        return self.chip.interconnect.area_m2
