"""Adam that works in a layer's spatial-frequency basis where the patches are large."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cimsim.training.weight_noise import conv_layers


def dct_matrix(size: int) -> torch.Tensor:
    """Return the orthonormal type-II cosine transform [size, size]; row 0 is the mean."""
    position = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * (position[None] + 0.5) * position[:, None])
    rows *= math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()


@dataclass(frozen=True, slots=True)
class Rotation:
    """Orthonormal change of basis of a convolution's input side: channels, then kernel y and x.

    The image's mean and its slow variations are spread over all taps of a patch. Adam moves every
    tap by about the same, so along such a direction a layer of fan-in n moves its output n times
    too far; in this basis it is one coordinate that moves.
    """

    channels: torch.Tensor
    kernel: torch.Tensor

    @classmethod
    def for_layer(cls, conv: nn.Conv2d) -> Rotation:
        """Return the cosine transform in all three directions for the layer's sizes."""
        device = conv.weight.device
        return cls(
            dct_matrix(conv.weight.shape[1]).to(device), dct_matrix(conv.weight.shape[2]).to(device)
        )

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Map weights [c_out, c_in, K, K] into the basis."""
        inner = self.kernel @ weight @ self.kernel.T
        return torch.einsum("ci,oikl->ockl", self.channels, inner)

    def back(self, weight: torch.Tensor) -> torch.Tensor:
        """Undo `forward`."""
        outer = torch.einsum("ci,ockl->oikl", self.channels, weight)
        return self.kernel.T @ outer @ self.kernel


class RotatedAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba, 2015) whose moments of some tensors live in a rotated basis.

    The idea of SOAP (Vyas et al., 2024) with a fixed basis on one side.

    Parameters
    ----------
    model : nn.Module
        Convolutions that no batch norm follows and whose kernel is larger than 3 are rotated.
    betas : (float, float)
        Decay of the mean and of the mean square.
    eps : float
        Added to the root of the mean square.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        model: nn.Module,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-10,
    ) -> None:
        super().__init__(groups, {"lr": 0.0, "share": 1.0, "betas": betas, "eps": eps})
        self.rotations = {
            id(conv.weight): Rotation.for_layer(conv)
            for conv, norm in conv_layers(model)
            if norm is None and conv.kernel_size[0] > 3
        }

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; ``closure`` is not supported."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        rotation = self.rotations.get(id(parameter))
        gradient = parameter.grad
        if gradient is None:
            return
        if rotation is not None:
            gradient = rotation.forward(gradient)
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(gradient)
            state["square"] = torch.zeros_like(gradient)
        beta1, beta2 = group["betas"]
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = math.sqrt(1 - beta2 ** state["step"])
        update = state["mean"] / (state["square"].sqrt() / scale + group["eps"])
        if rotation is not None:
            update = rotation.back(update)
        parameter.add_(update, alpha=-group["lr"] / (1 - beta1 ** state["step"]))
