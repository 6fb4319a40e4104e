"""Train ResNet-20 or ResNet-9 on CIFAR-10 with noise on the weights, within a time that you give.

python -m benchmarks.cifar.train resnet20 --data cifar10 --out out/resnet20 --minutes 60

The same command goes on after anything: the checkpoint is replaced whole every minute or two, and
every step draws from its own number. 5000 of the 50,000 training images are held out.

Noise: before each step Gaussian numbers with a standard deviation of ``noise`` times the layer's
largest weight are added to every matrix, and taken away after it, as W. Wan et al. did (Nature 608,
2022). Activations are rounded in training as they are afterwards. The first part of the time sees
random crops of 24 x 24 pixels, which take half as long, the rest whole images moved by up to three
pixels; half of all are mirrored.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.cifar.data import load, split
from cimsim.files import replacing
from cimsim.rng import key
from cimsim.zoo.cifar import ResNet9, ResNet20

NETWORKS = {"resnet20": ResNet20, "resnet9": ResNet9}
BATCH, CROP, SMALL_UNTIL, WARM_UP = 128, 24, 0.55, 0.04
SAVE_S = 90


class Training:
    """One network's training: state on disk, one step at a time.

    Parameters
    ----------
    network : str
    data, out : Path
    minutes, rate, noise, decay : float
    seed : int
    """

    def __init__(
        self, network: str, data: Path, out: Path, minutes: float, rate: float, noise: float,
        seed: int,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.out, self.minutes, self.rate, self.noise, self.seed = out, minutes, rate, noise, seed
        self.model = NETWORKS[network]().to(memory_format=torch.channels_last)
        images, labels = load(data, "train")
        learn, self.held = split(labels)
        self.images, self.labels = images, labels
        self.learn = learn
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1 and p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
            lr=rate,
        )
        self.matrices = [m.weight for m in self.model.modules() if isinstance(m, _MATRICES)]
        self.step, self.used_s = 0, 0.0
        self._load()
        self.started, self.saved = time.monotonic() - self.used_s, time.monotonic()

    @property
    def fraction(self) -> float:
        """Used share of the time."""
        return self.used_s / 60 / self.minutes

    def advance(self) -> float:
        """Take one step; returns its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * _schedule(self.fraction)
        x, y = self._batch()
        generator = torch.Generator().manual_seed(
            key(self.seed, "cifar", "noise", self.step) % 2**63
        )
        clean = [w.detach().clone() for w in self.matrices]
        with torch.no_grad():
            for w in self.matrices:
                w += self.noise * w.abs().max() * torch.randn(w.shape, generator=generator)
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            scores = self.model(x)
        loss = nn.functional.cross_entropy(scores.float(), y)
        self.optimiser.zero_grad()
        loss.backward()
        with torch.no_grad():
            for w, was in zip(self.matrices, clean, strict=True):
                w.copy_(was)
        self.optimiser.step()
        self.step += 1
        self.used_s = time.monotonic() - self.started
        if time.monotonic() - self.saved > SAVE_S or self.fraction >= 1:
            self.save()
        return float(loss.detach())

    def save(self) -> None:
        """Write the checkpoint under another name and rename it."""
        state = {
            "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
            "step": self.step, "used_s": self.used_s,
        }  # fmt: skip
        with replacing(self.out / "checkpoint.pt") as scratch:
            torch.save(state, scratch)
        self.saved = time.monotonic()

    def held_out(self, count: int = 5000) -> float:
        """Share of held-out images with the right class, percent."""
        return accuracy(self.model, self.images[self.held[:count]], self.labels[self.held[:count]])

    def settle(self, count: int = 4992) -> None:
        """Measure the statistics of the batch norms anew, without noise, on whole images."""
        norms = [m for m in self.model.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean
        self.model.train()
        with torch.no_grad():
            for first in range(0, count, 2 * BATCH):
                self.model(_tensor(self.images[self.learn[first : first + 2 * BATCH]]))

    def _load(self) -> None:
        path = self.out / "checkpoint.pt"
        self.out.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.used_s = state["step"], state["used_s"]

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return images [B, 3, H, W] and labels of this step."""
        rng = np.random.default_rng(key(self.seed, "cifar", "batch", self.step) % 2**63)
        per_epoch = len(self.learn) // BATCH
        epoch, place = divmod(self.step, per_epoch)
        order = np.random.default_rng(key(self.seed, "cifar", "epoch", epoch) % 2**63)
        chosen = order.permutation(self.learn)[place * BATCH : (place + 1) * BATCH]
        images = self.images[chosen]
        if self.fraction < SMALL_UNTIL:
            size, most = CROP, 32 - CROP
        else:
            size, most = 32, 6
            images = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
        top, left = rng.integers(0, most + 1, (2, BATCH))
        parts = [
            image[t : t + size, s : s + size] for image, t, s in zip(images, top, left, strict=True)
        ]
        mirrored = rng.random(BATCH) < 0.5
        parts = [p[:, ::-1] if m else p for p, m in zip(parts, mirrored, strict=True)]
        labels = torch.from_numpy(self.labels[chosen].astype(np.int64))
        return _tensor(np.stack(parts)), labels


_MATRICES = (nn.Conv2d, nn.Linear)


def accuracy(model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Share of images with the right class, percent."""
    model.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, len(images), 250):
            scores = model(_tensor(images[first : first + 250]))
            right += int((scores.argmax(1).numpy() == labels[first : first + 250]).sum())
    return 100 * right / len(images)


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return pixels.float().div_(255).contiguous(memory_format=torch.channels_last)


def _schedule(fraction: float) -> float:
    """Warm-up, then a cosine to its end."""
    if fraction < WARM_UP:
        return max(fraction / WARM_UP, 0.02)
    return 0.5 * (1 + math.cos(math.pi * min((fraction - WARM_UP) / (1 - WARM_UP), 1.0)))


def main(
    network: Annotated[str, typer.Argument(help="resnet20 or resnet9.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="With train.tar.xz or train.npz.")],
    out: Annotated[Path, typer.Option(metavar="DIR")],
    minutes: Annotated[float, typer.Option(min=0.1)] = 60,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 4e-3,
    noise: Annotated[float, typer.Option(min=0, help="Of the largest weight.")] = 0.1,
    seed: int = 0,
) -> None:
    """Train, say every now and then how far it is, and write out/final.pt."""
    if network not in NETWORKS:
        raise typer.BadParameter(f"expected {' or '.join(NETWORKS)}, got '{network}'")
    torch.set_num_threads(1)
    training = Training(network, data, out, minutes, rate, noise, seed)
    mean, told = 2.3, time.monotonic()
    while training.fraction < 1:
        mean += 0.02 * (training.advance() - mean)
        if time.monotonic() - told > 60:
            told = time.monotonic()
            line: dict[str, Any] = {
                "step": training.step, "minutes": training.used_s / 60, "loss": mean,
            }  # fmt: skip
            print(json.dumps(line), flush=True)
    training.settle()
    final = {"model": training.model.state_dict(), "steps": training.step,
             "minutes": training.used_s / 60, "held_out": training.held_out()}  # fmt: skip
    torch.save(final, out / "final.pt")
    print(json.dumps({k: v for k, v in final.items() if k != "model"}), flush=True)


if __name__ == "__main__":
    typer.run(main)
