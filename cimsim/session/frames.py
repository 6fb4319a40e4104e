"""Frames of a clip as a network takes them, one step after another, and back as frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.tasks.contract import Contract, Tensors
from cimsim.video.reel import with_channels

if TYPE_CHECKING:
    import torch

    from cimsim.graph.ir import LayerGraph

Clip = NDArray[np.uint8] | NDArray[np.float32]
Frames = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


class Series(Protocol):
    """Frames by number: an array, or those of a long clip, of which few are in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, height, width, channels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Frames: ...


def clip_inputs(mapping: Mapping, noisy: Frames, count: int, sigma: float) -> list[Tensors]:
    """Return the inputs for the first frames; kept results are those of the float network."""
    contract = Contract.of(mapping.graph)
    kept, found, ahead = contract.blank(), list[Tensors](), contract.steps_ahead
    for step in range(ahead + count):
        inputs = (*step_inputs(mapping.graph, noisy, step, sigma), *kept)
        if step >= ahead:
            found.append(inputs)
        if kept and len(found) < count:
            kept = shifted_results(kept, mapping.graph.reference(*inputs))
    return found


def step_inputs(graph: LayerGraph, noisy: Series, step: int, sigma: float) -> Tensors:
    """Noisy frames and noise map of one step; a streaming one reads one frame further on."""
    contract = Contract.of(graph)
    centre = step - contract.steps_ahead // 2
    n_inputs = min(2, len(graph.inputs))
    return window_of_frames(noisy, centre, contract.n_frames, sigma, n_inputs)


def window_of_frames(
    noisy: Series, t: int, n_frames: int, sigma: float, n_inputs: int
) -> tuple[torch.Tensor, ...]:
    """Return the inputs for frame ``t`` of an array or a reel; it is mirrored at its ends.

    Returns
    -------
    tuple of torch.Tensor
        [1, n_frames * 3, H, W] and, for two inputs, [1, 1, H, W] filled with ``sigma / 255``.
    """
    import torch

    around = range(t - n_frames // 2, t - n_frames // 2 + n_frames)
    chosen = np.stack([noisy[_mirror(index, len(noisy))] for index in around])
    height, width, channels = chosen.shape[1:]
    stacked = chosen.transpose(0, 3, 1, 2).reshape(1, channels * n_frames, height, width)
    frames = torch.from_numpy(np.ascontiguousarray(stacked))
    return (frames, torch.full((1, 1, height, width), sigma / 255))[:n_inputs]


def _mirror(index: int, length: int) -> int:
    if length == 1:
        return 0
    index = abs(index) % (2 * length - 2)
    return index if index < length else 2 * length - 2 - index


def shifted_results(kept: Tensors, outputs: Tensors) -> Tensors:
    """Kept results after a step: the oldest goes, the newest comes last."""
    from cimsim.zoo.streaming import shifted

    return tuple(shifted(results, outputs[1]) for results in kept)


def as_float(clip: ArrayLike | Series, channels: int = 3, *, noisy: bool = False) -> Frames:
    """Return frames [T, H, W, C] as float32 in [0, 1].

    Parameters
    ----------
    clip : uint8 or float [T, H, W, 3], [T, H, W, 1] or [T, H, W]
    channels : int
        C: 3, or 1 for a grey network.
    noisy : bool
        Floats may lie outside of 0 .. 1, as noise takes them there.

    Raises
    ------
    InputError
        For another shape.
    """
    from cimsim.video.io import to_float

    array = np.asarray(clip)
    array = array[..., np.newaxis] if array.ndim == 3 else array
    array = with_channels(array, channels) if array.ndim == 4 else array
    if array.ndim != 4 or array.shape[3] != channels or 0 in array.shape[1:]:
        raise InputError(f"clip: expected frames [T, H, W, 3], got shape {array.shape}")
    if array.dtype == np.uint8:
        return to_float(array)
    if array.dtype.kind != "f":
        raise InputError(f"clip: expected uint8 or float frames, got {array.dtype}")
    if array.size == 0:
        return array.astype(np.float32)
    lowest, highest = float(array.min()), float(array.max())  # NaN, if there is any
    within = np.isfinite(lowest) and np.isfinite(highest) if noisy else lowest >= 0 and highest <= 1
    if not within:
        raise InputError(
            f"clip: expected values in [0, 1], got {lowest:g} .. {highest:g}; divide 8-bit values "
            "by 255, or give them as uint8"
        )
    return array.astype(np.float32)


def picture(output: torch.Tensor) -> Frames:
    """Return a network's output [1, C, H, W] as a frame [H, W, C]."""
    return np.ascontiguousarray(output[0].detach().float().cpu().numpy().transpose(1, 2, 0))


def digest_of(frames: Frames | Series) -> str:
    """Return the SHA-256 of frames as they lie in memory."""
    return hashlib.sha256(np.ascontiguousarray(np.asarray(frames)).tobytes()).hexdigest()
