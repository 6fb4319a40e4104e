"""The networks of published whole-chip figures as plain modules: shapes are facts, weights are 0.

Nothing is trained: arrays, cycles and energy at a given activity do not depend on the values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

import cimsim
from cimsim.graph.ir import LayerGraph


class Residual(nn.Module):
    """Convolutions and a shortcut that are added up, then ReLU.

    Parameters
    ----------
    body : sequence of nn.Module
    c_in, c_out, stride : int
        Of the whole block; the shortcut is a convolution of 1 x 1 where they change the map.
    """

    def __init__(self, body: nn.Module, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = body
        same = c_in == c_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        return torch.relu(self.body(x) + self.shortcut(x))


def basic(c_in: int, c_out: int, stride: int) -> Residual:
    """Return a block of two 3 x 3 convolutions."""
    body = nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1), nn.ReLU(), nn.Conv2d(c_out, c_out, 3, 1, 1)
    )
    return Residual(body, c_in, c_out, stride)


def bottleneck(c_in: int, c_out: int, stride: int) -> Residual:
    """Return a block of 1 x 1, 3 x 3 and 1 x 1 convolutions, a quarter of the channels inside."""
    inside = c_out // 4
    body = nn.Sequential(
        nn.Conv2d(c_in, inside, 1), nn.ReLU(), nn.Conv2d(inside, inside, 3, stride, 1), nn.ReLU(),
        nn.Conv2d(inside, c_out, 1),
    )  # fmt: skip
    return Residual(body, c_in, c_out, stride)


def _resnet(
    stem: list[nn.Module],
    block: Callable[[int, int, int], Residual],
    stages: tuple[tuple[int, int], ...],
    classes: int,
) -> nn.Module:
    """Blocks (width, number) of each stage behind a stem, then the mean and a linear layer."""
    c_in = next(m.out_channels for m in stem if isinstance(m, nn.Conv2d))
    layers = list(stem)
    for index, (width, count) in enumerate(stages):
        for number in range(count):
            layers.append(block(c_in, width, 2 if index and number == 0 else 1))
            c_in = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, classes)]
    return nn.Sequential(*layers)


def _stem() -> list[nn.Module]:
    return [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]


def resnet18() -> nn.Module:
    """Return the ImageNet network of two blocks per stage."""
    return _resnet(_stem(), basic, ((64, 2), (128, 2), (256, 2), (512, 2)), 1000)


def resnet50() -> nn.Module:
    """Return the ImageNet network of 3, 4, 6, 3 bottlenecks, the stride at the 3 x 3 ones."""
    return _resnet(_stem(), bottleneck, ((256, 3), (512, 4), (1024, 6), (2048, 3)), 1000)


def resnet20() -> nn.Module:
    """Return the CIFAR-10 network of NeuRRAM, shortcuts as convolutions."""
    stem: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU()]
    return _resnet(stem, basic, ((16, 3), (32, 3), (64, 3)), 10)


def vgg16() -> nn.Module:
    """Return VGG-16."""
    convolutions = (64, 64, 0, 128, 128, 0, *(3 * (256,)), 0, *(3 * (512,)), 0, *(3 * (512,)), 0)
    return _chain(convolutions, 7 * 7, (4096, 4096, 1000))


def jia_cnn() -> nn.Module:
    """Return the CIFAR-10 network of Jia 2020, as far as remembered: nine of its ten layers."""
    convolutions = (128, 128, 0, 256, 256, 0, 256, 256, 0)
    return _chain(convolutions, 4 * 4, (1024, 1024, 10))


def _chain(convolutions: tuple[int, ...], pixels: int, linear: tuple[int, ...]) -> nn.Module:
    """3 x 3 convolutions (0: pooling), then linear layers, ReLU between all of them."""
    layers: list[nn.Module] = []
    width = 3
    for channels in convolutions:
        if channels:
            layers += [nn.Conv2d(width, channels, 3, 1, 1), nn.ReLU()]
            width = channels
        else:
            layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    width *= pixels
    for features in linear:
        layers += [nn.Linear(width, features), nn.ReLU()]
        width = features
    return nn.Sequential(*layers[:-1])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": resnet18, "resnet20": resnet20, "resnet50": resnet50, "vgg16": vgg16,
    "jia_cnn": jia_cnn,
}  # fmt: skip


@cache
def graph(name: str, size: int) -> LayerGraph:
    """Return a network traced for images of ``size`` x ``size`` pixels, all weights 0."""
    with torch.device("meta"):
        module = NETWORKS[name]()
    module = module.to_empty(device="cpu").eval()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return cimsim.trace(module, (torch.zeros(1, 3, size, size),), name=name)
