"""Train the networks of a recipe one after the other, each resumable, each in its own folder."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.paper.recipe import Entry, Recipe
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
State = Literal["trained", "done before", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What every network may spend: minutes, optimiser steps or, when both are given, the less."""

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
    """What became of one network in this call."""

    network: str
    state: State
    done: Done | None = None
    error: str = ""


@dataclass(frozen=True)
class Runner:
    """Trains networks of a recipe.

    Attributes
    ----------
    recipe : Recipe
    data, out : Path
        Folder of training clips; folder that gets one folder for each network.
    budget : Budget
        Of each network.
    device : str
    amp : bool, optional
        bfloat16 autocast; by default where the device is fast at it.
    dataset : Dataset, optional
        Clips in memory; read once from ``data`` when the first network needs them.
    """

    recipe: Recipe
    data: Path
    out: Path
    budget: Budget
    device: str = "cpu"
    amp: bool | None = None
    dataset: Dataset | None = None

    def run(
        self,
        entries: Sequence[Entry],
        progress: Callable[[Entry, Progress], None] | None = None,
    ) -> Iterator[Outcome]:
        """Train the networks and yield what became of each; a failure does not stop the others.

        An interruption (Ctrl-C) saves the network under way and ends the iteration.
        """
        for entry in entries:
            try:
                outcome = self._one(entry, progress)
            except (CimsimError, ZooError) as error:
                outcome = Outcome(entry.stem, "failed", error=str(error))
            except KeyboardInterrupt:  # while clips are read or a start is computed
                outcome = Outcome(entry.stem, "interrupted")
            except Exception as error:
                # out of disk or memory, a fault of the driver: the next network may still work
                logger.exception("%s", entry.stem)
                outcome = Outcome(entry.stem, "failed", error=f"{type(error).__name__}: {error}")
            yield outcome
            if outcome.state == "interrupted":
                return

    def config(self, entry: Entry) -> TrainConfig:
        """Return the trainer's configuration for a network."""
        from cimsim.training.config import TrainConfig

        settings = self.recipe.settings(entry)
        if entry.after is not None:
            settings["start"] = str(self.weights(self.recipe.named(entry.after)))
        return TrainConfig(
            model=entry.model, options=entry.options, data=self.data, out=self.out / entry.stem,
            minutes=self.budget.minutes, steps=self.budget.steps, device=self.device, amp=self.amp,
            resume=True, **settings,
        )  # fmt: skip

    def weights(self, entry: Entry) -> Path:
        """Return the path of a network's weight file, which is there when it is finished."""
        return self.out / entry.stem / f"{entry.weights_stem}.safetensors"

    def finished(self, entry: Entry) -> Done | None:
        """Return the note of a network that has used up this budget or a larger one."""
        done = Done.read(self.out / entry.stem)
        return done if done is not None and done.budget.covers(self.budget) else None

    @cached_property
    def _clips(self) -> Dataset:
        from cimsim.training.data import load_dataset

        if self.dataset is not None:
            return self.dataset
        return load_dataset(self.data, validation_scenes=self.recipe.common.validation_scenes)

    def _one(self, entry: Entry, progress: Callable[[Entry, Progress], None] | None) -> Outcome:
        from cimsim.training.train import train

        config = self.config(entry)
        self._agree(entry)
        done = self.finished(entry)
        if done is not None:
            return Outcome(entry.stem, "done before", done)
        (config.out / DONE).unlink(missing_ok=True)
        show = None if progress is None else lambda report: progress(entry, report)
        result = train(config, dataset=self._clips, progress=show)
        if not result.finished:
            return Outcome(entry.stem, "interrupted")
        return Outcome(entry.stem, "trained", self._finish(entry, config, result))

    def _agree(self, entry: Entry) -> None:
        """Note the settings in the network's folder; refuse to go on with others."""
        from cimsim.training.checkpoint import CHECKPOINT

        folder = self.out / entry.stem
        settings = self.recipe.settings(entry)
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
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, wanted)

    def _finish(self, entry: Entry, config: TrainConfig, result: TrainResult) -> Done:
        """Write weights and card, then the note that the network is done."""
        from cimsim.training.card import save_trained
        from cimsim.zoo.weights import Card

        weights = save_trained(result, config)
        done = Done(
            network=entry.stem, budget_minutes=self.budget.minutes,
            budget_steps=self.budget.steps, steps=result.step, crops=result.step * config.batch,
            minutes=round(result.minutes, 2), psnr_db=round(result.psnr_db, 3),
            noisy_db=round(result.noisy_db, 3), device=_device_name(self.device),
            seed=config.seed, sha256=Card.read(weights.with_suffix(".json")).sha256,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
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
