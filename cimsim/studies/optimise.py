"""Search of a study's grid: a sampler proposes points, cheap stages sift them, the rest runs.

The points that are searched are those of a grid; a trial is one of them with all its chips. What
is known of a trial before a frame runs (cycles, arrays, area, work; without frames everything) is
worked out first. A trial that misses a constraint on such a number is sifted out: it is never
executed. No trial is spared because another one seems to dominate it: nothing bounds a PSNR before
it is measured.

Among trials one that keeps all constraints is better than one that does not; of two that miss
some, the one that misses by less, summed over constraints, each as a share of its limit; of two
that keep all, one is better if it is no worse in every objective and better in one. A point
without a result (a network that does not fit) counts as one that misses by far.

A search writes the rows of a study as they come. Killed, it is repeated from its seed, and rows
that still hold answer instead of a simulation: it goes on with the bits of one that nobody killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import pairwise, product
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from cimsim.boundary.arguments import choice, whole
from cimsim.errors import ConfigError, InputError
from cimsim.studies import engine
from cimsim.studies.engine import Crew, Log
from cimsim.studies.grid import Grid, Plan
from cimsim.studies.points import NumberData, Point, Row
from cimsim.studies.study import Outcome, Progress, Study, opened, write_tables
from cimsim.studies.table import (
    Group,
    Limit,
    Table,
    check_name,
    read_limit,
    read_objective,
)

SAMPLERS = ("tpe", "nsga2", "random")
MEASURED = (
    "quality.chip_psnr", "quality.chip_ssim", "quality.float_psnr", "quality.float_ssim",
    "quality.noisy_psnr", "quality.noisy_ssim", "quality.loss",
)  # fmt: skip
_KNOWN_BEFORE = ("timing.", "hardware.", "work.")  # the same with frames and without
_POPULATION = 20  # trials that are proposed at once by nsga2 and random
_ROUND = 10  # by tpe
_FAR = 1e3  # limits by which a point without a result misses
_STALE = 25  # rounds without a new trial after which nothing new is expected
_BAD = 1e30  # objective of a trial that has none; never compared, as it misses a constraint

Indices = tuple[int, ...]


class OptunaTrial(Protocol):
    """What is asked of a trial of optuna."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Propose a whole number."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[int]) -> int:
        """Propose one of some."""
        ...

    def set_constraint(self, name: str, value: float) -> None:
        """Say by how much a constraint is missed."""
        ...


@dataclass(frozen=True)
class Aim:
    """What a search is after.

    Attributes
    ----------
    objectives : tuple of str
        ``max psnr``, ``min energy``; without ``max`` or ``min`` as one would want it.
    constraints : tuple of str
        ``fps>=30``, in SI units.
    trials : int
        Different points that are looked at, sifted ones included.
    minutes : float or None
        After them no further round begins.
    sampler : {"tpe", "nsga2", "random"}
    seed : int
        Of the sampler alone.
    """

    objectives: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    trials: int = 100
    minutes: float | None = None
    sampler: str = "tpe"
    seed: int = 0

    def check(self) -> None:
        """Refuse what no search can be.

        Raises
        ------
        ConfigError, InputError
            One message.
        """
        if not self.objectives:
            raise ConfigError("search: expected an objective, such as --objective 'max psnr'")
        for text in self.objectives:
            check_name(read_objective(text)[1])
        for text in self.constraints:
            check_name(read_limit(text).name)
        whole("trials", self.trials, 1, 1_000_000, ConfigError)
        whole("seed", self.seed, 0, 2**32 - 1, ConfigError)
        choice("sampler", self.sampler, SAMPLERS, ConfigError)
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"minutes: expected more than 0, got {self.minutes}")

    def to_data(self) -> dict[str, object]:
        """Return what makes it another search; a longer one goes on."""
        data = asdict(self)
        return {name: data[name] for name in ("objectives", "constraints", "sampler", "seed")}


@dataclass(frozen=True)
class Trial:
    """One point of the space with all its chips.

    Attributes
    ----------
    rows : tuple of dict
        As a study has them; of a sifted one a single row without measured numbers.
    costs : tuple of float
        Objectives, smaller is better; none if a constraint is missed.
    misses : tuple of float
        By constraint, see `cimsim.studies.table.Limit.missed_by`; the last one of points without a
        result.
    sifted : bool
    """

    rows: tuple[Row, ...]
    costs: tuple[float, ...]
    misses: tuple[float, ...]
    sifted: bool

    @property
    def feasible(self) -> bool:
        """Whether it keeps all constraints."""
        return all(miss <= 0 for miss in self.misses)


@dataclass(frozen=True)
class SearchResult:
    """What a search gave.

    Attributes
    ----------
    outcome : Outcome
        All rows, as a study.
    trials : tuple of Trial
    front : tuple of cimsim.studies.table.Group
        What keeps all constraints and no other trial beats, by the first objective.
    """

    outcome: Outcome
    trials: tuple[Trial, ...]
    front: tuple[Group, ...]

    @property
    def summary(self) -> str:
        """What became of the trials."""
        sifted = sum(trial.sifted for trial in self.trials)
        failed = sum(trial.misses[-1] > 0 for trial in self.trials)
        kept = sum(trial.feasible for trial in self.trials)
        parts = [f"{len(self.trials)} trials", f"{kept} keep all constraints"]
        parts += [f"{sifted} sifted out before any frame ran"] if sifted else []
        parts += [f"{failed} without a result"] if failed else []
        return ", ".join([*parts, f"front of {len(self.front)}"])


class Space:
    """The axes of a grid that vary.

    Parameters
    ----------
    plan : Plan

    Raises
    ------
    ConfigError
        Several grids, several clips or noises, or nothing that varies.
    """

    def __init__(self, plan: Plan) -> None:
        if len(plan.grids) != 1:
            raise ConfigError(
                f"search: the study has {len(plan.grids)} grids; a search has one space, so give "
                "one grid"
            )
        self.grid: Grid = plan.grids[0]
        for name, n in (("clips", len(self.grid.clips)), ("sigmas", len(self.grid.sigmas))):
            if n > 1:
                raise ConfigError(
                    f"search: {n} {name}; points on different frames cannot be compared, "
                    "so give one"
                )
        held: dict[str, tuple[object, ...]] = {name: getattr(self.grid, name) for name in
                ("networks", "chips", "mappings", "allocations")}  # fmt: skip
        held |= {f"set {path}": values for path, values in self.grid.set.items()}
        self.axes: dict[str, tuple[object, ...]] = {n: v for n, v in held.items() if len(v) > 1}
        if not self.axes:
            raise ConfigError(
                "search: nothing varies; give fields with several values, such as "
                "--set adc.bits=4..10"
            )

    @property
    def size(self) -> int:
        """How many trials there are."""
        return prod(map(len, self.axes.values()))

    def ordered(self, axis: str) -> bool:
        """Whether values that stand beside each other are alike: numbers that rise or fall."""
        values = [n for n in map(_number, self.axes[axis]) if n is not None]
        if len(values) < 3 or len(values) < len(self.axes[axis]):
            return False
        units = {str(value).strip().partition(" ")[2] for value in self.axes[axis]}
        rises = [a < b for a, b in pairwise(values)]
        return len(units) == 1 and (all(rises) or not any(rises))

    def points(self, indices: Indices) -> list[Point]:
        """Return the points of a trial, one for each chip."""
        chosen = {axis: (self.axes[axis][i],) for axis, i in zip(self.axes, indices, strict=True)}
        parts: dict[str, Any] = {
            name: value for name, value in chosen.items() if not name.startswith("set ")
        }
        values = {path: chosen.get(f"set {path}", held) for path, held in self.grid.set.items()}
        return list(replace(self.grid, **parts, set=values).points())

    def every(self) -> Iterator[Indices]:
        """Yield all trials."""
        yield from product(*(range(len(values)) for values in self.axes.values()))


class Search:
    """Points of a study that are best by several objectives and keep to constraints.

    Parameters
    ----------
    study : Study
        What may vary, as one grid.
    objectives, constraints, trials, minutes, sampler, seed
        See `Aim`.

    Examples
    --------
    >>> import cimsim
    >>> study = cimsim.Study(set={"adc.bits": "4..10", "adc.count": "8..64:8"}, frames=0)
    >>> search = cimsim.Search(study, ["min energy", "min latency"], ["fps>=30"], trials=20)
    >>> best = search.run()  # doctest: +SKIP
    >>> [group.settings["adc.bits"] for group in best.front]  # doctest: +SKIP

    Raises
    ------
    ConfigError, InputError
        See `Aim.check` and `Space`.
    """

    def __init__(
        self, study: Study, objectives: Sequence[str], constraints: Sequence[str] = (),
        trials: int = 100, minutes: float | None = None, sampler: str = "tpe", seed: int = 0,
    ) -> None:  # fmt: skip
        self.plan = study.plan
        self.aim = Aim(tuple(objectives), tuple(constraints), trials, minutes, sampler, seed)
        self.aim.check()
        self.space = Space(self.plan)

    def run(
        self, folder: str | Path | None = None, *, crew: Crew | None = None, cached: bool = True,
        progress: Progress | None = None,
    ) -> SearchResult:  # fmt: skip
        """Look for the best points.

        Parameters
        ----------
        folder : path, optional
            A study's folder: rows are kept as they come. A search that was killed there goes on.
        crew : Crew, optional
            What works points out; this process without it. It is closed in the end.
        cached : bool
            Whether results of stages are taken from and kept in the store.
        progress : callable, optional
            ``progress(stage, done, total)``.

        Raises
        ------
        CimsimError
            A name that is wrong, an objective that no point has, or no package ``optuna``.
        """
        with closing(engine.Here() if crew is None else crew) as able:
            self.plan.check(confirmed=True)
            plan, aim = self.plan.to_data(), self.aim.to_data()
            proposer = _proposer(self.space, self.aim)
            judge = self._judge(able, cached)
            place = None if folder is None else opened(Path(folder), plan, None, aim)
            work = _Work(self.space, judge, able, cached, place)
            interrupted = self._rounds(work, proposer, progress or (lambda *_: None))
        rows = tuple(row for trial in work.trials.values() for row in trial.rows)
        outcome = Outcome(plan, rows, place, interrupted)
        if place is not None and not interrupted:
            opened(place, plan, [row["id"] for row in rows], aim)
        if place is not None:
            write_tables(outcome)
        trials = tuple(work.trials.values())
        return SearchResult(outcome, trials, tuple(judge.front(trials)))

    def _rounds(self, work: _Work, proposer: _All | _Optuna, report: Progress) -> bool:
        """Let trials be proposed and worked out until the budget is spent; True: interrupted."""
        total, stale = min(self.aim.trials, self.space.size), 0
        ends = None if self.aim.minutes is None else time.monotonic() + 60 * self.aim.minutes
        report("trials", 0, total)
        try:
            with work:
                while len(work.trials) < total and stale < _STALE:
                    if ends is not None and time.monotonic() >= ends and work.computed:
                        break
                    asked = proposer.ask()
                    new = [one for one in dict.fromkeys(asked) if one not in work.trials]
                    stale = 0 if new else stale + 1
                    work.do(new[: total - len(work.trials)])
                    known = [one for one in asked if one in work.trials]
                    if len(known) == len(asked):  # else the budget is spent
                        proposer.tell([work.trials[one] for one in asked])
                    report("trials", len(work.trials), total)
        except KeyboardInterrupt:
            return True
        return False

    def _judge(self, crew: Crew, cached: bool) -> _Judge:
        """Check names of objectives and constraints against a point, before anything takes long."""
        every = list(_spread(self.space))
        first: Row | None = None
        for indices in every:
            rows: list[Row] = []
            crew.compute([_before(self.space.points(indices)[0])], cached, rows.append)
            first = rows[0]
            if first["error"] is None:
                return _Judge(self.aim, first, bool(self.space.grid.frames))
        assert first is not None
        raise ConfigError(
            f"search: none of {len(every)} points across the space has a result: {first['error']}"
        )


class _Judge:
    """What makes a trial good."""

    def __init__(self, aim: Aim, row: Row, measures: bool) -> None:
        blank: NumberData = {"value": None, "unit": "", "meaning": "", "interval": None}
        numbers = dict(row["numbers"])
        if measures:
            numbers = dict.fromkeys(MEASURED, blank) | numbers
        table = Table.of([row | {"numbers": numbers}])
        self.goals = [table.objective(text) for text in aim.objectives]
        twice = [name for name, _ in self.goals if [n for n, _ in self.goals].count(name) > 1]
        if twice:
            raise InputError(f"search: {twice[0]} is an objective twice")
        self.limits = [table.limit(text) for text in aim.constraints]
        for name in (*(name for name, _ in self.goals), *(one.name for one in self.limits)):
            value = numbers[name]["value"]
            if isinstance(value, str):
                raise InputError(f"search: {name} is no number but a name, such as {value}")
        self.objectives, self.constraints = aim.objectives, aim.constraints
        self.measures = measures

    @property
    def before(self) -> list[Limit]:
        """Constraints that are decided before a frame runs."""
        return [one for one in self.limits if not self.measures
                or one.name.startswith(_KNOWN_BEFORE)]  # fmt: skip

    def trial(self, rows: Sequence[Row], limits: Sequence[Limit], sifted: bool = False) -> Trial:
        """Judge a trial by some of its limits."""
        group = Table.of(rows).groups[0]
        if group.error is not None:
            return Trial(tuple(rows), (), (*[0.0] * len(self.limits), _FAR), False)
        misses = [one.missed_by(group) if one in limits else 0.0 for one in self.limits]
        names = [name for name, _ in self.goals]
        if sifted or any(miss > 0 for miss in misses):
            return Trial(tuple(rows), (), (*misses, 0.0), sifted)
        there = [group.cells[name].value for name in names if name in group.cells]
        values = [float(value) for value in there if value is not None]
        if len(values) < len(names):
            return Trial(tuple(rows), (), (*misses, _FAR), False)
        pairs = zip(values, self.goals, strict=True)
        return Trial(tuple(rows), tuple(sign * v for v, (_, sign) in pairs), (*misses, 0.0), False)

    def front(self, trials: Sequence[Trial]) -> list[Group]:
        """Return the groups of the trials that no other one beats."""
        table = Table.of([row for trial in trials if trial.feasible for row in trial.rows])
        return table.front(self.objectives) if table.groups else []


class _Work:
    """Works trials out, or takes them from a study's folder."""

    def __init__(
        self, space: Space, judge: _Judge, crew: Crew, cached: bool, folder: Path | None
    ) -> None:
        self._space, self._judge, self._crew, self._cached = space, judge, crew, cached
        self._rows = {} if folder is None else engine.kept_rows(folder)
        self._log = None if folder is None else Log(folder)
        self._checked: set[str] = set()
        self.trials: dict[Indices, Trial] = {}
        self.computed = 0

    def __enter__(self) -> _Work:
        if self._log is not None:
            self._log.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.__exit__()

    def do(self, trials: Sequence[Indices]) -> None:
        """Work out what is not there: cheap stages of all, then frames of those that are left."""
        points = {one: self._space.points(one) for one in trials}
        first = {one: _before(held[0]) for one, held in points.items()}
        if self._judge.measures:
            # a trial whose own rows are there needs no sifting
            open_ = {one: p for one, p in first.items() if not self._all_there(points[one])}
            cheap = self._rows_of(list(open_.values()), keep=False)
            sifted = {}
            for one, point in open_.items():
                row = cheap[engine.identity(point)]
                trial = self._judge.trial([row], self._judge.before, sifted=True)
                if not trial.feasible:
                    sifted[one] = trial if row["error"] is None else replace(trial, sifted=False)
                    self._keep(row)
            dear = [p for one in trials if one not in sifted for p in points[one]]
        else:
            sifted, dear = {}, list(first.values())
            points = {one: [point] for one, point in first.items()}
        made = self._rows_of(dear, keep=True)
        for one in trials:
            rows = [made[engine.identity(p)] | {"settings": dict(p.settings)}
                    for p in points[one]] if one not in sifted else []  # fmt: skip
            self.trials[one] = sifted.get(one) or self._judge.trial(rows, self._judge.limits)

    def _all_there(self, points: Sequence[Point]) -> bool:
        return all(self._held(point) is not None for point in points)

    def _held(self, point: Point) -> Row | None:
        """Return the kept row of a point if it is what would come out today."""
        name = engine.identity(point)
        row = self._rows.get(name)
        if row is None or name in self._checked:
            return row
        if not engine.still_holds(row, point):
            del self._rows[name]
            return None
        self._checked.add(name)
        return row

    def _rows_of(self, points: Sequence[Point], keep: bool) -> dict[str, Row]:
        held = {engine.identity(point): self._held(point) for point in points}
        rows = {name: row for name, row in held.items() if row is not None}
        missing = [point for point in points if engine.identity(point) not in rows]

        def done(row: Row) -> None:
            rows[row["id"]] = row
            if keep:
                self._keep(row)

        if missing:
            self._crew.compute(missing, self._cached, done)
            self.computed += len(missing)
        return rows

    def _keep(self, row: Row) -> None:
        if row["id"] in self._checked:
            return
        self._rows[row["id"]] = row
        self._checked.add(row["id"])
        if self._log is not None:
            self._log.add(row)


def _before(point: Point) -> Point:
    """Return a point without frames."""
    return replace(point, frames=replace(point.frames, count=0))


def _spread(space: Space) -> Iterator[Indices]:
    """Yield some trials across the space: its ends, its middle and points between."""
    for share in (0.0, 1.0, 0.5, 0.25, 0.75):
        yield tuple(round(share * (len(values) - 1)) for values in space.axes.values())


def _number(value: object) -> float | None:
    """Return a setting as a number: itself, or what stands before its unit; None for others."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(str(value).split()[0])
    except (ValueError, IndexError):
        return None


class _All:
    """Proposes everything, where the budget is enough for it."""

    def __init__(self, space: Space) -> None:
        self._left = list(space.every())

    def ask(self) -> list[Indices]:
        """Return the next trials."""
        now, self._left = self._left[:_POPULATION], self._left[_POPULATION:]
        return now

    def tell(self, trials: Sequence[Trial]) -> None:
        """Nothing is learned."""


class _Optuna:
    """Proposes what a sampler of optuna does, a round at a time whatever the number of workers."""

    def __init__(self, space: Space, aim: Aim) -> None:
        optuna = _optuna()
        self._space, self._n = space, len(aim.objectives)
        self._round = _ROUND if aim.sampler == "tpe" else _POPULATION
        self._asked: list[OptunaTrial] = []
        self._study = optuna.create_study(
            directions=["minimize"] * self._n, sampler=_sampler(optuna, space, aim)
        )

    def ask(self) -> list[Indices]:
        """Return the next trials."""
        self._asked = [self._study.ask() for _ in range(self._round)]
        return [self._indices(trial) for trial in self._asked]

    def _indices(self, trial: OptunaTrial) -> Indices:
        return tuple(
            trial.suggest_int(axis, 0, len(values) - 1) if self._space.ordered(axis)
            else trial.suggest_categorical(axis, list(range(len(values))))
            for axis, values in self._space.axes.items()
        )  # fmt: skip

    def tell(self, trials: Sequence[Trial]) -> None:
        """Say what came of the trials that were asked for, in their order."""
        for asked, trial in zip(self._asked, trials, strict=True):
            for number, miss in enumerate(trial.misses):
                asked.set_constraint(str(number), max(0.0, miss))
            self._study.tell(asked, list(trial.costs) or [_BAD] * self._n)


def _proposer(space: Space, aim: Aim) -> _All | _Optuna:
    return _All(space) if space.size <= aim.trials else _Optuna(space, aim)


def _optuna() -> ModuleType:
    try:
        optuna = import_module("optuna")
    except ImportError:
        raise InputError(
            "search: needs optuna (pip install 'cimsim[search]'); without it: cimsim sweep"
        ) from None
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def _sampler(optuna: ModuleType, space: Space, aim: Aim) -> object:
    made: object
    if aim.sampler == "random":
        made = optuna.samplers.RandomSampler(seed=aim.seed)
    elif aim.sampler == "tpe":
        made = optuna.samplers.TPESampler(
            seed=aim.seed, n_startup_trials=_POPULATION, multivariate=True, constant_liar=True
        )
    else:
        made = optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=aim.seed)
    return made
