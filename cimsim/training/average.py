"""The averaged copy of a network, which is what is validated and saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Lets one network follow another: every number moves a little towards its twin.

    Parameters
    ----------
    source, averaged : nn.Module
        Of one kind, on one device. Their tensors must stay the same objects.
    decay : float
        Share of the old value that stays; 0: the copy is the source.
    """

    def __init__(self, source: nn.Module, averaged: nn.Module, decay: float) -> None:
        self.decay = decay
        twins = source.state_dict()
        pairs = [(value, twins[name]) for name, value in averaged.state_dict().items()]
        self._numbers: list[Tensor] = [one for one, _ in pairs if one.is_floating_point()]
        self._towards: list[Tensor] = [other for one, other in pairs if one.is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take one step, the ``step``-th; in the first steps the copy follows faster."""
        decay = min(self.decay, step / (step + 10))
        torch._foreach_lerp_(self._numbers, self._towards, 1 - decay)
        for counter, source in self._counters:
            counter.copy_(source)
