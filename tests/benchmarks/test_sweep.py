"""The sweep figure: one field at a time, what it keeps, and that it draws the numbers it has."""

from dataclasses import asdict

import pytest
import torch

import cimsim
from benchmarks.analog.runs import save, scores
from benchmarks.analog.sweep import (
    AXES,
    CHIP,
    COLUMNS,
    STEMS,
    SweepRow,
    draw,
    main,
    places,
    read_rows,
)
from benchmarks.paper.record import write_csv
from cimsim.errors import ConfigError
from cimsim.session.functional import FunctionalRun
from cimsim.video.embedded import embedded_clip

SIZE = 32


def row(field, value, seed, chip_db, float_db=30.0, stem=STEMS[0]):
    return SweepRow(stem, field, value, seed, 2, 192, 24.8, float_db, chip_db)


class Blur(torch.nn.Module):
    """A binomial filter, then channels mixed by the identity: it denoises, and knows why."""

    def __init__(self):
        super().__init__()
        self.blur = torch.nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.mix = torch.nn.Conv2d(3, 3, 1, bias=False)
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        with torch.no_grad():
            self.blur.weight.copy_(torch.eye(3)[:, :, None, None] * torch.outer(line, line))
            self.mix.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x):
        return self.mix(self.blur(x))


@pytest.fixture(scope="module")
def tiny():
    graph = cimsim.trace(Blur(), (torch.zeros(1, 3, SIZE, SIZE),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw(CHIP))
    run = FunctionalRun(mapping, embedded_clip("default", 1, SIZE, SIZE), 15.0, 0, 1)
    run.prepare(None, lambda stage, done, total: None)
    return run


def test_the_unchanged_chip_is_what_simulate_measures(tiny):
    expected = cimsim.simulate(tiny.mapping, tiny.clean, noise_sigma=15.0, seed=0).quality
    found = scores(tiny, {})
    assert found["chip_db"] == pytest.approx(expected.psnr_db, abs=1e-4)
    assert found["float_db"] == pytest.approx(expected.mean("float_psnr"), abs=1e-4)


def test_weights_of_another_width_are_rounded_for_that_width(tiny):
    mapping = cimsim.map_graph(tiny.mapping.graph, cimsim.load_hw(CHIP, {"weights.bits": 4}))
    expected = cimsim.simulate(mapping, tiny.clean, noise_sigma=15.0, seed=0).quality
    assert scores(tiny, {"weights.bits": 4})["chip_db"] == pytest.approx(expected.psnr_db, abs=1e-4)


def test_a_coarse_converter_costs_quality(tiny):
    assert scores(tiny, {"adc.bits": 3})["chip_db"] < scores(tiny, {})["chip_db"] - 0.5


@pytest.mark.parametrize("field", AXES)
def test_every_point_is_a_chip_that_differs_in_its_field_alone(field):
    own = cimsim.load_hw(CHIP)
    for value in AXES[field].values:
        changes = AXES[field].changes(field, value)
        chip = cimsim.load_hw(CHIP, changes)
        assert (chip == own) == (value == AXES[field].own)
        assert set(changes) <= {field, "dac.bits"}
    part, name = field.split(".")
    found = own.device.parameters[name] if part == "device" else getattr(getattr(own, part), name)
    axis = AXES[field]
    assert found == (f"{axis.own:g} {axis.unit}" if axis.unit else axis.own)
    assert axis.own in axis.values


def test_every_field_value_and_seed_occurs_once():
    found = list(places(STEMS, list(AXES), 3, 2, 192))
    expected = 3 * len(STEMS) * sum(len(axis.values) for axis in AXES.values())
    assert len(found) == len(set(found)) == expected


def test_rows_survive_the_file(tmp_path):
    rows = [row("adc.bits", 4.0, 0, 25.5), row("device.sigma_read", 0.79, 1, 29.25)]
    write_csv(tmp_path / "sweep.csv", COLUMNS, map(asdict, rows))
    assert read_rows(tmp_path / "sweep.csv") == rows
    assert read_rows(tmp_path / "none.csv") == []


def test_lines_are_means_over_chips_with_the_float_network_dashed(tmp_path):
    rows = [row("adc.bits", 4.0, 0, 20), row("adc.bits", 4.0, 1, 24), row("adc.bits", 8.0, 0, 28),
            row("adc.bits", 8.0, 1, 29), row("weights.bits", 4.0, 0, 21)]  # fmt: skip
    figure = draw(rows)
    first, second = figure.axes
    drawn = [tuple(line.get_ydata()) for line in first.lines if line.get_marker() == "o"]
    assert drawn == [(22.0, 28.5)]
    assert any(
        line.get_linestyle() == "--" and set(line.get_ydata()) == {30.0} for line in first.lines
    )
    assert second.get_xlabel() == "weight bits"
    save(figure, tmp_path, "sweep")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": ["cimnet_s9"]}, r"--weights: 'cimnet_s9' is not shipped"),
        ({"field": ["adc.bit"]}, r"--field: 'adc.bit' is not swept; .*adc.bits"),
    ],
)
def test_unknown_names_are_refused_before_anything_runs(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        main(**({"weights": None, "field": None} | options), out=tmp_path)
