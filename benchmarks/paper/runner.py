"""Train jobs one after the other, each resumable, each in its own folder."""

from __future__ import annotations

import datetime
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.paper.job import Budget, Job
from cimsim.errors import CimsimError, ConfigError
from cimsim.files import replacing
from cimsim.zoo.errors import ZooError

if TYPE_CHECKING:
    from cimsim.training.config import TrainConfig
    from cimsim.training.data import Dataset
    from cimsim.training.train import Progress, TrainResult

logger = logging.getLogger(__name__)

DONE = "done.json"
SETTINGS = "settings.json"
LOCK = ".queue.lock"
State = Literal[
    "trained", "done before", "failed", "interrupted", "paused", "busy elsewhere", "waiting"
]
Show = Callable[[Job, "Progress"], None]


@dataclass(frozen=True, slots=True)
class Done:
    """How a network came out, stored as ``done.json`` in its folder.

    Attributes
    ----------
    network : str
        Stem of its weight file.
    budget_minutes, budget_steps
        The budget that it was given.
    steps, crops, minutes
        Spent: optimiser steps, crops seen, minutes of training (all parts of a resumed run).
    psnr_db, noisy_db : float
        On the held-out crops, of the averaged network and of its noisy input.
    device, seed, sha256, date
        Where the last part ran; seed; hash of the weight file; day of the end.
    judged_db : float, optional
        PSNR by which the best weights were chosen: with a chip in the loop the one on the chip.
    """

    network: str
    budget_minutes: float | None
    budget_steps: int | None
    steps: int
    crops: int
    minutes: float
    psnr_db: float
    noisy_db: float
    device: str
    seed: int
    sha256: str
    date: str
    judged_db: float | None = None

    @property
    def budget(self) -> Budget:
        """The budget that was used up."""
        return Budget(self.budget_minutes, self.budget_steps)

    @classmethod
    def read(cls, folder: Path) -> Done | None:
        """Read the note in a network's folder, None when it is not finished."""
        path = folder / DONE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{path}: cannot be read ({error}); delete it and the network goes on from its "
                "checkpoint"
            ) from None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one network in this call, or in this turn of it."""

    network: str
    state: State
    done: Done | None = None
    error: str = ""


class _Stop:
    """Shows progress, and ends a run by the exception of Ctrl-C when its time is over."""

    def __init__(self, job: Job, show: Show | None, end: float, turn: float) -> None:
        self.job, self.show = job, show
        self.end, self.turn = end, turn  # seconds: on the clock, and from the first step on
        self.started = self.used = False

    def __call__(self, report: Progress) -> None:
        if self.show is not None:
            self.show(self.job, report)
        if not self.started:  # clips are read by now
            self.started = True
            self.end = min(self.end, time.monotonic() + self.turn)
        if report.fraction < 1 and time.monotonic() >= self.end:
            self.used = True
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Runner:
    """Trains jobs.

    Attributes
    ----------
    data, out : Path
        Folder of training clips; folder that gets one folder for each job.
    device : str
    amp : bool, optional
        bfloat16 autocast; by default where the device is fast at it.
    dataset : Dataset, optional
        Clips in memory; read once from ``data`` when the first network needs them.
    poll_s : float
        Seconds between two looks at what another process trains.
    """

    data: Path
    out: Path
    device: str = "cpu"
    amp: bool | None = None
    dataset: Dataset | None = None
    poll_s: float = 5.0
    _read: dict[int, Dataset] = field(default_factory=dict)

    def run(
        self,
        jobs: Sequence[Job],
        show: Show | None = None,
        *,
        minutes: float | None = None,
        slice_minutes: float | None = None,
    ) -> Iterator[Outcome]:
        """Train jobs in their order and yield what became of each; a failure stops no other one.

        A job waits until the one that it starts from is trained. One that another process trains
        is passed over, and waited for when nothing else is left. An interruption (Ctrl-C) saves
        the network under way and ends the iteration.

        Parameters
        ----------
        jobs : sequence of Job
        show : callable, optional
            Called after every step.
        minutes : float, optional
            Of this call. The network under way is saved then.
        slice_minutes : float, optional
            After so long a job is saved, yielded as paused, and gets another turn after the others.
        """
        end = time.monotonic() + 60 * (math.inf if minutes is None else minutes)
        turn = 60 * (math.inf if slice_minutes is None else slice_minutes)
        left = list(jobs)
        while left:
            rest = end - time.monotonic()
            if rest <= 0:
                return
            passed = []
            for job in left:
                outcome = self._guarded(job, _Stop(job, show, end, turn))
                if outcome.state not in ("busy elsewhere", "waiting"):
                    break
                passed.append(outcome)
            else:
                if all(outcome.state == "waiting" for outcome in passed):
                    yield from passed  # for what has failed: nobody trains it
                    return
                try:
                    time.sleep(min(self.poll_s, rest))
                except KeyboardInterrupt:
                    yield Outcome(left[0].name, "interrupted")
                    return
                continue
            left.remove(job)
            if outcome.state == "paused":
                left.append(job)
            yield outcome
            if outcome.state == "interrupted":
                return

    def config(self, job: Job) -> TrainConfig:
        """Return the trainer's configuration for a job.

        Raises
        ------
        ConfigError
            For settings that the trainer does not take.
        """
        from cimsim.training.config import TrainConfig

        settings = dict(job.settings)
        if job.after is not None:
            settings["start"] = str(self.weights(job.after).resolve())
        return TrainConfig(
            model=job.model, options=dict(job.options), data=self.data, out=self.out / job.name,
            minutes=job.budget.minutes, steps=job.budget.steps, device=self.device, amp=self.amp,
            resume=True, **settings,
        )  # fmt: skip

    def weights(self, job: Job) -> Path:
        """Return where a job's weights are, or will be."""
        from cimsim.training.card import stem

        config = self.config(job)
        return config.out / f"{stem(config)}.safetensors"

    def finished(self, job: Job) -> Done | None:
        """Return the note of a job that has used up this budget or a larger one."""
        done = Done.read(self.out / job.name)
        return done if done is not None and done.budget.covers(job.budget) else None

    def busy(self, job: Job) -> bool:
        """Tell whether a process trains this job now."""
        from cimsim.training.checkpoint import FolderBusyError, locked

        folder = self.out / job.name
        if not folder.is_dir():
            return False
        try:
            with locked(folder, LOCK):
                return False
        except FolderBusyError:
            return True

    def _guarded(self, job: Job, stop: _Stop) -> Outcome:
        """Do what can be done for a job now, whatever goes wrong."""
        from cimsim.training.checkpoint import FolderBusyError, locked

        try:
            if job.after is not None and self.finished(job.after) is None:
                text = f"starts from {job.after.name}, which is not trained"
                return Outcome(job.name, "waiting", error=text)
            folder = self.out / job.name
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder, LOCK):
                return self._one(job, stop)
        except FolderBusyError as error:
            return Outcome(job.name, "busy elsewhere", error=str(error))
        except (CimsimError, ZooError) as error:
            return Outcome(job.name, "failed", error=str(error))
        except KeyboardInterrupt:  # while clips are read or a start is computed
            return Outcome(job.name, "interrupted")
        except Exception as error:
            # out of disk or memory, a fault of the driver: the next network may still work
            logger.exception("%s", job.name)
            return Outcome(job.name, "failed", error=f"{type(error).__name__}: {error}")

    def _clips(self, validation_scenes: int) -> Dataset:
        """Return the clips, read when they are first needed."""
        from cimsim.training.data import load_dataset

        if self.dataset is not None:
            return self.dataset
        if validation_scenes not in self._read:
            clips = load_dataset(self.data, validation_scenes=validation_scenes)
            self._read.clear()  # they are large
            self._read[validation_scenes] = clips
        return self._read[validation_scenes]

    def _one(self, job: Job, stop: _Stop) -> Outcome:
        from cimsim.training.train import train

        config = self.config(job)
        self._agree(job)
        done = self.finished(job)
        if done is not None:
            return Outcome(job.name, "done before", done)
        (config.out / DONE).unlink(missing_ok=True)
        clips = self._clips(config.validation_scenes)
        result = train(config, dataset=clips, progress=stop)
        if not result.finished:
            paused = stop.used and not result.interrupted
            return Outcome(job.name, "paused" if paused else "interrupted")
        return Outcome(job.name, "trained", self._finish(job, config, result))

    def _agree(self, job: Job) -> None:
        """Note the settings in the job's folder; refuse to go on with others."""
        from cimsim.training.checkpoint import CHECKPOINT

        folder = self.out / job.name
        settings = dict(job.settings)
        settings.pop("checkpoint_minutes", None)  # changes nothing but what a kill costs
        wanted = json.loads(json.dumps(settings))
        path = folder / SETTINGS
        if path.is_file() and (folder / CHECKPOINT).is_file():
            before = json.loads(path.read_text())
            changed = [
                f"{name} was {before.get(name)}, is {wanted.get(name)}"
                for name in sorted(before.keys() | wanted.keys())
                if before.get(name) != wanted.get(name)
            ]
            if changed:
                raise ConfigError(
                    f"{folder}: trained with other settings ({'; '.join(changed)}); "
                    "give another --out or delete this folder"
                )
        _write(path, wanted)

    def _finish(self, job: Job, config: TrainConfig, result: TrainResult) -> Done:
        """Write weights and card, then the note that the network is done."""
        from cimsim.training.card import save_trained
        from cimsim.zoo.weights import Card

        weights = save_trained(result, config)
        judged = result.psnr_db if result.chip_db is None else result.chip_db
        done = Done(
            network=job.name, budget_minutes=job.budget.minutes,
            budget_steps=job.budget.steps, steps=result.step, crops=result.step * config.batch,
            minutes=round(result.minutes, 2), psnr_db=round(result.psnr_db, 3),
            noisy_db=round(result.noisy_db, 3), device=_device_name(self.device),
            seed=config.seed, sha256=Card.read(weights.with_suffix(".json")).sha256,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            judged_db=round(judged, 3),
        )  # fmt: skip
        _write(config.out / DONE, asdict(done))
        return done


def _device_name(device: str) -> str:
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} thread(s)"


def _write(path: Path, values: Any) -> None:
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(values, indent=1) + "\n")
