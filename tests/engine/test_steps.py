"""Steps of compiled code: any threads, in any order that they allow, and when something fails."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.crossbar.encode import InputCode
from cimsim.engine import blocks, steps
from cimsim.engine import execute as execution
from cimsim.engine.execute import OutputMap, execute
from cimsim.engine.maps import CodeMap, encode_input
from cimsim.engine.workers import workers
from cimsim.graph.ir import InputOp, LayerGraph
from cimsim.kernels import frame, products
from cimsim.kernels.threads import tell
from tests.engine.conftest import NOISY, added, chip, conv, prepare


def watched(monkeypatch):
    """Return a list that takes the queue of each step that is added."""
    found, add = [], steps.StepQueue.add
    monkeypatch.setattr(
        steps.StepQueue, "add", lambda self, *step: (found.append(self), add(self, *step))[1]
    )
    return found


def long_network():
    """Down, up again with a pixel shuffle, and sums of what lies far apart: codes and values."""
    rng = np.random.default_rng(0)

    def layer(name, source, n_in, n_out, grid, **options):
        weight = rng.normal(0, 1, (n_out, n_in, 3, 3)).astype(np.float32)
        return conv(weight, grid, name=name, source=source, padding=(1, 1, 1, 1), **options)

    a = layer("a", "x", 3, 6, (24, 18))
    b = layer("b", "a", 6, 8, (24, 18), stride=(2, 2))
    c = layer("c", "b", 8, 8, (12, 9))
    d = layer("d", "c", 8, 24, (12, 9), block=2)
    e = layer("e", "far", 6, 3, (24, 18))
    f = layer("f", "e", 3, 3, (24, 18))
    ops = [a, b, c, d, added("far", "a", "d", a.output.shape), e, f]
    ops.append(added("end", "f", "x", e.output.shape))
    return LayerGraph("net", [InputOp("x", a.input), *ops], ["end"])


@pytest.fixture(scope="module")
def long():
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 3, 24, 18)).astype(np.float32))
    return prepare(long_network(), chip(**NOISY), [x]), x


def small_blocks(monkeypatch, ready):
    monkeypatch.setattr(blocks, "_SMALLEST_WORK", 2**12)
    for one in ready.ready.values():
        one.firing.cuts.clear()
        one.firing.plans.clear()


def test_threads_go_through_steps_together_to_the_same_bits(long, monkeypatch):
    ready, x = long
    small_blocks(monkeypatch, ready)
    one_by_one = execute(ready, (x,), 1, 0, threads=1, capture=lambda op, x, y: None)
    ended = []
    end = steps.StepQueue.end
    monkeypatch.setattr(
        steps.StepQueue, "end", lambda self: (ended.append(len(self._added)), end(self))[1]
    )
    for threads in (1, 2, 3, 7):
        for _ in range(5):
            together = execute(ready, (x,), 1, 0, threads=threads)
            assert torch.equal(together.outputs[0], one_by_one.outputs[0])
            assert together.statistics == one_by_one.statistics
    # six layers, what they begin with, and a sum: one queue
    assert set(ended) == {8}


def test_maps_that_are_ahead_of_their_use_are_few(long, monkeypatch):
    ready, x = long
    whole = execute(ready, (x,), 1, 0, threads=2)
    queues = watched(monkeypatch)
    monkeypatch.setattr(execution, "_HELD", 1)
    bit_by_bit = execute(ready, (x,), 1, 0, threads=2)
    assert len({id(queue) for queue in queues}) >= 5
    assert torch.equal(whole.outputs[0], bit_by_bit.outputs[0])
    assert whole.statistics == bit_by_bit.statistics


def test_more_steps_than_there_is_room_for(long, monkeypatch):
    ready, x = long
    whole = execute(ready, (x,), 1, 0, threads=2)
    queue = steps.StepQueue
    monkeypatch.setattr(
        execution, "StepQueue", lambda like, pool, threads: queue(like, pool, threads, 2)
    )
    few = execute(ready, (x,), 1, 0, threads=2)
    assert torch.equal(whole.outputs[0], few.outputs[0])
    assert whole.statistics == few.statistics


def test_threads_that_have_other_things_to_do_are_not_waited_for(long):
    ready, x = long
    expected = execute(ready, (x,), 1, 0, threads=1)
    free = threading.Event()
    with workers(2) as (pool, _):
        busy = [pool.submit(free.wait, 30) for _ in range(2)]
        found = execute(ready, (x,), 1, 0, threads=2)
        free.set()
        assert all(one.result() for one in busy)
    assert torch.equal(found.outputs[0], expected.outputs[0])
    assert found.statistics == expected.statistics


@pytest.mark.parametrize("here", [True, False], ids=["in this thread", "in another"])
def test_when_one_thread_fails_all_stop(long, monkeypatch, here):
    ready, x = long
    expected = execute(ready, (x,), 1, 0, threads=2)
    mine, work_on, others, taken = threading.get_ident(), frame.work_on, [], threading.Event()

    def fails(steps, *given):
        if (threading.get_ident() == mine) == here:
            tell(steps.shared, frame._TAKEN)  # a block that will never be done
            taken.set()
            raise MemoryError("full")
        assert taken.wait(30)
        others.append(work_on(steps, *given))

    queues = watched(monkeypatch)
    monkeypatch.setattr(frame, "work_on", fails)
    with pytest.raises(MemoryError, match="full"):
        execute(ready, (x,), 1, 0, threads=2)
    assert others or here  # who has not begun need not
    assert queues[0]._others
    assert all(other.done() for other in queues[0]._others)
    monkeypatch.undo()
    again = execute(ready, (x,), 1, 0, threads=2)
    assert torch.equal(again.outputs[0], expected.outputs[0])


def test_a_failure_between_two_steps_stops_those_that_were_begun(long, monkeypatch):
    ready, x = long
    expected = execute(ready, (x,), 1, 0, threads=2)
    calls, step_of, queues = [], blocks.step_of, watched(monkeypatch)

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step_of(*given)

    monkeypatch.setattr(execution, "step_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(ready, (x,), 1, 0, threads=2)
    assert all(other.done() for other in queues[0]._others)
    monkeypatch.undo()
    again = execute(ready, (x,), 1, 0, threads=2)
    assert torch.equal(again.outputs[0], expected.outputs[0])


def test_frames_at_the_same_time_share_the_threads(long):
    ready, x = long
    expected = [execute(ready, (x,), n, 0, threads=1).outputs[0] for n in range(6)]
    with ThreadPoolExecutor(3) as callers:
        found = callers.map(lambda n: execute(ready, (x,), n, 0, threads=2).outputs[0], range(6))
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one, other)


# what a block of a step may need of the one before


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 4)] * 2), st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(0, 2)] * 4), st.tuples(*[st.integers(5, 40)] * 2),
    st.sampled_from([1, 2]),
)  # fmt: skip
def test_blocks_need_the_rows_that_their_inputs_lie_in(kernel, stride, padding, size, block):
    rng = np.random.default_rng(0)
    op = conv(
        rng.normal(0, 1, (4 * block**2, 2, *kernel)).astype(np.float32), size, stride=stride,
        padding=padding, block=block,
    )  # fmt: skip
    x = torch.from_numpy(rng.normal(0, 1, (1, 2, *size)).astype(np.float32))
    ready = prepare(LayerGraph("net", [InputOp("x", op.input), op], [op.name]), chip(**NOISY), [x])
    one = ready.ready[op.name]
    codes = encode_input(op, x.numpy(), one.calibrated.code, one.places.shape)
    cut = np.arange(0, len(one.firing.reads.bases), 7)
    ends = np.append(cut[1:], len(one.firing.reads.bases))
    one.firing.cuts[2] = np.stack([cut, ends], axis=1)
    rows = codes.rows_until(blocks.plan_of(one.firing, 2).reach)
    width, top = codes.padded.shape[1], op.window.padding[0]
    offsets = np.concatenate([
        offset + np.arange(n) for group in one.firing.groups for _, offset, n in group.runs
    ])  # fmt: skip
    for (start, end), needed in zip(one.firing.cuts[2], rows, strict=True):
        read = (one.firing.reads.bases[start:end, None] + offsets) // width - top + 1
        assert needed == np.clip(read.max(), 0, size[0])
    # and which rows of its output are there when so many of its windows are
    sink = OutputMap(one, -np.inf)
    there = sink.rows_after(ends)
    assert len(sink.maps) == 1
    drawn = np.arange(op.windows).reshape(op.window_grid).repeat(block, 0).repeat(block, 1)
    for end, count in zip(ends, there, strict=True):
        assert (drawn[:count] < end).all()
        assert count == len(drawn) or (drawn[count] >= end).any()


def test_blocks_need_nothing_of_a_map_that_was_there_before(long):
    ready, _ = long
    rows = np.array([1, 3, 9])
    one, other = np.empty(3), np.empty(3)
    with workers(1) as (pool, n):
        running = execution._Frame(ready, 0, 0, pool, n)
        running._last = {frame.record(one)[0]}, np.array([2, 4, 8])
        assert running._needs((other,), rows).tolist() == [0, 0, 0]
        # the last block is all that there is
        assert running._needs((other, one), rows).tolist() == [1, 2, 3]


@pytest.mark.parametrize("signed", ["offset", "rows", "phases"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("planar", [False, True])
def test_steps_encode_maps_wherever_their_channels_lie(signed, both, planar):
    """Against the same map encoded from Python."""
    rng = np.random.default_rng(0)
    op = conv(np.ones((2, 5, 3, 3)), (9, 11), padding=(1, 2, 3, 0))
    maps = []
    for _ in range(1 + both):
        x = rng.normal(0, 1, (1, 5, 9, 11)).astype(np.float32)
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        maps.append(x if planar else last)
    code = InputCode.of_range(-2.0, 1.5, 8, signed)
    expected = encode_input(op, tuple(maps) if both else maps[0], code)
    found = CodeMap.empty(op, code)
    planes = products.pack(np.zeros((4, 4), np.int8))
    like = frame.Like(found.flat, planes, np.empty((5, 0), np.float32), None)
    seen = []

    def needs(read, rows):
        seen.append((len(read), rows[-1]))
        return frame.ALL

    step = found.step(tuple(maps) if both else maps[0], 2, like, needs)
    assert seen == [(1 + both, 9)]
    with workers(2) as (pool, n):
        queue = steps.StepQueue(like, pool, n)
        queue.add(step, lambda counted: found.add_counts(counted.encoded[0]))
        queue.end()
    np.testing.assert_array_equal(found.padded, expected.padded)
    assert (found.total, found.beyond) == (expected.total, expected.beyond)
