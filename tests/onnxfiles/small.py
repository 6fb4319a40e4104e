"""A small ONNX file that has something of everything, and ways to break it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(opset=17):
    """Convolution, shapes that are computed, resizing, codes, a branch, a recurrent layer."""
    rng = np.random.default_rng(0)
    values = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "b": np.ones(4, np.float32),
        "s": np.float32(0.02), "z": np.uint8(100), "scales": np.array([1, 1, 2, 2], np.float32),
        "zero": np.array([0], np.int64), "one": np.array([1], np.int64), "two": np.array(2),
        "tail": np.array([-1], np.int64), "yes": np.array(True), "pads": np.array([0, 1, 0, 1]),
        "lw": rng.normal(size=(1, 12, 4)).astype(np.float32),
        "lr": rng.normal(size=(1, 12, 3)).astype(np.float32),
        "fw": rng.normal(size=(3, 5)).astype(np.float32), "fb": np.ones(5, np.float32),
    }  # fmt: skip
    info = helper.make_tensor_value_info
    node = helper.make_node
    branches = {
        f"{way}_branch": helper.make_graph(
            [node(kind, ["c"], [way])], way, [], [info(way, TensorProto.FLOAT, [1, 4, 4, 4])]
        )
        for way, kind in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Conv", ["d", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("If", ["yes"], ["r"], **branches),
        node("Resize", ["r", "", "scales"], ["u"], mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Shape", ["u"], ["sh"]), node("Gather", ["sh", "two"], ["high"]),
        node("Unsqueeze", ["high", "zero"], ["high1"]),
        node("ConstantOfShape", ["high1"], ["zeros"]),
        node("Add", ["u", "zeros"], ["a"]),
        node("Concat", ["one", "tail", "high1"], ["flat"], axis=0),
        node("GlobalAveragePool", ["a"], ["g"]), node("Sub", ["a", "g"], ["n"]),
        node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([1, 4, -1]))),
        node("Reshape", ["n", "shape"], ["rows"]),
        node("Transpose", ["rows"], ["series"], perm=[2, 0, 1]),
        node("Slice", ["series", "zero", "high1"], ["short"]),
        node("LSTM", ["short", "lw", "lr"], ["", "h"], hidden_size=3),
        node("Squeeze", ["h", "zero"], ["last"]),
        node("Gemm", ["last", "fw", "fb"], ["y"], alpha=0.5),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "small", [info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def written(path, made):
    """Write a model as it is, whatever is wrong with it."""
    path.write_bytes(made.SerializeToString())
    return path


def checked():
    made = model()
    onnx.checker.check_model(made)
    return made
