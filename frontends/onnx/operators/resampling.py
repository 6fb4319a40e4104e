"""Maps of another size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cimsim.frontends.onnx.program import Call, Node, Operator, Outcome

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _resize(node: Node) -> Outcome:
    x, mode = node.value(0), str(node.attribute("mode", "nearest"))
    how = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    scales, sizes = _target(node, x.shape)
    if sizes == list(x.shape):
        return [x]
    moved = [i for i, n in enumerate(x.shape) if sizes[i] != n]
    if mode == "nearest":
        return _nearest(node, how, scales, sizes, moved)
    if x.rank - 2 not in _LINEAR or moved[0] < 2:
        raise node.error(f"{mode} from {list(x.shape)} to {sizes}; maps of 1 to 3 axes are resized")
    smooth = bool(node.attribute("antialias", 0))
    if node.attribute("exclude_outside", 0):
        raise node.error("exclude_outside = 1 is not supported")
    if smooth and any(sizes[i] < x.shape[i] for i in moved):
        raise node.error("antialias = 1 to a smaller size is not supported")
    if how == "align_corners" and any(scales[i] * x.shape[i] != sizes[i] for i in moved):
        raise node.error(f"align_corners with scales {scales} that give no whole size")
    modes = {"linear": _LINEAR[x.rank - 2], "cubic": "bicubic"}
    if mode not in modes or (mode == "cubic" and x.rank != 4):
        raise node.error(f"the mode '{mode}' of {list(x.shape)} is not supported")
    if mode == "cubic" and abs(float(node.attribute("cubic_coeff_a", -0.75)) + 0.75) > 1e-6:
        raise node.error("cubic_coeff_a other than -0.75 is not supported")
    one_pixel = any(sizes[i] == 1 for i in moved)
    if how not in ("half_pixel", "pytorch_half_pixel", "align_corners") or (
        one_pixel and how == "pytorch_half_pixel"
    ):
        raise node.error(
            f"{mode} with coordinate_transformation_mode '{how}' to {sizes} is not supported; "
            "half_pixel and align_corners are"
        )
    corners, wanted, chosen = how == "align_corners", sizes[2:], modes[mode]
    ratio = _ratio(scales, x.shape, sizes)

    def run(a: Tensor) -> Tensor:
        if ratio is not None and not corners:
            return functional.interpolate(a, scale_factor=ratio, mode=chosen, align_corners=False)
        return functional.interpolate(a, size=wanted, mode=chosen, align_corners=corners)

    return Call(run, (x,))


def _target(node: Node, shape: tuple[int, ...]) -> tuple[list[float], list[int]]:
    """Return the factor and the new size of each axis."""
    axes = [
        node.within(int(n), len(shape)) for n in node.attribute("axes", list(range(len(shape))))
    ]
    scales, sizes = node.constant(2, "scales"), node.whole(3, "sizes")
    if str(node.attribute("keep_aspect_ratio_policy", "stretch")) != "stretch":
        raise node.error("keep_aspect_ratio_policy is not supported")
    factor, new = [1.0] * len(shape), list(shape)
    if sizes:
        if len(sizes) != len(axes):
            raise node.error(f"sizes {sizes} for axes {axes}")
        for axis, size in zip(axes, sizes, strict=True):
            new[axis], factor[axis] = size, size / shape[axis]
    elif scales is not None and scales.numel() == len(axes):
        for axis, scale in zip(axes, scales.tolist(), strict=True):
            if not (math.isfinite(scale) and 0 < scale * shape[axis] < 2**31):
                raise node.error(f"a scale of {scale}")
            new[axis], factor[axis] = math.floor(shape[axis] * scale), scale
    else:
        raise node.error("neither scales nor sizes for each axis")
    if min(new) < 1:
        raise node.error(f"resizes {list(shape)} to {new}")
    return factor, new


def _ratio(scales: list[float], old: tuple[int, ...], new: list[int]) -> list[float] | None:
    """Return factors for torch where they say more than the sizes, or just as much."""
    told = [float(scale) for scale in scales[2:]]
    fits = all(math.floor(n * s) == m for n, s, m in zip(old[2:], told, new[2:], strict=True))
    return told if fits else None


def _nearest(
    node: Node, how: str, scales: list[float], sizes: list[int], moved: list[int]
) -> Outcome:
    """Copy the nearest element; as torch's own layer where it chooses the same ones."""
    x, rule = node.value(0), str(node.attribute("nearest_mode", "round_prefer_floor"))
    chosen = {i: _places(node, how, rule, scales[i], x.shape[i], sizes[i]) for i in moved}
    plain = x.rank in (3, 4, 5) and moved[0] >= 2 and all(
        np.array_equal(at, np.arange(sizes[i]) * x.shape[i] // sizes[i])
        for i, at in chosen.items()
    )  # fmt: skip
    if plain:
        ratio = _ratio(scales, x.shape, sizes)
        if ratio is not None and all(s == int(s) for s in ratio):
            return Call(lambda a: functional.interpolate(a, scale_factor=ratio), (x,))
        return Call(lambda a: functional.interpolate(a, size=sizes[2:]), (x,))
    values = tuple(node.made(torch.from_numpy(at), f"places{i}") for i, at in chosen.items())

    def run(a: Tensor, *places: Tensor) -> Tensor:
        for axis, at in zip(moved, places, strict=True):
            a = torch.index_select(a, axis, at)
        return a

    return Call(run, (x, *values))


def _places(node: Node, how: str, rule: str, scale: float, old: int, new: int) -> NDArray[np.int64]:
    """Return which element each new one copies."""
    if new > 1 << 24:
        raise node.error(f"an axis of {new:,} elements")
    at = np.arange(new, dtype=np.float64)
    if how == "asymmetric":
        real = at / scale
    elif how == "align_corners":
        real = at * (old - 1) / (new - 1) if new > 1 else at * 0
    elif how == "half_pixel_symmetric":
        adjusted = new / (scale * old)
        real = old / 2 * (1 - adjusted) + (at + 0.5) / scale - 0.5
    elif how == "half_pixel" or (how == "pytorch_half_pixel" and new > 1):
        real = (at + 0.5) / scale - 0.5
    elif how == "pytorch_half_pixel":
        real = at * 0
    else:
        raise node.error(f"coordinate_transformation_mode '{how}' is not supported")
    rules: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
    }
    if rule not in rules:
        raise node.error(f"nearest_mode '{rule}' is not supported")
    return np.clip(rules[rule](real), 0, old - 1).astype(np.int64)


TABLE: dict[str, Operator] = {"Resize": _resize}
