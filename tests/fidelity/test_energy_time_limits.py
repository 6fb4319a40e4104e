"""Cycles and energy of whole networks: what must not matter, what must, and in which direction."""

import functools

import numpy as np
import pytest

import cimsim
from cimsim.energy.model import COMPONENTS
from cimsim.timing.simulate import simulate

SIZE = 32
NETS = [("cimnet", {"stride": 8}), ("fastdvdnet-block", {}), ("baseline-o2", {"stride": 4})]


@functools.cache
def graph(name="fastdvdnet-block", options=()):
    found = cimsim.load_network(name, dict(options), "random")
    return cimsim.trace(found.module, found.example(SIZE, SIZE), name=name)


def mapped(name="fastdvdnet-block", options=(), **changes):
    chip = cimsim.load_hw("eflash40nm", changes.get("chip"))
    return cimsim.map_graph(graph(name, tuple(options)), chip)


def cycles(chip, **net):
    timeline = simulate(mapped(chip=chip, **net), frames=2)
    return timeline.cycles_first_frame, timeline.interval


@pytest.mark.parametrize(("name", "options"), NETS, ids=[name for name, _ in NETS])
def test_idle_tiles_cost_no_cycle(name, options):
    net = {"name": name, "options": options.items()}
    assert cycles({}, **net) == cycles({"tile.count": 300}, **net)


def test_idle_tiles_cost_energy_only_if_they_are_not_switched_off():
    def static(**chip):
        return cimsim.simulate(mapped(chip=chip), None).energy.by_component["static"]

    assert static(**{"tile.count": 300}) == static()
    powered = static(**{"tile.gated": False})
    assert static() < powered < static(**{"tile.gated": False, "tile.count": 300})


@pytest.mark.parametrize(("name", "options"), NETS, ids=[name for name, _ in NETS])
def test_overlapping_layers_are_never_slower_than_one_after_another(name, options):
    mapping = mapped(name, options.items())
    overlapped, alone = (simulate(mapping, 3, how) for how in ("pipelined", "sequential"))
    assert overlapped.cycles_first_frame <= alone.cycles_first_frame
    assert overlapped.interval <= alone.interval
    assert overlapped.cycles <= alone.cycles
    # one after another the layers add up; no network here is that badly balanced
    assert alone.interval > 2 * overlapped.interval


@pytest.mark.parametrize("hold", ["double", "single"])
def test_fewer_converters_are_never_faster(hold):
    found = [cycles({"adc.count": n, "tile.sample_hold": hold}) for n in (256, 64, 32, 16, 4, 1)]
    assert found == sorted(found)
    assert found[-1][1] > 4 * found[0][1]


def test_a_faster_clock_does_not_speed_up_the_arrays():
    """Read and conversion take seconds, whatever the clock: twice the clock, twice the cycles."""
    slow, fast = (cycles({"process.clock": f"{mhz} MHz"}) for mhz in (148, 296))
    for before, after in zip(slow, fast, strict=True):
        assert 1.8 < after / before <= 2


def test_a_faster_clock_halves_the_time_of_what_moves_data():
    """With arrays that answer within a cycle only data is moved: the same cycles, half the time."""
    quick = {"array.t_read": "1 ps", "adc.t_conversion": "1 ps", "buffer.bytes_per_cycle": 1}
    results = [
        cimsim.simulate(mapped(chip=quick | {"process.clock": f"{mhz} MHz"}), None)
        for mhz in (100, 200)
    ]
    slow, fast = (result.timing for result in results)
    assert slow.cycles_per_frame == fast.cycles_per_frame
    assert slow.latency_s == pytest.approx(2 * fast.latency_s, rel=1e-12)
    assert fast.frames_per_second == pytest.approx(2 * slow.frames_per_second, rel=1e-12)
    static = [result.energy.by_component["static"] for result in results]
    assert static[0] == pytest.approx(2 * static[1], rel=1e-12)


@pytest.mark.parametrize("field", ["buffer.bytes_per_cycle", "interconnect.bytes_per_cycle"])
def test_a_narrower_port_is_never_faster(field):
    found = [cycles({field: width}) for width in (64, 8, 1)]
    assert found == sorted(found)
    assert found[0] != found[2]


@functools.cache
def shown(level, weights="random"):
    """Run the block on a clip of one grey value; noise would hide how dark it is."""
    found = cimsim.load_network("fastdvdnet-block", weights=weights)
    traced = graph() if weights else cimsim.trace(found.module, found.example(SIZE, SIZE))
    clip = np.full((1, SIZE, SIZE, 3), level, np.uint8)
    mapping = cimsim.map_graph(traced, cimsim.load_hw("eflash40nm"))
    return cimsim.simulate(mapping, clip, noise_sigma=0.0, threads=1)


@pytest.mark.slow
def test_a_darker_clip_takes_less_array_energy_and_the_same_of_all_else():
    """The random block has no bias, so black stays black; signed maps still drive their offset."""
    spent = [shown(level).energy for level in (0, 120, 255)]
    assert {energy.array_energy_from for energy in spent} == {"operands"}
    arrays = [energy.by_component["array"] for energy in spent]
    assert arrays == sorted(arrays)
    assert arrays[0] < arrays[2] / 2
    for name in COMPONENTS:
        if name != "array":
            assert {energy.by_component[name] for energy in spent} == {spent[0].by_component[name]}


@pytest.mark.slow
def test_the_first_layer_of_a_trained_network_takes_nothing_for_a_black_clip():
    """Later layers have biases and may work harder on black than on white."""
    black, white = (shown(level, None).layers[0] for level in (0, 255))
    assert black["layer"] == white["layer"]
    assert black["array_j"] == 0 < white["array_j"]


@pytest.mark.parametrize("source", ["operands", "activity"])
def test_components_and_layers_add_up_to_the_same_total(source):
    result = shown(255) if source == "operands" else cimsim.simulate(mapped(), None)
    assert result.energy.array_energy_from == source
    parts = result.energy.by_component
    assert set(parts) == set(COMPONENTS)
    assert min(parts.values()) >= 0
    assert sum(parts.values()) == pytest.approx(result.energy.total_j, rel=1e-12)
    rows = result.layers
    assert sum(row["energy_j"] for row in rows) == pytest.approx(result.energy.total_j, rel=1e-12)
    for name in COMPONENTS:
        by_layer = [row.get(f"{name}_j", 0.0) for row in rows]
        assert min(by_layer) >= 0
        assert sum(by_layer) == pytest.approx(parts[name], rel=1e-12)


def test_headline_numbers_follow_from_each_other():
    result = cimsim.simulate(mapped(), None)
    time, energy = result.timing, result.energy
    assert time.seconds_per_frame == pytest.approx(time.cycles_per_frame / 148e6)
    assert time.latency_cycles >= time.cycles_per_frame
    assert energy.average_power_w == pytest.approx(energy.total_j / time.seconds_per_frame)
    macs = result.hardware.macs
    # weights times windows, by hand from the published block at N = 32 * 32 pixels
    n = SIZE * SIZE
    full = 9 * (12 // 3 * 90 + 90 * 32 + 32 * 32 + 32 * 3)
    half = 9 * (32 * 64 + 4 * 64 * 64 + 64 * 128)
    quarter = 9 * (64 * 128 + 4 * 128 * 128 + 128 * 256)
    assert macs == n * full + n // 4 * half + n // 16 * quarter
    assert energy.tops_per_w == pytest.approx(2 * macs / energy.total_j / 1e12)


@pytest.mark.parametrize(
    ("field", "component"),
    [("adc.energy", "adc"), ("dac.energy", "dac"), ("adder.energy", "adder")],
)
def test_twice_the_energy_of_an_action_is_twice_its_share_and_nothing_else(field, component):
    base, twice = (
        cimsim.simulate(mapped(chip={field: f"{pj} pJ"}), None).energy.by_component for pj in (1, 2)
    )
    for name in COMPONENTS:
        factor = 2 if name == component else 1
        assert twice[name] == pytest.approx(factor * base[name], rel=1e-12)
