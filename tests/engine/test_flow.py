import copy
import gc
import operator
import threading
import time
import weakref
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.crossbar.encode import InputCode
from cimsim.engine import blocks
from cimsim.engine.execute import execute
from cimsim.engine.firing import Firing
from cimsim.engine.flow import Flow
from cimsim.engine.maps import CodeMap, encode_input
from cimsim.engine.windows import Reads
from cimsim.engine.workers import workers
from cimsim.graph.ir import InputOp, LayerGraph, TensorSpec
from cimsim.kernels import frame, fused
from tests.engine.conftest import NOISY, added, conv


def chained(lab, outputs=None):
    """Layers a, relu, b, c and a sum of b and c: b has two readers, a's relu one."""
    rng = np.random.default_rng(0)

    def layer(name, source, c_in, size, **options):
        weight = rng.normal(0, 1, (4, c_in, 3, 3)).astype(np.float32)
        return lab.conv(weight, size, name=name, source=source, **options)

    same = {"padding": (1, 1, 1, 1)}
    a = layer("a", "x", 3, (23, 17), stride=(1, 1), padding=(1, 2, 0, 1))
    size = a.output.grid
    b, c = layer("b", "relu", 4, size, **same), layer("c", "b", 4, size, **same)
    total = added("sum", "b", "c", b.output.shape)
    return lab.graph(a, lab.relu("relu", "a", a.output.shape), b, c, total, outputs=outputs)


def test_a_map_goes_on_as_codes_where_matrices_read_it_and_as_values_where_others_do(lab):
    network = chained(lab)
    flow = Flow.of(network, dict.fromkeys("abc", 1))
    assert flow.joined == {"a": "relu"}
    assert flow.feeds == {"a": ("b",), "b": ("c",)}
    assert flow.silent == {"a"}
    assert not flow.sums  # the sum is an output
    assert not Flow.of(chained(lab, ["relu", "sum"]), dict.fromkeys("abc", 1)).silent
    # an activation that answers several windows leaves its pixels in no order
    assert Flow.of(network, {"a": 4, "b": 1, "c": 1}).feeds == {"b": ("c",)}


@pytest.mark.parametrize("signed", ["offset", "rows", "phases"])
@pytest.mark.parametrize("chip", [{}, NOISY])
def test_codes_that_are_written_on_the_way_are_those_of_the_map(lab, signed, chip):
    network, hw = chained(lab), lab.chip(inputs__signed=signed, **chip)
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 3, 23, 17)).astype(np.float32))
    ready = lab.prepare(network, hw, [x])
    assert ready.flow.silent == {"a"}
    on_the_way = execute(ready, (x,), 0, 0, threads=2)
    by_values = execute(ready, (x,), 0, 0, threads=1, capture=lambda op, x, y: None)
    assert torch.equal(on_the_way.outputs[0], by_values.outputs[0])
    assert on_the_way.statistics == by_values.statistics


@pytest.mark.parametrize("bits", [8, 11])
@pytest.mark.parametrize("signed", ["offset", "rows", "phases"])
@pytest.mark.parametrize("settings", [NOISY, NOISY | {"array__rows": 16, "dac__bits": 4}])
@pytest.mark.parametrize("outputs", [["third"], ["first", "second", "third"]])
def test_a_frame_in_compiled_code_is_that_of_blocks(
    lab, monkeypatch, bits, signed, settings, outputs
):
    """Blocks of pixels, whole rows and parts of them, several arrays and pulses, any threads."""
    rng = np.random.default_rng(0)
    first = lab.conv(
        rng.normal(0, 1, (36, 3, 3, 3)).astype(np.float32), (23, 17), name="first", block=2,
        padding=(1, 1, 1, 1),
    )  # fmt: skip
    second = lab.conv(
        rng.normal(0, 1, (5, 9, 1, 3)).astype(np.float32), first.output.grid, name="second",
        source="first", padding=(0, 0, 1, 1),
    )  # fmt: skip
    third = lab.conv(
        rng.normal(0, 1, (4, 5, 2, 2)).astype(np.float32), second.output.grid, name="third",
        source="second", stride=(2, 1), padding=(1, 0, 2, 1),
    )  # fmt: skip
    network = lab.graph(first, second, third, outputs=outputs)
    x = torch.from_numpy(rng.normal(0, 1, (1, 3, 23, 17)).astype(np.float32))
    hw = lab.chip(inputs__signed=signed, inputs__bits=bits, **settings)
    ready = lab.prepare(network, hw, [x])
    monkeypatch.setattr(blocks, "_SMALLEST_WORK", 2**12)
    calls, step = [], frame.firing_step
    monkeypatch.setattr(frame, "firing_step", lambda *args: (calls.append(args), step(*args))[1])
    compiled = [execute(ready, (x,), 2, 0, threads=n) for n in (1, 2, 3)]
    # each layer in three runs; codes of more than 16 bits are written block by block
    long = bits == 11 and signed == "phases"
    assert len(calls) == (2 if long else 3) * 3
    assert ready.flow.feeds == {"second": ("third",)}
    monkeypatch.setattr(Firing, "is_compiled", False)
    by_blocks = execute(ready, (x,), 2, 0, threads=2)
    for one in compiled:
        assert one.statistics == by_blocks.statistics
        for found, expected in zip(one.outputs, by_blocks.outputs, strict=True):
            assert torch.equal(found, expected)


def test_a_copy_looks_its_arrays_up_anew(lab):
    op, x = lab.linear(np.random.default_rng(0).normal(0, 1, (3, 20)), 50), torch.rand(1, 50, 20)
    ready = lab.prepare(lab.graph(op), lab.chip(**NOISY), [x]).ready["layer"]
    codes = encode_input(op, x.numpy(), ready.calibrated.code).flat
    sums = blocks.Sums(np.empty((50, 3), np.float32))
    blocks.fire(ready.firing, codes, 0, 1, sums)
    for name in ("compiled", "plans"):
        assert name in vars(ready.firing)
        assert name not in vars(copy.copy(ready.firing))
        assert name not in vars(ready.firing.reading(Reads.of_vectors(25, 20)))
    twin, half = copy.copy(ready.firing), ready.firing.reading(Reads.of_vectors(25, 20))
    del ready
    gc.collect()
    for firing, n in ((twin, 50), (half, 25)):
        again = blocks.Sums(np.empty((n, 3), np.float32))
        blocks.fire(firing, codes, 0, 1, again)
        np.testing.assert_array_equal(again.sums, sums.sums[:n])


@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(1, 30), max_size=6))
def test_pixels_may_come_in_any_pieces(height, width, cuts):
    op = conv(np.ones((2, 3, 2, 2)), (height, width), padding=(1, 1, 2, 0))
    x = np.random.default_rng(height).normal(0, 1, (1, 3, height, width)).astype(np.float32)
    code = InputCode.of_range(x.min(), x.max(), 8)
    whole = encode_input(op, x, code)
    pixels = x[0].transpose(1, 2, 0).reshape(-1, 3)
    ends = sorted({min(end, len(pixels)) for end in np.cumsum(cuts)} | {0, len(pixels)})
    pieces = CodeMap.empty(op, code)
    for start, end in reversed(list(pairwise(ends))):
        pieces.put_pixels(np.ascontiguousarray(pixels[start:end]), start)
    np.testing.assert_array_equal(pieces.padded, whole.padded)
    assert pieces.total == whole.total


def test_maps_are_added_whoever_made_them(lab):
    """Inputs that ask for a gradient, maps that lie in memory in different ways."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (3, 3, 1, 1)).astype(np.float32)
    shape = (1, 3, 9, 8)
    double = added("double", "x", "x", shape)
    layer = lab.conv(weight, (9, 8), source="double")
    total = added("sum", "layer", "x", shape)
    network = LayerGraph("net", [InputOp("x", TensorSpec(shape)), double, layer, total], ["sum"])
    x = torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32))
    ready = lab.prepare(network, lab.chip(), [x])
    assert ready.flow.sums == {"double"}
    plain = execute(ready, (x,), 0, 0, threads=1)
    seen = {}
    execute(ready, (x,), 0, 0, threads=1, capture=lambda op, x, y: seen.update(x=x, y=y))
    assert torch.equal(seen["x"], x + x)
    assert torch.equal(plain.outputs[0], seen["y"] + x)
    asking = execute(ready, (x.clone().requires_grad_(),), 0, 0, threads=2)
    assert torch.equal(asking.outputs[0], plain.outputs[0])


def test_nothing_holds_a_chip_that_nobody_uses(lab):
    network, x = chained(lab), torch.rand(1, 3, 23, 17)
    ready = lab.prepare(network, lab.chip(**NOISY), [x])
    execute(ready, (x,), 0, 0, threads=2)
    held = [
        weakref.ref(array.written)
        for layer in ready.programmed.layers.values()
        for array in layer.arrays
    ]
    del ready
    gc.collect()
    assert [found() for found in held] == [None] * len(held)


@pytest.mark.parametrize("here", [True, False], ids=["in this thread", "in another"])
def test_when_one_thread_fails_no_other_begins_another_block(lab, here):
    op = lab.linear(np.ones((3, 20)), 60000)
    x = torch.rand(1, 60000, 20)
    ready = lab.prepare(lab.graph(op), lab.chip(**NOISY), [x]).ready["layer"]
    codes = encode_input(op, x.numpy(), ready.calibrated.code).flat
    mine, taken, failed = threading.get_ident(), [], threading.Event()

    class Fails(blocks.Sink):
        def add_up(self, start, sums):
            taken.append(start)
            if (threading.get_ident() == mine) == here:
                failed.set()
                raise RuntimeError("full")
            assert failed.wait(30)

    with workers(2) as (pool, n), pytest.raises(RuntimeError, match="full"):
        blocks.fire(ready.firing, codes, 0, 1, Fails(), pool, n)
    time.sleep(0.1)
    assert len(ready.firing.cuts[2]) > 8
    assert len(taken) <= 3  # one each, and one that was taken before the other failed


@given(st.integers(1, 70000), st.integers(1, 300), st.integers(1, 600), st.integers(1, 16))
def test_blocks_cover_a_frame_once_in_order(windows, row, outputs, threads):
    for fast, by_bits in ((True, False), (True, True), (False, False)):
        firing = SimpleNamespace(
            is_fast=fast, by_bits=by_bits, layer=SimpleNamespace(n_outputs=outputs),
            reads=SimpleNamespace(bases=range(windows), row=row), pulses=((0, 255),),
            groups=[SimpleNamespace(arrays=[SimpleNamespace(n_rows=90, n_cols=outputs)])],
        )  # fmt: skip
        cuts = blocks._cuts(firing, threads)
        assert [start for start, _ in cuts] == [0, *(end for _, end in cuts[:-1])]
        assert cuts[-1][1] == windows
        sizes = [end - start for start, end in cuts]
        assert max(sizes) <= blocks._LARGEST_BLOCK
        assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
        if fast and not by_bits:
            least = fused.BLOCK if threads == 1 else fused.BLOCK // 4  # so that all end together
            whole = [size % fused.BLOCK == 0 for size in sizes[:-1]]
            small = [size < fused.BLOCK and size % least == 0 for size in sizes[:-1]]
            assert all(map(operator.or_, whole, small))
