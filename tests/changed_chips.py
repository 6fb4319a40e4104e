"""A network of two small layers, and chips of changed descriptions."""

import copy

import numpy as np
import torch

from cimsim.chip.cells import device_of
from cimsim.chip.load import build
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref, TensorSpec, Window


def two_layers(size, width):
    """Two 3 x 3 convolutions with ``width`` channels between them, on maps of ``size x size``."""
    rng = np.random.default_rng(1)

    def conv(name, source, c_in, c_out):
        return MatrixOp(
            name, (source,), TensorSpec((1, c_in, size, size)), TensorSpec((1, c_out, size, size)),
            rng.normal(0, 0.1, (1, 9 * c_in, c_out)).astype(np.float32), None,
            Window((3, 3), padding=(1,) * 4), (c_out, 1, 1),
        )  # fmt: skip

    middle = TensorSpec((1, width, size, size))
    relu = DigitalOp("relu", ("a",), middle, "relu", torch.ops.aten.relu.default, (Ref("a"),), {},
                     "pointwise", 1.0)  # fmt: skip
    return LayerGraph(
        "net",
        [InputOp("x", TensorSpec((1, 3, size, size))), conv("a", "x", 3, width), relu,
         conv("b", "relu", width, 3)],
        ["b"],
    )  # fmt: skip


def put(raw, path, value):
    *sections, leaf = path.split(".")
    for name in sections:
        if not isinstance(raw.get(name), dict):
            raw[name] = {}
        raw = raw[name]
    raw[leaf] = copy.deepcopy(value)


def changed(raw, changes):
    """A chip with changes; its sources go, as fields may."""
    new = copy.deepcopy(raw)
    new.pop("sources", None)
    for path, value in changes.items():
        put(new, path, value)
    if "device" in changes:  # other cells have no such parameter
        inside = new.get("included_in", {}).items()
        new["included_in"] = {k: v for k, v in inside if not v.startswith("device.")}
    chip = build(new)
    device_of(chip)
    return chip
