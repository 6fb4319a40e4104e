"""Adam with one more step for CIM-CONVs that write the block they read: all positions together.

Such a layer has its own filter for each of the S x S positions of a block, and a crop holds few
blocks: every filter learns slowly. But an image looks the same at every position, so most of
what one filter has to learn is what its neighbours have to learn. The layer's weights are taken
as ``W = U + tied(k)`` with one kernel k for all positions, cut off by the patch: Adam moves both U
and k, and both changes are added to W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import nn

from cimsim.zoo.cim_conv import CIMConv

REACH = 2.5  # pixels: taps farther away than this learn less


class TiedKernel:
    """The kernel that all positions of a CIM-CONV's block share.

    Parameters
    ----------
    layer : CIMConv
        With ``block == stride`` and a kernel of ``stride + 2``.
    """

    def __init__(self, layer: CIMConv) -> None:
        edge, kernel = layer.block, int(layer.fc.kernel_size[0])
        n_offsets = 2 * edge + 1
        device = layer.fc.weight.device
        place = torch.zeros(edge, kernel, n_offsets, device=device)
        for position in range(edge):
            for tap in range(kernel):
                place[position, tap, tap - 1 - position + edge] = 1
        self.edge, self.kernel = edge, kernel
        self.place = place.reshape(edge * kernel, n_offsets)
        distance = torch.arange(-edge, edge + 1, device=device)
        window = torch.exp(-0.5 * (distance / REACH) ** 2)
        self.window = window[:, None] * window[None, :]

    def gather(self, weight: torch.Tensor) -> torch.Tensor:
        """Add up weights [c_out * edge^2, c_in, K, K] by offset: [c_out, c_in, n, n]."""
        e, k = self.edge, self.kernel
        c_in = weight.shape[1]
        parts = weight.reshape(-1, e, e, c_in, k, k).permute(0, 3, 1, 4, 2, 5)
        parts = parts.reshape(-1, c_in, e * k, e * k) @ self.place
        return self.place.T @ parts

    def spread(self, kernel: torch.Tensor) -> torch.Tensor:
        """Lay a kernel [c_out, c_in, n, n] out for all positions, as weights."""
        e, k = self.edge, self.kernel
        c_out, c_in = kernel.shape[:2]
        parts = self.place @ kernel @ self.place.T
        parts = parts.reshape(c_out, c_in, e, k, e, k).permute(0, 2, 4, 1, 3, 5)
        return parts.reshape(c_out * e * e, c_in, k, k)


class TiedAdam(torch.optim.Adam):
    """Adam that also moves the shared kernels of a network's block-writing CIM-CONVs.

    Parameters
    ----------
    groups : iterable of dict
        Parameter groups, as for Adam.
    model : nn.Module
        Where to look for CIM-CONVs.
    share : float
        Rate of a shared kernel's centre, relative to its layer's own rate.
    """

    def __init__(self, groups: Iterable[dict[str, object]], model: nn.Module, share: float) -> None:
        super().__init__(groups, betas=(0.9, 0.99), fused=True)
        self.share = share
        self.kernels = {
            id(part.fc.weight): TiedKernel(part)
            for part in model.modules()
            if isinstance(part, CIMConv) and part.block == part.stride > 1
        }

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step."""
        loss = super().step(closure)
        if not self.share:
            return loss
        for group in self.param_groups:
            for parameter in group["params"]:
                kernel = self.kernels.get(id(parameter))
                if kernel is not None and parameter.grad is not None:
                    self._move(parameter, kernel, group["lr"], group["betas"], group["eps"])
        return loss

    def _move(
        self,
        parameter: torch.Tensor,
        kernel: TiedKernel,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        gradient = kernel.gather(parameter.grad)  # type: ignore[arg-type]
        state = self.state[parameter]
        if "tied_mean" not in state:
            state["tied_mean"] = torch.zeros_like(gradient)
            state["tied_square"] = torch.zeros_like(gradient)
        beta1, beta2 = betas
        step = float(state["step"])
        mean = state["tied_mean"].lerp_(gradient, 1 - beta1) / (1 - beta1**step)
        square = state["tied_square"].lerp_(gradient.square(), 1 - beta2) / (1 - beta2**step)
        change = mean / (square.sqrt() + eps) * kernel.window
        parameter.add_(kernel.spread(change), alpha=-lr * self.share)


def random_kernels(layer: CIMConv, n_channels: int, std: float) -> torch.Tensor:
    """Return weights [n_channels * edge^2, c_in, K, K] of random filters, shared by positions.

    Each filter has mean zero over its taps and Gaussian reach; ``std`` is the root of the summed
    squares of its taps.
    """
    tied = TiedKernel(layer)
    size = 2 * layer.block + 1
    kernel = torch.randn(n_channels, layer.fc.in_channels, size, size) * tied.window**2
    kernel -= kernel.mean(dim=(1, 2, 3), keepdim=True) * tied.window / tied.window.mean()
    norm = kernel.square().sum(dim=(1, 2, 3), keepdim=True)
    return tied.spread(kernel * std / torch.sqrt(norm))
