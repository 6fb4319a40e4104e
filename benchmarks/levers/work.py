"""Do the jobs: train, prune, measure. What is done is kept in a folder and never done again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import cimsim
from benchmarks.levers.plan import CHIP, SMALL_ARRAYS, Budget, Job, Measure, Pruning, Training
from cimsim.errors import InputError, SimulationError
from cimsim.files import replacing
from cimsim.pruning.budget import Arrays
from cimsim.pruning.prune import crops, prune
from cimsim.training.card import save_trained
from cimsim.training.config import TrainConfig
from cimsim.training.data import Dataset, load_dataset
from cimsim.training.train import train
from cimsim.video.io import read_clip
from cimsim.zoo.weights import Card, save_weights

SIGMA = 15.0
VALIDATION_CROP = 96
TRACED = 64  # edge of the frame on which channels are followed


class Work:
    """A folder of finished jobs.

    Parameters
    ----------
    out : Path
        Each training and pruning has a folder of its own; ``results.json`` holds what was measured.
    data : Path
        Clips to train on.
    clips : dict of str to uint8 [T, H, W, 3]
        Clips to measure on.
    budget : Budget
    say : callable
        Takes lines for people.
    """

    def __init__(
        self, out: Path, data: Path, clips: dict[str, Any], budget: Budget,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.out, self.data, self.clips, self.budget, self.say = out, data, clips, budget, say
        self._dataset: Dataset | None = None
        out.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, dict[str, Any]] = {}
        if self.file.is_file():
            kept = json.loads(self.file.read_text())
            if kept["protocol"] != self.protocol:
                raise InputError(
                    f"{self.file}: was measured with other clips or steps ({kept['protocol']}, now "
                    f"{self.protocol}); give the same options or another --out"
                )
            self.results = kept["results"]

    @property
    def file(self) -> Path:
        """Where results are kept."""
        return self.out / "results.json"

    @property
    def protocol(self) -> dict[str, Any]:
        """What all results depend on."""
        shapes = {name: list(clip.shape[:3]) for name, clip in self.clips.items()}
        return {"budget": asdict(self.budget), "clips": shapes, "sigma": SIGMA}

    @property
    def dataset(self) -> Dataset:
        """The training clips, decoded when they are first needed."""
        if self._dataset is None:
            self.say("reading clips")
            self._dataset = load_dataset(self.data)
        return self._dataset

    def weights(self, source: str) -> str:
        """Return the weight file of a job, or the name of shipped weights."""
        done = self.out / source / "done.json"
        return str(json.loads(done.read_text())["weights"]) if done.is_file() else source

    def do(self, job: Job) -> bool:
        """Do a job; False when it was done before."""
        if isinstance(job, Measure):
            if job.name in self.results:
                return False
            self.say(f"measuring {job.name}")
            self.results[job.name] = asdict(job) | self._measured(job)
            with replacing(self.file) as scratch:
                kept = {"protocol": self.protocol, "results": self.results}
                scratch.write_text(json.dumps(kept, indent=1))
            return True
        folder = self.out / job.name
        if (folder / "done.json").is_file():
            return False
        folder.mkdir(exist_ok=True)
        path = (
            self._trained(job, folder) if isinstance(job, Training) else self._pruned(job, folder)
        )
        if path is None:
            raise KeyboardInterrupt
        (folder / "done.json").write_text(json.dumps({"weights": str(path)}))
        return True

    def _trained(self, job: Training, folder: Path) -> Path | None:
        self.say(f"training {job.name}: {job.steps} steps")
        chip = job.overrides is not None
        config = TrainConfig(
            model=job.model, options=dict(job.options), data=self.data, out=folder,
            steps=job.steps, batch=self.budget.batch, crop=self.budget.crop,
            start=job.start if job.start == "random" else self.weights(job.start),
            teacher=job.teacher, seed=job.seed, hw=CHIP if chip else None,
            overrides=tuple(f"{k}={v}" for k, v in (job.overrides or {}).items()),
            warmup_steps=min(100, job.steps // 8), ema=1 - min(0.1, 8 / job.steps),
            validation_crop=VALIDATION_CROP, checkpoint_minutes=5.0, device="cpu",
        )  # fmt: skip
        result = train(config, dataset=self.dataset)
        self.say(f"  {result.minutes:.1f} min, held-out crops {result.psnr_db:.2f} dB")
        return save_trained(result, config) if result.finished else None

    def _pruned(self, job: Pruning, folder: Path) -> Path:
        self.say(f"pruning {job.name}: to {job.arrays} arrays")
        network = cimsim.load_network(job.model, {}, self.weights(job.source))
        graph = cimsim.trace(network.module, network.example(TRACED, TRACED))
        chip = cimsim.load_hw(CHIP, SMALL_ARRAYS)
        batches = crops(self.dataset, n_frames=network.n_frames, sigma=SIGMA)
        done = prune(network.module, graph, Arrays(job.arrays, chip, "im2col"), batches)
        path = folder / f"{job.model}.safetensors"
        card = Card(
            model=job.model, options={}, data=self.data.name, licence="of the benchmark",
            steps=0, minutes=0.0, device="cpu", seed=0, sigma=(SIGMA, SIGMA), psnr_db={},
            command=f"benchmarks.levers, {job.source} to {job.arrays} arrays",
            code_version=cimsim.__version__,
        )  # fmt: skip
        save_weights(done.model, path, card)
        return path

    def _measured(self, job: Measure) -> dict[str, Any]:
        """Return PSNR in float and on the chip, arrays, energy per frame and weights."""
        chip = cimsim.load_hw(CHIP, copy.deepcopy(dict(job.overrides)))
        weights = self.weights(job.weights)
        network = cimsim.load_network(job.model, dict(job.options), weights)
        height, width = next(iter(self.clips.values())).shape[1:3]
        graph = cimsim.trace(network.module, network.example(height, width))
        mapping = cimsim.map_graph(graph, chip)
        written = cimsim.program(mapping, noise_sigma=SIGMA, seed=0, threads=1)
        noisy, floats, chips = [], [], []
        for clip in self.clips.values():
            result = cimsim.simulate(
                mapping, clip, noise_sigma=SIGMA, seed=0, threads=1, programmed=written
            )
            if result.quality is None:
                raise SimulationError(f"{job.name}: a run without a quality")
            noisy.append(result.quality.mean("noisy_psnr"))
            floats.append(result.quality.mean("float_psnr"))
            chips.append(result.quality.mean("chip_psnr"))
        return {
            "noisy_db": float(np.mean(noisy)), "float_db": float(np.mean(floats)),
            "chip_db": float(np.mean(chips)), "arrays": mapping.arrays_used,
            "energy_j": result.energy.total_j, "weights_count": mapping.total.weights,
            "conversions": mapping.total.conversions, "file": weights,
        }  # fmt: skip


def read_clips(folder: Path, frames: int, size: tuple[int, int], most: int) -> dict[str, Any]:
    """Read the centre of the first frames of every clip of a folder.

    Parameters
    ----------
    folder : Path
        One folder of images or one video file for each clip.
    frames : int
    size : (int, int)
        Height and width of the cut; frames must be as large.
    most : int
        Clips to take.

    Raises
    ------
    InputError
        When there is no clip, or one is too small.
    """
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() or path.suffix in (".mp4", ".avi", ".mkv"):
            clip = read_clip(path, frames)
            top, left = ((clip.shape[1 + i] - size[i]) // 2 for i in range(2))
            if min(top, left) < 0:
                raise InputError(f"{path}: frames are smaller than {size[1]}x{size[0]}")
            found[path.stem] = clip[:, top : top + size[0], left : left + size[1]]
    if not found:
        raise InputError(f"--test: no clip in '{folder}': give a folder of clips")
    return dict(list(found.items())[:most])
