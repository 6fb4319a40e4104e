"""Networks that were trained for analog hardware by ``aihwkit-lightning``.

Their layers (`AnalogLinear`, `AnalogConv1d` .. `AnalogConv3d`) clip and round what they read to a
range that was learned, multiply, and round what comes out as a converter would. On a chip that is
done by the chip: the learned range becomes the ends of a matrix's input code, as with a quantised
network (`cimsim.frontends.rounding`), the converters round, and cells bring their own noise. So the
rounding of outputs is left out here, and the reference in float32 knows of inputs alone.

The package is never imported: its layers are known by the name of their module. A layer whose
weights are clipped or quantised by learned numbers, whose range depends on each input, or a
convolution over several slices of rows, keeps its own arithmetic, which then runs digitally.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# registers cimsim::rounded
from cimsim.frontends.rounding import rounded

_PACKAGE = "aihwkit_lightning."
_FINE = 2**15 - 1  # steps to each side where inputs are clipped but not rounded


class _Ranges(nn.Module):
    """Clips and rounds slices of the features to a range each."""

    def __init__(self, sizes: list[int], ends: list[float], steps: int) -> None:
        super().__init__()
        self.sizes, self.ends, self.steps = sizes, ends, steps

    def of(self, x: Tensor, number: int) -> Tensor:
        """Round one slice: the whole tensor, if there is only one."""
        scale = self.ends[number] / self.steps
        out: Tensor = rounded(x, scale, 0, -self.steps, self.steps, False)
        return out


class _Linear(_Ranges):
    """A linear layer whose rows are cut into slices with ranges of their own."""

    def __init__(self, layer: Any, ranges: tuple[list[int], list[float], int]) -> None:
        super().__init__(*ranges)
        self.parts = nn.ModuleList()
        for number, weight in enumerate(torch.split(layer.weight.detach(), self.sizes, dim=1)):
            part = nn.Linear(
                weight.shape[1], weight.shape[0], bias=number == 0 and layer.bias is not None
            )
            part.weight.data = weight.clone()
            if number == 0 and layer.bias is not None:
                part.bias.data = layer.bias.detach().clone()
            self.parts.append(part)

    def forward(self, x: Tensor) -> Tensor:
        """Add up what the slices give."""
        slices = torch.split(x, self.sizes, dim=-1)
        found = [
            part(self.of(x, n)) for n, (part, x) in enumerate(zip(self.parts, slices, strict=True))
        ]
        out: Tensor = sum(found[1:], found[0])
        return out


class _Convolution(_Ranges):
    """A convolution of one slice."""

    def __init__(self, layer: Any, ranges: tuple[list[int], list[float], int]) -> None:
        super().__init__(*ranges)
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(layer.kernel_size)]
        self.layer: nn.Module = kind(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
            layer.padding, layer.dilation, bias=layer.bias is not None,
        )  # fmt: skip
        self.layer.load_state_dict(
            {k: v for k, v in layer.state_dict().items() if k in ("weight", "bias")}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve what is rounded."""
        out: Tensor = self.layer(self.of(x, 0))
        return out


def lowered(module: nn.Module) -> nn.Module:
    """Return a module with the layers of other trainers as plain ones; itself if it has none."""
    if not any(True for _ in _analog(module)):
        return module
    made = copy.deepcopy(module).eval()
    places = {id(child): (parent, name) for parent in made.modules()
              for name, child in parent.named_children()}  # fmt: skip
    for layer in list(_analog(made)):
        plain = _plain(layer)
        if plain is None:
            continue
        if layer is made:
            return plain.eval()
        parent, name = places[id(layer)]
        setattr(parent, name, plain)
    return made.eval()


def trained_for(module: nn.Module) -> dict[str, int]:
    """Return what of a chip a network was trained for, as overrides of `cimsim.load_hw`.

    ``inputs.bits`` and ``adc.bits``, of the layer that has most; empty where it says nothing.
    """
    found: dict[str, int] = {}
    for layer in _analog(module):
        forward = layer.rpu_config.forward
        for path, steps in (("inputs.bits", forward.inp_res), ("adc.bits", forward.out_res)):
            if steps > 0:
                found[path] = max(found.get(path, 0), round(math.log2(_steps(steps) + 2)))
    return found


def _analog(module: nn.Module) -> Iterator[Any]:
    for one in module.modules():
        kind = type(one)
        if kind.__module__.startswith(_PACKAGE) and hasattr(one, "rpu_config"):
            yield one


def _steps(resolution: float) -> float:
    """Return the steps between the ends; the package takes their reciprocal, too."""
    return resolution if resolution > 1 else 1 / resolution


def _plain(layer: Any) -> nn.Module | None:
    """Return the layer with its ranges as roundings; None if it must stay as it is."""
    config = layer.rpu_config
    ranges = config.pre_post.input_range
    if (
        not ranges.enable or ranges.dynamic or layer.input_range is None
        or config.clip.type.name == "LEARNABLE_PER_CHANNEL"
        or config.modifier.quantization_type.name != "NONE"
    ):  # fmt: skip
        return None
    ends = [float(end) for end in layer.input_range.detach().reshape(-1)]
    sizes = [int(n) for n in layer.in_sizes]
    resolution = config.forward.inp_res
    steps = max(1, round(_steps(resolution) / 2)) if resolution > 0 else _FINE
    told = (sizes, ends, steps)
    if type(layer).__name__ == "AnalogLinear":
        return _Linear(layer, told)
    if type(layer).__name__ in ("AnalogConv1d", "AnalogConv2d", "AnalogConv3d") and len(ends) == 1:
        return _Convolution(layer, told)
    return None
