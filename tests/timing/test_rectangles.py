"""Activations that answer a rectangle of windows, in the cycle model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mapping.mapping import map_graph
from cimsim.timing.analysis.bounds import bounds
from cimsim.timing.plan.dependencies import dependency_tables
from cimsim.timing.plan.plan import by_rectangles, make_plan
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip, chips, nets, replicated
from tests.timing.test_oracle import compare

NAMES = ["sdk", "vwsdk", "omm", "vwsdk:3x2", "vwsdk:1x2", "smd", "smd:2"]


@pytest.mark.slow
@settings(max_examples=60)
@given(
    graph=nets(4), hw=chips(buffer__overflow="ignore"), name=st.sampled_from(NAMES),
    frames=st.integers(1, 2), copies=st.sampled_from([1, 1, 2, 3]),
)  # fmt: skip
def test_every_cycle_follows_the_rules(graph, hw, name, frames, copies):
    mapping = map_graph(graph, hw, name)
    mapping = replicated(mapping, [copies] * len(mapping.layers))
    compare(mapping, frames, "pipelined")
    timeline = simulate(mapping, frames)
    limits = bounds(mapping, frames)
    assert limits.lower <= timeline.cycles <= limits.upper
    for op, counted in mapping.counts.items():
        node = timeline.by_name[op]
        assert (node.windows, node.activations, node.conversions) == tuple(
            frames * n for n in (counted.windows, counted.activations, counted.conversions)
        )


def last_pixels(job, dependency, height, width):
    """Bottom right pixel of a map that any window of each activation reads; none: absent."""
    wy, wx = job.shape
    found = {}
    rows, cols = job.grid
    for y in range(rows):
        for x in range(cols):
            bottom = y * dependency.stride[0] - dependency.padding[0] + dependency.extent[0] - 1
            right = x * dependency.stride[1] - dependency.padding[2] + dependency.extent[1] - 1
            at = y // wy, x // wx
            before = found.get(at, (-1, -1))
            found[at] = (
                max(before[0], min(bottom, height - 1)),
                max(before[1], min(right, width - 1)),
            )
    return found


class _Rectangles:
    def __init__(self, grid, shape):
        self.grid, self.shape = grid, shape


@given(
    height=st.integers(5, 12), width=st.integers(5, 12), kernel=st.sampled_from([1, 3]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    before=st.tuples(st.integers(1, 3), st.integers(1, 3)), block=st.sampled_from([1, 2]),
)  # fmt: skip
def test_a_rectangle_waits_for_the_last_pixel_of_its_windows(
    height, width, kernel, shape, before, block
):
    """Brute force over windows and pixels, with a producer that writes rectangles, too."""
    net = Net(4, height, width)
    first = net.conv("x", 3, block=block)
    net.conv(first, 2, kernel=kernel)
    mapping = map_graph(net.graph(), chip())
    plan = make_plan(mapping)
    one, two = plan.jobs[0], plan.jobs[1]
    ((_, dependency),) = two.dependencies
    producer = by_rectangles(one.node, before)
    wide = by_rectangles(two.node, shape)
    (wide_dependency,) = (n for n in wide.dependencies if n.producer == first)
    table_y, table_x = dependency_tables(wide, producer, wide_dependency)
    pixels = last_pixels(
        _Rectangles(two.node.grid, shape), dependency.window, height * block, width * block
    )
    assert wide.grid == (-(-height * block // shape[0]), -(-width * block // shape[1]))
    for (y, x), (bottom, right) in pixels.items():
        row, col = bottom // producer.block[0], right // producer.block[1]
        assert table_y[y] + table_x[x] == row * producer.grid[1] + col + 1


def test_stored_values_and_work_of_a_rectangle_are_those_of_its_windows():
    net = Net(4, 9, 7)
    net.relu(net.conv("x", 3, block=2))
    node = make_plan(map_graph(net.graph(), chip())).jobs[0].node
    wide = by_rectangles(node, (2, 3))
    assert (wide.grid, wide.block) == ((5, 3), (4, 6))
    assert wide.stored == 6 * node.stored > 0
    assert wide.vector_ops == 6 * node.vector_ops > 0


def test_more_windows_at_once_make_a_layer_faster():
    """An ideal interconnect and fast digital parts: the arrays set the interval."""
    net = Net(4, 26, 26)
    net.conv("x", 8, padding=0)
    hw = chip(
        array__rows=512, array__cols=64, array__t_read="1000 ns", interconnect__kind="ideal",
        vector__lanes=4096, buffer__bytes_per_cycle=4096,
    )  # fmt: skip

    def interval(name):
        return simulate(map_graph(net.graph(), hw, name), 3).interval

    one = interval("im2col")
    for name, faster in (("omm:2", 2), ("omm:3", 3), ("sdk:2", 4), ("vwsdk:4x2", 8), ("smd:4", 4)):
        assert one / interval(name) == faster, name
