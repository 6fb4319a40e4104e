"""A trained network that another one learns from: knowledge distillation.

The student's loss gains the squared distance to what the teacher makes of the same noisy frames
(Hinton, Vinyals, Dean, arXiv 1503.02531; for regression with the outputs themselves). The teacher
is frozen, in eval mode and computes in float: a chip in the loop is the student's alone.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from cimsim.errors import ConfigError
from cimsim.zoo import registry
from cimsim.zoo.recognise import identify
from cimsim.zoo.weights import Card, find_card, load_weights, named_card, read_state


def find(teacher: str) -> Card | Path:
    """Return where a teacher's weights are: its card, or a file.

    Parameters
    ----------
    teacher : str
        Path of a weight file, name of shipped weights (``fastdvdnet-block_eflash40nm``), or a name
        of the zoo with its default options.

    Raises
    ------
    ConfigError
        When it is none of these, or the zoo ships no weights for that network.
    """
    if Path(teacher).is_file():
        return Path(teacher)
    known = teacher in registry.MODELS
    card = named_card(teacher) or (find_card(teacher) if known else None)
    if card is None:
        why = (
            "has no shipped weights for its default options"
            if known
            else "is no weight file, no shipped weights and no network of the zoo"
        )
        raise ConfigError(
            f"train: teacher: '{teacher}' {why}; give a file, or a name that cimsim models list "
            "and cimsim models show print"
        )
    return card


def load(teacher: str, n_frames: int) -> nn.Module:
    """Return a teacher with its weights, frozen and in eval mode.

    Parameters
    ----------
    teacher : str
        See `find`.
    n_frames : int
        Frames that the student looks at; the teacher must look at as many.

    Raises
    ------
    ConfigError
        When a file tells no network, or the teacher looks at another number of frames.
    WeightsError
        For a file that cannot be read or does not fit.
    """
    source = find(teacher)
    name, options = _network(source)
    model = registry.build(name, **options)
    load_weights(model, source)
    looks_at = int(model.n_frames)  # type: ignore[arg-type]
    if looks_at != n_frames:
        raise ConfigError(
            f"train: teacher: '{teacher}' ({registry.info(name).titled(options)}) looks at "
            f"{looks_at} frames, the network to train at {n_frames}; take a teacher of {n_frames}"
        )
    return model.eval().requires_grad_(False)


def loss(
    estimate: torch.Tensor, clean: torch.Tensor, taught: torch.Tensor | None, weight: float
) -> torch.Tensor:
    """Return ``mse(estimate, clean) + weight * mse(estimate, taught)``; no teacher: the first.

    Parameters
    ----------
    estimate, clean, taught : Tensor [B, 3, H, W]
        What the student makes of the noisy frames, the clean ones, what the teacher makes of them.
    weight : float
    """
    error = functional.mse_loss(estimate, clean)
    if taught is None:
        return error
    return error + weight * functional.mse_loss(estimate, taught)


def _network(source: Card | Path) -> tuple[str, dict[str, int | str]]:
    """Return name and options of the network that a weight file is of."""
    if isinstance(source, Path):
        beside = source.with_suffix(".json")
        if source.suffix != ".safetensors" or not beside.is_file():
            shapes = {key: tuple(value.shape) for key, value in read_state(source).items()}
            network = identify(shapes)
            if network is None:
                raise ConfigError(
                    f"train: teacher: {source}: these are the tensors of no network of the zoo; "
                    "give a file with its card (.json) beside it"
                )
            return network
        source = Card.read(beside)
    return source.model, dict(source.options)
