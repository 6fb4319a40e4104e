import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.errors import ConfigError, MappingError
from cimsim.mapping.mapping import map_graph
from cimsim.mapping.strategies import Im2col
from cimsim.placing.search import (
    ColumnsApart,
    Option,
    Point,
    _curve,
    _least_energy,
    layer_options,
    pareto,
    search,
)
from cimsim.timing.analysis.replicas import Shared, WholeCopies
from cimsim.timing.simulate import simulate
from tests.timing.nets import Duplicates, Net, chip, linear, nets


class Sized:
    """All that the search looks at in a layout."""

    def __init__(self, n_arrays):
        self.n_arrays = n_arrays


OPTION = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 9))
LAYERS = st.lists(st.lists(OPTION, min_size=1, max_size=3), min_size=1, max_size=3)


def made(layers):
    def option(arrays, work, joules):
        return Option("s", Sized(arrays), lambda r: -(-work // r), float(joules))

    return [[option(*numbers) for numbers in layer] for layer in layers]


@settings(max_examples=80, deadline=None)
@given(layers=LAYERS, total=st.integers(2, 8))
def test_the_curve_is_the_best_of_all_choices(layers, total):
    options = made(layers)
    ways = [
        [(o.layout.n_arrays * r, o.cycles(r)) for o in found for r in range(1, total + 1)]
        for found in options
    ]
    best = {}
    for choice in itertools.product(*ways):
        arrays, interval = sum(a for a, _ in choice), max(c for _, c in choice)
        if arrays <= total:
            best[arrays] = min(interval, best.get(arrays, interval))
    curve = [
        (sum(o.layout.n_arrays * r for o, r in point), max(o.cycles(r) for o, r in point))
        for point in _curve(options, total)
    ]
    # wherever more arrays really bring a shorter interval, the curve has that very point
    shortest = float("inf")
    for arrays in sorted(best):
        if best[arrays] < shortest:
            shortest = best[arrays]
            assert (arrays, shortest) in curve
    assert all(arrays <= total for arrays, _ in curve)


@settings(max_examples=80, deadline=None)
@given(layers=LAYERS, total=st.integers(1, 8))
def test_least_energy_is_least_of_all_that_fit(layers, total):
    options = made(layers)
    fitting = [
        sum(o.energy_j for o in choice)
        for choice in itertools.product(*options)
        if sum(o.layout.n_arrays for o in choice) <= total
    ]
    found = _least_energy(options, total)
    if found is None:
        assert not fitting
    else:
        assert sum(o.energy_j for o, _ in found) == min(fitting)


@given(values=st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=12))
def test_pareto_keeps_what_nothing_beats(values):
    class Used:
        def __init__(self, arrays):
            self.arrays_used = arrays

    points = [Point(Used(n), i, i, float(e), {}) for i, e, n in values]
    kept = {(p.interval_cycles, p.energy_j, p.arrays) for p in pareto(points, "energy")}
    expected = {
        a for a in values
        if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in values)
    }  # fmt: skip
    assert kept == expected
    energies = [p.energy_j for p in pareto(points, "energy")]
    assert energies == sorted(energies)


def chain():
    net = Net(4, 8, 8)
    net.conv(net.conv(net.conv("x", 40), 8), 8, stride=2)
    return net.graph()


@pytest.mark.parametrize("goal", ["latency", "energy", "arrays"])
def test_the_best_point_comes_first_and_is_no_worse_than_plain(goal):
    hardware = chip(tile__count=30, adc__count=8, array__rows=128)
    points = search(chain(), hardware, goal)
    assert points[0].measure(goal) == min(p.measure(goal) for p in points)
    plain = next(p for p in search(chain(), hardware, "arrays", [Im2col()]))
    assert points[0].measure(goal) <= plain.measure(goal)
    assert all(p.arrays <= 30 for p in points)
    if goal == "arrays":
        assert points[0].mapping.allocation == "packed"


def test_one_window_is_answered_faster_only_by_columns_apart():
    # 40 columns on 8 converters: five rounds of 7 cycles each, or one on five arrays
    hardware = chip(tile__count=30, adc__count=8, array__t_read="1 ns", buffer__bytes_per_cycle=64)
    points = search(linear(40, 40, 1), hardware, "latency")
    assert (points[0].arrays, points[0].strategies) == (5, {"columns_apart": 1})
    assert points[0].interval_cycles == 7
    assert (points[-1].arrays, points[-1].interval_cycles) == (1, 35)


class ManyWindows(Duplicates):
    """Offers two and three windows at once."""

    name = "many_windows"

    def __init__(self):
        super().__init__(1)

    def candidates(self, op, hardware):
        return [Duplicates(n).place(op, hardware) for n in (2, 3)]


class Fails:
    """Cannot place anything."""

    name = "fails"

    def place(self, op, hardware):
        raise MappingError("not for this layer")


def test_strategies_that_offer_candidates_plug_in_and_equal_layouts_count_once():
    hardware = chip(tile__count=30)
    offered = layer_options(chain(), hardware, [Im2col(), Fails(), ManyWindows()])
    assert [[o.layout.windows_per_activation for o in found] for found in offered] == [
        [1, 2, 3]
    ] * 3
    assert [o.strategy for o in offered[0]] == ["im2col", "many_windows", "many_windows"]


@settings(max_examples=40, deadline=None)
@given(graph=nets(), hardware=st.builds(chip, adc__count=st.sampled_from([1, 5, 64])))
def test_columns_apart_halve_down_to_one_round(graph, hardware):
    how = ColumnsApart()
    for op in graph.matrix_ops:
        layouts = list(how.candidates(op, hardware))
        for layout in layouts:
            assert layout.cells_used == op.groups * op.group_rows * op.group_cols
        if layouts:
            assert max(layouts[-1].cols_used) <= max(1, hardware.adc.count)
        assert max(how.place(op, hardware).cols_used) <= max(1, hardware.adc.count)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ConfigError, match=r"'speed' is unknown; known: latency"):
        search(chain(), chip(), "speed")
    with pytest.raises(MappingError, match="Ways out"):
        search(chain(), chip(tile__count=1, array__rows=32))


def test_no_plain_mapping_beats_what_is_found():
    net = Net(4, 12, 12)
    net.conv(net.conv(net.conv("x", 8), 8, stride=2), 8)
    hardware = chip(tile__count=12, interconnect__bytes_per_cycle=1, array__t_read="100 ns")
    found = search(net.graph(), hardware)
    for how in (WholeCopies(), Shared()):
        mapping = map_graph(net.graph(), hardware, "im2col", how)
        assert found[0].interval_cycles <= simulate(mapping).interval
