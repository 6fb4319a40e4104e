"""What a message occupies on its way between tiles: the reservations of a service."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cimsim.chip.interconnects import interconnect_of
from cimsim.chip.spec import Chip
from cimsim.errors import SimulationError

Resource = tuple[str, *tuple[int, ...]]  # ("vector", tile); ("link", chip, router, router)
IO_TILE = 0  # where the global buffer and DRAM are


@dataclass(frozen=True, slots=True)
class Reservation:
    """One occupation of a shared resource.

    Attributes
    ----------
    resource : Resource
    cycles : int
        Occupied, one or more.
    parent : int
        Reservation of the same service that this one follows, always an earlier one; -1: the
        stage's entry.
    delay : int
        Cycles from the start of the parent's occupation to the request, one or more (0 at entry).
    n_bytes : int
        Bytes that pass, where that costs energy: interconnect, links, ports.
    """

    resource: Resource
    cycles: int
    parent: int = -1
    delay: int = 0
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """What a stage does for one activation (CONVERT: for one pulse).

    Attributes
    ----------
    reservations : tuple of Reservation
    own : int
        Cycles after the end of the last reservation, or after entry.
    """

    reservations: tuple[Reservation, ...] = ()
    own: int = 0

    @property
    def alone(self) -> int:
        """Cycles if nobody else is there."""
        starts: list[int] = []
        for reservation in self.reservations:
            starts.append(
                reservation.delay + (starts[reservation.parent] if reservation.parent >= 0 else 0)
            )
        ends = [
            s + reservation.cycles for s, reservation in zip(starts, self.reservations, strict=True)
        ]
        return max(ends, default=0) + self.own


class Route:
    """Collects the reservations of one service; all tiles are numbered through all chips."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.reservations: list[Reservation] = []
        self._starts: list[
            int
        ] = []  # of each reservation, from the stage's entry, if nobody else is there
        self.interconnect = interconnect_of(chip)

    def use(
        self, resource: Resource, cycles: int, after: int = -1, wait: int = 0, n_bytes: int = 0
    ) -> int:
        """Add a reservation ``wait`` cycles after ``after`` has arrived; returns its number.

        A reservation of 0 cycles is left out, ``after`` is returned.
        """
        if cycles == 0:
            return after
        delay = self.reservations[after].cycles + self.latency(after) + wait if after >= 0 else 0
        return self._add(Reservation(resource, cycles, after, delay, n_bytes))

    def _add(self, reservation: Reservation) -> int:
        self._starts.append(
            reservation.delay + (self._starts[reservation.parent] if reservation.parent >= 0 else 0)
        )
        self.reservations.append(reservation)
        return len(self.reservations) - 1

    def latency(self, reservation: int) -> int:
        """Cycles from the end of a reservation to its arrival: those of a link between chips."""
        between = reservation >= 0 and self.reservations[reservation].resource[0] == "chips"
        return self.chip.system.latency_cycles if between else 0

    def ends(self, reservation: int) -> int:
        """Cycle, from the stage's entry, in which a reservation is over if nobody else is there."""
        return self._starts[reservation] + self.reservations[reservation].cycles

    def send(
        self, source: int, targets: Iterable[int], n_bytes: int, after: int = -1, wait: int = 0
    ) -> dict[int, int]:
        """Add a message from one tile to others.

        Returns
        -------
        dict
            Target -> the reservation that reaches it; ``after`` where none is needed.
        """
        targets = sorted(set(targets))
        if n_bytes == 0 or self.interconnect.is_free:
            return dict.fromkeys(targets, after)
        arrivals: dict[int, int] = {}
        home, per_chip = source // self.chip.tile.count, self.chip.tile.count
        right = max([home, *(t // per_chip for t in targets)])
        left = min([home, *(t // per_chip for t in targets)])
        for steps in (range(home, right + 1), range(home - 1, left - 1, -1)):
            last, entry, pause = after, source, wait
            if steps and steps[0] != home:  # the way to the left begins at the gateway, too
                last = self._cross(home, steps[0], n_bytes, arrivals[home * per_chip])
                entry, pause = steps[0] * per_chip, 0
            for index, chip in enumerate(steps):
                inside = [t for t in targets if t // per_chip == chip]
                end = left if chip < home else right
                leaves = chip != end or (chip == home and left < home)
                wanted = {*inside, *([chip * per_chip] if leaves else [])}
                arrivals |= self._inside(entry, wanted, n_bytes, last, pause)
                if index + 1 < len(steps):
                    last = self._cross(chip, steps[index + 1], n_bytes, arrivals[chip * per_chip])
                    entry, pause = steps[index + 1] * per_chip, 0
        return arrivals

    def _cross(self, chip: int, following: int, n_bytes: int, after: int) -> int:
        """Add the link between two chips; returns its reservation."""
        cycles = math.ceil(n_bytes / self.chip.system.bytes_per_cycle)
        return self.use(("chips", chip, following), cycles, after, n_bytes=n_bytes)

    def _inside(
        self, entry: int, targets: set[int], n_bytes: int, after: int, wait: int
    ) -> dict[int, int]:
        """Add the way inside one chip, from ``entry``."""
        net, per_chip = self.interconnect, self.chip.tile.count
        chip, first = entry // per_chip, entry - entry % per_chip
        cycles, arrivals, reservations = net.cycles(n_bytes), {entry: after}, list[int]()
        for hop in net.way(entry - first, tuple(sorted(tile - first for tile in targets))):
            resource: Resource = (net.resource, *(chip, *hop.link))
            if hop.after < 0:
                reservations.append(self.use(resource, cycles, after, wait, n_bytes))
            else:
                ahead = reservations[hop.after]
                reservation = Reservation(resource, cycles, ahead, net.delay(n_bytes), n_bytes)
                reservations.append(self._add(reservation))
            arrivals |= dict.fromkeys((first + tile for tile in hop.tiles), reservations[-1])
        lost = [tile - first for tile in targets if tile not in arrivals]
        if lost:
            raise SimulationError(
                f"interconnect.kind: '{self.chip.interconnect.kind}' has no way from tile "
                f"{entry - first} to tile {lost[0]}: its `way` must reach every target"
            )
        return {target: arrivals[target] for target in targets}
