"""What removing a set of channels costs, estimated without removing it.

`output`, the default, asks how much the network's output moves: with a gate of 1 on the set, the
squared derivative of the output by the gate, mean over values, is the squared error that closing
the gate adds, to first order in the output. A random sign per output value gives that sum from one
backward pass (Hutchinson's estimator), and no clean frames are needed. The others are the usual
ones: `taylor` the squared derivative of the loss by the gate (Molchanov and others, CVPR 2019),
`bn` the scale of the batch norm (Liu and others, ICCV 2017), `l2` the norm of the weights with the
batch norm folded in (Li and others, ICLR 2017). `bn` and `l2` have no common scale over layers:
they are taken relative to the mean of their group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cimsim.boundary.limits import shown
from cimsim.errors import ConfigError, SimulationError, suggest
from cimsim.pruning.groups import Channels
from cimsim.pruning.modules import Holder
from cimsim.training.folding import folded

Kind = Literal["output", "taylor", "bn", "l2"]
Batch = tuple[Tensor, Tensor, Tensor]  # noisy frames, noise map, clean centre frame
Losses = NDArray[np.float64]


def saliency(
    kind: str,
    model: nn.Module,
    channels: Channels,
    known: Mapping[str, Holder],
    batches: Sequence[Batch],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Losses:
    """Return what each set's removal is thought to cost; compare within one kind only.

    Parameters
    ----------
    kind : {"output", "taylor", "bn", "l2"}
    model : nn.Module
        In eval mode; its gradients are left empty.
    channels, known
        From `cimsim.pruning.modules.channels_of`.
    batches : sequence of (noisy, noise_map, clean)
        One crop each: the mean of squares is over crops. ``bn`` and ``l2`` need none.
    seed : int
        Of the random signs of ``output``.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    float64 [n_sets]

    Raises
    ------
    ConfigError
        For an unknown kind.
    SimulationError
        When the network gives values that are not finite.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"--saliency: {shown(kind)} is unknown{suggest(kind, get_args(Kind))}")
    if kind in ("bn", "l2"):
        sizes = {name: _size(kind, model, held) for name, held in known.items()}
        values = _by_set(channels, sizes)
        for group in channels.groups:
            members = list(group.sets)
            values[members] /= max(float(values[members].mean()), 1e-30)
        return values
    generator = torch.Generator().manual_seed(seed)
    total = np.zeros(len(channels.sets))
    for done, (noisy, noise_map, clean) in enumerate(batches):
        model.zero_grad(set_to_none=True)
        out = model(noisy, noise_map)
        if kind == "taylor":
            asked = (out - clean).square().mean()
        else:
            signs = torch.randint(0, 2, out.shape, generator=generator).to(out) * 2 - 1
            asked = (out * signs).sum() / out.numel() ** 0.5
        asked.backward()
        gates = {name: _gate(model, held) for name, held in known.items()}
        total += np.square(_by_set(channels, gates))
        if progress is not None:
            progress(done + 1, len(batches))
    model.zero_grad(set_to_none=True)
    if not np.isfinite(total).all():
        raise SimulationError(
            "pruning: the network gives values that are not finite on these frames"
        )
    return total / max(1, len(batches))


def _by_set(channels: Channels, values: Mapping[str, Tensor]) -> Losses:
    """Sum per-channel values of matrices over the channels of each set."""
    by_name = {name: value.detach().double().numpy() for name, value in values.items()}
    return np.array(
        [sum(by_name[matrix][c] for matrix, c in each.outputs) for each in channels.sets],
        np.float64,
    )


def _parts(model: nn.Module, held: Holder) -> tuple[nn.Conv2d | nn.Linear, nn.BatchNorm2d | None]:
    norm = model.get_submodule(held.norm) if held.norm else None
    return model.get_submodule(held.matrix), norm  # type: ignore[return-value]


def _gate(model: nn.Module, held: Holder) -> Tensor:
    """Return the derivative by a gate on each output channel: of all parameters times theirs."""
    matrix, norm = _parts(model, held)
    part = matrix if norm is None or norm.weight is None else norm
    total = torch.zeros(len(matrix.weight))
    for parameter in (part.weight, part.bias):
        if parameter is not None and parameter.grad is not None:
            total += (parameter.detach() * parameter.grad).reshape(len(total), -1).sum(1)
    return total.reshape(-1, held.per_channel).sum(1)


def _size(kind: str, model: nn.Module, held: Holder) -> Tensor:
    """Return the size of each output channel: of its batch norm, or of its weights."""
    matrix, norm = _parts(model, held)
    if kind == "bn" and norm is not None and norm.weight is not None:
        size = norm.weight.detach().abs()
    else:
        gain, _ = folded(matrix, norm)
        size = matrix.weight.detach().flatten(1).square().sum(1)
        size = size if gain is None else size * gain.detach().square()
    return size.reshape(-1, held.per_channel).sum(1)
