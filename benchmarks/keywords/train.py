"""Train a keyword network on spoken digits, the last part of the time with the chip in the loop.

python -m benchmarks.keywords.train dscnn --data spoken-digits --out out/dscnn --minutes 8

It learns from the training recordings of the data set's own split but those with an index of
`HELD_OUT` or more, which judge it; the test recordings are left alone. Each recording is moved by
up to 0.1 s, played up to a tenth faster or slower and gets white noise of 15 to 45 dB below it,
drawn anew every time. From `CHIP_FROM` of the time on every step draws another chip
(`ChipInTheLoop`) and batch norms keep their statistics. The checkpoint is replaced whole once a
minute; the same command goes on from it.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from cimsim.chip.load import load_hw
from cimsim.files import replacing
from cimsim.rng import key
from cimsim.tasks.cepstra import RATE, cepstra
from cimsim.tasks.recordings import Recording, load
from cimsim.training.hardware import ChipInTheLoop
from cimsim.zoo import registry

BATCH, CHIP_FROM, RECALIBRATE, CHIPS = 100, 0.6, 25, 5
HELD_OUT = 45  # index of the first recordings that judge
WARM_UP, SAVE_S = 0.03, 60.0


class Training:
    """One keyword network's training.

    Parameters
    ----------
    network : str
        Of the zoo.
    data, out : Path
    hw : str
    minutes, rate : float
    seed : int
    """

    def __init__(
        self, network: str, data: Path, out: Path, hw: str, minutes: float, rate: float, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.out, self.minutes, self.rate, self.seed = out, minutes, rate, seed
        _, recordings = load(data)
        self.learn = [r for r in recordings.recordings if r.index < HELD_OUT]
        self.held = _batch([r for r in recordings.recordings if r.index >= HELD_OUT], None)
        self.model = registry.build(network)
        _scale(self.model, _batch(self.learn[:: len(self.learn) // 500], None)[0])
        self.chip = ChipInTheLoop(self.model, load_hw(hw))
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=0.02)
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
        rng = np.random.default_rng(key(self.seed, "keywords", "batch", self.step) % 2**63)
        chosen = rng.choice(len(self.learn), BATCH, replace=False)
        x, y = _batch([self.learn[i] for i in chosen], rng)
        with_chip = self.fraction >= CHIP_FROM
        if with_chip and (self.step % RECALIBRATE == 0 or not self.chip.state_dict()):
            self.chip.calibrate(x)
        draw = key(self.seed, "keywords", "chip", self.step) % 2**63
        self.model.train()
        with self.chip.applied(draw) if with_chip else nullcontext():
            loss = nn.functional.cross_entropy(self.model(x), y, label_smoothing=0.05)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self.used_s = time.monotonic() - self.started
        if time.monotonic() - self.saved > SAVE_S:
            self.save()
        return float(loss.detach())

    @torch.no_grad()
    def judged(self) -> tuple[float, float]:
        """Share of held-out recordings with the right word, percent: float, and mean of `CHIPS`."""
        self.model.eval()
        x, y = self.held

        def share() -> float:
            return 100 * float((self.model(x).argmax(1) == y).double().mean())

        found, total = share(), 0.0
        self.chip.calibrate(x)
        for draw in range(CHIPS):
            with self.chip.applied(key(draw, "keywords", "validation") % 2**63):
                total += share() / CHIPS
        return found, total

    def save(self) -> None:
        """Write the checkpoint under another name and rename it."""
        state = {
            "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
            "chip": self.chip.state_dict(), "step": self.step, "used_s": self.used_s,
        }  # fmt: skip
        with replacing(self.out / "checkpoint.pt") as scratch:
            torch.save(state, scratch)
        self.saved = time.monotonic()

    def _load(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / "checkpoint.pt"
        if path.is_file():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.chip.load_state_dict(state["chip"])
            self.step, self.used_s = state["step"], state["used_s"]


def _batch(recordings: list[Recording], rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
    """Return cepstra [B, 1, frames, coefficients] and digits, changed by ``rng`` if given."""
    found = [cepstra(r.samples if rng is None else _changed(r.samples, rng)) for r in recordings]
    digits = torch.tensor([r.digit for r in recordings])
    return torch.from_numpy(np.stack(found)[:, None]), digits


def _changed(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Play faster or slower, add noise, and silence on one side, which moves the middle."""
    places = np.arange(0, len(samples) - 1, rng.uniform(0.9, 1.1))
    played = np.interp(places, np.arange(len(samples)), samples)
    deviation = np.sqrt(np.mean(played**2)) * 10 ** (-rng.uniform(15, 45) / 20)
    silence = np.zeros(int(rng.integers(0, RATE // 5)))
    joined = [played, silence] if rng.random() < 0.5 else [silence, played]
    moved = np.concatenate(joined)
    return (moved + deviation * rng.standard_normal(len(moved))).astype(np.float32)


@torch.no_grad()
def _scale(model: nn.Module, x: Tensor) -> None:
    """Tell the network mean and deviation of each coefficient."""
    scaled: Any = model.scaled
    scaled.mean.copy_(x.mean((0, 1, 2)))
    scaled.scale.copy_(1 / x.std((0, 1, 2)))


def _schedule(fraction: float) -> float:
    """Warm-up, then a cosine to its end."""
    if fraction < WARM_UP:
        return max(fraction / WARM_UP, 0.05)
    return 0.5 * (1 + math.cos(math.pi * min((fraction - WARM_UP) / (1 - WARM_UP), 1.0)))


def main(
    network: Annotated[str, typer.Argument(help="dscnn or keyword-lstm.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The spoken digits.")],
    out: Annotated[Path, typer.Option(metavar="DIR")],
    hw: str = "wtm2101",
    minutes: Annotated[float, typer.Option(min=0.1)] = 8,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 4e-3,
    seed: int = 0,
) -> None:
    """Train, say every now and then how far it is, and write out/final.pt."""
    torch.set_num_threads(1)
    training = Training(network, data, out, hw, minutes, rate, seed)
    mean, told = 2.3, time.monotonic()
    while training.fraction < 1:
        mean += 0.03 * (training.advance() - mean)
        if time.monotonic() - told > 30:
            told = time.monotonic()
            line = {"step": training.step, "minutes": training.used_s / 60, "loss": mean}
            print(json.dumps(line), flush=True)
    training.save()
    held, on_chip = training.judged()
    final = {
        "steps": training.step, "minutes": training.used_s / 60, "held_out": held,
        "held_out_chip": on_chip,
    }  # fmt: skip
    torch.save({"model": training.model.state_dict(), **final}, out / "final.pt")
    print(json.dumps(final), flush=True)


if __name__ == "__main__":
    typer.run(main)
