"""An interconnect: tiles in a ring, messages go the shorter way round."""

from cimsim.api import AbstractInterconnect, Hop


class Ring(AbstractInterconnect):
    """Each tile has a link to both of its neighbours."""

    def way(self, source, targets):
        """Return the links in both directions, as far as the farthest tile on either side."""
        tiles, hops = self.chip.tile.count, []
        for step in (1, -1):
            mine = [(t - source) * step % tiles for t in targets]
            limit = tiles // 2 if step > 0 else (tiles - 1) // 2
            farthest = max((n for n in mine if n <= limit), default=0)
            for n in range(1, farthest + 1):
                here, there = (source + (n - 1) * step) % tiles, (source + n * step) % tiles
                hops.append(Hop((here, there), -1 if n == 1 else len(hops) - 1, (there,)))
        return tuple(hops)

    def energy_j_b(self, link):
        """Return the energy of a byte: the link that closes the ring crosses the whole chip."""
        closes = abs(link[0] - link[1]) > 1
        return self.chip.interconnect.energy_j_b * (self.chip.tile.count if closes else 1)
