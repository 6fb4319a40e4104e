import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import MappingError
from cimsim.graph.ir import InputOp, LayerGraph, TensorSpec
from cimsim.mapping.layout import count
from cimsim.mapping.mapping import layouts
from cimsim.mapping.strategies import STRATEGIES, Omm, Sdk, Smd, Vwsdk, array_size, strategy
from cimsim.mapping.strategies.parallel import ParallelWindow
from cimsim.mapping.strategies.vwsdk import rectangles
from tests.mapping.layers import arrays, chip, layer, layers

NAMES = [
    *STRATEGIES, "smd:2", "sdk:2", "vwsdk:2x3", "vwsdk:5x1", "omm:2", "omm:5", "multipoint:2",
]  # fmt: skip

# Rhe, Moon, Ko, "VW-SDK", DATE 2022, table 1 (512 x 512, padded maps, one array, stride 1); smd and
# the totals at 256 x 256 follow from the paper's formulas. (image, kernel, IC, OC): im2col, smd,
# sdk, vwsdk, best window (width, height, ICt, OCt; None: im2col)
COLUMNS = ("im2col", "smd", "sdk", "vwsdk")
VGG_13 = [
    ((224, 3, 3, 64), (49284, 6161, 12321, 6216), (10, 3, 3, 64)),
    ((224, 3, 64, 64), (98568, 98568, 24642, 24642), (4, 4, 32, 64)),
    ((112, 3, 64, 128), (24200, 24200, 6050, 6050), (4, 4, 32, 128)),
    ((112, 3, 128, 128), (36300, 36300, 36300, 12100), (4, 4, 32, 128)),
    ((56, 3, 128, 256), (8748, 8748, 8748, 5832), (4, 3, 42, 256)),
    ((56, 3, 256, 256), (14580, 14580, 14580, 10206), (4, 3, 42, 256)),
    ((28, 3, 256, 512), (3380,) * 4, None),
    ((28, 3, 512, 512), (6084,) * 4, None),
    ((14, 3, 512, 512), (1296,) * 4, None),
    ((14, 3, 512, 512), (1296,) * 4, None),
]
RESNET_18 = [
    ((112, 7, 3, 64), (11236, 3746, 2809, 1431), (10, 8, 3, 64)),
    ((56, 3, 64, 64), (5832, 5832, 1458, 1458), (4, 4, 32, 64)),
    ((28, 3, 128, 128), (2028, 2028, 2028, 676), (4, 4, 32, 128)),
    ((14, 3, 256, 256), (720, 720, 720, 504), (4, 3, 42, 256)),
    ((7, 3, 512, 512), (225,) * 4, None),
]
TOTALS = [
    (VGG_13, 512, (243736, 200613, 114697, 77102)),
    (RESNET_18, 512, (20041, 12551, 7240, 4294)),
    (VGG_13, 256, (381632, 344669, 344669, 215851)),
    (RESNET_18, 256, (25560, 25560, 17133, 10287)),
]  # fmt: skip


def fired(op, name, hw):
    """Arrays that the layout fires for a frame, the computing cycles of one array."""
    return count(op, strategy(name).place(op, hw), hw).activations


@pytest.mark.parametrize(("shape", "cycles", "best"), VGG_13 + RESNET_18, ids=str)
def test_cycles_and_best_windows_are_the_published_ones(shape, cycles, best):
    op, hw = layer(*shape), chip(512, 512)
    assert tuple(fired(op, name, hw) for name in COLUMNS) == cycles
    layout = Vwsdk().place(op, hw)
    if best is None:
        assert layout.window_shape is None
        return
    wy, wx = layout.window_shape
    width, height, inside, outside = best
    assert (wx + op.window.kernel[1] - 1, wy + op.window.kernel[0] - 1) == (width, height)
    assert max(layout.rows_used) == inside * width * height
    assert max(layout.cols_used) == outside * wx * wy


@pytest.mark.parametrize(("net", "size", "totals"), TOTALS)
def test_cycles_of_whole_networks(net, size, totals):
    hw = chip(size, size)
    found = [sum(fired(layer(*shape), name, hw) for shape, *_ in net) for name in COLUMNS]
    assert tuple(found) == totals


def test_published_ratio_of_vwsdk_over_sdk():
    *_, sdk, vwsdk = TOTALS[1][2]
    assert sdk / vwsdk == pytest.approx(1.69, abs=0.005)


# Zhu et al., ICCAD 2018, table 1; conv layers, no groups: exact. ResNet-18: the paper's list of
# layers is not known, within two points
ALEXNET = [(11, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)]
RESNET_ALL = [(7, 3, 64)] + [(3, 64, 64)] * 4
for _inside in (64, 128, 256):
    RESNET_ALL += [(3, _inside, 2 * _inside), (1, _inside, 2 * _inside)]
    RESNET_ALL += [(3, 2 * _inside, 2 * _inside)] * 3


def utilisation(net, size):
    hw = chip(size, size)
    found = [strategy("im2col").place(layer(k, k, c_in, c_out), hw) for k, c_in, c_out in net]
    arrays = sum(layout.n_arrays for layout in found)
    return 100 * sum(layout.cells_used for layout in found) / (arrays * size * size)


@pytest.mark.parametrize(("size", "percent"), [(128, 99.4), (256, 79.4), (512, 57.2)])
def test_utilisation_of_alexnet(size, percent):
    assert round(utilisation(ALEXNET, size), 1) == percent


@pytest.mark.parametrize(("size", "percent"), [(128, 99), (256, 88), (512, 57)])
def test_utilisation_of_resnet_18(size, percent):
    assert utilisation(RESNET_ALL, size) == pytest.approx(percent, abs=2)


@pytest.mark.parametrize(("points", "measured"), [(2, 1.8), (3, 2.8), (4, 3.6)])
def test_points_speed_a_layer_of_the_wtm2101_up_as_much_as_is_ideal(points, measured):
    """Bai et al., TCAD 2024: 90 to 93 % of it on a layer [3 x 3, 64], both regions as one array."""
    op, hw = layer((26, 26), 3, 64, 64), chip(1792, 1024)
    ideal = fired(op, "multipoint:1", hw) / fired(op, f"multipoint:{points}", hw)
    assert ideal == points
    assert 0.9 <= measured / ideal <= 0.94


def test_a_point_more_never_takes_an_array_more():
    op = layer((20, 20), 3, 8, 8)
    for rows, points in ((59, 2), (60, 3), (71, 3), (72, 1), (95, 1), (96, 2), (120, 3), (144, 4)):
        layout = strategy("multipoint").place(op, chip(rows, 64))
        assert layout.windows_per_activation == points
        assert layout.n_arrays == -(-72 // rows)


@given(
    kernel=st.integers(1, 4), stride=st.integers(1, 4), d=st.integers(1, 6), c_in=st.integers(1, 9),
    c_out=st.integers(1, 9), groups=st.integers(2, 9),
)  # fmt: skip
def test_omm_in_one_array_saves_the_published_share_of_input_conversions(
    kernel, stride, d, c_in, c_out, groups
):
    """Zhu et al.: ``(K + (d - 1) s) / (d K)`` of im2col's, for strides up to the kernel."""
    stride = min(stride, kernel)
    op = layer(
        (kernel + 3, kernel + (groups * d - 1) * stride), kernel, c_in, c_out, stride=(1, stride)
    )
    hw = chip(1024, 1024)
    one, merged = (count(op, how.place(op, hw), hw) for how in (strategy("im2col"), Omm(d)))
    span = kernel + (d - 1) * stride
    assert merged.dac_conversions * d * kernel == one.dac_conversions * span
    assert merged.conversions == one.conversions
    assert merged.activations * d == one.activations
    layout = Omm(d).place(op, hw)
    assert layout.rows_used == (kernel * span * c_in,)
    assert layout.cells_used * span == merged.cells * kernel


@given(op=layers(), size=arrays(), d=st.integers(2, 6))
def test_omm_takes_at_most_the_arrays_of_its_formula(op, size, d):
    hw = chip(*size)
    rows, cols = array_size(op, hw)
    d = min(d, op.window_grid[1])
    cut = Omm(d).cut(op, hw)
    formula = math.ceil(cut.size[0] / rows) * math.ceil(cut.size[1] / cols)
    layout = Omm(d).place(op, hw)
    assert layout.n_arrays <= op.groups * formula
    assert layout.activations(op.window_grid) == op.window_grid[0] * -(-op.window_grid[1] // d)
    if op.groups == 1 and formula == 1:
        assert layout.n_arrays == 1


@given(op=layers(), size=arrays())
def test_smd_takes_as_many_copies_as_fit(op, size):
    hw = chip(*size)
    d = max(1, min(size[0] // op.n_rows, size[1] // op.n_cols, op.windows))
    layout = Smd().place(op, hw)
    assert layout.windows_per_activation == d
    assert layout.window_shape is None
    if d > 1:
        assert count(op, layout, hw).activations == -(-op.windows // d)
        assert layout.rows_used == (d * op.n_rows,)


@given(op=layers(), size=arrays())
def test_sdk_takes_the_largest_square_of_the_rule(op, size):
    """Zhang et al., TCAD 2020; written out for dense kernels without groups."""
    if op.groups > 1 or op.window.dilation != (1, 1):
        return
    rows, cols = size
    k_y, k_x = op.window.kernel
    s_y, s_x = (min(s, k) for s, k in zip(op.window.stride, op.window.kernel, strict=True))
    c_in, c_out, d = op.group_rows // (k_y * k_x), op.group_cols, 1
    for n in range(2, min(op.window_grid) + 1):
        pixels = (k_y + (n - 1) * s_y) * (k_x + (n - 1) * s_x)
        high = pixels * c_in <= rows * math.ceil(k_y * k_x * c_in / rows)
        if not (high and n * n * c_out <= cols * math.ceil(c_out / cols)):
            break
        d = n
    assert Sdk().place(op, chip(*size)).window_shape == ((d, d) if d > 1 else None)


@given(op=layers(most=6), size=arrays())
def test_vwsdk_takes_the_best_of_all_rectangles(op, size):
    """Rhe et al., DATE 2022, tried out one by one."""
    if op.groups > 1 or op.window.dilation != (1, 1):
        return
    hw, (rows, cols) = chip(*size), size
    k_y, k_x = op.window.kernel
    s_y, s_x = (min(s, k) for s, k in zip(op.window.stride, op.window.kernel, strict=True))
    c_in, c_out, (n_y, n_x) = op.group_rows // (k_y * k_x), op.group_cols, op.window_grid
    best = fired(op, "im2col", hw)
    for wy in range(1, n_y + 1):
        for wx in range(1, n_x + 1):
            pixels = (k_y + (wy - 1) * s_y) * (k_x + (wx - 1) * s_x)
            inside, outside = rows // pixels, cols // (wy * wx)
            if inside and outside and wy * wx > 1:
                tiles = math.ceil(c_in / inside) * math.ceil(c_out / outside)
                best = min(best, math.ceil(n_y / wy) * math.ceil(n_x / wx) * tiles)
    assert fired(op, "vwsdk", hw) == best


def check_tally(op, cut, hw):
    layout, tally = cut.layout(hw), cut.tally()
    counted = count(op, layout, hw)
    assert tally.arrays == layout.n_arrays
    assert tally.rows == sum(layout.rows_used)
    assert tally.cols == sum(layout.cols_used)
    assert tally.windows == layout.windows_per_activation
    assert tally.fired == counted.activations


@given(
    op=layers(), size=arrays(), wy=st.integers(1, 4), wx=st.integers(1, 5),
    by_channel=st.booleans(),
)  # fmt: skip
def test_counts_without_a_layout_are_those_of_the_layout(op, size, wy, wx, by_channel):
    hw = chip(*size)
    shape = min(wy, op.window_grid[0]), min(wx, op.window_grid[1])
    cut = ParallelWindow(op, array_size(op, hw), shape, by_channel)
    if by_channel and min(cut.channel_tile) < 1:
        return
    check_tally(op, cut, hw)


@given(op=layers(), size=arrays(), name=st.sampled_from(NAMES))
def test_counts_of_a_strategy_are_those_of_its_layout(op, size, name):
    hw, how = chip(*size), strategy(name)
    cut = how.cut(op, hw) if hasattr(how, "cut") else None
    if cut is not None:
        check_tally(op, cut, hw)
        assert cut.tally().fired == fired(op, name, hw)


@given(op=layers(), size=arrays())
def test_all_rectangles_are_counted_as_one_by_one(op, size):
    found = rectangles(op, size)
    assert found.fits.shape[0] <= op.window_grid[0]
    for y, x in np.argwhere(found.fits).tolist():
        cut = ParallelWindow(op, size, (y + 1, x + 1), by_channel=True)
        assert found.tally(y, x) == cut.tally()
    # what is left out has no room for a channel
    for y in range(op.window_grid[0]):
        for x in range(op.window_grid[1]):
            inside = y < found.fits.shape[0] and x < found.fits.shape[1] and found.fits[y, x]
            cut = ParallelWindow(op, size, (y + 1, x + 1), by_channel=True)
            assert bool(inside) == (min(cut.channel_tile) >= 1)


@given(op=layers(most=5), size=arrays(), name=st.sampled_from(NAMES))
def test_blocks_alone_compute_the_layer(op, size, name):
    """Whole numbers through the placements: every window of the map gets its matrix product.

    Nothing but blocks and the order of windows is used: what drives a row is what any of its blocks
    asks for, and all of them must ask for the same.
    """
    layout = strategy(name).place(op, chip(*size))
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 10, op.weight.shape)
    channels = op.input.shape[1]
    (n_y, n_x), (s_y, s_x), (d_y, d_x) = op.window_grid, op.window.stride, op.window.dilation
    top, _, left, _ = op.window.padding
    big = np.zeros((200, 200, channels), int)  # padding on all sides, more than is ever read
    big[top : top + op.input.shape[2], left : left + op.input.shape[3]] = rng.integers(
        0, 10, (*op.input.shape[2:], channels)
    )
    k_x, per_group = op.window.kernel[1], channels // op.groups

    def inputs(block, y, x):
        """What the rows of a block of window (y, x) read."""
        rows = np.arange(block.src_row0, block.src_row0 + block.rows)
        pixel, channel = np.divmod(rows, per_group)
        k_row, k_col = np.divmod(pixel, k_x)
        where = y * s_y + k_row * d_y, x * s_x + k_col * d_x, block.group * per_group + channel
        return np.stack(where, axis=1)

    def vector(window, group):
        y, x = window
        whole = [big[tuple(p)] for p in inputs(_Whole(op, group), y, x)]
        return np.array(whole) @ weight[group]

    wy, wx = layout.window_shape or (1, 1)
    rows, cols = layout.activation_grid((n_y, n_x))
    seen = set()
    for g in range(rows * cols):
        if layout.window_shape is None:
            numbers = range(
                g * layout.windows_per_activation, (g + 1) * layout.windows_per_activation
            )
            windows = [divmod(n, n_x) for n in numbers]
        else:
            windows = [
                (g // cols * wy + a, g % cols * wx + b) for a in range(wy) for b in range(wx)
            ]
        sums = np.zeros((len(windows), op.groups, op.group_cols), int)
        for blocks in layout.by_array:
            driven = {}
            for block in blocks:
                if windows[block.window][0] >= n_y and layout.window_shape is None:
                    continue  # no such window: its rows are not driven
                for row, place in enumerate(inputs(block, *windows[block.window]).tolist()):
                    assert driven.setdefault(block.row0 + row, place) == place
            for block in blocks:
                used = [driven.get(block.row0 + row) for row in range(block.rows)]
                if None in used:
                    continue
                x = np.array([big[tuple(place)] for place in used])
                part = weight[
                    block.group, block.src_row0 : block.src_row0 + block.rows,
                    block.src_col0 : block.src_col0 + block.cols,
                ]  # fmt: skip
                outputs = sums[block.window, block.group]
                outputs[block.src_col0 : block.src_col0 + block.cols] += x @ part
        for number, (y, x) in enumerate(windows):
            if y < n_y and x < n_x:
                assert (y, x) not in seen
                seen.add((y, x))
                for group in range(op.groups):
                    np.testing.assert_array_equal(sums[number, group], vector((y, x), group))
    assert len(seen) == op.windows


class _Whole:
    """A block of all rows of a group's matrix."""

    def __init__(self, op, group):
        self.src_row0, self.rows, self.group = 0, op.group_rows, group


WRONG = [
    ("im3col", "'im3col' is unknown; known: im2col"), ("vsdk:2x2", "did you mean vwsdk"),
    ("im2col:2", "expected no parameter, got '2'"), ("omm:", "a number of windows, such as omm:3"),
    ("omm:2x2", "such as omm:3, got '2x2'"), ("smd:0", "smd: expected at least 1 window, got 0"),
    ("vwsdk:4", "WIDTHxHEIGHT"), ("vwsdk:0x2", "expected at least 1x1 windows, got 0x2"),
    ("multipoint:-1", "got '-1'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "part"), WRONG)
def test_unknown_names_and_parameters_are_refused_with_what_is_known(name, part):
    with pytest.raises(MappingError) as error:
        strategy(name)
    assert part in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_and_its_strategy_belong_together(name):
    how = strategy(name)
    assert strategy(how) is how
    if name != "multipoint":  # which names its points
        assert how.name == name
    assert strategy(how.name) == how or name == "im2col"


def test_the_help_of_the_commands_lists_every_strategy():
    from typing import get_args

    from cimsim.cli.options import MappingOption

    text = get_args(MappingOption)[1].help
    assert all(name in text for name in STRATEGIES)


def test_one_matrix_under_two_strides_takes_one_window_at_a_time():
    first = layer((9, 9), 3, 4, 4, padding=(1,) * 4, name="a", weights_id="w")
    second = layer((9, 9), 3, 4, 4, stride=(2, 2), padding=(1,) * 4, name="b", weights_id="w")
    graph = LayerGraph("net", [InputOp("x", TensorSpec((1, 4, 9, 9))), first, second], ["b"])
    found = layouts(graph, chip(512, 512), "vwsdk")
    assert found["a"] is found["b"]
    assert found["a"].windows_per_activation == 1
    assert layouts(graph, chip(512, 512), "smd")["b"].windows_per_activation == 14
