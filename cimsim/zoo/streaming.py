"""Cascades frame by frame: results of the first stage are reused, two block runs per new frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol, TypeGuard

import torch
from torch import nn

from cimsim.zoo._frames import pad
from cimsim.zoo.errors import ZooError


class Cascade(Protocol):
    """What streaming needs of a network: two stages over three frames each."""

    n_frames: int
    multiple: int

    def first_stage(self, triplet: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Denoise one noisy triplet [B, 9, H, W] to [B, 3, H, W]."""

    def second_stage(self, triplet: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Join three results of the first stage [B, 9, H, W] to [B, 3, H, W]."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Layers and blocks; every `torch.nn.Module` has it."""


def is_cascade(model: object) -> TypeGuard[Cascade]:
    """Tell whether a network has two stages over five frames, so that results can be reused."""
    parts = ("first_stage", "second_stage", "multiple")
    return getattr(model, "n_frames", 1) == 5 and all(hasattr(model, part) for part in parts)


class StreamingStep(nn.Module):
    """What a two-stage network computes for one new frame, as a module without state.

    The first stage denoises the newest triplet (t, t + 1, t + 2) of noisy frames; the second joins
    its result with the two kept ones, of (t - 2, t - 1, t) and (t - 1, t, t + 1), to the estimate
    of frame t. As written the network computes all three for every frame.

    The blocks keep the names that they have in the network, so both have the same state dict and,
    on a chip, the same arrays.

    Parameters
    ----------
    model : Cascade
        Shares its layers with this module.

    Raises
    ------
    ZooError
        When the network has one stage.
    """

    n_frames = 3  # the newest triplet

    def __init__(self, model: Cascade) -> None:
        if not is_cascade(model):
            raise ZooError(
                f"streaming: {type(model).__name__} looks at {getattr(model, 'n_frames', 1)} "
                "frames in one stage; only cascades of two stages over 5 frames have results to "
                "reuse"
            )
        super().__init__()
        for name, part in model.named_children():
            self.add_module(name, part)
        # bound methods, not the network itself: as a child it would name every layer twice
        self._first, self._second = model.first_stage, model.second_stage
        self.multiple = model.multiple

    def kept_shape(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the shape of the two kept results: [1, 6, H, W], padded to the multiple."""
        return 1, 6, height + -height % self.multiple, width + -width % self.multiple

    def forward(
        self, frames: torch.Tensor, noise_map: torch.Tensor, kept: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the newest triplet and the kept results; return the estimate and a new result.

        Parameters
        ----------
        frames : Tensor [B, 9, H, W]
            Noisy frames t, t + 1, t + 2.
        noise_map : Tensor [B, 1, H, W]
            Of all frames; sigma / 255.
        kept : Tensor [B, 6, Hp, Wp]
            Results of the first stage for the frames t - 1 and t, of `kept_shape`. The border that
            pads a frame is kept too: the network as written hands it from stage to stage.

        Returns
        -------
        estimate : Tensor [B, 3, H, W]
            Of frame t.
        result : Tensor [B, 3, Hp, Wp]
            Of the first stage, for frame t + 1; see `shifted`.
        """
        height, width = frames.shape[-2:]
        fits = height % self.multiple == 0 and width % self.multiple == 0
        if not fits:
            frames, noise_map = pad(frames, self.multiple), pad(noise_map, self.multiple)
        result = self._first(frames, noise_map)
        estimate = self._second(torch.cat([kept, result], dim=1), noise_map)
        return (estimate if fits else estimate[..., :height, :width]), result


def shifted(kept: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """Return the kept results [B, 6, H, W] after a new one [B, 3, H, W]: the oldest goes."""
    return torch.cat([kept[:, 3:], result], dim=1)


class StreamingDenoiser:
    """Feeds a two-stage network (FastDVDnet, CIM-NET with two stages) one frame at a time.

    The state is the last two noisy frames and the last two results of the first stage. A new
    frame costs one run of each stage; as written, the network runs four blocks per frame.

    The noise level is taken to be the same for the frames of one window, as in ``forward``.

    Parameters
    ----------
    model : Cascade
        In eval mode; its ``n_frames`` is 5.

    Raises
    ------
    ZooError
        When the network has one stage.
    """

    delay = 2

    def __init__(self, model: Cascade) -> None:
        self.step = StreamingStep(model)
        self.frames: deque[torch.Tensor] = deque(maxlen=3)
        self.kept: torch.Tensor | None = None
        self.steps = 0

    def push(self, frame: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor | None:
        """Take the next frame; return the estimate of the frame `delay` frames earlier.

        Parameters
        ----------
        frame : Tensor [B, 3, H, W]
        noise_map : Tensor [B, 1, H, W]

        Returns
        -------
        Tensor [B, 3, H, W] or None
            None for the first four frames.
        """
        self.frames.append(frame)
        if len(self.frames) < 3:
            return None
        if self.kept is None:
            shape = self.step.kept_shape(*frame.shape[-2:])
            self.kept = frame.new_zeros(len(frame), *shape[1:])
        triplet = torch.cat(list(self.frames), dim=1)
        estimate, result = self.step(triplet, noise_map, self.kept)
        self.kept = shifted(self.kept, result)
        self.steps += 1
        return estimate if self.steps > 2 else None
