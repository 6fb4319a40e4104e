"""What one path of a network gives: the PSNR with its output replaced by a constant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

# The last layer of the strided path, by model: all that the path does goes through it.
PATHS = {"cimnet": "block1.up1", "baseline-o2": "trunk", "abla-net": "trunk"}


@dataclass(frozen=True, slots=True)
class Contribution:
    """PSNR in dB on held-out crops.

    Attributes
    ----------
    whole : float
        Of the network.
    constant : float
        With the path's output at its mean over crops and blocks, one value for each channel and
        place in a block: what is left is what biases could do instead.
    zero : float
        With zeros instead.
    """

    whole: float
    constant: float
    zero: float

    @property
    def gives(self) -> float:
        """What the path gives beyond a constant, dB."""
        return self.whole - self.constant


def contribution(
    network: nn.Module, path: str, block: int, held_out: tuple[Tensor, Tensor, Tensor]
) -> Contribution:
    """Measure what a path gives.

    Parameters
    ----------
    network : nn.Module
        In eval mode.
    path : str
        Name of the module whose output is replaced.
    block : int
        Edge of the blocks that it writes.
    held_out : (Tensor, Tensor, Tensor)
        Noisy frames, noise maps, clean centre frames.
    """
    from cimsim.training.train import mean_psnr

    with _watched(network, path, block) as seen:
        whole = mean_psnr(network, *held_out)
    mean = sum(seen[1:], seen[0]) / len(seen)
    with replaced(network, path, mean, block):
        constant = mean_psnr(network, *held_out)
    with replaced(network, path, mean * 0, block):
        zero = mean_psnr(network, *held_out)
    return Contribution(whole, constant, zero)


@contextmanager
def replaced(network: nn.Module, path: str, value: Tensor, block: int) -> Iterator[None]:
    """Let a module return the same block everywhere, [1, C * block^2, 1, 1], for a ``with``."""
    from torch.nn import functional

    def instead(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        n, _, height, width = output.shape
        maps = value.to(output).expand(n, -1, height // block, width // block)
        return functional.pixel_shuffle(maps, block)

    handle = _module(network, path).register_forward_hook(instead)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _watched(network: nn.Module, path: str, block: int) -> Iterator[list[Tensor]]:
    """Collect the mean block of each call, [1, C * block^2, 1, 1]."""
    from torch.nn import functional

    seen: list[Tensor] = []

    def look(_module: Any, _inputs: Any, output: Tensor) -> None:
        blocks = functional.pixel_unshuffle(output.detach(), block)
        seen.append(blocks.mean(dim=(0, 2, 3), keepdim=True))

    handle = _module(network, path).register_forward_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


def _module(network: nn.Module, path: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError:
        children = ", ".join(name for name, _ in network.named_modules() if name)
        raise ConfigError(f"path: no module '{path}' in this network; known: {children}") from None
