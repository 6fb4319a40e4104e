import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cimsim.graph.ir import MatrixOp, TensorSpec, Window
from cimsim.hw.load import load_hw
from cimsim.mapping.strategies import Im2col
from cimsim.mapping.traffic import loaded_per_frame, new_columns


@given(
    kernel=st.integers(1, 6), stride=st.integers(1, 5), dilation=st.integers(1, 4),
    windows=st.integers(1, 3), replicas=st.integers(1, 3),
)  # fmt: skip
def test_new_columns_are_those_that_a_long_row_brings(kernel, stride, dilation, windows, replicas):
    op = MatrixOp(
        "m", ("x",), TensorSpec((1, 1, 1, 1)), TensorSpec((1, 1, 1, 1)), np.zeros((1, 1, 1)), None,
        Window((1, kernel), (1, stride), (0, 0, 0, 0), (1, dilation)), (1, 1, 1),
    )  # fmt: skip
    held, brought, total = set(), 0, 0
    for activation in range(60):  # one replica walks along a row
        first = activation * replicas * windows * stride
        read = {first + w * stride + k * dilation for w in range(windows) for k in range(kernel)}
        brought, total = len(read - held), len(read)
        held |= read
    assert new_columns(op, windows, replicas) == (brought, total)


@given(
    kernel=st.integers(1, 4), stride=st.integers(1, 4), dilation=st.integers(1, 3),
    size=st.integers(10, 20), replicas=st.integers(1, 3),
)  # fmt: skip
def test_bytes_of_a_frame_are_those_of_its_windows_one_by_one(
    kernel, stride, dilation, size, replicas
):
    window = Window((kernel,) * 2, (stride,) * 2, (0,) * 4, (dilation,) * 2)
    rows, cols = window.positions(size, size)
    op = MatrixOp(
        "m", ("x",), TensorSpec((1, 3, size, size)), TensorSpec((1, 2, rows, cols)),
        np.zeros((1, kernel * kernel * 3, 2), np.float32), None, window, (2, 1, 1),
    )  # fmt: skip
    chip = load_hw("eflash40nm")
    layout = Im2col().place(op, chip)
    new, total = new_columns(op, 1, replicas)
    loaded, seen = 0, set()
    for index in range(rows * cols):
        place = (index // cols, index % replicas)
        share = new if place in seen else total
        loaded += -(-op.group_rows * share // total)
        seen.add(place)
    assert loaded_per_frame(op, layout, replicas, chip) == loaded
