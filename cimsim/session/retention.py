"""What an aged chip gives at both ends of what is known of its cells' retention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from cimsim.chip.ranges import at_ends
from cimsim.mapping.mapping import Mapping
from cimsim.tasks.measures import Measure
from cimsim.tasks.running import TaskRun

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.engine.written import Learned
    from cimsim.session.functional import FunctionalRun

Progress = Callable[[str, int, int], None]
FIELD = "device.charge_loss"


def ends_of(chip: Chip) -> tuple[Chip, ...]:
    """Return the chip with the lowest and with the highest loss that its file gives a range for.

    Returns
    -------
    tuple of Chip
        Two; none of a fresh chip, or where the loss has no range: who sets it asks what if. None
        where a drift of the user's own takes the place of the loss, either.
    """
    if chip.conditions.time_s == 0 or FIELD not in chip.history.ranges:
        return ()
    if chip.device.parameters.get("drift_per_decade") is not None:
        return ()
    return at_ends(chip, FIELD)


def _told(chips: tuple[Chip, ...]) -> str:
    """Write the range."""
    low, high = (100 * float(str(chip.device.parameters["charge_loss"])) for chip in chips)
    return f"{FIELD} of {low:.3g} .. {high:.3g} % per decade"


def of_clip(run: FunctionalRun, progress: Progress) -> tuple[Measure, ...]:
    """Age the same cells by the least and by the largest loss, and denoise the same frames.

    Parameters
    ----------
    run : FunctionalRun
        Has denoised them with the loss of the chip file, on a chip that it programmed itself.
    progress : callable

    Returns
    -------
    tuple of Measure
        One, its interval the PSNR at both ends; none where there is nothing to say.
    """
    from cimsim.chip.cells import device_of
    from cimsim.engine.prepare import prepare
    from cimsim.session.functional import FunctionalRun, Judging

    chips, quality = ends_of(run.mapping.chip), run.quality()
    if not chips or quality is None or run.learned is None or len(run.chip) < len(run.noisy):
        return ()
    found = []
    for chip in chips:
        mapping = replace(run.mapping, chip=chip)
        end = FunctionalRun(
            mapping, run.noisy, run.sigma, run.seed, run.threads,
            Judging(noisy=True, reference=run.clean),
        )  # fmt: skip
        end.calibrated = prepare(
            mapping, device_of(chip), seed=run.seed, threads=run.threads, **run.learned
        )
        end.execute(progress)
        if len(end.chip) < len(run.noisy):
            return ()
        other = end.quality()
        assert other is not None
        found.append(other.psnr_db)
    meaning = f"mean PSNR of this chip's aged cells; interval: {_told(chips)}"
    return (Measure("psnr_by_retention", "dB", meaning, (quality.psnr_db,), None,
                    _around(quality.psnr_db, found), "retention"),)  # fmt: skip


def of_task(run: TaskRun, learned: Learned | None, progress: Progress) -> tuple[Measure, ...]:
    """Age the same cells by the least and by the largest loss, and ask the same samples.

    Parameters
    ----------
    run : TaskRun
        Was asked with the loss of the chip file.
    learned : dict
        What its `TaskRun.prepare` returned.
    progress : callable
    """
    chips = ends_of(run.mapping.chip)
    if not chips or run.done < run.task.count:
        return ()
    scores = []
    for chip in chips:
        mapping: Mapping = replace(run.mapping, chip=chip)
        end = TaskRun(mapping, run.task, run.seed, run.threads)
        end.prepare(progress, learned)
        end.execute(progress)
        if end.done < run.task.count:
            return ()
        scores.append(end.judge.scores())
    told = _told(chips)
    return tuple(
        Measure(
            f"{score.name}_by_retention", score.unit,
            f"{score.meaning}, this chip's aged cells; interval: {told}", (score.chip,),
            score.reference, _around(score.chip, [ends[i].chip for ends in scores]), "retention",
        )
        for i, score in enumerate(run.judge.scores())
    )  # fmt: skip


def _around(value: float, ends: list[float]) -> tuple[float, float]:
    """Return the lowest and the highest of three: more loss need not be worse by chance."""
    return min(value, *ends), max(value, *ends)


def why(chip: Chip) -> str:
    """Say on what the interval rests, for a note; empty of a chip without one."""
    chips = ends_of(chip)
    source = chip.sources.get(FIELD)
    if not chips or source is None:
        return ""
    return f"retention rests on {_told(chips)} at 25 °C ({source.kind}): {source.text}"
