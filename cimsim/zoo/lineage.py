"""The stages of training that weights went through, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from cimsim.zoo.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of training.

    Attributes
    ----------
    command : str
        What to type to train it again, without the folders; a few words on files of unknown origin.
    sha256 : str
        Of the weight file that came out.
    steps : int, optional
        Optimiser steps that were taken; None when nobody knows.
    minutes : float, optional
        Of training, earlier parts of a resumed run included.
    seed : int, optional
    hw : str, optional
        The chip in the loop; None without.
    kept_step : int, optional
        The step whose weights were the best on the held-out crops and are in the file.
    earlier_budgets : tuple of str
        Budgets that the same run had used up before it was given the one of the command: its
        learning rate fell once for each.
    """

    command: str
    sha256: str = ""
    steps: int | None = None
    minutes: float | None = None
    seed: int | None = None
    hw: str | None = None
    kept_step: int | None = None
    earlier_budgets: tuple[str, ...] = ()

    def plain(self) -> dict[str, object]:
        """Return the stage as JSON has it."""
        return asdict(self) | {"earlier_budgets": list(self.earlier_budgets)}

    def summary(self) -> str:
        """Return the stage in one line, the command left out."""
        parts = [
            "steps unknown" if self.steps is None else f"{self.steps} steps",
            "minutes unknown" if self.minutes is None else f"{self.minutes:g} minutes",
        ]
        if self.kept_step is not None and self.kept_step != self.steps:
            parts.append(f"best weights of step {self.kept_step}")
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        if self.hw is not None:
            parts.append(f"chip {self.hw} in the loop")
        if self.earlier_budgets:
            parts.append(f"after {', '.join(self.earlier_budgets)}")
        return f"{', '.join(parts)}; sha256 {self.sha256[:12] or 'unknown'}"


def read_lineage(values: object, where: str) -> tuple[Stage, ...]:
    """Read the stages of a card.

    Raises
    ------
    WeightsError
        When they are no list of stages, or a stage lacks its command or has an unknown field.
    """
    known = {entry.name for entry in fields(Stage)}
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise WeightsError(f"{where}: lineage: expected a list of stages, got {values!r}")
    stages = []
    for number, value in enumerate(values):
        odd = sorted(set(value) - known) if isinstance(value, Mapping) else "everything"
        if odd or "command" not in value:
            raise WeightsError(
                f"{where}: lineage.{number}: missing command or unknown fields of a stage: {odd}"
            )
        earlier = tuple(value.get("earlier_budgets", ()))
        stages.append(Stage(**{**value, "earlier_budgets": earlier}))
    return tuple(stages)


def total_minutes(stages: Iterable[Stage]) -> float | None:
    """Return the minutes of all stages together, None when those of one are unknown."""
    minutes = [stage.minutes for stage in stages]
    known = [value for value in minutes if value is not None]
    return sum(known) if len(known) == len(minutes) else None
