"""Passes on graphs built op by op: same numbers before and after, and the structure promised."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from cimsim.frontends import passes
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.matrices import conv2d_op, conv_transpose2d_ops, linear_op
from cimsim.graph.ir import MatrixOp, TensorSpec
from cimsim.graph.reference import run
from cimsim.graph.verify import verify

aten = torch.ops.aten


class Chain:
    """Builds a graph one op after another on top of the last one."""

    def __init__(self, shape, seed=0):
        self.build = GraphBuilder("chain")
        self.last = self.build.input("x", TensorSpec(shape))
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, *shape):
        return torch.randn(shape, generator=self.random)

    @property
    def spec(self):
        return self.build.spec(self.last)

    def conv(self, c_out, kernel=3, weight=None, name="conv", **options):
        groups = options.get("groups", 1)
        if weight is None:
            weight = self.draw(c_out, self.spec.shape[1] // groups, kernel, kernel)
            weight = self.build.parameters.parameter(f"{name}.weight", weight)
        name = self.build.unique(name)
        op = conv2d_op(name, self.last.name, self.spec, weight, None, **options)
        self.last = self.build.matrix(op, weight, None)
        return weight

    def transposed(self, c_out, kernel, **options):
        weight = self.draw(self.spec.shape[1], c_out, kernel, kernel)
        op, crop = conv_transpose2d_ops("up", self.last.name, self.spec, weight, **options)
        self.last = self.build.matrix(op, weight, None)
        if crop is not None:
            self.last = self.build.add(crop)

    def linear(self, cols):
        weight = self.draw(self.spec.shape[-1], cols)
        op = linear_op("linear", self.last.name, self.spec, weight, self.draw(cols))
        self.last = self.build.matrix(op, weight, None)

    def digital(self, name, target, *args, reads=None):
        reads = (self.last,) if reads is None else reads
        values = [torch.zeros(self.build.spec(r).shape) for r in reads]
        y = target(*values, *args)
        call = self.build.call(target, (*reads, *args), {}, TensorSpec(tuple(y.shape)))
        self.last = self.build.digital(name, call, "")
        return self.last

    def norm(self, affine=True, stats=None, name="norm"):
        channels = self.spec.shape[1]
        if stats is None:
            mean, variance = self.draw(channels), self.draw(channels).square() + 0.1
            gamma, beta = (self.draw(channels), self.draw(channels)) if affine else (None, None)
            stats = (gamma, beta, mean, variance)
        self.digital(name, aten.batch_norm.default, *stats, False, 0.1, 1e-3, False)
        return stats

    def finish(self, *outputs):
        graph = self.build.finish(list(outputs) or [self.last.name])
        verify(graph)
        return graph


def same(before, after, shape, frames=2):
    verify(after)
    x = torch.randn((frames, *shape[1:]), generator=torch.Generator().manual_seed(9))
    for y, z in zip(run(before, x), run(after, x), strict=True):
        scale = max(float(y.abs().max()), 1.0)
        torch.testing.assert_close(z, y, rtol=0, atol=1e-5 * scale)


def names(graph):
    return [op.name for op in graph]


MAP = (1, 4, 6, 5)


# BatchNorm


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999),
    groups=st.sampled_from([1, 2, 4]),
    affine=st.booleans(),
    kind=st.sampled_from(["conv", "transposed", "cropped", "linear"]),
)
def test_batch_norm_folds_into_its_matrix(seed, groups, affine, kind):
    shape = (1, 4) if kind == "linear" else MAP
    chain = Chain(shape, seed)
    if kind == "conv":
        chain.conv(8, groups=groups)
    elif kind == "linear":
        chain.linear(3)
    else:
        chain.transposed(2, 3, stride=2, padding=1 if kind == "cropped" else 0, groups=groups)
    chain.norm(affine)
    before = chain.finish()
    after = passes.fold_batch_norm(before)
    same(before, after, shape)
    assert "norm" in names(before)
    assert "norm" not in names(after)
    assert [op.name for op in after.matrix_ops] == [op.name for op in before.matrix_ops]


def test_batch_norm_stays_where_it_cannot_go():
    chain = Chain(MAP)
    chain.conv(4)
    chain.digital("relu", aten.relu.default)
    chain.norm()
    after_relu = chain.finish()
    assert "norm" in names(passes.fold_batch_norm(after_relu))
    (norm,) = [op for op in after_relu.digital_ops if op.op == "batch_norm"]
    assert (norm.locality, norm.ops_per_element) == ("pointwise", 2.0)

    chain = Chain(MAP)
    chain.conv(4)
    conv = chain.last
    chain.norm()
    two_readers = chain.finish("norm", conv.name)
    assert "norm" in names(passes.fold_batch_norm(two_readers))

    # over the positions of a linear layer, not over its features
    chain = Chain((1, 4, 5))
    chain.linear(3)
    chain.norm()
    assert "norm" in names(passes.fold_batch_norm(chain.finish()))


def test_a_module_called_twice_is_folded_once():
    chain = Chain(MAP)
    weight = chain.conv(4, padding=1)
    stats = chain.norm()
    chain.conv(4, padding=1, weight=weight)
    chain.norm(stats=stats, name="norm")
    chain.conv(4, padding=1, weight=weight)
    chain.norm(name="other")
    before = chain.finish()
    after = passes.fold_batch_norm(before)
    same(before, after, MAP)
    first, second, third = after.matrix_ops
    assert first.weights_id == second.weights_id == "conv*norm"
    assert first.weight is second.weight
    assert third.weights_id == "conv*other"


# Pixel shuffle


ELEMENTWISE = {
    "relu": (aten.relu.default,),
    "leaky": (aten.leaky_relu.default, 0.2),
    "sigmoid": (aten.sigmoid.default,),
    "hardtanh": (aten.hardtanh.default, -1.0, 2.0),
    "scaled": (aten.mul.Tensor, torch.tensor([0.5])),
}


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999),
    factors=st.lists(st.integers(2, 3), min_size=1, max_size=2),
    chosen=st.lists(st.sampled_from(sorted(ELEMENTWISE)), max_size=3),
    stride=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
)
def test_pixel_shuffles_are_fused(seed, factors, chosen, stride, groups):
    chain = Chain(MAP, seed)
    blocks = int(np.prod(factors))
    chain.conv(2 * blocks**2, stride=stride, padding=1, groups=groups)
    for step, name in enumerate(chosen):
        chain.digital(f"{name}{step}", *ELEMENTWISE[name])
    for factor in factors:
        chain.digital("shuffle", aten.pixel_shuffle.default, factor)
    before = chain.finish()
    after = passes.fuse_pixel_shuffle(before)
    same(before, after, MAP)
    (op,) = after.matrix_ops
    assert op.out_block == (2, blocks, blocks)
    assert op.kind == "cim_conv"
    assert op.windows == before.matrix_ops[0].windows
    assert not [d for d in after.digital_ops if d.op == "pixel_shuffle"]
    assert len(after) == 2 + len(chosen)


def test_first_shuffle_keeps_the_order_of_columns():
    chain = Chain(MAP)
    chain.conv(8)
    chain.digital("shuffle", aten.pixel_shuffle.default, 2)
    before = chain.finish()
    after = passes.fuse_pixel_shuffle(before)
    assert np.array_equal(after.matrix_ops[0].weight, before.matrix_ops[0].weight)
    assert after.matrix_ops[0].weights_id == before.matrix_ops[0].weights_id


def test_shuffle_after_a_transposed_convolution_permutes_columns():
    chain = Chain(MAP)
    chain.transposed(8, 2, stride=2)
    chain.digital("shuffle", aten.pixel_shuffle.default, 2)
    before = chain.finish()
    after = passes.fuse_pixel_shuffle(before)
    same(before, after, MAP)
    assert after["up"].out_block == (2, 4, 4)
    assert after["up"].weights_id != before["up"].weights_id


def test_shuffle_stays_behind_what_does_not_commute():
    shift = torch.randn(1, 8, 1, 1)
    for steps in ([(aten.add.Tensor, shift)], [(aten.softmax.int, 1)]):
        chain = Chain(MAP)
        chain.conv(8)
        for target, *args in steps:
            chain.digital("step", target, *args)
        chain.digital("shuffle", aten.pixel_shuffle.default, 2)
        before = chain.finish()
        after = passes.fuse_pixel_shuffle(before)
        assert names(after) == names(before)
        assert after.matrix_ops[0].out_block == (8, 1, 1)

    chain = Chain(MAP)
    chain.conv(8)
    read_twice = chain.digital("relu", aten.relu.default)
    chain.digital("shuffle", aten.pixel_shuffle.default, 2)
    before = chain.finish("shuffle", read_twice.name)
    assert names(passes.fuse_pixel_shuffle(before)) == names(before)


def test_norm_before_and_after_a_shuffle_are_both_folded():
    chain = Chain(MAP)
    chain.conv(8, padding=1)
    chain.norm(name="inner")
    chain.digital("relu", aten.relu.default)
    chain.digital("shuffle", aten.pixel_shuffle.default, 2)
    chain.conv(8, padding=1, name="second")
    chain.digital("shuffle", aten.pixel_shuffle.default, 2)
    chain.norm(name="outer")
    before = chain.finish()
    after = passes.run_all(before)
    same(before, after, MAP)
    assert names(after) == ["x", "conv", "relu", "second"]


# Padding, dead ops, frames


@pytest.mark.parametrize("pads", [[1, 2, 3, 0], [0, 0, 2, 2], [4, 0]])
def test_zero_padding_moves_into_the_window(pads):
    chain = Chain(MAP)
    chain.digital("pad", aten.constant_pad_nd.default, pads)
    chain.conv(3, padding=1)
    before = chain.finish()
    after = passes.fold_zero_padding(before)
    same(before, after, MAP)
    assert names(after) == ["x", "conv"]
    left, right, top, bottom = (*pads, 0, 0)[:4]
    assert after["conv"].window.padding == (top + 1, bottom + 1, left + 1, right + 1)


@pytest.mark.parametrize(
    "args", [([1, 1, 1, 1], 0.5), ([-1, 0, 0, 0], 0.0), ([0, 0, 0, 0, 1, 1], 0.0)]
)
def test_other_padding_stays(args):
    chain = Chain(MAP)
    chain.digital("pad", aten.constant_pad_nd.default, *args)
    chain.conv(3)
    before = chain.finish()
    assert names(passes.fold_zero_padding(before)) == names(before)


def test_padding_that_others_read_stays_for_them():
    chain = Chain(MAP)
    pad = chain.digital("pad", aten.constant_pad_nd.default, [1, 1, 1, 1])
    chain.conv(4)
    before = chain.finish("conv", pad.name)
    after = passes.fold_zero_padding(before)
    same(before, after, MAP)
    assert after["conv"].inputs == ("x",)
    assert "pad" in names(after)


def test_dead_ops_go_and_inputs_stay():
    build = GraphBuilder("net")
    x, unused = build.input("x", TensorSpec(MAP)), build.input("y", TensorSpec(MAP))
    call = build.call(aten.relu.default, (unused,), {}, TensorSpec(MAP))
    build.digital("dead", call, "")
    build.digital("alive", build.call(aten.relu.default, (x,), {}, TensorSpec(MAP)), "")
    after = passes.remove_dead(build.finish(["alive"]))
    assert names(after) == ["x", "y", "alive"]


def test_frames_in_the_batch_axis_become_one_op_each():
    weight = torch.randn(5, 4, 3, 3)
    chain = Chain((1, 3, 4, 6, 5))
    chain.digital("split", aten.view.default, [3, 4, 6, 5])
    chain.conv(5, weight=weight)
    before = chain.finish()
    after = passes.run_all(before)
    frames = [op for op in after if isinstance(op, MatrixOp)]
    assert [op.name for op in frames] == ["conv.frame0", "conv.frame1", "conv.frame2"]
    assert len({op.weights_id for op in frames}) == 1
    assert sum(op.windows for op in frames) == 3 * 4 * 3
    x = torch.randn(1, 3, 4, 6, 5)
    expected = functional.conv2d(x[0], weight)
    torch.testing.assert_close(run(after, x)[0], expected, rtol=1e-5, atol=1e-5)


def test_every_pass_is_followed_by_verification(monkeypatch):
    seen = []
    monkeypatch.setattr(passes, "verify", lambda graph: seen.append(len(graph)))
    chain = Chain(MAP)
    chain.conv(4)
    passes.run_all(chain.finish())
    assert len(seen) == len(passes.PASSES)


def test_torch_agrees_about_eval_batch_norm():
    # the oracle above is this package's own interpreter; here it is a torch module
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(4).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    chain = Chain(MAP)
    weight = chain.conv(4)
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    stats = tuple(t.detach() for t in tensors)
    chain.digital("norm", aten.batch_norm.default, *stats, False, 0.1, norm.eps, False)
    graph = passes.fold_batch_norm(chain.finish())
    x = torch.randn(MAP)
    with torch.no_grad():
        expected = norm(functional.conv2d(x, weight))
    torch.testing.assert_close(run(graph, x)[0], expected, rtol=1e-5, atol=1e-5)
