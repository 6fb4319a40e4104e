"""A small exporter of our own: what torch traces, as nodes of an old opset.

It shares no code with torch's exporter or with the reader. Layers that opset 13 has no operator for
(LayerNorm, GELU) are taken apart, as exporters of that time did.
"""

import math
import operator

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 13


class Writer:
    def __init__(self, module, inputs, opset=OPSET):
        self.program = torch.export.export(module.eval(), inputs)
        self.nodes, self.constants, self.names, self.opset = [], [], {}, opset

    def model(self, name="net"):
        graph = self.program.graph_module.graph
        signature = self.program.graph_signature
        state = {**self.program.state_dict, **self.program.constants}
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
                **signature.inputs_to_lifted_tensor_constants}  # fmt: skip
        given = []
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in held:
                self.names[node] = self.constant(state[held[node.name]], held[node.name])
            elif node.op == "placeholder":
                kind = TensorProto.FLOAT if node.meta["val"].is_floating_point() else 7
                shape = list(node.meta["val"].shape)
                given.append(helper.make_tensor_value_info(node.name, kind, shape))
                self.names[node] = node.name
            elif node.op == "call_function":
                self.names[node] = self.call(node)
        outputs = []
        for item in list(graph.nodes)[-1].args[0]:
            shape = list(item.meta["val"].shape)
            outputs.append(helper.make_tensor_value_info(self.names[item], 1, shape))
        made = helper.make_graph(self.nodes, name, given, outputs, self.constants)
        return helper.make_model(
            made, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )

    def constant(self, value, name=None):
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.array(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = name or f"c{len(self.constants)}"
        if name not in [one.name for one in self.constants]:
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(
                array.shape), name))  # fmt: skip
        return name

    def node(self, kind, *inputs, out=None, n=1, **attributes):
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        outs = [f"v{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(
            helper.make_node(kind, names, outs, name=f"{kind}_{len(self.nodes)}", **attributes)
        )
        return outs[0] if n == 1 else outs

    def call(self, node):
        kind = (
            getattr(node.target, "_opname", None)
            or getattr(node.target, "__name__", "").partition(".")[0]
        )
        args = [self.names.get(a, a) if isinstance(a, torch.fx.Node) else a for a in node.args]
        if node.target is operator.getitem:
            return args[0][args[1]]
        return getattr(self, kind.rstrip("_"))(node, *args)

    def conv2d(self, node, x, w, b=None, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1):
        return self.node(
            "Conv", x, w, *([b] if b else []), strides=list(stride), pads=[*pad, *pad],
            dilations=list(dilation), group=groups,
        )  # fmt: skip

    def conv_transpose2d(self, node, x, w, b=None, stride=(1, 1), pad=(0, 0)):
        return self.node("ConvTranspose", x, w, *([b] if b else []), strides=list(stride),
                         pads=[*pad, *pad])  # fmt: skip

    def batch_norm(self, node, x, w, b, mean, var, training, momentum, eps, cudnn):
        return self.node("BatchNormalization", x, w, b, mean, var, epsilon=eps)

    def relu(self, node, x):
        return self.node("Relu", x)

    def leaky_relu(self, node, x, slope=0.01):
        return self.node("LeakyRelu", x, alpha=slope)

    def relu6(self, node, x):
        return self.node("Clip", x, 0.0, 6.0)

    def hardtanh(self, node, x, low, high):
        return self.node("Clip", x, float(low), float(high))

    def alias(self, node, x):
        return x

    def add(self, node, x, y):
        return self.node("Add", x, y)

    def mul(self, node, x, y):
        return self.node("Mul", x, y)

    def dropout(self, node, x, p, train):
        return self.node("Identity", x)

    def max_pool2d(self, node, x, kernel, stride=None, pad=(0, 0)):
        return self.node("MaxPool", x, kernel_shape=list(kernel), strides=list(stride or kernel),
                         pads=[*pad, *pad])  # fmt: skip

    def avg_pool2d(self, node, x, kernel, stride=None):
        return self.node("AveragePool", x, kernel_shape=list(kernel), strides=list(kernel))

    def adaptive_avg_pool2d(self, node, x, size):
        return self.node("GlobalAveragePool", x)

    def mean(self, node, x, axes):
        return self.node("ReduceMean", x, axes=list(axes), keepdims=0)

    def flatten(self, node, x, start=0):
        return self.node("Flatten", x, axis=start)

    def linear(self, node, x, w, b=None):
        if len(node.args[0].meta["val"].shape) == 2:
            return self.node("Gemm", x, w, *([b] if b else []), transB=1)
        y = self.node("MatMul", x, self.node("Transpose", w, perm=[1, 0]))
        return self.node("Add", b, y) if b else y

    def upsample_nearest2d(self, node, x, size, scale):
        return self.resize(x, scale, "nearest", "asymmetric")

    def upsample_bilinear2d(self, node, x, size, corners, scale):
        return self.resize(x, scale, "linear", "half_pixel")

    def resize(self, x, scale, mode, how):
        scales = torch.tensor([1.0, 1.0, *scale])
        return self.node("Resize", x, "", scales, mode=mode, coordinate_transformation_mode=how,
                         nearest_mode="floor")  # fmt: skip

    def cat(self, node, xs, axis=0):
        return self.node("Concat", *(self.names[x] for x in xs), axis=axis)

    def embedding(self, node, table, at):
        return self.node("Gather", table, at, axis=0)

    def layer_norm(self, node, x, shape, gamma, beta, eps=1e-5, cudnn=True):
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centred, 2.0), axes=[-1])
        root = self.node("Sqrt", self.node("Add", variance, float(eps)))
        return self.node("Add", self.node("Mul", self.node("Div", centred, root), gamma), beta)

    def gelu(self, node, x):
        erf = self.node("Erf", self.node("Div", x, math.sqrt(2)))
        return self.node("Mul", self.node("Mul", x, self.node("Add", erf, 1.0)), 0.5)

    def reshape(self, node, x, shape):
        return self.node("Reshape", x, torch.tensor(shape))

    view = reshape

    def permute(self, node, x, order):
        return self.node("Transpose", x, perm=list(order))

    def transpose(self, node, x, a, b):
        order = list(range(len(node.meta["val"].shape)))
        order[a], order[b] = order[b], order[a]
        return self.node("Transpose", x, perm=order)

    def unbind(self, node, x, axis=0):
        size = node.args[0].meta["val"].shape[axis]
        parts = self.node("Split", x, torch.ones(size, dtype=torch.int64), n=size, axis=axis)
        return [self.node("Squeeze", part, torch.tensor([axis])) for part in parts]

    def matmul(self, node, x, y):
        return self.node("MatMul", x, y)

    def softmax(self, node, x, axis):
        return self.node("Softmax", x, axis=axis)

    def slice(self, node, x, axis, start, stop):
        stop = min(stop, 2**31)
        return self.node("Slice", x, torch.tensor([start]), torch.tensor([stop]),
                         torch.tensor([axis]))  # fmt: skip

    def select(self, node, x, axis, at):
        return self.node("Gather", x, torch.tensor(at), axis=axis)


def write(module, inputs, path, opset=OPSET):
    model = Writer(module, inputs, opset).model()
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path
