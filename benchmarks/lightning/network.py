"""A keyword network trained with aihwkit-lightning for some steps, judged there and here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from aihwkit_lightning.nn.conversion import convert_to_analog  # type: ignore[import-not-found]
from aihwkit_lightning.optim import AnalogOptimizer  # type: ignore[import-not-found]
from aihwkit_lightning.simulator.configs import (  # type: ignore[import-not-found]
    TorchInferenceRPUConfig,
    WeightNoiseInjectionType,
)
from torch import Tensor, nn

import cimsim
from benchmarks.lightning.settings import BOUND, NOISE, STEPS
from cimsim.session.result import Result
from cimsim.stats import mean_interval
from cimsim.tasks.questions import Classification
from cimsim.tasks.recordings import Spoken, load
from cimsim.tasks.sources import Arrays

BATCH, RATE, DRAWS, CALIBRATION = 64, 0.003, 10, 40


@dataclass(frozen=True)
class Judged:
    """A trained network on both sides.

    Attributes
    ----------
    steps : int
        Of training.
    there : float
        Right answers there, percent, inputs and outputs rounded, weights exact.
    noisy : list of float
        The same with weights drawn as in training, one for each draw.
    result : Result
        Of the chip.
    """

    steps: int
    there: float
    noisy: list[float]
    result: Result

    def lines(self) -> list[str]:
        """Say it in the rows of a table."""
        top1 = next(m for m in self.result.measures if m.name == "top1")
        timing, energy = self.result.timing, self.result.energy
        name, ms = self.result.hardware.chip, 1e3 * timing.cycles_per_frame / timing.clock_hz
        low, high = mean_interval(self.noisy)
        here = np.mean(top1.chip)
        ends = mean_interval(top1.chip)
        return [
            "| | right answers |",
            "|---|---|",
            f"| there, inputs and outputs of 8 bits | {self.there:.1f} % |",
            f"| there, and weights as in training, {len(self.noisy)} draws | "
            f"{np.mean(self.noisy):.1f} % ({low:.1f} .. {high:.1f}) |",
            f"| here, float with rounded inputs | {top1.reference:.1f} % |",
            f"| on `{name}`, {len(top1.chip)} chips | {here:.1f} % "
            f"({ends[0]:.1f} .. {ends[1]:.1f}) |",
            "",
            f"{timing.cycles_per_frame:,} cycles between two words ({ms:.2f} ms), "
            f"{1e6 * energy.total_j:.0f} uJ each.",
        ]


def network() -> nn.Module:
    """Return the network, plain."""
    return nn.Sequential(
        nn.Conv2d(1, 32, (10, 4), 2, (5, 1)), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def configured() -> TorchInferenceRPUConfig:
    """Return a usual configuration: learned input ranges, 8 bits at both ends, noisy weights."""
    made = TorchInferenceRPUConfig()
    made.pre_post.input_range.enable = True
    made.pre_post.input_range.init_from_data = 20
    made.forward.inp_res, made.forward.out_res, made.forward.out_bound = STEPS, STEPS, BOUND
    made.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL
    made.modifier.std_dev = NOISE
    return made


def judged(
    data: Path | None, steps: int, chips: int, tell: Callable[[str], None] = print
) -> Judged:
    """Train there, and judge on both sides.

    Parameters
    ----------
    data : Path or None
        Spoken digits, see `cimsim.tasks.recordings.load`; None: those that are shipped, too few to
        learn much from.
    steps, chips : int
    tell : callable
        Takes a line now and then.
    """
    torch.manual_seed(0)
    tests, training = (_arrays(found) for found in load(data))
    mean, deviation = training[0].mean((0, 1, 2)), training[0].std((0, 1, 2))
    x, y = (training[0] - mean) / deviation, training[1]
    asked, right = (tests[0] - mean) / deviation, tests[1]
    net = convert_to_analog(network(), configured())
    optimizer = AnalogOptimizer(torch.optim.Adam, net.analog_layers, net.parameters(), lr=RATE)
    rng = torch.Generator().manual_seed(1)
    net.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        chosen = torch.randint(0, len(x), (BATCH,), generator=rng)
        loss = nn.functional.cross_entropy(net(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            tell(f"step {step + 1}: loss {float(loss.detach()):.3f}")
    noisy = [_share(net, asked, right, seed) for seed in range(DRAWS)]
    there = _share(net.eval(), asked, right, 0)
    return Judged(steps, there, noisy, _on_chip(net, (x, asked, right), chips))


def _on_chip(net: nn.Module, given: tuple[Tensor, Tensor, Tensor], chips: int) -> Result:
    x, asked, right = given
    chip = cimsim.load_hw("eflash40nm", cimsim.trained_for(net))
    mapping = cimsim.map_graph(cimsim.trace(net, (asked[:1],), name="trained there"), chip)
    task = Classification(
        source=Arrays((asked.numpy(),), right.numpy(), "spoken digits"),
        calibration_source=Arrays((x.numpy(),), None, "spoken digits for training"),
        calibration=CALIBRATION,
    )
    return cimsim.run(mapping, task, programmings=chips)


def _share(net: nn.Module, x: Tensor, y: Tensor, seed: int) -> float:
    torch.manual_seed(seed)
    with torch.no_grad():
        return 100 * float((net(x).argmax(1) == y).float().mean())


def _arrays(found: Spoken) -> tuple[Tensor, Tensor]:
    samples = [found.sample(n) for n in range(len(found))]
    return (
        torch.from_numpy(np.stack([s.inputs[0] for s in samples])),
        torch.tensor([s.label for s in samples]),
    )
