"""Which networks and which chips are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from benchmarks.paper.networks import Weights, shipped_weights
from cimsim.errors import ConfigError
from cimsim.zoo import registry

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip

ROWS, CELLS_PER_CONVERTER = 1024, 16  # of eflash40nm: an array's edge, and columns for each ADC


@dataclass(frozen=True)
class NetworkCase:
    """A network to compare.

    Attributes
    ----------
    title : str
        For tables.
    model : str
    options : mapping
    main : bool
        Compared on every chip; the others on the first chip alone.
    """

    title: str
    model: str
    options: Mapping[str, int | str] = field(default_factory=dict)
    main: bool = False

    @property
    def name(self) -> str:
        """For file names and ``--only``: ``cimnet_stride8``."""
        return "_".join([self.model, *(f"{key}{value}" for key, value in self.options.items())])

    @property
    def exists(self) -> bool:
        """Whether this version of the zoo has the network with these options."""
        entry = registry.MODELS.get(self.model)
        return entry is not None and all(
            key in entry.options and value in entry.options[key].allowed
            for key, value in self.options.items()
        )

    def weights(self, hw: str, given: Sequence[Weights]) -> Weights | None:
        """Return weights for a chip: trained for it before plain ones, given before shipped ones.

        Weights of one written-out network fit all its strides, so only Fold-NET's ``stride`` may
        differ; the returned card then has the options of this case.
        """
        fits = [w for w in (*given, *shipped_weights()) if self._fits(w)]
        best = [w for w in fits if w.card.hw == hw] or [w for w in fits if w.card.hw is None]
        if not best:
            return None
        # for one noise level before those for many, given ones first
        chosen = min(best, key=lambda w: (w.shipped, w.card.sigma[-1] - w.card.sigma[0]))
        options = registry.info(self.model).resolve(self.options)
        return replace(chosen, card=replace(chosen.card, options=options))

    def is_trained_for(self, hw: str, given: Sequence[Weights]) -> bool:
        """Tell whether there are weights that were trained for a chip, given or shipped."""
        found = self.weights(hw, given)
        return found is not None and found.card.hw == hw

    def _fits(self, weights: Weights) -> bool:
        card = weights.card
        if card.model != self.model:
            return False
        entry = registry.info(self.model)
        own, theirs = entry.resolve(self.options), entry.resolve(card.options)
        free = {"stride"} if "{stride}" not in entry.weights else set()
        return all(own[key] == theirs[key] for key in own.keys() - free)


NETWORKS = (
    NetworkCase("FastDVDnet block", "fastdvdnet-block", main=True),
    NetworkCase("CIM-NET, S = 8, as drawn", "cimnet", {"stride": 8, "coarse": 1}, main=True),
    NetworkCase("CIM-NET, S = 8, two layers", "cimnet", {"stride": 8, "coarse": 0}, main=True),
    NetworkCase("Fold-NET, written out", "foldnet", {"stride": 8, "tiles": 3}, main=True),
    NetworkCase("Fold-NET, convolutions", "foldnet", {"stride": 2, "tiles": 3}, main=True),
    NetworkCase(
        "Fold-NET of a third of the width, written out", "foldnet", {"stride": 8, "tiles": 1}
    ),
    NetworkCase("CIM-NET, S = 4", "cimnet", {"stride": 4}),
    NetworkCase("Abla-NET, S = 8", "abla-net", {"stride": 8}),
    NetworkCase("CIM-NET, S = 16", "cimnet", {"stride": 16, "coarse": 1}),
    NetworkCase("CIM-NET, S = 16, two layers", "cimnet", {"stride": 16, "coarse": 0}),
    NetworkCase(
        "Fold-NET as a U-Net, written out", "foldnet", {"stride": 8, "tiles": 3, "levels": 3}
    ),
    NetworkCase("CIM-NET, S = 2", "cimnet", {"stride": 2}),
)
YARDSTICK = NETWORKS[0]


@dataclass(frozen=True)
class ChipCase:
    """A chip, as it is shipped or with fields changed.

    Attributes
    ----------
    hw : str
        Name or file.
    changes : tuple of str
        ``field=value``, as ``cimsim --set`` takes them.
    title : str
        For tables.
    """

    hw: str
    changes: tuple[str, ...] = ()
    title: str = ""

    @classmethod
    def parse(cls, text: str) -> ChipCase:
        """Return the chip of ``NAME`` or ``NAME:field=value,field=value``.

        Raises
        ------
        ConfigError
            When a part after the colon is no ``field=value``.
        """
        hw, _, rest = text.partition(":")
        changes = tuple(part for part in rest.split(",") if part)
        for part in changes:
            if "=" not in part:
                raise ConfigError(f"--hw {text}: expected NAME:field=value,..., got {part!r}")
        known = {(one.hw, one.changes): one for one in CHIPS}
        return known.get((hw, changes), cls(hw, changes, text.replace(":", ", ", 1)))

    @cached_property
    def chip(self) -> Chip:
        """The chip itself."""
        from cimsim.chip.load import load_hw

        return load_hw(self.hw, list(self.changes))


def arrays_of(rows: int, *, hw: str = "eflash40nm", tiles: int = 76) -> ChipCase:
    """Return `eflash40nm` cut into arrays of another edge, with as many cells in all.

    A converter serves 16 columns as before, so an array reads and converts in the same time.

    Parameters
    ----------
    rows : int
        Edge of an array, a power of two.
    hw : str
    tiles : int
        Of the chip with 1024 rows; a tile holds one array.
    """
    changes = (
        f"array.rows={rows}", f"array.cols={rows}", f"adc.count={rows // CELLS_PER_CONVERTER}",
        f"tile.count={tiles * ROWS**2 // rows**2}",
    )  # fmt: skip
    return ChipCase(hw, changes, f"{hw}, arrays of {rows}")


def bus_of(width: int, hw: str = "eflash40nm") -> ChipCase:
    """Return `eflash40nm` with a bus of another width in bytes a cycle (as it is: 64)."""
    return ChipCase(hw, (f"interconnect.bytes_per_cycle={width}",), f"{hw}, bus of {width} B")


CHIPS = (
    ChipCase("eflash40nm", (), "eflash40nm"), ChipCase("pcm64core14nm", (), "pcm64core14nm"),
    ChipCase("sonos40nm", (), "sonos40nm"), arrays_of(512), arrays_of(256), bus_of(16), bus_of(256),
)  # fmt: skip


def find_networks(names: Sequence[str]) -> list[NetworkCase]:
    """Return the networks whose name fits a pattern, all that exist without patterns.

    Raises
    ------
    ConfigError
        For a pattern that fits none.
    """
    there = [case for case in NETWORKS if case.exists]
    for name in names:
        if not any(fnmatchcase(case.name, name) for case in there):
            known = ", ".join(case.name for case in there)
            raise ConfigError(f"--only {name}: no such network; known: {known}")
    return [c for c in there if not names or any(fnmatchcase(c.name, name) for name in names)]
