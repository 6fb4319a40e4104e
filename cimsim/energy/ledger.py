"""How sure the energy and the area of a network on a chip are: one ledger, drawn many times.

The numbers of a chip are drawn from their ranges (`cimsim.chip.ranges`) and the energy model is
evaluated once with arrays in the place of numbers: actions, cycles and operands stay, so nothing is
simulated again, and the parts of each draw add up. Numbers of one chip are drawn from streams of
their own: two networks on it share them, and their ratio is surer than either.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cimsim.chip.area import area
from cimsim.chip.fields import changed, fields
from cimsim.chip.ranges import Z_95, uncertain
from cimsim.chip.spec import Chip
from cimsim.energy.model import CHIP_ROW, COMPONENTS, STANDING, EnergyReport, energy, number_of
from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.rng import stream

DRAWS = 1000
Interval = tuple[float, float]
Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What `cimsim.energy.model.energy` takes, kept to be asked again with other numbers.

    Attributes
    ----------
    mapping, time_per_frame_s, conductance_sums, working_s, sums_from, spilled
        See there.
    """

    mapping: Mapping
    time_per_frame_s: float
    conductance_sums: MappingABC[str, float] | None = None
    working_s: MappingABC[str, float] | None = None
    sums_from: str = "operands"
    spilled: Iterable[tuple[str, str]] = ()

    def report(self, chip: Chip | None = None) -> EnergyReport:
        """Return the energy with a chip's own numbers, or those of one of the same structure."""
        placed = self.mapping if chip is None else self.mapping.with_numbers(chip)
        return energy(
            placed, self.time_per_frame_s, self.conductance_sums, self.working_s, self.sums_from,
            self.spilled,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DrawnEnergy:
    """Energy and area of many chips that the ranges allow.

    Attributes
    ----------
    chip : str
        Name; only draws of one chip can be compared.
    total_j, power_w, tops_per_w, area_m2, area_used_m2 : float64 [draws]
    by_component, by_layer : dict of float64 [draws]
    """

    chip: str
    total_j: Draws
    power_w: Draws
    tops_per_w: Draws
    area_m2: Draws
    area_used_m2: Draws
    by_component: dict[str, Draws]
    by_layer: dict[str, Draws]

    def working(self, layer: str) -> Draws | None:
        """Return a layer's energy without what goes with time; None where all of it is work."""
        if layer != CHIP_ROW:
            return None
        return self.by_layer[layer] - sum(self.by_component[name] for name in STANDING)

    def intervals(self) -> dict[str, Interval]:
        """Return 5 .. 95 % by the names of `cimsim.session.result.Result.numbers`."""
        draws = {
            "energy.per_frame": interval(self.total_j),
            "energy.average_power": interval(self.power_w),
            "energy.tops_per_w": interval(self.tops_per_w),
            "hardware.area": interval(self.area_m2),
            "hardware.area_used": interval(self.area_used_m2),
        }
        return draws | {number_of(n): interval(drawn) for n, drawn in self.by_component.items()}


@dataclass(frozen=True, slots=True)
class Effect:
    """What one number's range does to the energy of a frame.

    Attributes
    ----------
    path : str
    low_j, high_j : float
        Energy of a frame with this number at its 5 and its 95 % point, all others as given.
    """

    path: str
    low_j: float
    high_j: float


def interval(drawn: Draws) -> Interval:
    """Return the 5 and the 95 % point."""
    low, high = np.percentile(drawn, [5, 95])
    return float(low), float(high)


def factors(chip: Chip, n: int = DRAWS, seed: int = 0) -> dict[str, Draws]:
    """Draw a factor for each uncertain number: path -> float64 [n], the same for each network."""
    factors = {}
    for path, (below, above) in uncertain(chip).items():
        z = stream(seed, "range", chip.name, path).standard_normal(n)
        factors[path] = np.exp(z * np.where(z < 0, below, above))
    return factors


def draw(ledger: Ledger, n: int = DRAWS, seed: int = 0) -> DrawnEnergy:
    """Evaluate a ledger for ``n`` chips at once."""
    chip = ledger.mapping.chip
    drawn = _scaled(chip, factors(chip, n, seed))
    report = ledger.report(drawn)
    layers = {name: _spread(sum(row.values()), n) for name, row in report.by_layer.items()}
    total = _spread(report.total_j, n)
    return DrawnEnergy(
        chip.name, total, total / report.time_per_frame_s, 2 * report.macs / total / 1e12,
        _spread(sum(area(drawn).values()), n),
        _spread(sum(area(drawn, ledger.mapping.tiles_used).values()), n),
        {name: _spread(report.by_component[name], n) for name in COMPONENTS}, layers,
    )  # fmt: skip


def compare(first: DrawnEnergy, second: DrawnEnergy) -> tuple[float, float, float]:
    """Return 5, 50 and 95 % of ``first / second`` in energy per frame, draw by draw.

    Raises
    ------
    InputError
        Draws of two chips: their numbers are not the same ones, and no ratio is surer than its
        parts.
    """
    if first.chip != second.chip or first.total_j.shape != second.total_j.shape:
        raise InputError(
            f"compare: expected draws of one chip, got {first.chip} and {second.chip}; two chips "
            "share no numbers, compare their intervals instead"
        )
    low, middle, high = np.percentile(first.total_j / second.total_j, [5, 50, 95])
    return float(low), float(middle), float(high)


def sensitivity(ledger: Ledger) -> list[Effect]:
    """Return what each uncertain number does to the energy of a frame, the largest effect first."""
    chip = ledger.mapping.chip
    sigmas = uncertain(chip)
    single = {}
    for place, (path, (below, above)) in enumerate(sigmas.items()):
        factor = np.ones(2 * len(sigmas))
        factor[2 * place : 2 * place + 2] = np.exp([-Z_95 * below, Z_95 * above])
        single[path] = factor
    totals = _spread(ledger.report(_scaled(chip, single)).total_j, 2 * len(sigmas))
    effects = [
        Effect(path, float(totals[2 * place]), float(totals[2 * place + 1]))
        for place, path in enumerate(sigmas)
    ]
    return sorted(effects, key=lambda one: one.low_j - one.high_j)


def _scaled(chip: Chip, factor: MappingABC[str, Draws]) -> Chip:
    """Return a chip whose numbers are arrays, one entry per draw."""
    return changed(chip, {path: fields()[path].number(chip) * f for path, f in factor.items()})


def _spread(value: ArrayLike, n: int) -> Draws:
    """Return an array also of what no uncertain number touches."""
    return np.broadcast_to(np.asarray(value, np.float64), (n,)).copy()
