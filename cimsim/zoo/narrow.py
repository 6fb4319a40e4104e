"""Networks with fewer channels than their options say: what pruning leaves, rebuilt from a file.

A pruned network has the modules of its original; only shapes are smaller. So its file needs no
description beside its tensors: the network is built as always and each layer is narrowed to the
shapes in the file. Files say that they are pruned in their metadata (`cimsim.zoo.weights`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from cimsim.zoo._frames import AbstractDenoiser
from cimsim.zoo.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]
_MARK = "_is_narrowed"
_EDGE = 64  # of the frame with which shapes are tried: a multiple of all strides


def is_narrowed(model: nn.Module) -> bool:
    """Tell whether a network has fewer channels somewhere than it was built with."""
    return bool(getattr(model, _MARK, False))


def shapes_of_state(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network."""
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def narrow(model: nn.Module, shapes: Shapes, *, where: str) -> None:
    """Make the layers of a network as narrow as these shapes, in place; values are lost.

    Parameters
    ----------
    model : nn.Module
        Just built: convolutions, linear layers and batch norms may become narrower.
    shapes : mapping of str to tuple of int
        By name in the state dict. Tensors that it does not name keep their shapes.
    where : str
        Names the source in messages.

    Raises
    ------
    WeightsError
        When a tensor is larger than the network's, differs in more than channels, belongs to a
        layer that cannot be narrowed, or the widths of neighbouring layers do not go together.
    """
    changed = False
    for name, part in model.named_modules():
        own = dict(part.named_parameters(recurse=False)) | dict(part.named_buffers(recurse=False))
        head = f"{name}." if name else ""
        wanted = {key: tuple(shapes.get(head + key, own[key].shape)) for key in own}
        if any(wanted[key] != tuple(own[key].shape) for key in own):
            _narrow_part(part, own, wanted, f"{where}: tensor '{head}")
            changed = True
    if changed:
        setattr(model, _MARK, True)
        _check_flow(model, where)


def _narrow_part(
    part: nn.Module, own: dict[str, torch.Tensor], wanted: dict[str, tuple[int, ...]], head: str
) -> None:
    for key, shape in wanted.items():
        full = tuple(own[key].shape)
        fits = len(shape) == len(full) and shape[2:] == full[2:] and min(shape, default=1) > 0
        if not fits or any(n > m for n, m in zip(shape, full, strict=True)):
            raise WeightsError(
                f"{head}{key}' has shape {shape}, the network has {full}; pruning takes channels "
                "away and changes nothing else: this file is of another network or other options"
            )
    first = wanted["weight"] if "weight" in wanted else next(iter(wanted.values()))
    if isinstance(part, nn.Conv2d):
        if first[0] % part.groups:
            raise WeightsError(
                f"{head}weight' has {first[0]} outputs, which do not go into {part.groups} groups"
            )
        part.out_channels, part.in_channels = first[0], first[1] * part.groups
    elif isinstance(part, nn.Linear):
        part.out_features, part.in_features = first
    elif isinstance(part, nn.BatchNorm2d):
        part.num_features = first[0]
    else:
        raise WeightsError(
            f"{head}weight': a {type(part).__name__} cannot be narrowed; known: Conv2d, Linear, "
            "BatchNorm2d"
        )
    outputs = {key: shape[0] for key, shape in wanted.items() if shape}
    if len(set(outputs.values())) > 1:
        listed = ", ".join(f"{key} {n}" for key, n in outputs.items())
        raise WeightsError(f"{head}weight': its layer would have different widths: {listed}")
    for key, shape in wanted.items():
        made = own[key].new_zeros(shape)
        if isinstance(own[key], nn.Parameter):
            setattr(part, key, nn.Parameter(made))
        else:
            part.register_buffer(key, made)


def _check_flow(model: nn.Module, where: str) -> None:
    """Run shapes alone through a denoiser, so that widths that do not meet are found here."""
    if not isinstance(model, AbstractDenoiser):
        return
    trial = copy.deepcopy(model).to("meta").eval()
    frames = torch.empty(1, 3 * model.n_frames, _EDGE, _EDGE, device="meta")
    try:
        with torch.no_grad():
            out = trial(frames, frames[:, :1])
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: the widths of its layers do not go together: "
            f"{str(error).strip().partition(chr(10))[0]}"
        ) from error
    if tuple(out.shape) != (1, 3, _EDGE, _EDGE):
        raise WeightsError(
            f"{where}: a network of these widths gives {tuple(out.shape[1:])} values of a frame "
            f"[3, {_EDGE}, {_EDGE}]"
        )
