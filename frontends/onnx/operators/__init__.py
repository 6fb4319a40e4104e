"""The operators of ONNX that are understood, each as a function of its node."""

from __future__ import annotations

from cimsim.frontends.onnx.operators import (
    codes,
    maps,
    matrices,
    norms,
    pools,
    recurrent,
    resampling,
    shapes,
)
from cimsim.frontends.onnx.program import Operator

# what moves or chooses values does so with codes, too
_KEPT = (
    "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Identity",
    "Dropout", "Split",
)  # fmt: skip

OPERATORS: dict[str, Operator] = {
    **maps.TABLE,
    **shapes.TABLE,
    **matrices.TABLE,
    **pools.TABLE,
    **resampling.TABLE,
    **norms.TABLE,
    **recurrent.TABLE,
    **codes.TABLE,
}
OPERATORS |= {name: codes.kept(OPERATORS[name]) for name in _KEPT}
