"""One training: a network, its settings and its budget; what the runner trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cimsim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Budget:
    """What a network may spend: minutes, optimiser steps or, when both are given, the less."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse budgets that train nothing."""
        if self.minutes is None and self.steps is None:
            raise ConfigError("--budget-minutes: missing; say how long each network may train")
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise ConfigError(f"--budget-{name}: expected a number above 0, got {value}")

    def covers(self, other: Budget) -> bool:
        """Whether training with this budget leaves nothing to do for the other one."""
        pairs = ((self.minutes, other.minutes), (self.steps, other.steps))
        return all(mine is None or (its is not None and mine >= its) for mine, its in pairs)

    def __str__(self) -> str:
        """Return ``30 minutes or 400 steps``."""
        parts = [f"{value:g} {name}" for name, value in asdict(self).items() if value is not None]
        return " or ".join(parts)


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes
    ----------
    name : str
        Of its folder.
    model, options
        Name in the zoo and options of the network.
    budget : Budget
    settings : mapping
        Keywords of `cimsim.training.config.TrainConfig`, the seed among them.
    after : Job, optional
        The training whose best weights this one starts from.
    """

    name: str
    model: str
    options: Mapping[str, Any]
    budget: Budget
    settings: Mapping[str, Any] = field(default_factory=dict)
    after: Job | None = None
