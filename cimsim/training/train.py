"""The training loop: Adam on MSE until a budget of minutes or steps is used up."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from cimsim import rng
from cimsim.chip.load import load_hw
from cimsim.errors import ConfigError, InputError, SimulationError
from cimsim.training import start, teacher
from cimsim.training.average import Average
from cimsim.training.batches import Batches
from cimsim.training.checkpoint import BEST, CHECKPOINT, LOG, Log, State, locked, read, write
from cimsim.training.config import TrainConfig
from cimsim.training.data import Dataset, Sampler, load_dataset, validation_batch
from cimsim.training.hardware import ChipInTheLoop
from cimsim.training.interrupt import Interrupt
from cimsim.training.muon import Muon
from cimsim.training.schedule import freeze, learning_rate, parameter_groups, rest_norms
from cimsim.training.tied import TiedAdam
from cimsim.zoo import registry
from cimsim.zoo.lineage import Stage, read_lineage
from cimsim.zoo.narrow import is_narrowed, narrow, shapes_of_state

logger = logging.getLogger(__name__)

LOG_EVERY = 20  # steps
RECALIBRATE_EVERY = 25  # steps, with a chip in the loop; averaged or older ranges train worse
DRAWS = 4  # of programming errors in a validation with a chip in the loop


@dataclass(frozen=True, slots=True)
class Progress:
    """What the loop tells its caller after a step.

    ``psnr_db`` is there after a validation, else None; with a chip in the loop it is the one on the
    chip. ``fraction`` is the used share of the budget.
    """

    step: int
    minutes: float
    fraction: float
    loss: float
    lr: float
    psnr_db: float | None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The best network that was validated (averaged, in eval mode, on the CPU), and its story.

    Attributes
    ----------
    model : nn.Module
    step, minutes : int, float
        Of the whole run.
    kept_step : int
        Step after which the network was the best.
    psnr_db : float
        Of the float network on the held-out crops.
    chip_db : float, optional
        With the chip in the loop, which is what decides then; None without.
    noisy_db : float
        Of the noisy crops.
    finished : bool
        Whether the budget is used up.
    interrupted : bool
        Whether Ctrl-C was pressed.
    ancestors : tuple of Stage
        Stages behind the weights that the run started from, oldest first.
    earlier_budgets : tuple of str
        Budgets that this run had before it was resumed with another one.
    """

    model: nn.Module
    step: int
    minutes: float
    kept_step: int
    psnr_db: float
    noisy_db: float
    chip_db: float | None
    finished: bool
    interrupted: bool = False
    ancestors: tuple[Stage, ...] = ()
    earlier_budgets: tuple[str, ...] = ()


def train(
    config: TrainConfig,
    *,
    dataset: Dataset | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train a network of the zoo; Ctrl-C ends the step, saves a checkpoint and returns.

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
        For options that do not fit the network, data that cannot be used, or a full disk.
    SimulationError
        When the loss is no longer finite, or the device runs out of memory.
    ZooError
        For a network, an option or a weight file that the zoo cannot use.
    """
    _check(config)
    with locked(config.out):
        if dataset is None:
            dataset = load_dataset(config.data, validation_scenes=config.validation_scenes)
        run = _Run(config, dataset)
        try:
            interrupted = _work(run, progress)
        except torch.OutOfMemoryError as error:
            raise SimulationError(
                f"train: {config.device} is out of memory; take a smaller --batch or --crop"
            ) from error
        finally:
            run.batches.close()
        kept_step = run.take_best()
    return TrainResult(
        model=copy.deepcopy(run.averaged).cpu().eval(),
        step=run.step,
        minutes=run.minutes,
        kept_step=kept_step,
        psnr_db=run.psnr_db,
        noisy_db=run.noisy_db,
        chip_db=run.chip_db,
        finished=run.fraction >= 1,
        interrupted=interrupted,
        ancestors=run.ancestors,
        earlier_budgets=run.earlier_budgets,
    )


@torch.no_grad()
def mean_psnr(
    model: Callable[..., torch.Tensor], noisy: torch.Tensor, noise_map: torch.Tensor,
    clean: torch.Tensor,
) -> float:  # fmt: skip
    """Return the PSNR in dB of estimates clipped to [0, 1], mean over crops."""
    values = []
    for index in range(len(noisy)):
        part = slice(index, index + 1)
        error = model(noisy[part], noise_map[part]).clamp(0, 1) - clean[part]
        values.append(-10 * math.log10(float(error.square().mean())))
    return sum(values) / len(values)


def _work(run: _Run, progress: Callable[[Progress], None] | None) -> bool:
    """Step until the budget is used up or Ctrl-C, then validate and save what is new.

    Returns whether Ctrl-C was pressed; a progress function may end the run by the same exception.
    """
    with Interrupt() as interrupt:
        if run.step == 0:
            run.log_start()
        while run.fraction < 1 and not interrupt.asked:
            report = run.advance()
            try:
                if progress is not None:
                    progress(report)
            except KeyboardInterrupt:
                break
        if run.validated_at != run.step:
            if run.fraction < 1:
                logger.warning("interrupted; validating and saving before the end")
            # an unbroken run does not look here: it must find the same best weights
            run.validate(keep=run.fraction >= 1)
        if run.saved_at != run.step:
            run.save()
    return interrupt.asked


class _Run:
    """State of one training run: network, averaged copy, optimiser, step, time used."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.config = config
        self.device = _device(config.device)
        self.amp = _is_fast_in_bf16(self.device) if config.amp is None else config.amp
        torch.manual_seed(rng.key(config.seed, "training", "start") % 2**63)
        model, averaged = (registry.build(config.model, **config.options) for _ in range(2))
        self.ancestors: tuple[Stage, ...] = ()
        self.earlier_budgets: tuple[str, ...] = ()
        if _resumes(config):
            self._narrow_as_saved(model)
        else:
            start.initialise(model, config, dataset)
            self.ancestors = start.lineage(config)
        if is_narrowed(model):  # a pruned start
            narrow(averaged, shapes_of_state(model), where="averaged network")
        averaged.load_state_dict(model.state_dict())
        self.memory = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = self._moved(model)
        self.averaged = self._moved(averaged).eval()
        self.average = Average(self.model, self.averaged, config.ema)
        self.optimiser = self._optimiser()
        chip = None if config.hw is None else load_hw(config.hw, config.overrides)
        self.chip = None if chip is None else ChipInTheLoop(self.model, chip)
        self.averaged_chip = None if chip is None else ChipInTheLoop(self.averaged, chip)
        n_frames = int(self.model.n_frames)  # type: ignore[arg-type]
        self.teacher = None
        if config.teacher is not None:
            self.teacher = self._moved(teacher.load(config.teacher, n_frames))
        sampler = Sampler(
            dataset,
            n_frames=n_frames,
            crop=config.crop,
            batch=config.batch,
            sigma=config.sigma,
            stills=config.stills,
            seed=config.seed,
        )
        ahead = 8 if self.device.type == "cuda" else 0
        self.batches = Batches(sampler, ahead if config.workers is None else config.workers)
        self.held_out = self._place(
            validation_batch(
                dataset,
                n_frames=n_frames,
                sigma=config.validation_sigma,
                crop=config.validation_crop,
            )
        )
        self.step, self.used_s, self.mean_norm = 0, 0.0, 0.0
        self.psnr_db, self.judged_db, self.best_db = -math.inf, -math.inf, -math.inf
        self.validated_at = self.saved_at = -1  # steps
        self.chip_db: float | None = None
        centre = 3 * (n_frames // 2)
        noisy = self.held_out[0][:, centre : centre + 3]
        self.noisy_db = mean_psnr(lambda x, _: x, noisy, noisy, self.held_out[2])
        if _resumes(config):
            self.load()
        self.log = Log(config.out / LOG)
        self.log.cut(self.step)
        self.started = time.monotonic() - self.used_s
        self.saved = time.monotonic()

    def _optimiser(self) -> torch.optim.Adam:
        groups = parameter_groups(self.model, self.config.fan_in, self.config.rates)
        freeze(self.model, self.config.freeze)
        if self.config.optimiser == "adam":
            return TiedAdam(groups, self.model, self.config.tied_share)
        fast = _is_fast_in_bf16(self.device)
        return Muon(groups, self.model, torch.bfloat16 if fast else torch.float32)

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
        rest_norms(self.model, everywhere=fraction >= config.frozen_from)
        noisy, noise_map, clean = self._place(self.batches.get(self.step))
        taught = self._taught(noisy, noise_map)
        self.optimiser.zero_grad(set_to_none=True)
        with self._on_chip(noisy, noise_map):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                estimate = self.model(noisy, noise_map)
            loss = teacher.loss(estimate.float(), clean, taught, config.teacher_weight)
            loss.backward()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SimulationError(
                f"train: the loss of step {self.step + 1} is not finite; go on from the last "
                "checkpoint with a lower --lr, or start again with one and --fresh"
            )
        self._clip()
        self.optimiser.step()
        self.step += 1
        self.average.follow(self.step)
        self.used_s = time.monotonic() - self.started
        due = self._is_checkpoint_due()
        psnr_db = self.validate() if due else None
        self._log(value, rate, psnr_db)
        if due:
            self.save()
        return Progress(self.step, self.minutes, self.fraction, value, rate, psnr_db)

    @torch.no_grad()
    def _taught(self, noisy: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor | None:
        """Return what the teacher makes of these frames, None without one."""
        if self.teacher is None:
            return None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            return self.teacher(noisy, noise_map).float()

    def _on_chip(
        self, noisy: torch.Tensor, noise_map: torch.Tensor
    ) -> AbstractContextManager[None]:
        """Put the chip of this step, with errors of its own, into the network."""
        if self.chip is None:
            return nullcontext()
        if self.step % RECALIBRATE_EVERY == 0:
            self.chip.calibrate(noisy, noise_map)
        return self.chip.applied(rng.key(self.config.seed, "training", "chip", self.step) % 2**63)

    def _is_checkpoint_due(self) -> bool:
        if self.fraction >= 1:
            return True
        if self.config.checkpoint_steps is not None:
            return self.step % self.config.checkpoint_steps == 0
        return time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes

    def validate(self, *, keep: bool = True) -> float:
        """Measure the averaged network on the held-out crops; ``keep`` it when it is the best.

        Returns the PSNR in dB that counts: with a chip in the loop the one on the chip.
        """
        self.psnr_db = judged = mean_psnr(self.averaged, *self.held_out)
        if self.averaged_chip is not None:
            self.chip_db = judged = self._on_chips(self.averaged_chip)
        self.validated_at, self.judged_db = self.step, judged
        if keep and judged > self.best_db:
            self.best_db = judged
            state: State = {
                "model": self.averaged.state_dict(), "step": self.step, "judged_db": judged,
                "psnr_db": self.psnr_db, "chip_db": self.chip_db,
            }  # fmt: skip
            write(self.config.out / BEST, state)
        return judged

    def _on_chips(self, chip: ChipInTheLoop) -> float:
        """Return the PSNR over `DRAWS` chips, each of which sees its share of the held-out crops.

        Every crop on every chip would take four times as long, a fifth of a training's time, and
        tell networks apart no better: chips and crops are the same ones in every validation.
        """
        chip.calibrate(*self.held_out[:2])
        count = len(self.held_out[0])
        total = 0.0
        for draw in range(min(DRAWS, count)):
            part = [crops[draw::DRAWS] for crops in self.held_out]
            with chip.applied(rng.key(draw, "training", "validation") % 2**63):
                total += mean_psnr(self.averaged, *part) * len(part[0])
        return total / count

    def take_best(self) -> int:
        """Put the best weights into the averaged network; return the step they are of."""
        path = self.config.out / BEST
        now_is_best = self.validated_at == self.step and self.judged_db >= self.best_db
        if now_is_best or not path.is_file():  # somebody tidied up
            return self.step
        state = read(path, self.device, "model")
        self.averaged.load_state_dict(state["model"])
        if "judged_db" not in state:  # written before the file told what it was worth
            self.validate()
            return self.step
        self.psnr_db, self.chip_db = state["psnr_db"], state["chip_db"]
        return int(state["step"])

    def save(self) -> None:
        """Write the checkpoint."""
        state: State = {
            "config": self.config.plain(),
            "fan_in": self.config.fan_in,
            "pruned": is_narrowed(self.model),
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "chip": None if self.chip is None else self.chip.state_dict(),
            "step": self.step,
            "used_s": self.used_s,
            "mean_norm": self.mean_norm,
            "best_db": self.best_db,
            "ancestors": [stage.plain() for stage in self.ancestors],
            "earlier_budgets": list(self.earlier_budgets),
        }
        write(self.config.out / CHECKPOINT, state)
        self.saved, self.saved_at = time.monotonic(), self.step

    def _narrow_as_saved(self, model: nn.Module) -> None:
        """Give the network the widths of the checkpoint: its start may have been pruned."""
        path = self.config.out / CHECKPOINT
        state = read(path, self.device)
        self.config.check_resumable(state["config"], path)
        if state.get("pruned"):
            shapes = {key: tuple(value.shape) for key, value in state["model"].items()}
            narrow(model, shapes, where=str(path))

    def load(self) -> None:
        """Go on from the checkpoint; batches depend on the step alone, so nothing else is kept."""
        path = self.config.out / CHECKPOINT
        state = read(path, self.device)
        self.config.check_resumable(state["config"], path)
        if state["fan_in"] != self.config.fan_in:  # the optimiser's state brings back its own rates
            raise ConfigError(
                f"{path}: lr_fan_in: layers learn at other rates in this checkpoint "
                f"({state['fan_in']}, not {self.config.fan_in}); give the same --lr-fan-in and "
                "--init, or start again with --fresh"
            )
        changed = self.config.changed_since(state["config"])
        if changed:
            logger.warning("%s: goes on with other settings: %s", path, "; ".join(changed))
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.chip is not None:
            ranges = state["chip"]
            assert ranges is not None  # a checkpoint with a chip in the loop, as was checked
            self.chip.load_state_dict(ranges)
        self.step, self.used_s = int(state["step"]), float(state["used_s"])
        self.mean_norm, self.best_db = float(state["mean_norm"]), self._best_so_far(state)
        self.ancestors = read_lineage(state.get("ancestors", ()), str(path))
        self.earlier_budgets = self._budgets_before(state)

    def _best_so_far(self, state: State) -> float:
        """Return what the best weights on disk are worth: they may be newer than the checkpoint."""
        path = self.config.out / BEST
        judged_alike = all(
            state["config"].get(name) == getattr(self.config, name)
            for name in ("validation_scenes", "validation_crop", "sigma")
        )
        if not path.is_file() or not judged_alike:
            return -math.inf
        return float(read(path, self.device, "model").get("judged_db", state["best_db"]))

    def _budgets_before(self, state: State) -> tuple[str, ...]:
        """Return the budgets that this run had before, the checkpoint's among them if another."""
        before, saved = tuple(state.get("earlier_budgets", ())), state["config"]
        budget = {
            name: value for name in ("minutes", "steps")
            if isinstance(value := saved.get(name), int | float) and value
        }  # fmt: skip
        if budget == {name: value for name in ("minutes", "steps")
                      if (value := getattr(self.config, name)) is not None}:  # fmt: skip
            return before
        used = {"minutes": self.minutes, "steps": self.step}
        share = max(used[name] / value for name, value in budget.items())
        text = " or ".join(f"{value:g} {name}" for name, value in budget.items())
        return (*before, text if share >= 1 else f"{100 * share:.0f} % of {text}")

    def _moved(self, model: nn.Module) -> nn.Module:
        return model.to(self.device, memory_format=self.memory)  # type: ignore[call-overload,no-any-return]

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

    def log_start(self) -> None:
        """Measure and log what the start is worth."""
        self._log(math.nan, 0.0, self.validate())

    def _log(self, loss: float, rate: float, psnr_db: float | None) -> None:
        if psnr_db is None and self.step % LOG_EVERY:
            return
        line = {
            "step": self.step,
            "minutes": round(self.minutes, 3),
            "loss": None if math.isnan(loss) else loss,
            "lr": rate,
            "grad_norm": self.mean_norm,
            "psnr_db": psnr_db,
        }
        if self.chip is not None and psnr_db is not None:
            line |= {"psnr_db": self.psnr_db, "chip_db": psnr_db}
        self.log.append(line)


def _check(config: TrainConfig) -> None:
    """Check what is quickly checked before clips are read, so that a typo costs no long wait."""
    _device(config.device)
    entry = registry.info(config.model)
    if entry.task != "denoising":
        raise ConfigError(
            f"train: {config.model} is no denoiser; its weights come from python -m "
            f"benchmarks.{'keywords' if entry.task == 'keywords' else 'cifar'}.train"
        )
    entry.resolve(config.options)
    if config.hw is not None:
        load_hw(config.hw, config.overrides)
    if config.teacher is not None:
        teacher.find(config.teacher)
    if not _resumes(config):
        start.check(config)
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{config.out}: cannot make this folder: {error}") from error


def _resumes(config: TrainConfig) -> bool:
    return config.resume and (config.out / CHECKPOINT).is_file()


def _device(name: str) -> torch.device:
    """Return the device; `ConfigError` when this machine has none of that name."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"train: device: '{name}' cannot be used here: {reason}; take --device cpu"
        ) from error
    return device


def _is_fast_in_bf16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 faster than float32."""
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
