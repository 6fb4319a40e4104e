"""The queue as data: what to train, in order of priority, from what; read from YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from benchmarks.paper.job import Budget, Job
from cimsim.errors import CimsimError, ConfigError, suggest
from cimsim.training.config import TrainConfig
from cimsim.zoo import registry
from cimsim.zoo.errors import ZooError

DEFAULT = Path(__file__).with_name("queue.yaml")
# fields of the trainer that have a key of their own in the file, or come from the command line
OWN = frozenset(
    {
        "model", "options", "data", "out", "minutes", "steps", "hw", "overrides", "seed", "resume",
        "device", "amp", "workers",
    }
)  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BudgetPart(_Part):
    """Minutes of training, optimiser steps, or both: the less."""

    minutes: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)


class QueueEntry(_Part):
    """One training of the queue.

    Attributes
    ----------
    name : str
        Of its folder, and of the weights when they are shipped.
    after : str, optional
        The entry whose best weights it starts from. Model, options and seeds are that one's where
        they are left out.
    model, options
        Name in the zoo and options of the network.
    seeds : tuple of int, optional
        One training for each; ``[0]`` when left out.
    budget : BudgetPart
        Of each seed.
    hw : str, optional
        The chip in the loop.
    set : tuple of str
        Changes of that chip, such as ``adc.bits=6``.
    sigma : number or pair, optional
        Noise in 8-bit steps: 15, or a range [5, 55].
    settings : mapping
        What else `cimsim.training.config.TrainConfig` takes.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    after: str | None = None
    model: str | None = None
    options: dict[str, int | str] | None = None
    seeds: tuple[int, ...] | None = None
    budget: BudgetPart
    hw: str | None = None
    set: tuple[str, ...] = ()
    sigma: float | tuple[float, float] | None = None
    settings: dict[str, Any] = {}

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (min(value, default=-1) < 0 or len(set(value)) < len(value)):
            raise ValueError(f"expected different seeds of 0 and more, got {list(value)}")
        return value


class QueueFile(_Part):
    """A whole queue file: common settings of the trainer, and entries in order of priority."""

    common: dict[str, Any] = {}
    entries: tuple[QueueEntry, ...]

    def jobs(self, seeds: Sequence[int] | None = None) -> list[Job]:
        """Return what is to be trained: seed by seed, each in the order of the file.

        Parameters
        ----------
        seeds : sequence of int, optional
            Instead of those of the file, for every entry.

        Raises
        ------
        ConfigError
            ``entries.NAME: what is wrong``.
        """
        self._check_order()
        settings_of(self.common, "common")
        found: dict[tuple[str, int], Job] = {}
        for entry in self._parents_first():
            before = None if entry.after is None else self._entry(entry.after)
            for seed in seeds or self._seeds(entry):
                after = None if before is None else found.get((before.name, seed))
                if before is not None and after is None:
                    raise ConfigError(
                        f"entries.{entry.name}: seeds: {before.name}, which it starts from, has no "
                        f"seed {seed}; it has {', '.join(map(str, self._seeds(before)))}"
                    )
                found[entry.name, seed] = self._job(entry, seed, after)
        places = {entry.name: number for number, entry in enumerate(self.entries)}
        return [found[key] for key in sorted(found, key=lambda key: (key[1], places[key[0]]))]

    def _entry(self, name: str) -> QueueEntry:
        return next(entry for entry in self.entries if entry.name == name)

    def _seeds(self, entry: QueueEntry) -> tuple[int, ...]:
        if entry.seeds is not None:
            return entry.seeds
        return (0,) if entry.after is None else self._seeds(self._entry(entry.after))

    def _check_order(self) -> None:
        """Refuse names given twice, unknown starts, and circles of starts."""
        if not self.entries:
            raise ConfigError("entries: expected at least one")
        names = [entry.name for entry in self.entries]
        for number, entry in enumerate(self.entries):
            if entry.name in names[:number]:
                raise ConfigError(f"entries.{entry.name}: listed more than once")
            if entry.after is not None and entry.after not in names:
                raise ConfigError(
                    f"entries.{entry.name}: after: no entry '{entry.after}'"
                    f"{suggest(entry.after, names)}"
                )
        for entry in self.entries:
            seen = [entry.name]
            while (before := self._entry(seen[-1]).after) is not None:
                if before in seen:
                    raise ConfigError(
                        f"entries.{entry.name}: after: goes in a circle, "
                        f"{' after '.join([*seen, before])}; one of them must start without another"
                    )
                seen.append(before)

    def _parents_first(self) -> Iterator[QueueEntry]:
        done: set[str] = set()
        while len(done) < len(self.entries):
            for entry in self.entries:
                if entry.name not in done and (entry.after is None or entry.after in done):
                    done.add(entry.name)
                    yield entry

    def _job(self, entry: QueueEntry, seed: int, after: Job | None) -> Job:
        where = f"entries.{entry.name}"
        model = entry.model or (None if after is None else after.model)
        if model is None:
            raise ConfigError(f"{where}: model: missing; name a network, or what it starts `after`")
        options: Mapping[str, Any] = entry.options or {}
        if entry.options is None and after is not None and after.model == model:
            options = after.options
        if after is not None and "start" in self.common | entry.settings:
            raise ConfigError(f"{where}: settings: start: it starts `after` {after.name}; drop one")
        if entry.set and entry.hw is None:
            raise ConfigError(f"{where}: set: changes of a chip need a chip: give hw, too")
        _check_parts(where, model, options, entry.hw, entry.set)
        own = {} if entry.sigma is None else {"sigma": entry.sigma}
        try:
            budget = Budget(entry.budget.minutes, entry.budget.steps)
        except ConfigError:
            raise ConfigError(f"{where}: budget: give minutes, steps or both") from None
        settings = settings_of(self.common | entry.settings | own, f"{where}: settings")
        if entry.hw is not None:
            settings |= {"hw": entry.hw, "overrides": entry.set}
        name = entry.name if seed == 0 else f"{entry.name}_seed{seed}"
        return Job(name, model, options, budget, settings | {"seed": seed}, after)


def _check_parts(
    where: str, model: str, options: Mapping[str, Any], hw: str | None, changes: Sequence[str]
) -> None:
    """Refuse an unknown network, option or chip before hours are spent."""
    from cimsim.chip.load import load_hw

    try:
        registry.info(model).resolve(options)
    except ZooError as error:
        raise ConfigError(f"{where}: {error}") from None
    try:
        if hw is not None:
            load_hw(hw, tuple(changes))
    except CimsimError as error:
        raise ConfigError(f"{where}: hw: {error}") from None


def settings_of(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings as the trainer takes them.

    Raises
    ------
    ConfigError
        For a setting that the trainer does not have or a value that it does not take.
    """
    known = [field.name for field in fields(TrainConfig) if field.name not in OWN]
    for name in values:
        if name not in known:
            own = "; it has a place of its own" if name in OWN else suggest(name, known)
            raise ConfigError(f"{where}: {name}: unknown setting{own}")
    given = dict(values)
    if isinstance(given.get("sigma"), int | float):
        given["sigma"] = (given["sigma"], given["sigma"])
    needed = {"model": "cimnet", "data": ".", "out": ".", "steps": 1}
    try:
        config = _trainer().validate_python(needed | given)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        text = fault["msg"].removeprefix("Value error, ").removeprefix("train: ")
        got = f"{place}: {text}, got {fault['input']!r}" if place else text
        raise ConfigError(f"{where}: {got}") from None
    return {name: getattr(config, name) for name in values}


@cache
def _trainer() -> TypeAdapter[TrainConfig]:
    return TypeAdapter(TrainConfig)


def load_queue(path: Path = DEFAULT) -> QueueFile:
    """Read a queue file and check all of it.

    Raises
    ------
    ConfigError
        ``FILE: place: what was expected``.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        queue = QueueFile.model_validate(raw)
        queue.jobs()
    except ValidationError as error:
        lines = [f"{path}: {_place(fault, raw)}: {_message(fault)}" for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return queue


def _place(fault: Any, raw: Any) -> str:
    """Return where a fault is, entries by their names."""
    place = list(fault["loc"])
    if len(place) > 1 and place[0] == "entries":
        entry = raw["entries"][place[1]]
        place[1] = entry.get("name", place[1]) if isinstance(entry, dict) else place[1]
    return ".".join(map(str, place)) or "file"


def _message(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        levels: dict[int, type[BaseModel]] = {1: QueueFile, 3: QueueEntry, 4: BudgetPart}
        known = levels[len(fault["loc"])]
        return f"unknown key{suggest(str(fault['loc'][-1]), known.model_fields)}"
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in ("value_error", "missing"):
        return str(text)
    return f"{text}, got {fault['input']!r}"


def select(jobs: Sequence[Job], only: Sequence[str]) -> list[Job]:
    """Return the jobs whose name fits a pattern, and those that they start from; all without.

    Raises
    ------
    ConfigError
        When a pattern fits nothing.
    """
    for pattern in only:
        if not any(fnmatchcase(job.name, pattern) for job in jobs):
            raise ConfigError(
                f"--only {pattern}: no such entry{suggest(pattern, [job.name for job in jobs])}"
            )
    wanted = set()
    for job in jobs:
        if not only or any(fnmatchcase(job.name, pattern) for pattern in only):
            step: Job | None = job
            while step is not None:
                wanted.add(step.name)
                step = step.after
    return [job for job in jobs if job.name in wanted]
