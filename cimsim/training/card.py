"""Turn the outcome of a training run into a weight file with its card."""

from __future__ import annotations

import shlex
from pathlib import Path

from cimsim import __version__
from cimsim.training.config import TrainConfig
from cimsim.training.train import TrainResult
from cimsim.zoo import registry
from cimsim.zoo.lineage import Stage
from cimsim.zoo.narrow import is_narrowed
from cimsim.zoo.weights import Card, save_weights

LICENCE = "weights: same as cimsim; training clips: see their own licences"
# field of TrainConfig -> flag; written when it is not the default
FLAGS = {
    "batch": "--batch", "crop": "--crop", "lr": "--lr", "schedule": "--schedule",
    "optimiser": "--optimiser",
    "lr_fan_in": "--lr-fan-in", "tied": "--tied", "ema": "--ema", "stills": "--stills",
    "freeze_bn_at": "--freeze-bn-at", "validation_scenes": "--validation-scenes",
    "validation_crop": "--validation-crop", "warmup_steps": "--warmup-steps",
    "grad_clip": "--grad-clip", "checkpoint_minutes": "--checkpoint-minutes",
    "checkpoint_steps": "--checkpoint-steps", "hw": "--hw",
    "seed": "--seed", "steps": "--steps", "minutes": "--minutes",
}  # fmt: skip


def command(config: TrainConfig) -> str:
    """Return the command line that trains with this configuration, data and output left out."""
    parts = ["cimsim", "train", "--model", config.model]
    parts += [
        text
        for name, value in config.options.items()
        for text in registry.flag(name, value).split()
    ]
    low, high = config.sigma
    parts += ["--sigma", f"{low:g}" if low == high else f"{low:g}..{high:g}"]
    parts += ["--init", Path(config.resolved_start).name]
    if config.teacher is not None:
        parts += ["--teacher", Path(config.teacher).name]
        parts += ["--teacher-weight", f"{config.teacher_weight:g}"]
    fields = TrainConfig.__dataclass_fields__
    for name, flag in FLAGS.items():
        value = getattr(config, name)
        if value is not None and value != fields[name].default:
            parts += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    if config.amp is not None:
        parts.append("--bf16" if config.amp else "--no-bf16")
    for pattern, factor in config.rates.items():
        parts += ["--rate", f"{pattern}={factor:g}"]
    parts += [text for pattern in config.freeze for text in ("--freeze", pattern)]
    parts += [text for change in config.overrides for text in ("--set", change)]
    return shlex.join(parts)


def stem(config: TrainConfig) -> str:
    """Return the file name without suffix: network, options, and the chip trained for."""
    name = registry.info(config.model).weights_stem(config.options)
    return name if config.hw is None else f"{name}_{Path(config.hw).stem}"


def save_trained(result: TrainResult, config: TrainConfig) -> Path:
    """Write the best weights and their card into ``config.out``; return the path of the weights.

    The card tells every stage behind them, and after which step they were the best.

    Raises
    ------
    WeightsError
        When a value does not fit into half precision or the file cannot be written.
    """
    psnr = {"validation": result.psnr_db, "validation noisy": result.noisy_db}
    if result.chip_db is not None:
        psnr[f"validation, chip in the loop ({config.hw})"] = result.chip_db
    hw = None if config.hw is None else Path(config.hw).stem
    stage = Stage(
        command(config), steps=result.step, minutes=round(result.minutes, 1), seed=config.seed,
        hw=hw, kept_step=result.kept_step, earlier_budgets=result.earlier_budgets,
    )  # fmt: skip
    card = Card(
        model=config.model,
        options=registry.info(config.model).resolve(config.options),
        data=config.data.name,
        licence=LICENCE,
        steps=result.step,
        minutes=round(result.minutes, 1),
        device=config.device,
        seed=config.seed,
        sigma=config.sigma,
        psnr_db={name: round(value, 2) for name, value in psnr.items()},
        command=stage.command,
        code_version=__version__,
        hw=hw,
        lineage=(*result.ancestors, stage),
    )
    pruned = "_pruned" if is_narrowed(result.model) else ""
    path = config.out / f"{stem(config)}{pruned}.safetensors"
    save_weights(result.model, path, card)
    return path
