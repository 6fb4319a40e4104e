"""The chips that run a clip or a task, one after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cimsim.engine.on_torch import reading_on
from cimsim.engine.workers import one_torch_thread
from cimsim.session import retention
from cimsim.session.asked import Asked
from cimsim.session.functional import FunctionalRun, Judging
from cimsim.tasks.running import TaskRun

if TYPE_CHECKING:
    from cimsim.engine.written import Learned
    from cimsim.tasks.measures import Measure
    from cimsim.tasks.questions import Score


@dataclass(frozen=True)
class Ran:
    """What the first chip did, and what all of them gave.

    Attributes
    ----------
    clip : FunctionalRun or None
    task : TaskRun or None
        At most one of the two; none where nothing ran.
    others : tuple of float
        PSNR of the further chips where a clip is denoised, dB.
    scores : list of list of Score
        Of every chip, the first one's first; empty without task and metrics.
    retained : tuple of Measure
        What the aged chip gives at both ends of what is known of its cells.
    """

    clip: FunctionalRun | None = None
    task: TaskRun | None = None
    others: tuple[float, ...] = ()
    scores: list[list[Score]] = field(default_factory=list)
    retained: tuple[Measure, ...] = ()

    @property
    def first(self) -> FunctionalRun | TaskRun | None:
        """Whichever of both ran."""
        return self.clip or self.task


def run_chips(asked: Asked) -> Ran:
    """Program, calibrate and run as many chips as were asked for."""
    clip = _denoised(asked) if asked.clip is not None else None
    with reading_on(asked.device):
        others, scores, learned = _others(asked, clip)
    with one_torch_thread(), reading_on(asked.device):
        kept = retention.of_clip(clip, asked.report) if clip else ()
        if asked.task_run:
            kept = retention.of_task(asked.task_run, learned, asked.report)
    return Ran(clip, asked.task_run, tuple(others), scores, kept)


def _denoised(asked: Asked) -> FunctionalRun:
    """Run the first chip on a clip."""
    run = _run_of(asked, asked.seed)
    with one_torch_thread(), reading_on(asked.device):
        if asked.programmed is None:
            run.prepare(asked.calibration, asked.report)
        else:
            run.take(asked.programmed)
        run.execute(asked.report)
    return run


def _run_of(asked: Asked, seed: int) -> FunctionalRun:
    """Return a chip of some seed before the frames of the first one."""
    assert asked.clip is not None
    judging = Judging(
        noisy=asked.noisy, reference=asked.reference, metrics=asked.kinds, noise_seed=asked.seed
    )
    return FunctionalRun(asked.mapping, asked.clip, asked.sigma, seed, asked.threads, judging)


def _others(
    asked: Asked, clip: FunctionalRun | None
) -> tuple[list[float], list[list[Score]], Learned | None]:
    """Run the further chips; return their PSNR, all scores, and what chips share."""
    if asked.task_run is not None:
        return [], *_answers(asked, asked.task_run)
    if clip is None:
        return [], [], None
    found = _repeated(asked)
    scores = [clip.scores(), *(scores for _, scores in found)] if asked.kinds else []
    return [psnr for psnr, _ in found], scores, None


def _answers(asked: Asked, first: TaskRun) -> tuple[list[list[Score]], Learned | None]:
    """Program and ask one chip after another; return the scores of each, and what all share."""
    found, learned = [], None
    for chip in range(asked.programmings):
        run = first if chip == 0 else TaskRun(
            first.mapping, first.task, first.seed + chip, first.threads, first.metrics
        )  # fmt: skip
        with one_torch_thread():
            learned = run.prepare(asked.report, learned)
            run.execute(asked.report)
        found.append(run.scores())
        if run.done < run.task.count:
            break
    return found, learned


def _repeated(asked: Asked) -> list[tuple[float, list[Score]]]:
    """Return the mean PSNR of further chips on the same noisy frames, dB, and their metrics."""
    found = []
    for chip in range(1, asked.programmings):
        run = _run_of(asked, asked.seed + chip)
        with one_torch_thread():
            run.prepare(asked.calibration, asked.report)
            run.execute(asked.report)
        quality = run.quality()
        assert quality is not None
        found.append((quality.psnr_db, run.scores()))
    return found
