"""What is trained, pruned and measured: a list of jobs, each of which needs only earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cimsim.errors import ConfigError, suggest

CHIP = "eflash40nm"
SMALL_ARRAYS = {"array.rows": 256, "array.cols": 256}
ARRAYS = (40, 27, 20)  # of the 54 that the block takes on such arrays: 74, 50, 37 %
WIDTHS = ((24, 22), (16, 15), (12, 11))  # at full size, and per frame
SEEDS = (0, 1)
BITS = tuple({"weights.bits": bits} for bits in (6, 4)) + tuple(
    {"adc.bits": bits} for bits in (6, 5, 4)
)
BLOCK, FOLD = "fastdvdnet-block", "foldnet"
FOLD_OPTIONS = {"stride": 2}


@dataclass(frozen=True, slots=True)
class Budget:
    """Optimiser steps of each kind of training, and their crops.

    Attributes
    ----------
    whole, tune, student, chip : int
        A block from random weights; fine-tuning after pruning; a student of distillation; with the
        chip in the loop.
    batch, crop : int
    """

    whole: int = 900
    tune: int = 300
    student: int = 1200
    chip: int = 200
    batch: int = 4
    crop: int = 64

    def scaled(self, share: float) -> Budget:
        """Return a share of all steps, at least two."""
        steps = (self.whole, self.tune, self.student, self.chip)
        return Budget(*(max(2, round(share * n)) for n in steps), self.batch, self.crop)


@dataclass(frozen=True, slots=True)
class Training:
    """One training run; ``start`` is an earlier job, or ``random``."""

    name: str
    model: str
    options: Mapping[str, int]
    steps: int
    start: str = "random"
    teacher: str | None = None
    seed: int = 0
    overrides: Mapping[str, int] | None = None  # of the chip in the loop; None: no chip


@dataclass(frozen=True, slots=True)
class Pruning:
    """Weights of an earlier job, or shipped ones, cut to so many arrays."""

    name: str
    model: str
    source: str
    arrays: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Weights of a job, or shipped ones, on the test clips: one mark of a figure.

    Attributes
    ----------
    figure, series, label : str
        Where it is drawn.
    x : float
        Bits or seed, where the figure has them.
    """

    figure: str
    series: str
    label: str
    weights: str
    model: str
    options: Mapping[str, int] = field(default_factory=dict)
    overrides: Mapping[str, int] = field(default_factory=dict)
    x: float = 0.0

    @property
    def name(self) -> str:
        """Key of the result."""
        return f"{self.figure}/{self.series}/{self.label}"


Job = Training | Pruning | Measure


PARTS = ("distillation", "bits", "pruning")


def jobs(budget: Budget, only: str = "") -> list[Job]:
    """Return the jobs of one part or of all, in an order in which each finds what it needs.

    Raises
    ------
    ConfigError
        For an unknown part.
    """
    if only and only not in PARTS:
        raise ConfigError(f"--only: '{only}' is unknown{suggest(only, PARTS)}")
    parts = {"pruning": (_shipped(), _pruning(budget)), "distillation": (_distillation(budget),),
             "bits": (_bits(budget),)}  # fmt: skip
    found = [job for part in ([only] if only else PARTS) for jobs in parts[part] for job in jobs]
    return _free_first(found)


def _shipped() -> Iterator[Job]:
    """Yield the shipped block pruned and not trained again."""
    yield Measure("pruning", "pruned, not trained again", "54", BLOCK, BLOCK, {}, SMALL_ARRAYS)
    for n in ARRAYS:
        yield Pruning(f"shipped-{n}", BLOCK, BLOCK, n)
        yield Measure(
            "pruning", "pruned, not trained again", str(n), f"shipped-{n}", BLOCK, {}, SMALL_ARRAYS
        )


def _pruning(budget: Budget) -> Iterator[Job]:
    """Yield a block, what is pruned from it, and narrow blocks, all of equally many steps."""
    for width, per_frame in WIDTHS:
        options = {"width": width, "per_frame": per_frame}
        name = f"width-{width}"
        yield Training(name, BLOCK, options, budget.whole + budget.tune)
        yield Measure("pruning", "narrower from the start", f"width {width}", name, BLOCK, options,
                      SMALL_ARRAYS)  # fmt: skip
    yield Training("block", BLOCK, {}, budget.whole)
    for n in (54, *ARRAYS):
        start = "block"
        if n in ARRAYS:
            start = f"block-{n}"
            yield Pruning(start, BLOCK, "block", n)
        yield Training(f"block-{n}-tuned", BLOCK, {}, budget.tune, start)
        yield Measure("pruning", "pruned, then fine-tuned", str(n), f"block-{n}-tuned", BLOCK, {},
                      SMALL_ARRAYS)  # fmt: skip


def _distillation(budget: Budget) -> Iterator[Job]:
    for seed in SEEDS:
        for teacher in (None, BLOCK):
            series = "alone" if teacher is None else "with a teacher"
            name = f"fold-{'alone' if teacher is None else 'taught'}-{seed}"
            yield Training(name, FOLD, FOLD_OPTIONS, budget.student, "random", teacher, seed)
            yield Measure(
                "distillation", series, f"seed {seed}", name, FOLD, FOLD_OPTIONS, {}, seed
            )


def _bits(budget: Budget) -> Iterator[Job]:
    """Yield the shipped block, float and trained for the chip of 8 bits, on fewer bits."""
    trained = f"{BLOCK}_{CHIP}"
    for overrides in ({}, *BITS):
        what = " ".join(f"{key}={value}" for key, value in overrides.items()) or "8 bits"
        yield Measure("bits", "no chip in training", what, BLOCK, BLOCK, {}, overrides)
        yield Measure("bits", "trained for 8 bits", what, trained, BLOCK, {}, overrides)
        if overrides:
            name = f"bits-{what}"
            yield Training(name, BLOCK, {}, budget.chip, trained, None, 0, overrides)
            yield Measure("bits", "trained for the bits", what, name, BLOCK, {}, overrides)


def without_training(found: list[Job]) -> list[Job]:
    """Return the jobs that need no trained weights but shipped ones."""
    trained: set[str] = set()
    free: list[Job] = []
    for job in found:
        if (
            isinstance(job, Training)
            or (job.source if isinstance(job, Pruning) else job.weights) in trained
        ):
            trained.add(job.name)
        else:
            free.append(job)
    return free


def _free_first(found: list[Job]) -> list[Job]:
    """Move what needs no training to the front: a run that is stopped early shows it."""
    free = without_training(found)
    return free + [job for job in found if job not in free]
