"""Leakage, clocks and gating: joules by hand from powers, times and what ``tile.idle`` says."""

import pytest

import cimsim
from cimsim.chip.load import load_hw
from cimsim.energy.idle import static_j, static_power_w, working
from cimsim.energy.model import energy
from cimsim.errors import InputError
from cimsim.mapping.mapping import map_graph
from cimsim.timing.simulate import simulate

POWERS = {
    "tile.static_power": "1 mW", "tile.clock_power": "3 mW", "tile.wake_energy": "5 nJ",
    "vector.leakage": "0 W", "buffer.leakage": "0 W", "global_buffer.leakage": "7 mW",
    "static_power": "0 W",
}  # fmt: skip


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.fixture(scope="module")
def graph():
    network = cimsim.load_network("fastdvdnet-block", {}, "random")
    return cimsim.trace(network.module, network.example(32, 32), name="block")


def mapped(graph, **chip):
    return map_graph(graph, load_hw("eflash40nm", POWERS | chip))


@pytest.mark.parametrize(
    ("idle", "expected"),
    [
        ("on", "tiles * (leak + clock) * period"),
        ("clock_gated", "tiles * leak * period + clock * worked"),
        ("power_gated", "(leak + clock) * worked + wake * waiting"),
    ],
)
def test_gating_by_hand(graph, idle, expected):
    mapping = mapped(graph, **{"tile.idle": idle})
    layers = [op.name for op in graph.matrix_ops]
    times = {name: (i + 1) * 1e-6 for i, name in enumerate(layers)}
    # one layer, one tile here; the last layer works all the time
    period = len(layers) * 1e-6
    assert mapping.tiles_used == mapping.arrays_used
    used = {name: len(mapping.layer_of[name].slots[0]) for name in layers}
    names = {
        "tiles": mapping.tiles_used, "leak": 1e-3, "clock": 3e-3, "period": period,
        "wake": 5e-9, "worked": sum(times[n] * used[n] for n in layers),
        "waiting": sum(used[n] for n in layers[:-1]),
    }  # fmt: skip
    by_hand = eval(expected, names) + 7e-3 * period
    assert static_j(mapping, period, times) == close(by_hand)


def test_without_times_tiles_count_as_working(graph):
    for idle in ("on", "clock_gated", "power_gated"):
        mapping = mapped(graph, **{"tile.idle": idle})
        assert static_j(mapping, 2e-3) == close(2e-3 * static_power_w(mapping))


def test_working_time_comes_from_the_timeline(graph):
    mapping = mapped(graph)
    timeline = simulate(mapping, frames=2)
    times, clock = working(mapping, timeline), mapping.chip.process.clock_hz
    assert set(times) == {op.name for op in graph.matrix_ops}
    for name, seconds in times.items():
        cycles = max(timeline.by_name[name].busy) / 2
        assert seconds * clock == close(cycles)
        assert 0 < seconds <= timeline.interval_s(clock) * (1 + 1e-9)


@pytest.mark.parametrize("slower", [1, 1.5, 10, 1000])
def test_gating_without_wake_ups_never_costs_more(graph, slower):
    spent = {}
    for idle in ("on", "clock_gated", "power_gated"):
        mapping = mapped(graph, **{"tile.idle": idle, "tile.wake_energy": "0 J"})
        timeline = simulate(mapping)
        period = timeline.interval_s(mapping.chip.process.clock_hz) * slower
        spent[idle] = static_j(mapping, period, working(mapping, timeline))
    assert spent["power_gated"] <= spent["clock_gated"] <= spent["on"]
    # what gating leaves does not grow with the time that the tiles wait
    if slower == 1000:
        assert spent["power_gated"] - 7e-3 * period < 0.01 * spent["on"]


def test_defaults_are_what_they_were(graph):
    mapping = map_graph(graph, load_hw("eflash40nm"))
    timeline = simulate(mapping)
    times = working(mapping, timeline)
    assert energy(mapping, 1e-3, working_s=times) == energy(mapping, 1e-3)


def test_frame_rate_adds_waiting_to_static_energy_and_nothing_else(graph):
    mapping = mapped(graph)
    fast = cimsim.simulate(mapping, None).energy
    rate = 0.25 / cimsim.simulate(mapping, None).timing.seconds_per_frame
    slow = cimsim.simulate(mapping, None, frame_rate_hz=rate).energy
    for name, value in fast.by_component.items():
        factor = 4 if name == "static" else 1
        assert slow.by_component[name] == close(factor * value)
    assert slow.average_power_w == close(slow.total_j * rate)
    assert slow.frame_rate_hz == rate
    assert fast.frame_rate_hz is None


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_frame_rate_that_cannot_be_is_refused(graph, rate):
    with pytest.raises(InputError, match="frame rate: "):
        cimsim.simulate(mapped(graph), None, frame_rate_hz=rate)
