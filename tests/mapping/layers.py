"""Layers without weights of their own, arrays of any size, and random ones of both."""

from functools import cache

import numpy as np
from hypothesis import strategies as st

from cimsim.chip.load import load_hw
from cimsim.graph.ir import MatrixOp, TensorSpec, Window


@cache
def chip(rows, cols, **more):
    overrides = {k.replace("__", "."): v for k, v in more.items()}
    return load_hw("eflash40nm", {"array.rows": rows, "array.cols": cols} | overrides)


def layer(
    size, kernel, c_in, c_out, *, stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), groups=1,
    name="layer", weights_id="",
):  # fmt: skip
    """A convolution of ``size`` (height, width) and ``kernel`` (y, x); one number for both."""
    size, kernel = ((n, n) if isinstance(n, int) else n for n in (size, kernel))
    window = Window(kernel, stride, padding, dilation)
    rows = kernel[0] * kernel[1] * c_in // groups
    weight = np.broadcast_to(np.float32(0), (groups, rows, c_out // groups))
    return MatrixOp(
        name, ("x",), TensorSpec((1, c_in, *size)),
        TensorSpec((1, c_out, *window.positions(*size))), weight, None, window, (c_out, 1, 1),
        weights_id=weights_id, signed=False,
    )  # fmt: skip


@st.composite
def layers(draw, most=12):
    """Grouped, strided, dilated and padded convolutions whose kernel fits the map."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(draw(st.integers(e, e + most)) for e in extent)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    c_in, c_out = (groups * draw(st.integers(1, 5)) for _ in range(2))
    return layer(
        size, kernel, c_in, c_out, stride=stride, dilation=dilation, padding=padding, groups=groups
    )


def arrays():
    """(rows, cols) of an array: from less than one window's matrix to room for many."""
    return st.tuples(st.integers(4, 160), st.integers(2, 80))
