"""Leaping over lines that repeat gives the memory of the event loop alone, word by word."""

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.mapping.mapping import map_graph
from cimsim.timing.loop import kernels, steady
from cimsim.timing.loop.tables import initial_memory
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from tests.timing.nets import Duplicates, Net, chip, replicated


def both(plan, frames, windows=1, ring=0):
    """Return lines leapt over, and the memories with and without leaps."""
    rows = steady.rows_per_line(plan, windows)
    assert rows is not None
    while True:
        leaping, alone = (initial_memory(plan, frames, "pipelined", False, ring) for _ in range(2))
        leapt = steady.run(plan, leaping, rows)
        kernels.run(alone.header)
        for memory in (leaping, alone):  # notes that only the comparison writes
            memory.header.back = memory.header.rows_back = 0
        if alone.header.full == 0:
            return leapt, leaping, alone
        assert leaping.header.full
        ring = 4 * alone.header.ring


def same(leaping, alone):
    """Whether all words are the same, but for events that were handled: the heap stands last."""
    heap = alone.header.heap.address
    assert alone.header.events == leaping.header.events == 0
    return bool((leaping.words[:heap] == alone.words[:heap]).all())


def drawn_net(draw):
    """A tall network of a few layers with strides, unfolding, second operands, joins."""
    width = int(draw.choice([4, 6, 8]))
    net = Net(4, int(draw.choice([48, 64, 96])), width)
    name, size = "x", 4
    skip = None
    for _ in range(int(draw.integers(1, 5))):
        kind = draw.choice(["conv", "conv", "down", "up", "add", "cat", "pool", "digital"])
        tall = net.shape(name)[2]
        if kind == "down" and tall >= 32 and net.shape(name)[3] >= 4:
            name = net.conv(name, size, 3, stride=2)
        elif kind == "up" and tall <= 64:
            name = net.conv(name, size, 1, block=2)
        elif kind == "pool" and tall >= 32 and net.shape(name)[3] >= 4:
            name = net.pool(name)
        elif kind == "add" and skip is not None and net.shape(skip) == net.shape(name):
            name = net.add(name, skip)
        elif kind == "cat" and skip is not None and net.shape(skip)[2:] == net.shape(name)[2:]:
            name = net.conv(net.cat(name, skip), size, 3)
        elif kind == "digital":
            name = net.digital("mul", name, cost=float(draw.choice([0.5, 3.0])))
        else:
            name, skip = net.conv(name, int(draw.choice([4, 20])), int(draw.choice([1, 3]))), name
            name = net.conv(name, size, 1)
    return net.graph()


def drawn_chip(draw):
    few = bool(draw.integers(2))
    return chip(
        buffer__bytes_per_cycle=int(draw.choice([1, 8, 64])),
        buffer__overflow=str(draw.choice(["ignore", "dram", "global_buffer"])),
        buffer__size="64 B" if few else "64 KB",
        adc__count=int(draw.choice([4, 64])),
        tile__sample_hold=str(draw.choice(["single", "double"])),
        interconnect__bytes_per_cycle=int(draw.choice([1, 4, 16])),
        interconnect__latency_cycles=int(draw.choice([0, 3, 30])),
        interconnect__kind=str(draw.choice(["bus", "bus", "mesh", "ideal"])),
        vector__lanes=int(draw.choice([1, 16])), frames=str(draw.choice(["resident", "dram"])),
        tile__input_reuse=str(draw.choice(["row", "none"])),
    )  # fmt: skip


@pytest.mark.slow
def test_leaps_change_no_word(monkeypatch):
    monkeypatch.setattr(steady, "LINES", 4)
    tried, leaps = 0, []
    for seed in range(150):
        draw = np.random.default_rng(seed)
        try:
            plan = make_plan(map_graph(drawn_net(draw), drawn_chip(draw)))
        except CimsimError:
            continue
        if steady.rows_per_line(plan, 1) is None:
            continue
        windows = int(draw.choice([1, 1, 50, 200]))
        if steady.rows_per_line(plan, windows) is None:
            windows = 1
        leapt, leaping, alone = both(plan, int(draw.integers(1, 4)), windows)
        assert same(leaping, alone), seed
        tried += 1
        leaps.append(leapt)
    assert tried >= 100
    assert sum(leapt > 0 for leapt in leaps) >= tried // 2, leaps


@pytest.mark.parametrize("windows", [2, 4])
def test_several_windows_at_once(windows):
    net = Net(4, 96, 8)
    graph = (net.conv(net.conv("x", 8), 4), net.graph())[1]
    plan = make_plan(map_graph(graph, chip(), Duplicates(windows)))
    leapt, leaping, alone = both(plan, 2)
    assert same(leaping, alone)
    assert leapt > 0


def test_shared_pipelines(monkeypatch):
    """One matrix that several layers use: its pipeline takes turns."""
    net = Net(4, 96, 8)
    one = net.conv("x", 4, weights_id="w")
    net.conv(net.conv(one, 4, weights_id="w"), 4, weights_id="w")
    plan = make_plan(map_graph(net.graph(), chip()))
    assert len(plan.pipes) < len(plan.jobs)
    leapt, leaping, alone = both(plan, 3)
    assert same(leaping, alone)
    assert leapt > 0


def test_inputs_that_are_done_stop_no_leaps():
    """Frames that are read where they are take no time: their nodes are done long before."""
    net = Net(4, 96, 8)
    net.conv(net.conv("x", 8), 4)
    hardware = chip(frames="dram", buffer__overflow="dram", buffer__size="64 B")
    mapping = map_graph(net.graph(), hardware)
    edges = make_plan(mapping).edges
    jobs = make_plan(mapping).jobs
    away = {(jobs[e.producer].node.name, jobs[e.consumer].node.name): "dram" for e in edges
            if e.capacity is not None}  # fmt: skip
    plan = make_plan(mapping, away)
    leapt, leaping, alone = both(plan, 3)
    assert same(leaping, alone)
    assert leapt > 96


def test_where_lines_are_no_notion_the_loop_runs_alone():
    net = Net(4, 96, 8)
    first = net.conv("x", 4)
    plain = map_graph(net.graph(), chip())
    assert steady.rows_per_line(make_plan(plain), 1) is not None
    assert steady.rows_per_line(make_plan(replicated(plain, [2])), 1) is None
    net.digital("softmax", first, locality="barrier")
    assert steady.rows_per_line(make_plan(map_graph(net.graph(), chip())), 1) is None
    odd = Net(4, 96, 7)
    odd.conv("x", 4)
    mapping = map_graph(odd.graph(), chip(), Duplicates(2))
    assert steady.rows_per_line(make_plan(mapping), 1) is None


def test_answers_are_those_of_the_loop_alone(monkeypatch):
    net = Net(4, 128, 12)
    name = net.conv("x", 20)
    net.add(net.conv(name, 4), "x")
    mapping = map_graph(net.graph(), chip(buffer__overflow="dram", buffer__size="256 B"))
    leaps, run = [], steady.run

    def counting(*arguments):
        leaps.append(run(*arguments))
        return leaps[-1]

    with monkeypatch.context() as small:
        small.setattr(steady, "WINDOWS", 1)
        small.setattr(steady.rows_per_line, "__defaults__", (1,))
        small.setattr(steady, "run", counting)
        leaping = simulate(mapping, 3)
    assert sum(leaps) > 0
    with monkeypatch.context() as alone:
        alone.setattr(steady, "rows_per_line", lambda plan: None)
        assert simulate(mapping, 3) == leaping
