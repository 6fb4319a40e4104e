"""What `cimsim.simulate` was asked, checked before anything long begins."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from cimsim.boundary.arguments import choice, number, whole
from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.session.frames import Clip, Progress, as_float
from cimsim.tasks.metrics import AbstractMetric, Metrics, metrics_of
from cimsim.tasks.running import TaskRun

if TYPE_CHECKING:
    from cimsim.display.doubts import Doubt
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.tasks.questions import Task
    from cimsim.video.clip import Clip as LongClip


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is passed on to the result as it is; see `cimsim.simulate`."""

    title: str | None
    identity: MappingABC[str, object] | None
    notes: Sequence[str]
    doubts: Sequence[Doubt]
    command: MappingABC[str, object] | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is run, on what, and how often; see `cimsim.simulate`.

    Only `checked` fills the last three: classes of the metrics, the first chip that is asked a
    task, and notes of what was assumed.
    """

    mapping: Mapping
    clip: Clip | LongClip | None
    task: Task | None
    noise_sigma: float | None
    seed: int
    schedule: Literal["pipelined", "sequential"]
    calibration: Clip | None
    threads: int | None
    report: Progress
    as_written: Mapping | None
    programmed: ProgrammedChip | None
    operands: Clip | None
    frame_rate_hz: float | None
    programmings: int
    noisy: bool
    reference: Clip | LongClip | None
    metrics: Metrics
    device: str | None
    kinds: tuple[type[AbstractMetric], ...] = ()
    task_run: TaskRun | None = None
    notes: tuple[str, ...] = ()

    @property
    def sigma(self) -> float:
        """Noise in 8-bit steps, once it is known."""
        return 15.0 if self.noise_sigma is None else self.noise_sigma

    def checked(self) -> Asked:
        """Return the same with numbers in their ranges, and nothing that excludes another.

        Raises
        ------
        InputError
        """
        seed = whole("seed", self.seed, 0, 2**63 - 1, InputError)
        programmings = whole("programmings", self.programmings, 1, 1_000_000, InputError)
        choice("schedule", self.schedule, ("pipelined", "sequential"), InputError)
        threads = self.threads
        if threads is not None:
            threads = whole("threads", threads, 1, 4096, InputError)
        kinds, task_run = self._kinds(), None
        if self.task is not None:
            task_run = TaskRun(self.mapping, self.task, seed, threads, kinds)
        self._check_pairs(programmings)
        sigma = self.noise_sigma
        if sigma is not None:
            sigma = number("noise_sigma", sigma, 0, 255, InputError)
        sigma, notes = self._noise(sigma, programmings)
        return replace(
            self, seed=seed, programmings=programmings, threads=threads, kinds=kinds,
            task_run=task_run, noise_sigma=sigma, notes=notes,
        )  # fmt: skip

    def _kinds(self) -> tuple[type[AbstractMetric], ...]:
        """Return the classes of metrics, checked for what there is to judge."""
        if not self.metrics:
            return ()
        if self.clip is None and self.task is None:
            raise InputError("metrics: nothing runs that they could judge; give a clip or a task")
        if self.task is None:
            return metrics_of(self.metrics, ("frames",), "a clip")
        return metrics_of(self.metrics, ("labels", "outputs"), "a task")

    def _check_pairs(self, programmings: int) -> None:
        """Refuse what does not go together."""
        from cimsim.session.collect import check_same_network

        clip, task, programmed = self.clip, self.task, self.programmed
        others = (clip, self.operands, programmed)
        if task is not None and any(one is not None for one in others):
            raise InputError(
                "task: a task brings its own inputs; leave out clip, operands, programmed"
            )
        if self.as_written is not None:
            check_same_network(self.as_written, self.mapping)
        if self.operands is not None and clip is not None:
            raise InputError("operands: a clip that runs gives the operands itself; leave one out")
        if programmed is not None and (clip is None or self.calibration is not None):
            what = "needs a clip to run" if clip is None else "is calibrated: leave out calibration"
            raise InputError(f"programmed: a programmed chip {what}")
        runs = clip is not None or task is not None
        if programmings > 1 and (not runs or programmed is not None):
            raise InputError(
                "programmings: expected more than 1 only with a clip and without a programmed "
                f"chip, got {programmings}"
            )

    def _noise(self, sigma: float | None, programmings: int) -> tuple[float, tuple[str, ...]]:
        """Check what goes with a noisy clip; return sigma and, where it was estimated, a note."""
        if self.noisy and self.clip is None:
            raise InputError("noisy: there is no clip; give one, or leave noisy out")
        if self.reference is not None and not self.noisy:
            raise InputError(
                "reference: the clip itself is clean; give noisy=True with a noisy one"
            )
        if programmings > 1 and self.noisy and self.reference is None:
            raise InputError("programmings: the PSNR of several chips needs a clean reference")
        if sigma is not None or not self.noisy or self.clip is None:
            return 15.0 if sigma is None else sigma, ()
        return estimated_sigma(self.clip)


def estimated_sigma(clip: Clip | LongClip) -> tuple[float, tuple[str, ...]]:
    """Estimate the noise of a noisy clip, in 8-bit steps, and say so.

    Returns
    -------
    float
    tuple of str
        A note for the result.
    """
    from cimsim.video.clip import Clip as Opened
    from cimsim.video.sigma import estimate_sigma

    sigma = clip.sigma() if isinstance(clip, Opened) else estimate_sigma(as_float(clip, noisy=True))
    return sigma, (
        f"sigma {sigma:.1f} estimated from the clip's finest wavelet coefficients (--sigma says "
        "otherwise): texture raises it, compression lowers it",
    )
