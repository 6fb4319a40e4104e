import pytest
import torch
from torch import nn

import cimsim
from cimsim.energy.model import energy, number_of
from cimsim.mapping.mapping import map_graph
from cimsim.session import collect
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip


@pytest.mark.parametrize("frames", [2, 3, 6])
def test_the_bottleneck_of_a_chain_is_busy_all_the_time_however_long_the_pipeline_fills(frames):
    """Filling and draining are no part of the steady interval that the share is of."""
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(8)))
    graph = cimsim.trace(net, (torch.zeros(1, 3, 8, 8),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    timeline = simulate(mapping, frames)
    found = collect.timing(mapping, timeline)
    # eight equal layers: each reads an array all the time once frames stream
    assert timeline.bottleneck.share < 0.95
    assert found.bottleneck_busy == pytest.approx(1, abs=0.05)
    assert found.bottleneck_busy <= 1
    assert found.bottleneck.endswith("DRIVE")


@pytest.mark.slow
def test_layers_say_how_their_converters_did(tmp_path):
    import csv

    from cimsim.session.result import Result
    from cimsim.video.embedded import embedded_clip

    network = cimsim.load_network("cimnet", {"stride": 8, "coarse": 1}, "random")
    graph = cimsim.trace(network.module, network.example(32, 32), name="cimnet")
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    clip = embedded_clip(frames=1, height=32, width=32)
    result = cimsim.simulate(mapping, clip, noise_sigma=15)
    matrices = [row for row in result.layers if "activations" in row]
    assert len(matrices) == len(graph.matrix_ops)
    for row in matrices:
        assert 0 <= row["saturated"] < 0.05
        assert 0 <= row["clipped_inputs"] < 0.05
        assert 3 < row["effective_bits"] <= 8
    folder = result.to_dir(tmp_path / "run")
    assert Result.load(folder).layers == result.layers
    with (folder / "layers.csv").open() as file:
        rows = {row["layer"]: row for row in csv.DictReader(file)}
    name = matrices[0]["layer"]
    assert float(rows[name]["effective_bits"]) == matrices[0]["effective_bits"]
    ideal = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", {"adc.kind": "ideal"}))
    layers = cimsim.simulate(ideal, clip, noise_sigma=15).layers
    assert all(row.get("effective_bits") is None for row in layers)
    assert all("saturated" not in row for row in cimsim.simulate(mapping, None).layers)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"wires.r_bit": "5 ohm"}, []),
        ({"wires.model": "fast"}, []),
        ({"wires.model": "fast", "wires.r_bit": "5 ohm"}, ["resistive wires, fast"]),
        ({"wires.model": "exact", "wires.r_driver": "5 ohm"}, ["wires, exact", "drive gates"]),
        (
            {"device.kind": "ideal", "wires.model": "exact", "wires.r_word": "5 ohm"},
            ["resistive wires, exact"],
        ),
    ],
)
def test_the_result_says_which_wires_it_took(changes, told):
    graph = cimsim.trace(nn.Linear(4, 3), (torch.zeros(1, 4),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", changes))
    found = collect.remarks(mapping, energy(mapping, 1e-3, {mapping.layers[0].ops[0]: 0.0}))
    assert len(found) == len(told)
    assert all(part in line for part, line in zip(told, found, strict=True))


@pytest.mark.parametrize(
    ("overflow", "size", "told"),
    [
        ("ignore", "64 B", "a what-if, no chip: line buffers take up to"),
        ("spill", "64 B", "1 of 1 line buffers do not fit the tiles and are kept elsewhere"),
        ("ignore", "1 MiB", ""),
        ("spill", "1 MiB", ""),
    ],
)
def test_line_buffers_that_do_not_fit_are_told(overflow, size, told):
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip(buffer__size=size, buffer__overflow=overflow))
    found = collect.remarks(mapping, energy(mapping, 1e-3), simulate(mapping))
    lines = [remark for remark in found if "line buffers" in remark]
    assert len(lines) == bool(told)
    assert all(told in line for line in lines)


def test_every_component_and_the_writing_of_all_weights_are_numbers_of_their_own():
    net = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40))
    graph = cimsim.trace(net, (torch.rand(1, 40),))
    tiny = {
        "array.rows": 40, "array.cols": 40, "tile.count": 1, "tile.arrays": 1,
        "programming.reload": "allow",
    }  # fmt: skip
    for changes, allocation, anew in (({}, "in_order", False), (tiny, "loads", True)):
        mapping = cimsim.map_graph(
            graph,
            cimsim.load_hw("eflash40nm", changes),
            allocation=allocation,
        )
        result = cimsim.simulate(mapping, None)
        numbers, spent = result.numbers(), result.energy.by_component
        shares = {name: numbers[number_of(name)].value for name in spent}
        assert shares == spent
        assert (shares["programming"] > 0) == anew
        written = numbers["energy.programming"]
        assert written.value == result.energy.programming_j > 0
        assert written.meaning == "writing all weights once"
        assert written.interval is None
