"""A network in loads: arrays, writes, joules and days by hand."""

import math

import pytest

import cimsim
from cimsim.chip.load import load_hw
from cimsim.energy.endurance import cells_written, reprogramming
from cimsim.errors import ConfigError
from cimsim.mapping.mapping import map_graph


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.fixture(scope="module")
def graph():
    network = cimsim.load_network("cimnet", {"stride": 8, "coarse": 1}, "random")
    return cimsim.trace(network.module, network.example(64, 64), name="net")


def test_a_network_that_fits_is_never_rewritten(graph):
    found = reprogramming(graph, load_hw("eflash40nm"), 30)
    assert (found.loads, found.writes_per_day, found.power_w) == (1, 0, 0)
    assert found.days_to_wear == math.inf


def test_27_arrays_on_10_are_three_loads_a_frame(graph):
    chip = load_hw("eflash40nm", {"tile.count": 10})
    whole = map_graph(graph, load_hw("eflash40nm"))
    assert whole.arrays_used == 27
    found = reprogramming(graph, chip, 30)
    assert found.loads == 3
    assert found.writes_per_day == close(3 * 30 * 86400)
    assert found.days_to_wear == close(100000 / (3 * 30 * 86400))
    assert found.cells_per_day == close(whole.cells_written * 30 * 86400)
    assert found.power_w == close(30 * (27 * 10e-6 + whole.cells_written * 20 * 1e-9))
    assert found.writing_share == close(30 * (27 * 18e-3 + whole.cells_written / 1024 * 20 * 14e-6))


def test_a_batch_divides_everything(graph):
    chip = load_hw("eflash40nm", {"tile.count": 10})
    one, many = reprogramming(graph, chip, 30), reprogramming(graph, chip, 30, 60)
    assert many.power_w == close(one.power_w / 60)
    assert many.days_to_wear == close(one.days_to_wear * 60)


@pytest.mark.parametrize(
    "changes",
    [{}, {"weights.encoding": "offset", "weights.cell_bits": 4},
     {"weights.encoding": "twos_complement", "weights.cell_bits": 2}, {"inputs.signed": "rows"}],
)  # fmt: skip
def test_cells_before_placing_are_those_of_the_mapping(graph, changes):
    mapping = map_graph(graph, load_hw("eflash40nm", changes | {"tile.count": 400}))
    for layer in mapping.layers:
        assert cells_written(layer.layout, mapping.chip) == mapping.cells_of(layer)


def test_no_endurance_given_is_no_wear(graph):
    chip = load_hw("sonos40nm", {"tile.count": 2})
    bare = chip.model_copy(
        update={"programming": chip.programming.model_copy(update={"endurance_cycles": None})}
    )
    assert reprogramming(graph, bare, 1).days_to_wear == math.inf
    assert reprogramming(graph, chip, 1).days_to_wear < math.inf


@pytest.mark.parametrize(("rate", "batch"), [(0, 1), (-1, 1), (30, 0), (math.nan, 1)])
def test_impossible_schedules_are_refused(graph, rate, batch):
    with pytest.raises(ConfigError, match="expected more than 0"):
        reprogramming(graph, load_hw("eflash40nm"), rate, batch)
