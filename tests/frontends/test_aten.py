"""What the table claims about an operator is compared with what the operator does."""

import itertools

import pytest
import torch

from cimsim.frontends.aten import TABLE, packet, short_name
from cimsim.frontends.builder import GraphBuilder
from cimsim.graph.ir import TensorSpec
from cimsim.graph.verify import verify

aten = torch.ops.aten
SHAPE = (1, 4, 6, 8)
SHIFT = torch.tensor([0.1, 0.2, 0.3, 0.4]).reshape(1, 4, 1, 1)
STATS = (torch.rand(4), torch.rand(4), torch.rand(4), torch.rand(4) + 0.5)


def case(target, arguments=lambda x: (x,), shape=SHAPE, **kwargs):
    return target, arguments, shape, kwargs


def first(result):
    return result[0] if isinstance(result, tuple) else result


def node_of(target, arguments, shape, kwargs):
    """Return the verified node of a call of one input, and the call as a function."""
    build = GraphBuilder("net")
    ref = build.input("x", TensorSpec(shape))

    def function(x):
        return first(target(*arguments(x), **kwargs))

    y = function(torch.rand(shape) + 0.1)
    spec = TensorSpec(tuple(y.shape), str(y.dtype).removeprefix("torch."))
    build.digital("op", build.call(target, arguments(ref), kwargs, spec), "here")
    graph = build.finish(["op"])
    verify(graph)
    return graph["op"], function


# expected locality and operations per element, then the call
CASES = {
    "relu": ("pointwise", 1, case(aten.relu.default)),
    "add": ("pointwise", 1, case(aten.add.Tensor, lambda x: (x, 0.5))),
    "sub": ("pointwise", 1, case(aten.sub.Tensor, lambda x: (x, SHIFT))),
    "mul": ("pointwise", 1, case(aten.mul.Tensor, lambda x: (x, x))),
    "clamp": ("pointwise", 1, case(aten.clamp.default, lambda x: (x, 0, 1))),
    "hardtanh": ("pointwise", 1, case(aten.hardtanh.default)),
    "greater": ("pointwise", 1, case(aten.gt.Scalar, lambda x: (x, 0.5))),
    "leaky_relu": ("pointwise", 2, case(aten.leaky_relu.default)),
    "div": ("pointwise", 4, case(aten.div.Tensor, lambda x: (x, 3.0))),
    "sigmoid": ("pointwise", 9, case(aten.sigmoid.default)),
    "silu": ("pointwise", 10, case(aten.silu.default)),
    "gelu": ("pointwise", 10, case(aten.gelu.default)),
    "tanh": ("pointwise", 10, case(aten.tanh.default)),
    "batch_norm": (
        "pointwise",
        2,
        case(aten.batch_norm.default, lambda x: (x, *STATS, False, 0.1, 1e-5, False)),
    ),
    "softmax over channels": ("pointwise", 11, case(aten.softmax.int, lambda x: (x, 1))),
    "softmax over rows": ("barrier", 11, case(aten.softmax.int, lambda x: (x, 2))),
    "mean over channels": ("pointwise", 4, case(aten.mean.dim, lambda x: (x, [1], True))),
    "mean over pixels": ("barrier", 48, case(aten.mean.dim, lambda x: (x, [2, 3], True))),
    "max over all": ("barrier", 192, case(aten.amax.default)),
    "layer_norm": ("barrier", 7, case(aten.layer_norm.default, lambda x: (x, [8]))),
    "max_pool2d": (
        "window",
        9,
        case(aten.max_pool2d.default, lambda x: (x, [3, 3], [2, 2], [1, 1])),
    ),
    "dilated max_pool2d": (
        "window",
        4,
        case(aten.max_pool2d.default, lambda x: (x, [2, 2], [1, 1], [0, 0], [2, 3])),
    ),
    "max_pool2d, ceil": (
        "window",
        9,
        case(aten.max_pool2d.default, lambda x: (x, [3], [2], [0], [1], True)),
    ),
    "avg_pool2d": ("window", 6, case(aten.avg_pool2d.default, lambda x: (x, [2, 3]))),
    "avg_pool2d, ceil": (
        "window",
        16,
        case(aten.avg_pool2d.default, lambda x: (x, [4], [4], [1], True)),
    ),
    "adaptive_avg_pool2d": (
        "barrier",
        48,
        case(aten.adaptive_avg_pool2d.default, lambda x: (x, [1, 1])),
    ),
    "nearest": (
        "barrier",
        0,
        case(aten.upsample_nearest2d.vec, lambda x: (x, None, [2.0, 2.0])),
    ),
    "bilinear": (
        "barrier",
        7,
        case(aten.upsample_bilinear2d.vec, lambda x: (x, None, False, [2.0, 2.0])),
    ),
    "channel slice": ("view", 0, case(aten.slice.Tensor, lambda x: (x, 1, 1, 3))),
    "row slice": ("window", 0, case(aten.slice.Tensor, lambda x: (x, 2, 2, 5))),
    "row slice from the end": ("window", 0, case(aten.slice.Tensor, lambda x: (x, -2, -4, -1))),
    "strided column slice": ("window", 0, case(aten.slice.Tensor, lambda x: (x, 3, 1, 99, 3))),
    "cat over channels": ("view", 0, case(aten.cat.default, lambda x: ([x, x], 1))),
    "cat over rows": ("barrier", 0, case(aten.cat.default, lambda x: ([x, x], 2))),
    "expand": (
        "view",
        0,
        case(aten.expand.default, lambda x: (x, [1, 3, 6, 8]), shape=(1, 1, 6, 8)),
    ),
    "repeat channels": ("view", 0, case(aten.repeat.default, lambda x: (x, [1, 2, 1, 1]))),
    "repeat rows": ("barrier", 0, case(aten.repeat.default, lambda x: (x, [1, 1, 2, 1]))),
    "flip channels": ("view", 0, case(aten.flip.default, lambda x: (x, [1]))),
    "flip rows": ("barrier", 0, case(aten.flip.default, lambda x: (x, [2]))),
    "roll channels": ("view", 0, case(aten.roll.default, lambda x: (x, [1], [1]))),
    "roll all": ("barrier", 0, case(aten.roll.default, lambda x: (x, [3]))),
    "channel_shuffle": ("view", 0, case(aten.channel_shuffle.default, lambda x: (x, 2))),
    "permute": ("barrier", 0, case(aten.permute.default, lambda x: (x, [0, 2, 3, 1]))),
    "square permute": (
        "barrier",
        0,
        case(aten.permute.default, lambda x: (x, [0, 1, 3, 2]), shape=(1, 3, 5, 5)),
    ),
    "transpose": (
        "barrier",
        0,
        case(aten.transpose.int, lambda x: (x, 2, 3), shape=(1, 3, 5, 5)),
    ),
    "flatten": ("barrier", 0, case(aten.flatten.using_ints, lambda x: (x, 1))),
    "flatten one pixel": (
        "view",
        0,
        case(aten.flatten.using_ints, lambda x: (x, 1), shape=(1, 4, 1, 1)),
    ),
    "reshape": ("barrier", 0, case(aten.view.default, lambda x: (x, [1, 4, 8, 6]))),
    "pixel_shuffle": ("barrier", 0, case(aten.pixel_shuffle.default, lambda x: (x, 2))),
    "pixel_unshuffle": ("window", 0, case(aten.pixel_unshuffle.default, lambda x: (x, 2))),
    "zero padding": ("window", 0, case(aten.constant_pad_nd.default, lambda x: (x, [1, 2, 3, 0]))),
    "row padding": ("window", 0, case(aten.pad.default, lambda x: (x, [0, 0, 1, 1]))),
    "crop": ("barrier", 0, case(aten.constant_pad_nd.default, lambda x: (x, [-1, 0]))),
    "reflection": (
        "window",
        0,
        case(aten.pad.default, lambda x: (x, [3, 1, 0, 2], "reflect")),
    ),
    "reflection_pad2d": (
        "window",
        0,
        case(aten.reflection_pad2d.default, lambda x: (x, [2, 2, 5, 1])),
    ),
    "replication": ("window", 0, case(aten.pad.default, lambda x: (x, [2, 0, 3, 1], "replicate"))),
    "replication_pad2d": (
        "window",
        0,
        case(aten.replication_pad2d.default, lambda x: (x, [9, 2, 1, 7])),
    ),
    "circular": ("barrier", 0, case(aten.pad.default, lambda x: (x, [1, 1, 1, 1], "circular"))),
    "unfold": (
        "barrier",
        0,
        case(aten.im2col.default, lambda x: (x, [3, 3], [1, 1], [1, 1], [1, 1])),
    ),
    "features": ("view", 0, case(aten.slice.Tensor, lambda x: (x, 1, 0, 5), shape=(1, 7))),
    "position slice": (
        "barrier",
        0,
        case(aten.slice.Tensor, lambda x: (x, 1, 0, 5), shape=(1, 7, 3)),
    ),
    "product": ("barrier", 14, case(aten.matmul.default, lambda x: (x, x), shape=(1, 7, 7))),
    "left constant": (
        "barrier",
        6,
        case(aten.matmul.default, lambda x: (torch.rand(2, 3), x), shape=(1, 3, 7)),
    ),
    "atan2": ("pointwise", 8, case(aten.atan2.default, lambda x: (x, x))),
    "tril": ("pointwise", 1, case(aten.tril.default)),
    "logsumexp over channels": (
        "pointwise",
        4 * 7 + 5,
        case(aten.logsumexp.default, lambda x: (x, [1], True)),
    ),
    "sort": ("barrier", 3, case(aten.sort.default)),
    "argsort over rows": ("barrier", 3, case(aten.argsort.default, lambda x: (x, 2))),
    # two passes over a row of eight for two values; a sort where all but one are asked for
    # 9 comparisons among 300 boundaries
    "a search by halves": (
        "barrier",
        9,
        case(aten.bucketize.Tensor, lambda x: (x, torch.linspace(-2, 2, 300))),
    ),
    # of n = 8: 2 n^3 for n^2 numbers; 2/3 n^3 and 2 n^2 a column; n^3 / 3; n^2 a column
    "inverse": ("barrier", 2 * 8, case(aten.linalg_inv.default, shape=(3, 8, 8))),
    "solution": (
        "barrier",
        (2 / 3 * 512 + 2 * 64 * 5) / 40,
        case(aten.linalg_solve.default, lambda x: (x, torch.rand(8, 5)), shape=(8, 8)),
    ),
    "triangle": (
        "barrier",
        8,
        case(
            aten.linalg_solve_triangular.default,
            lambda x: (x, torch.rand(8, 5)),
            shape=(8, 8),
            upper=True,
        ),
    ),
    "the largest two": ("barrier", 8, case(aten.topk.default, lambda x: (x, 2))),
    "the largest seven": ("barrier", 8 * 3 / 7, case(aten.topk.default, lambda x: (x, 7))),
    "variance and mean": (
        "barrier",
        2 * 48,
        case(aten.var_mean.correction, lambda x: (x, [2, 3]), keepdim=True),
    ),
    "distances": (
        "barrier",
        3 * 8 + 4,
        case(aten.cdist.default, lambda x: (x, torch.rand(5, 8)), shape=(6, 8)),
    ),
    "cosine": (
        "barrier",
        6 * 8 + 9,
        case(aten.cosine_similarity.default, lambda x: (x, torch.rand(6, 8), -1), shape=(6, 8)),
    ),
    "cosine with each of some": (
        "barrier",
        6 * 8 + 9,
        case(
            aten.cosine_similarity.default,
            lambda x: (x, torch.rand(1, 50, 8), 2),
            shape=(6, 1, 8),
        ),
    ),
    "attention": (
        "barrier",
        10 * (2 * 4 + 11 + 2 * 4) / 4,
        case(
            aten.scaled_dot_product_attention.default,
            lambda x: (x, x, x),
            shape=(1, 2, 10, 4),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_locality_and_cost(name):
    locality, cost, call = CASES[name]
    node, _ = node_of(*call)
    assert node.locality == locality
    assert node.ops_per_element == pytest.approx(cost)


def allowed(node, grid):
    """Return the output pixels that may change with input pixel (h, w), for every (h, w)."""
    outputs = list(itertools.product(range(node.output.grid[0]), range(node.output.grid[1])))
    table = {}
    for h, w in itertools.product(range(grid[0]), range(grid[1])):
        if node.window is None:
            table[h, w] = {(h, w)}
            continue
        window, (top, _, left, _) = node.window, node.window.padding
        table[h, w] = {
            (y, x)
            for y, x in outputs
            if 0 <= h + top - y * window.stride[0] < window.extent[0]
            and 0 <= w + left - x * window.stride[1] < window.extent[1]
        }
    return table


LOCAL = [name for name, (kind, _, call) in CASES.items() if kind != "barrier" and len(call[2]) == 4]


@pytest.mark.parametrize("name", LOCAL)
def test_no_output_pixel_depends_on_more_than_its_locality_says(name):
    node, function = node_of(*CASES[name][2])
    shape = CASES[name][2][2]
    torch.manual_seed(0)
    x = torch.rand(shape) + 0.1
    before = function(x)
    for (h, w), pixels in allowed(node, shape[2:]).items():
        changed = x.clone()
        changed[:, :, h, w] += 10
        moved = (function(changed) != before).reshape(-1, *node.output.grid).any(0).nonzero()
        assert {tuple(pixel) for pixel in moved.tolist()} <= pixels


@pytest.mark.parametrize("name", [n for n in LOCAL if CASES[n][0] == "view"])
def test_a_view_only_moves_values_of_its_pixel(name):
    node, function = node_of(*CASES[name][2])
    shape = CASES[name][2][2]
    x = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    y = function(x).reshape(node.output.shape)
    pixel = x.expand(shape)[0].flatten(1)
    result = y.reshape(y.shape[1], -1) if y.dim() == 2 else y[0].flatten(1)
    for position in range(pixel.shape[1]):
        assert set(result[:, position].tolist()) <= set(pixel[:, position].tolist())


ELEMENTWISE = [n for n, (*_, call) in CASES.items() if TABLE[packet(call[0])].elementwise]


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n != "sub"])
def test_elementwise_operators_commute_with_permutations(name):
    _, function = node_of(*CASES[name][2])
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(x.numel(), generator=torch.Generator().manual_seed(2))

    def shuffled(value):
        return value.flatten()[order].reshape(SHAPE)

    torch.testing.assert_close(function(shuffled(x)), shuffled(function(x)))


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_line_of_the_table_names_an_operator_of_torch(name):
    room, _, own = name.partition(".")
    operator = getattr(getattr(torch.ops, room), own)
    overloads = [getattr(operator, overload) for overload in operator.overloads()]
    assert {packet(overload) for overload in overloads} == {name}
    assert short_name(overloads[0]) == TABLE[name].op


def test_an_unknown_operator_is_an_uncosted_barrier():
    call = case(aten.cummax.default, lambda x: (x, 1))
    node, _ = node_of(*call)
    assert (node.op, node.locality, node.ops_per_element) == ("cummax", "barrier", None)


def test_broadcast_over_pixels_waits_for_the_whole_input():
    build = GraphBuilder("net")
    x, gate = build.input("x", TensorSpec(SHAPE)), build.input("g", TensorSpec((1, 4, 1, 1)))
    call = build.call(aten.mul.Tensor, (x, gate), {}, TensorSpec(SHAPE))
    node = build.finish([build.digital("op", call, "").name])["op"]
    assert (node.locality, node.ops_per_element) == ("barrier", 1.0)
