"""Search over mappings: strategies and replicas of every layer, in closed form, then simulated.

For an interval ``T`` each layer takes, of all its options (a layout and a number of replicas) whose
busiest stage does a frame within ``T``, the one of fewest arrays. No other choice of these options
keeps ``T`` with fewer arrays, so the curve of arrays over ``T`` is exact for the closed-form costs
of `cimsim.timing.analysis.replicas.layer_cost`. Some points of the curve, the choice of least
energy, the densest packing, copies of shared arrays and each strategy for the whole network are
then simulated, and what another point beats in everything is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from cimsim.boundary.limits import shown
from cimsim.chip.spec import Chip
from cimsim.energy.idle import working
from cimsim.energy.model import energy
from cimsim.errors import ConfigError, MappingError, SimulationError, suggest
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.allocation import allocated
from cimsim.mapping.allocation.base import Allocation, Request, requests_of
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.allocation.packed import Packed
from cimsim.mapping.custom import checked_layout
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Mapping, matrix_name
from cimsim.mapping.strategies import STRATEGIES, Strategy, array_size, grid
from cimsim.timing.analysis.replicas import Shared, WholeCopies, layer_cost
from cimsim.timing.simulate import simulate

Goal = Literal["latency", "energy", "arrays"]
_POINTS = 8  # of the curve that are simulated


@runtime_checkable
class Offers(Protocol):
    """A strategy with several layouts to choose from, such as one for each parallel window."""

    def candidates(self, op: MatrixOp, chip: Chip) -> Iterable[Layout]:
        """Return layouts of one matrix."""
        ...


class ColumnsApart:
    """The matrix cut into more column tiles, so that converters take fewer rounds.

    Half the columns per array and so on, down to one round of the array's converters.
    """

    name = "columns_apart"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        """Return the layout of one round."""
        return self.cut(op, chip, max(1, chip.adc.count // chip.weights.slices))

    def candidates(self, op: MatrixOp, chip: Chip) -> Iterable[Layout]:
        """Yield layouts of half the columns, a quarter, ... and of one round."""
        least = max(1, chip.adc.count // chip.weights.slices)
        widest = min(array_size(op, chip)[1], op.group_cols)
        while widest > least and op.groups == 1:
            widest = max(least, -(-widest // 2))
            yield self.cut(op, chip, widest)

    @staticmethod
    def cut(op: MatrixOp, chip: Chip, cols: int) -> Layout:
        """Return the layout with ``cols`` columns per array."""
        return Layout.of(op, chip, grid(op, array_size(op, chip)[0], cols))


@dataclass(frozen=True)
class Option:
    """One way to lay out a matrix.

    Attributes
    ----------
    strategy : str
    layout : Layout
    cycles : callable
        Replicas -> cycles of one frame in the busiest stage.
    energy_j : float
        Of one frame with one replica: its actions and the clock of its tiles.
    """

    strategy: str
    layout: Layout
    cycles: Callable[[int], float]
    energy_j: float


@dataclass(frozen=True)
class Point:
    """A simulated mapping.

    Attributes
    ----------
    mapping : Mapping
    interval_cycles, latency_cycles : int
        Steady interval between frames, and first frame.
    energy_j : float
        Of one frame, with the activity factor of the chip.
    strategies : dict
        Strategy -> layers that use it.
    """

    mapping: Mapping
    interval_cycles: int
    latency_cycles: int
    energy_j: float
    strategies: dict[str, int]

    @property
    def arrays(self) -> int:
        """Arrays in use."""
        return self.mapping.arrays_used

    def measure(self, goal: Goal) -> tuple[float, ...]:
        """Return what ``goal`` makes small, then the rest."""
        by = {
            "latency": (self.interval_cycles, self.latency_cycles, self.energy_j, self.arrays),
            "energy": (self.energy_j, self.interval_cycles, self.arrays),
            "arrays": (self.arrays, self.interval_cycles, self.energy_j),
        }
        return by[goal]


@dataclass(frozen=True)
class _Chosen:
    """A strategy that returns what was chosen for each layer."""

    layouts: dict[str, Layout]
    name: str = "mixed"

    def place(self, op: MatrixOp, chip: Chip) -> Layout:
        return self.layouts[matrix_name(op)]


def search(
    graph: LayerGraph,
    chip: Chip,
    goal: str = "latency",
    strategies: Sequence[Strategy] | None = None,
) -> tuple[Point, ...]:
    """Return the Pareto set of mappings, best first.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip
    goal : {"latency", "energy", "arrays"}
        What comes first: steady interval (then latency), energy of a frame, or arrays.
    strategies : sequence of Strategy, optional
        Those to choose from; all built-in ones and `ColumnsApart` by default. One that `Offers`
        candidates is asked for them, too.

    Raises
    ------
    ConfigError
        An unknown goal.
    MappingError
        If nothing fits the chip.
    """
    if goal not in get_args(Goal):
        raise ConfigError(f"optimize: {shown(goal)} is unknown{suggest(goal, get_args(Goal))}")
    chosen: Goal = goal  # type: ignore[assignment]
    built_in: list[Strategy] = [*STRATEGIES.values(), ColumnsApart()]
    options = layer_options(graph, chip, built_in if strategies is None else strategies)
    points = []
    for choice, allocation in _choices(options, chip):
        point = _simulated(graph, chip, choice, allocation)
        if point is not None:
            points.append(point)
    # the curve looks at layers one by one; whole strategies meet shared resources otherwise
    for how in STRATEGIES.values() if strategies is None else strategies:
        plain = [(_named(layer, how.name), 1) for layer in options]
        for whole in (WholeCopies(), Shared()):
            point = _simulated(graph, chip, plain, whole)
            if point is not None:
                points.append(point)
    if not points:
        # the message of the plain mapping says what is missing, arrays or memory, and the ways out
        asked = _requests(graph, [points[0] for points in options])
        layers = InOrder().allocate(graph, asked, chip)
        simulate(Mapping(graph, chip, "", layers))
    return pareto(points, chosen)


def pareto(points: Sequence[Point], goal: Goal) -> tuple[Point, ...]:
    """Return the points that no other one beats in interval, latency, energy and arrays."""

    def values(p: Point) -> tuple[float, ...]:
        return p.interval_cycles, p.latency_cycles, p.energy_j, p.arrays

    kept: dict[tuple[float, ...], Point] = {}
    for point in points:
        beaten = any(
            all(a <= b for a, b in zip(values(other), values(point), strict=True))
            and values(other) != values(point)
            for other in points
        )
        if not beaten:
            kept.setdefault(values(point), point)
    return tuple(sorted(kept.values(), key=lambda p: p.measure(goal)))


def layer_options(
    graph: LayerGraph, chip: Chip, strategies: Sequence[Strategy]
) -> list[list[Option]]:
    """Return the options of each programmed matrix, in execution order; equal layouts once."""
    by_matrix: dict[str, list[tuple[str, Layout]]] = {}
    for op in graph.matrix_ops:
        if matrix_name(op) in by_matrix:
            continue
        seen: dict[Layout, str] = {}
        for how in strategies:
            try:
                offered = [checked_layout(how, op, chip)]
            except MappingError:
                offered = []  # a strategy need not be able to place every layer
            if isinstance(how, Offers):
                offered += how.candidates(op, chip)
            for layout in offered:
                seen.setdefault(layout, how.name)
        by_matrix[matrix_name(op)] = [(name, layout) for layout, name in seen.items()]
    most = max(map(len, by_matrix.values()))
    # a chip with room for everything, and all layers' n-th layouts on it at once
    roomy = chip.model_copy(update={"tile": chip.tile.model_copy(update={"count": 10**6})})
    by_layer: list[list[Option]] = [[] for _ in by_matrix]
    for n in range(most):
        nth = {name: offered[min(n, len(offered) - 1)] for name, offered in by_matrix.items()}
        layouts = _Chosen({name: layout for name, (_, layout) in nth.items()})
        requests = requests_of(graph, {o.name: layouts.place(o, chip) for o in graph.matrix_ops})
        layers = InOrder().allocate(graph, requests, roomy)
        spent = energy(Mapping(graph, roomy, "", layers), 1.0).by_layer
        cost = layer_cost(graph, layers, roomy)
        for index, (request, (name, layout)) in enumerate(zip(requests, nth.values(), strict=True)):
            if n < len(by_matrix[request.name]):
                cycles = _cycles(cost, index)
                joules = sum(sum(spent[op.name].values()) for op in request.ops)
                # replicas share the work, so their clocks together run as long as one's
                tiles, clock = layout.n_arrays / chip.tile.arrays, chip.process.clock_hz
                joules += chip.tile.clock_power_w * tiles * cycles(1) / clock
                by_layer[index].append(Option(name, layout, cycles, joules))
    return by_layer


def _cycles(cost: Callable[[int, int], float], index: int) -> Callable[[int], float]:
    return lambda replicas: cost(index, replicas)


def _named(options: list[Option], name: str) -> Option:
    """Return the option of a strategy; the first one, im2col's, where it has none of its own."""
    return next((option for option in options if option.strategy == name), options[0])


_Choice = list[tuple[Option, int]]  # for each layer: what, and how many replicas


def _choices(options: list[list[Option]], chip: Chip) -> Iterable[tuple[_Choice, Allocation]]:
    """Yield what is worth simulating."""
    curve = _curve(options, chip.n_arrays)
    few = {round(i * (len(curve) - 1) / (_POINTS - 1)) for i in range(_POINTS)} if curve else set()
    for i in sorted(few):
        yield curve[i], InOrder(replicas=[replicas for _, replicas in curve[i]])
    frugal = _least_energy(options, chip.n_arrays)
    if frugal is not None:
        yield frugal, InOrder()
    least = [min(offered, key=lambda o: o.cycles(1) * o.layout.n_arrays) for offered in options]
    yield [(option, 1) for option in least], Shared()
    smallest = [
        min(offered, key=lambda o: (o.layout.cells_used, o.energy_j)) for offered in options
    ]
    yield [(option, 1) for option in smallest], Packed()


def _curve(options: list[list[Option]], total: int) -> list[_Choice]:
    """Return the choices of fewest arrays for every interval, fewest arrays first."""
    ways = [_ways(offered, total) for offered in options]
    intervals = sorted({cycles for offered in ways for _, cycles, _, _ in offered}, reverse=True)
    curve: list[_Choice] = []
    position = [0] * len(ways)
    for interval in intervals:
        for layer, offered in enumerate(ways):
            while position[layer] < len(offered) and offered[position[layer]][1] > interval:
                position[layer] += 1
        if any(p == len(offered) for p, offered in zip(position, ways, strict=True)):
            break
        picked = [offered[p] for p, offered in zip(position, ways, strict=True)]
        if sum(arrays for arrays, *_ in picked) > total:
            break
        choice = [(option, replicas) for *_, option, replicas in picked]
        if not curve or choice != curve[-1]:
            curve.append(choice)
    return curve


def _ways(options: list[Option], total: int) -> list[tuple[int, float, Option, int]]:
    """Return (arrays, cycles, option, replicas) of one layer: more arrays, fewer cycles."""
    every = [
        (r * option.layout.n_arrays, option.cycles(r), option.energy_j, i, r)
        for i, option in enumerate(options)
        for r in range(1, total // option.layout.n_arrays + 1)
    ]
    ways: list[tuple[int, float, Option, int]] = []
    for arrays, cycles, _, i, r in sorted(every):
        if not ways or cycles < ways[-1][1]:
            ways.append((arrays, cycles, options[i], r))
    return ways


def _least_energy(options: list[list[Option]], total: int) -> _Choice | None:
    """Return one replica each with the least energy that fits: a knapsack over arrays, exact."""
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for offered in options:
        longer: dict[int, tuple[float, tuple[int, ...]]] = {}
        for arrays, (joules, picked) in best.items():
            for i, option in enumerate(offered):
                used = arrays + option.layout.n_arrays
                entry = joules + option.energy_j, (*picked, i)
                if used <= total and (used not in longer or entry < longer[used]):
                    longer[used] = entry
        best = longer
    if not best:
        return None
    _, picked = min(best.values())
    return [(offered[i], 1) for offered, i in zip(options, picked, strict=True)]


def _requests(graph: LayerGraph, chosen: Sequence[Option]) -> tuple[Request, ...]:
    names = list(dict.fromkeys(matrix_name(op) for op in graph.matrix_ops))
    layouts = {name: option.layout for name, option in zip(names, chosen, strict=True)}
    return requests_of(graph, {op.name: layouts[matrix_name(op)] for op in graph.matrix_ops})


def _simulated(
    graph: LayerGraph, chip: Chip, choice: _Choice, allocation: Allocation
) -> Point | None:
    """Place and simulate a choice; None if the chip has no arrays or no memory for it."""
    requests = _requests(graph, [option for option, _ in choice])
    used = Counter(option.strategy for option, _ in choice)
    name = next(iter(used)) if len(used) == 1 else "mixed"
    copies = any(replicas > 1 for _, replicas in choice)
    where = "whole_copies" if copies else allocation.name
    try:
        layers = allocated(allocation, graph, requests, chip)
        mapping = Mapping(graph, chip, name, layers, where)
        timeline = simulate(mapping)
    except (MappingError, SimulationError):
        return None
    spent = energy(
        mapping, timeline.interval_s(chip.process.clock_hz),
        working_s=working(mapping, timeline), spilled=timeline.spilled,
    )  # fmt: skip
    return Point(
        mapping, timeline.interval, timeline.cycles_first_frame, spent.total_j, dict(used)
    )  # fmt: skip
