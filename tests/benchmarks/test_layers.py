"""The errors of layers: what is compared, in which unit, and that an exact chip has none."""

import numpy as np
import pytest
import torch

import cimsim
from benchmarks.analog.layers import (
    PUBLISHED,
    TILES,
    Comparison,
    LayerRow,
    averaged,
    compare,
    draw,
    steps,
    table,
)
from cimsim.errors import MappingError
from cimsim.session.functional import FunctionalRun
from cimsim.video.embedded import embedded_clip

SIZE = 32


class Two(torch.nn.Module):
    """Two layers with a ReLU in between."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def prepared(changes=()):
    graph = cimsim.trace(Two(), (torch.zeros(1, 3, SIZE, SIZE),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("wtm2101", changes))
    run = FunctionalRun(mapping, embedded_clip("default", 2, SIZE, SIZE), 15.0, 0, 1)
    run.prepare(None, lambda stage, done, total: None)
    return run


def test_a_comparison_is_mean_spread_and_angle():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 1, 4, 5, 6)).astype(np.float32)
    found = Comparison()
    for rows in (slice(0, 2), slice(2, 5)):  # two parts are as good as one
        found.add(*(torch.from_numpy(part[:, :, rows].copy()) for part in (a, b)))
    difference = a.astype(np.float64) - b
    cosines = [
        np.dot(a[0, :, y, x], b[0, :, y, x])
        / np.linalg.norm(a[0, :, y, x])
        / np.linalg.norm(b[0, :, y, x])
        for y in range(5)
        for x in range(6)
    ]
    assert found.mean == pytest.approx(difference.mean(), rel=1e-5)
    assert found.std == pytest.approx(difference.std(), rel=1e-5)
    assert found.cosine == pytest.approx(np.mean(cosines), rel=1e-5)


def test_a_step_is_the_range_of_the_calibration_frames_over_255():
    run = prepared()
    frames, network = run.learned["frames"], Two()
    network.load_state_dict(Two().state_dict())
    with torch.no_grad():
        first = torch.cat([network.first(x) for (x,) in frames])
        second = network.second(torch.relu(first))
    found = list(steps(run.mapping.graph, frames).values())
    expected = [float(y.max() - y.min()) / 255 for y in (first, second)]
    assert found == pytest.approx(expected, rel=1e-4)


def test_errors_accumulate_on_a_noisy_chip_and_the_first_layer_has_only_its_own():
    first, second = compare(prepared())
    assert first.std_lsb == first.own_std_lsb
    assert second.std_lsb > second.own_std_lsb > 0
    assert 0.5 < second.cosine < second.own_cosine < 1


def test_a_chip_without_noise_and_with_16_bits_errs_by_less_than_a_fifth_of_the_noisy_one():
    exact = compare(prepared([
        "device.sigma_program=0", "device.sigma_read=0", "adc.kind=ideal", "weights.bits=16",
        "inputs.bits=16", "inputs.percentile=100",
    ]))  # fmt: skip
    noisy = compare(prepared())
    for fine, coarse in zip(exact, noisy, strict=True):
        # what remains is clipping above the range of the calibration frames
        assert fine.std_lsb < 0.2 * coarse.std_lsb
        assert fine.cosine > 0.9999


@pytest.mark.slow
def test_the_chip_of_the_figure_holds_the_network():
    network = cimsim.load_network("fastdvdnet-block")
    graph = cimsim.trace(network.module, network.example(64, 64))
    chip = cimsim.load_hw("wtm2101", {"tile.count": TILES})
    assert len(cimsim.map_graph(graph, chip).layers) == max(PUBLISHED) + 1
    with pytest.raises(MappingError, match="needs 21 arrays"):
        cimsim.map_graph(graph, cimsim.load_hw("wtm2101", {"tile.count": TILES - 1}))


def rows():
    return [
        LayerRow(layer, f"l{layer}", seed, 0.1, 0.0, 2 + layer + seed, 0.9, 1.0 + seed, 0.95)
        for seed in (0, 1)
        for layer in range(16)
    ]


def test_the_table_shows_means_beside_what_was_measured():
    lines = table(rows())
    assert lines[0] == ["0", "l0", "2.50", "0.9000", "1.50", "0.9500", "1.98", "0.995"]
    assert lines[15][-2:] == ["5.85", "0.953"]
    assert lines[7][-2:] == ["", ""]
    assert averaged(rows(), "std_lsb")[3] == (5.5, 5.0, 6.0)


def test_the_figure_shows_accumulated_and_own_errors_and_the_measured_ones():
    left, right = draw(rows()).axes
    drawn = {line.get_label(): tuple(line.get_ydata()) for line in left.lines}
    assert drawn["accumulated"] == tuple(2.5 + layer for layer in range(16))
    assert drawn["this layer alone"] == (1.5,) * 16
    assert drawn["measured, Bai 2024"] == (1.98, 5.85)
    assert [tuple(line.get_ydata()) for line in right.lines][-1] == (0.995, 0.953)
