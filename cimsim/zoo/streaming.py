"""Cascades frame by frame: results of the first stage are reused, two block runs per new frame."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch

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
        if model.n_frames != 5:
            raise ZooError(
                f"streaming: {type(model).__name__} looks at {model.n_frames} frames; only "
                "cascades over 5 frames have results to reuse"
            )
        self.model = model
        self.frames: deque[torch.Tensor] = deque(maxlen=3)
        self.results: deque[torch.Tensor] = deque(maxlen=3)

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
        height, width = frame.shape[-2:]
        noise_map = pad(noise_map, self.model.multiple)
        self.frames.append(pad(frame, self.model.multiple))
        if len(self.frames) < 3:
            return None
        self.results.append(self.model.first_stage(torch.cat(list(self.frames), dim=1), noise_map))
        if len(self.results) < 3:
            return None
        estimate = self.model.second_stage(torch.cat(list(self.results), dim=1), noise_map)
        return estimate[..., :height, :width]
