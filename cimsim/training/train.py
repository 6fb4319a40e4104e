"""The training loop: Adam on MSE until a budget of minutes or steps is used up."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cimsim import rng
from cimsim.errors import ConfigError
from cimsim.training import wiener
from cimsim.training.data import Dataset, Sampler, load_dataset, validation_batch
from cimsim.training.tied import TiedAdam
from cimsim.training.weight_noise import WeightNoise, conv_layers, round_weights
from cimsim.zoo import registry
from cimsim.zoo.cimnet import CIMNet
from cimsim.zoo.weights import load_weights

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.jsonl"
NORM_SHARE = 0.1  # of the learning rate, for scale and shift of batch norms


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything a training run depends on.

    Attributes
    ----------
    model : str
        Name in the zoo.
    data, out : Path
        Folder of clips with its manifest; folder for checkpoints and the log.
    options : mapping
        Options of the network, such as ``{"stride": 8}``.
    minutes, steps : float, int
        Budget; the schedule follows the one that ends first. At least one must be given; only a
        run bounded by steps alone gives the same weights on every machine.
    batch, crop : int
        Crops per step and their edge in pixels.
    sigma : (float, float)
        Range of the noise in 8-bit steps. Validation uses the middle.
    lr, warmup_steps : float, int
        Peak learning rate after a linear start; then a half cosine down to 1 % of it.
    lr_fan_in : int, optional
        Convolutions without a batch norm and with more inputs than this learn more slowly, by
        the ratio: Adam moves their outputs in proportion to their fan-in. 288 when not given; 10
        from the Wiener start, which a faster rate would undo.
    tied : float
        How much faster than single weights the kernels learn that all positions of a CIM-CONV's
        block share, see `cimsim.training.tied`; 0: they do not.
    grad_clip : float
        Gradients longer than this many times their running mean are shortened; 0: never.
    ema : float
        Decay of the averaged copy of weights and batch-norm statistics, which is what is
        validated and saved; 0: none.
    weight_noise : float
        Programming error to train against, see `cimsim.training.weight_noise`; 0: none. With it,
        weights are rounded to 8 bits in training and in the result.
    freeze_bn_at : float
        Share of the budget after which batch norms use their running statistics, as on the chip.
    stills : float
        Share of crops taken from photographs.
    start : str
        ``random``, ``wiener`` (cimnet only) or the path of a weight file.
    resume : bool
        Go on from the checkpoint in ``out`` when there is one.
    checkpoint_minutes : float
        Time between checkpoints, each with a validation.
    device : str
        Where to train, as torch spells it.
    amp : bool
        Compute in bfloat16 where torch thinks it safe.
    seed : int
        Of everything: start, crops, noise, split.
    """

    model: str
    data: Path
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    minutes: float | None = None
    steps: int | None = None
    batch: int = 8
    crop: int = 64
    sigma: tuple[float, float] = (15.0, 15.0)
    lr: float = 1e-3
    warmup_steps: int = 100
    lr_fan_in: int | None = None
    tied: float = 3.0
    grad_clip: float = 3.0
    ema: float = 0.998
    weight_noise: float = 0.0
    freeze_bn_at: float = 1.0
    stills: float = 0.3
    start: str = "random"
    resume: bool = True
    checkpoint_minutes: float = 3.0
    validation_scenes: int = 10
    validation_crop: int = 192
    device: str = "cpu"
    amp: bool = False
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what the parts below would only trip over later."""
        if self.minutes is None and self.steps is None:
            raise ConfigError("train: give a budget: minutes, steps or both")
        for name in ("minutes", "steps", "batch", "crop", "lr", "checkpoint_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"train: {name}: expected a positive number, got {value}")
        if self.lr_fan_in is not None and self.lr_fan_in < 1:
            raise ConfigError(f"train: lr_fan_in: expected an integer >= 1, got {self.lr_fan_in}")
        low, high = self.sigma
        if not 0 <= low <= high:
            raise ConfigError(f"train: sigma: expected 0 <= low <= high, got {low}, {high}")
        for name in ("ema", "freeze_bn_at", "stills", "weight_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"train: {name}: expected 0..1, got {getattr(self, name)}")

    @property
    def fan_in(self) -> int:
        """``lr_fan_in`` with its default filled in."""
        if self.lr_fan_in is not None:
            return self.lr_fan_in
        return 10 if self.start == "wiener" else 288

    @property
    def validation_sigma(self) -> float:
        """Noise of the validation crops, in 8-bit steps."""
        return (self.sigma[0] + self.sigma[1]) / 2


@dataclass(frozen=True, slots=True)
class Progress:
    """What the loop tells its caller now and then.

    ``psnr_db`` is there after a validation, else None; ``fraction`` is the used share of the
    budget.
    """

    step: int
    minutes: float
    fraction: float
    loss: float
    lr: float
    psnr_db: float | None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The trained network (in eval mode) and how it came about."""

    model: nn.Module
    step: int
    minutes: float
    psnr_db: float
    noisy_db: float
    finished: bool


def train(
    config: TrainConfig,
    *,
    dataset: Dataset | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train a network of the zoo; a KeyboardInterrupt saves a checkpoint and returns.

    Parameters
    ----------
    config : TrainConfig
    dataset : Dataset, optional
        Clips already in memory; read from ``config.data`` when not given.
    progress : callable, optional
        Called after every step.

    Raises
    ------
    ConfigError, InputError
        For options that do not fit the network, or data that cannot be used.
    """
    if dataset is None:
        dataset = load_dataset(
            config.data, seed=config.seed, validation_scenes=config.validation_scenes
        )
    run = _Run(config, dataset)
    finished = True
    try:
        while run.fraction < 1:
            report = run.advance()
            if progress is not None:
                progress(report)
    except KeyboardInterrupt:
        finished = False
    if run.validated_at != run.step:
        run.validate()
    run.save()
    return TrainResult(
        model=run.finished_model(),
        step=run.step,
        minutes=run.minutes,
        psnr_db=run.psnr_db,
        noisy_db=run.noisy_db,
        finished=finished,
    )


def learning_rate(config: TrainConfig, step: int, fraction: float) -> float:
    """Return the rate for a step: linear warm-up, then half a cosine to 1 % of the peak."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return config.lr * warm * fall


def parameter_groups(model: nn.Module, lr_fan_in: int) -> list[dict[str, Any]]:
    """Return Adam's groups, each with the ``share`` of the learning rate that it gets.

    A convolution that no batch norm follows gets ``lr_fan_in / fan_in``, at most 1. Where a norm
    follows, the scale of the weights does not matter and the full rate is right; the norm's own
    two parameters per channel move whole maps and get `NORM_SHARE`.
    """
    shares = {
        id(parameter): NORM_SHARE
        for part in model.modules()
        if isinstance(part, nn.BatchNorm2d)
        for parameter in part.parameters()
    }
    for conv, norm in conv_layers(model):
        fan_in = conv.weight[0].numel()
        share = 1.0 if norm is not None else min(1.0, lr_fan_in / fan_in)
        shares |= {id(parameter): share for parameter in conv.parameters()}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault(shares.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": part, "share": share} for share, part in groups.items()]


@torch.no_grad()
def mean_psnr(
    model: Callable[..., Any], noisy: torch.Tensor, noise_map: torch.Tensor, clean: torch.Tensor
) -> float:
    """Return the PSNR in dB of estimates clipped to [0, 1], mean over crops."""
    values = []
    for index in range(len(noisy)):
        part = slice(index, index + 1)
        error = model(noisy[part], noise_map[part]).clamp(0, 1) - clean[part]
        values.append(-10 * math.log10(float(error.square().mean())))
    return sum(values) / len(values)


class _Run:
    """State of one training run: network, averaged copy, optimiser, step, time used."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.config = config
        self.device = torch.device(config.device)
        torch.manual_seed(rng.key(config.seed, "training", "start") % 2**63)
        self.model = registry.build(config.model, **config.options)
        _initialise(self.model, config, dataset)
        memory = torch.channels_last if config.channels_last else torch.contiguous_format
        self.memory = memory
        self.model.to(self.device, memory_format=memory)  # type: ignore[call-overload]
        self.averaged = registry.build(config.model, **config.options)
        self.averaged.to(self.device, memory_format=memory)  # type: ignore[call-overload]
        self.averaged.load_state_dict(self.model.state_dict())
        self.optimiser = TiedAdam(
            parameter_groups(self.model, config.fan_in), self.model, config.tied
        )
        self.noise = WeightNoise(self.model, config.weight_noise)
        n_frames = int(self.model.n_frames)  # type: ignore[arg-type]
        self.sampler = Sampler(
            dataset,
            n_frames=n_frames,
            crop=config.crop,
            batch=config.batch,
            sigma=config.sigma,
            stills=config.stills,
            seed=config.seed,
        )
        self.held_out = self._place(
            validation_batch(
                dataset,
                n_frames=n_frames,
                sigma=config.validation_sigma,
                crop=config.validation_crop,
                seed=config.seed,
            )
        )
        self.step, self.used_s, self.mean_norm = 0, 0.0, 0.0
        self.psnr_db, self.best_db, self.validated_at = -math.inf, -math.inf, -1
        centre = 3 * (n_frames // 2)
        noisy = self.held_out[0][:, centre : centre + 3]
        self.noisy_db = mean_psnr(lambda x, _: x, noisy, noisy, self.held_out[2])
        config.out.mkdir(parents=True, exist_ok=True)
        if config.resume and (config.out / CHECKPOINT).is_file():
            self.load()
        self.started = time.monotonic() - self.used_s
        self.saved = time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes of training so far, earlier parts of a resumed run included."""
        return self.used_s / 60

    @property
    def fraction(self) -> float:
        """Used share of the budget that ends first."""
        config = self.config
        shares = [self.minutes / config.minutes] if config.minutes else []
        shares += [self.step / config.steps] if config.steps else []
        return max(shares)

    def advance(self) -> Progress:
        """Take one step; validate and save when it is time."""
        config = self.config
        fraction = self.fraction
        rate = learning_rate(config, self.step, fraction)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self.model.train()
        if fraction >= config.freeze_bn_at:
            _freeze_batch_norms(self.model)
        noisy, noise_map, clean = self._place(self.sampler.draw(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        with self.noise.applied(rng.key(config.seed, "training", "weights", self.step) % 2**63):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.amp):
                estimate = self.model(noisy, noise_map)
            loss = functional.mse_loss(estimate.float(), clean)
            loss.backward()
        self._clip()
        self.optimiser.step()
        self.step += 1
        self._average()
        self.used_s = time.monotonic() - self.started
        psnr_db = None
        if time.monotonic() - self.saved > 60 * config.checkpoint_minutes:
            psnr_db = self.validate()
            self.save()
        value = float(loss.detach())
        self._log(value, rate, psnr_db)
        return Progress(self.step, self.minutes, self.fraction, value, rate, psnr_db)

    def validate(self) -> float:
        """Measure the averaged network on the held-out crops; keep it when it is the best."""
        model = self.finished_model()
        self.psnr_db = mean_psnr(model, *self.held_out)
        self.validated_at = self.step
        if self.psnr_db > self.best_db:
            self.best_db = self.psnr_db
            _write(self.config.out / BEST, model.state_dict())
        return self.psnr_db

    def finished_model(self) -> nn.Module:
        """Return the averaged network, in eval mode; rounded when trained with rounded weights."""
        model = copy.deepcopy(self.averaged).eval()
        if self.config.weight_noise > 0:
            round_weights(model)
        return model

    def save(self) -> None:
        """Write the checkpoint: under another name first, so that a kill leaves the old one."""
        state = {
            "config": _plain(self.config),
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "used_s": self.used_s,
            "mean_norm": self.mean_norm,
            "best_db": self.best_db,
        }
        _write(self.config.out / CHECKPOINT, state)
        self.saved = time.monotonic()

    def load(self) -> None:
        """Go on from the checkpoint; batches depend on the step alone, so nothing else is kept."""
        path = self.config.out / CHECKPOINT
        state = torch.load(path, map_location=self.device, weights_only=True)
        wanted = _plain(self.config)
        for name in ("model", "options"):
            if state["config"][name] != wanted[name]:
                raise ConfigError(
                    f"{path}: {name}: this checkpoint is of {state['config'][name]}, not of "
                    f"{wanted[name]}; train into another folder"
                )
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.used_s = int(state["step"]), float(state["used_s"])
        self.mean_norm, self.best_db = float(state["mean_norm"]), float(state["best_db"])

    def _place(self, batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(part.to(self.device).contiguous(memory_format=self.memory) for part in batch)

    def _clip(self) -> None:
        """Shorten gradients that are much longer than usual."""
        factor = self.config.grad_clip
        if factor == 0:
            return
        usual = self.mean_norm * factor if self.step > 20 else math.inf
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), usual))
        if math.isfinite(norm):
            self.mean_norm += (min(norm, usual) - self.mean_norm) / min(self.step + 1, 100)

    @torch.no_grad()
    def _average(self) -> None:
        """Let the averaged copy follow; in the first steps it follows faster."""
        decay = min(self.config.ema, self.step / (self.step + 10))
        source = self.model.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(source[name], 1 - decay)
            else:
                value.copy_(source[name])

    def _log(self, loss: float, rate: float, psnr_db: float | None) -> None:
        if psnr_db is None and self.step % 20:
            return
        line = {
            "step": self.step,
            "minutes": round(self.minutes, 3),
            "loss": loss,
            "lr": rate,
            "grad_norm": self.mean_norm,
            "psnr_db": psnr_db,
        }
        with (self.config.out / LOG).open("a") as handle:
            handle.write(json.dumps(line) + "\n")


def _initialise(model: nn.Module, config: TrainConfig, dataset: Dataset) -> None:
    """Give the network its start: random, the Wiener filter, or weights from a file."""
    if config.start == "random":
        _calm_last_layer(model)
    elif config.start == "wiener":
        if not isinstance(model, CIMNet):
            raise ConfigError(f"train: start wiener: only for cimnet, not for {config.model}")
        wiener.start(model, dataset, sigma=config.validation_sigma, seed=config.seed)
    else:
        load_weights(model, Path(config.start))


def _calm_last_layer(model: nn.Module) -> None:
    """Shrink the last convolution: a residual network then starts near the noisy frame."""
    last = [part for part in model.modules() if isinstance(part, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight *= 0.1


def _freeze_batch_norms(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def _plain(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration with paths as text, for checkpoints and cards."""
    values = asdict(config)
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in values.items()
    }


def _write(path: Path, state: Any) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(state, scratch)
    scratch.replace(path)
