"""Digital operations between matrices, in numpy, each written from what torch's manual says.

`EXACT` ones have one possible float32 result. The others are worked out in float64 and rounded
once; float32 arithmetic may end a few roundings beside that.
"""

import numpy as np
from scipy.special import erf

from cimsim.graph.ir import Ref


def f32(value):
    return np.asarray(value, np.float32)


def pair(value):
    """A number for both axes, or one for each."""
    value = [value] if isinstance(value, int) else list(value)
    return value * 2 if len(value) == 1 else value


def windows(x, kernel, stride, padding, fill):
    """Yield (y, x, the part of a map that a pooling window sees)."""
    k, p = pair(kernel), pair(padding)
    s = pair(stride) if stride else k
    x = np.pad(x, ((0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])), constant_values=fill)
    for row in range((x.shape[2] - k[0]) // s[0] + 1):
        for col in range((x.shape[3] - k[1]) // s[1] + 1):
            top, left = row * s[0], col * s[1]
            yield row, col, x[:, :, top : top + k[0], left : left + k[1]]


def pooled(x, found):
    """Put the results of windows, [(y, x, [B, C])], into a map."""
    rows, cols = 1 + max(y for y, _, _ in found), 1 + max(z for _, z, _ in found)
    out = np.empty((*x.shape[:2], rows, cols), np.float64)
    for row, col, value in found:
        out[:, :, row, col] = value
    return out


def max_pool(x, kernel, stride=None, padding=0):
    parts = windows(x, kernel, stride, padding, -np.inf)
    return f32(pooled(x, [(y, z, part.max(axis=(2, 3))) for y, z, part in parts]))


def avg_pool(x, kernel, stride=None, padding=0):
    parts = windows(x.astype(np.float64), kernel, stride, padding, 0.0)
    return pooled(x, [(y, z, part.mean(axis=(2, 3))) for y, z, part in parts])


def pad(x, widths, value=0.0):
    """Widths from the last axis on, two for each; negative ones crop."""
    for n, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        axis = x.ndim - 1 - n
        x = np.take(x, range(max(-before, 0), x.shape[axis] - max(-after, 0)), axis=axis)
        edges = [(0, 0)] * x.ndim
        edges[axis] = (max(before, 0), max(after, 0))
        x = np.pad(x, edges, constant_values=value)
    return x


def flatten(x, start=0, end=-1):
    end = end % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def cut(x, dim=0, start=None, end=None, step=1):
    index = [slice(None)] * x.ndim
    index[dim] = slice(start, None if end is None or end >= x.shape[dim] else end, step)
    return x[tuple(index)]


def squeeze(x, dim):
    return np.squeeze(x, dim) if x.shape[dim] == 1 else x


def nearest(x, size, factors=None):
    ys, xs = (int(factors[0]), int(factors[1])) if factors else (
        size[0] // x.shape[2], size[1] // x.shape[3],
    )  # fmt: skip
    return x.repeat(ys, axis=2).repeat(xs, axis=3)


EXACT = {
    "aten.add.Tensor": lambda a, b: f32(a) + f32(b),
    "aten.sub.Tensor": lambda a, b: f32(a) - f32(b),
    "aten.mul.Tensor": lambda a, b: f32(a) * f32(b),
    "aten.relu.default": lambda x: np.maximum(x, f32(0)),
    "aten.relu6.default": lambda x: np.clip(x, f32(0), f32(6)),
    "aten.leaky_relu.default": lambda x, a=0.01: np.where(x > 0, x, x * f32(a)),
    "aten.hardtanh.default": lambda x, lo=-1, hi=1: np.clip(x, f32(lo), f32(hi)),
    "aten.max_pool2d.default": max_pool,
    "aten.constant_pad_nd.default": pad,
    "aten.cat.default": lambda tensors, dim=0: np.concatenate(tensors, axis=dim),
    "aten.stack.default": lambda tensors, dim=0: np.stack(tensors, axis=dim),
    "aten.flatten.using_ints": flatten,
    "aten.slice.Tensor": cut,
    "aten.select.int": lambda x, dim, index: np.take(x, index, axis=dim),
    "aten.squeeze.dim": squeeze,
    "aten.unsqueeze.default": np.expand_dims,
    "aten.upsample_nearest2d.vec": nearest,
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mean(x, dim, keep=False):
    return x.mean(axis=dim if isinstance(dim, int) else tuple(dim), keepdims=keep)


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5, cudnn=True):
    axes = tuple(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def lstm(of_input, of_state, cell):
    """Gates in torch's order i, f, g, o; new state and new cell state side by side."""
    i, f, g, o = np.split(of_input + of_state, 4, axis=-1)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return np.concatenate([sigmoid(o) * np.tanh(cell), cell], axis=-1)


def gru(of_input, of_state, state):
    """Gates in torch's order r, z, n; the reset gate acts behind the state's matrix."""
    (ir, iz, inn), (hr, hz, hn) = np.split(of_input, 3, axis=-1), np.split(of_state, 3, axis=-1)
    z = sigmoid(iz + hz)
    return (1 - z) * np.tanh(inn + sigmoid(ir + hr) * hn) + z * state


ROUNDED = {
    "aten.sigmoid.default": sigmoid,
    "aten.tanh.default": np.tanh,
    "aten.silu.default": lambda x: x * sigmoid(x),
    "aten.gelu.default": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "aten.mean.dim": mean,
    "aten.avg_pool2d.default": avg_pool,
    "aten.layer_norm.default": layer_norm,
    "lstm": lstm,
    "gru": gru,
    "rnn_tanh": lambda of_input, of_state, state: np.tanh(of_input + of_state),
}


def name_of(op):
    """The exported operator, or the kind of a recurrent cell's gates."""
    return str(getattr(op.target, "kind", op.target))


def digital(op, values):
    """Result of one digital operation, float32."""
    name = name_of(op)
    wide = np.float32 if name in EXACT else np.float64

    def filled(value):
        if isinstance(value, Ref):
            return values[value.name].astype(wide)
        if isinstance(value, list | tuple):
            return [filled(one) for one in value]
        return value.detach().numpy().astype(wide) if hasattr(value, "detach") else value

    kwargs = {key: filled(value) for key, value in op.kwargs.items()}
    own = EXACT[name] if name in EXACT else ROUNDED[name]
    return f32(own(*filled(op.args), **kwargs))
