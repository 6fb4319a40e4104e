"""A cell as the user measured it: a CSV of target, mean, spread and, optionally, time.

::

    # my_cells.csv: 128 cells per state, read 1 h and 24 h after programming
    target [uS], mean [uS], sigma [uS], time [h]
    0.0,         0.02,      0.01,       0
    5.0,         4.97,      0.11,       0
    10.0,        9.98,      0.15,       0
    0.0,         0.03,      0.02,       24
    ...

Units stand in the header, ``target [uS]`` or ``target_uS``, or in the YAML (``unit: uS``,
``time_unit: h``). Lines that are empty or start with ``#`` are skipped. At every time the targets
rise and span the same range; the first time is 0. Valid: 25 C, up to the last time of the file.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from cimsim.chip.cells._csv import States, read_states
from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, Conduction, refuse_late, refuse_warm
from cimsim.units import quantity


class TableParameters(BaseModel):
    """What stands beside ``kind: table``."""

    model_config = PARAMETERS
    file: str = Field(min_length=1, description="CSV; relative paths start at the YAML's folder")
    unit: str | None = Field(default=None, description="of conductances without one: uS")
    time_unit: str | None = Field(default=None, description="of times without one: h")
    conduction: Literal["ohmic", "gate"] = Field(
        default="ohmic", description="whether a read is linear in the drain or the gate input"
    )
    sigma_read: quantity("1", maximum=0.25) = Field(  # type: ignore[valid-type]
        default=0.0, description="read noise of every state, rms, over full scale"
    )


class Table(AbstractDevice):
    """See the module.

    Notes
    -----
    *Programming* draws normals of the mean and sigma of time 0, linear between targets, cut off at
    0 S. The range of the cell is that of the targets. *Ageing*, linear between times: a cell moves
    by what the mean has moved since time 0, and a normal part is added that brings the variance to
    that of the table; where the table's spread falls with time, nothing is added. Its state is
    recognised by its conductance, so the means of time 0 must rise. *Reading*: ``sigma_read``.
    """

    Parameters: ClassVar[type[BaseModel]] = TableParameters

    def __init__(self, parameters: TableParameters) -> None:
        self.parameters = parameters
        self.conduction: Conduction = self.parameters.conduction
        self.states: tuple[States, ...] = read_states(
            Path(self.parameters.file), self.parameters.unit, self.parameters.time_unit
        )

    @property
    def g_min_s(self) -> float:
        """Smallest target, S."""
        return float(self.states[0].target_s[0])

    @property
    def g_max_s(self) -> float:
        """Largest target, S."""
        return float(self.states[0].target_s[-1])

    @property
    def is_exact(self) -> bool:
        """True if every cell hits its target at time 0 and there is no read noise."""
        first = self.states[0]
        hit = np.array_equal(first.mean_s, first.target_s) and not first.sigma_s.any()
        return hit and self.parameters.sigma_read == 0

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Draw from the states of time 0; see the base class and the notes."""
        first = self.states[0]
        # as an offset: a table without errors must give back the targets to the last bit
        missed = np.interp(target_s, first.target_s, first.mean_s - first.target_s)
        sigma = np.interp(target_s, first.target_s, first.sigma_s)
        return np.maximum(target_s + missed + sigma * rng.standard_normal(target_s.shape), 0.0)

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Refuse times after the last one of the file and other temperatures than 25 C."""
        refuse_warm(self.name, temperature_k)
        last_s = self.states[-1].time_s
        why = f"'{self.parameters.file}' has no later rows"
        refuse_late(self.name, time_s, last_s, why)

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Drift and widen; see the base class and the notes."""
        self.check_conditions(time_s, temperature_k)
        if time_s == 0:
            return g_s
        first = self.states[0]
        target = np.interp(g_s, first.mean_s, first.target_s)
        mean, sigma = self._at(target, time_s)
        mean_0, sigma_0 = self._at(target, 0.0)
        more = np.sqrt(np.maximum(sigma**2 - sigma_0**2, 0.0))
        return np.maximum(g_s + mean - mean_0 + more * rng.standard_normal(g_s.shape), 0.0)

    def _at(
        self, target_s: NDArray[np.float64], time_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and sigma of targets at a time, linear between the times around it."""
        moments = [
            (np.interp(target_s, s.target_s, s.mean_s), np.interp(target_s, s.target_s, s.sigma_s))
            for s in self.states
            if s.time_s == time_s
        ]
        if moments:
            return moments[0]
        pairs = itertools.pairwise(self.states)
        before, after = next((a, b) for a, b in pairs if a.time_s < time_s < b.time_s)
        share = (time_s - before.time_s) / (after.time_s - before.time_s)
        low, high = self._at(target_s, before.time_s), self._at(target_s, after.time_s)
        return low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the read noise, S per pulse."""
        return np.full_like(g_s, float(self.parameters.sigma_read) * self.g_max_s)
