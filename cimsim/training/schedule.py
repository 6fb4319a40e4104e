"""How fast to learn: over the run, and layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn

from cimsim.errors import ConfigError
from cimsim.training.config import TrainConfig
from cimsim.training.folding import conv_layers

NORM_SHARE = 0.1  # of the learning rate, for scale and shift of batch norms
# Shares of the budget at which the paper's rate falls (epochs 50 and 60 of 100), and to what; the
# factors are FastDVDnet's, which CIM-NET follows.
PAPER_STEPS = ((0.5, 0.1), (0.6, 1e-3))


def learning_rate(config: TrainConfig, step: int, fraction: float) -> float:
    """Return the rate for a step.

    A linear warm-up, times half a cosine down to 1 % of the peak, or the paper's three steps
    (`PAPER_STEPS`).

    Parameters
    ----------
    config : TrainConfig
    step : int
        From 0 on.
    fraction : float
        Used share of the budget.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "steps":
        fall = min([factor for at, factor in PAPER_STEPS if fraction >= at], default=1.0)
    else:
        fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return config.peak_lr * warm * fall


def parameter_groups(
    model: nn.Module, lr_fan_in: int, rates: Mapping[str, float] | None = None
) -> list[dict[str, object]]:
    """Return Adam's groups, one for each parameter, with the ``share`` of the rate that it gets.

    A convolution that no batch norm follows gets ``lr_fan_in / fan_in``, at most 1. Where a norm
    follows, the scale of the weights does not matter and the full rate is right; the norm's own
    two parameters per channel move whole maps and get `NORM_SHARE`. A norm that starts quiet, as
    behind the coarse path of a start in closed form, learns as slowly as it is quiet: at the full
    rate its shift falls below its scale within a few steps, and the ReLU behind it is dead.

    Parameters
    ----------
    model : nn.Module
    lr_fan_in : int
    rates : mapping of str to float, optional
        Pattern for names of parameters to a further factor.

    Raises
    ------
    ConfigError
        For a pattern that fits no parameter.
    """
    shares: dict[int, float] = {}
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d) and part.affine:
            quiet = min(1.0, float(part.weight.detach().abs().mean()))
            shares |= {id(parameter): NORM_SHARE * quiet for parameter in part.parameters()}
    for conv, norm in conv_layers(model):
        fan_in = conv.weight[0].numel()
        share = 1.0 if norm is not None else min(1.0, lr_fan_in / fan_in)
        shares |= {id(parameter): share for parameter in conv.parameters()}
    for pattern, factor in (rates or {}).items():
        for parameter in matching(model, [pattern], "rates"):
            shares[id(parameter)] = shares.get(id(parameter), 1.0) * factor
    return [
        {"params": [parameter], "share": shares.get(id(parameter), 1.0)}
        for parameter in model.parameters()
    ]


def matching(model: nn.Module, patterns: Iterable[str], field: str) -> list[nn.Parameter]:
    """Return the parameters whose names fit one of the patterns (``*``, ``?``, ``[...]``).

    Raises
    ------
    ConfigError
        Naming the ``field`` of the configuration and a pattern that fits none.
    """
    named = dict(model.named_parameters())
    parameters: dict[str, nn.Parameter] = {}
    for pattern in patterns:
        fitting = [name for name in named if fnmatchcase(name, pattern)]
        if not fitting:
            tops = dict.fromkeys(".".join(name.split(".")[:2]) + ".*" for name in named)
            raise ConfigError(
                f"train: {field}: '{pattern}' fits no parameter; such patterns do: "
                f"{', '.join(tops)}"
            )
        parameters |= {name: named[name] for name in fitting}
    return list(parameters.values())


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Let the parameters of these names, and the statistics of their batch norms, stay as they are.

    Raises
    ------
    ConfigError
        For a pattern that fits no parameter, or when nothing is left to learn.
    """
    for parameter in matching(model, patterns, "freeze"):
        parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("train: freeze: nothing is left to learn; freeze less")


def rest_norms(model: nn.Module, *, everywhere: bool) -> None:
    """Let batch norms use their running statistics: all of them, or those that are frozen."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            frozen = part.affine and not part.weight.requires_grad
            if everywhere or frozen:
                part.eval()
