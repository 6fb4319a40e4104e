"""Figures of retention and of faults: what they ask for, and that they draw what they have."""

import pytest

from benchmarks.analog import faults, retention
from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.errors import ConfigError


@pytest.mark.slow
def test_places_of_retention_are_chips_that_can_be():
    found = list(retention.places(list(retention.NETWORKS), 1))
    assert len(found) == len(set(found))
    for place in found:
        name = "eflash40nm" if place[0] == "cimnet" else "wtm2101"
        chip = load_hw(name, retention.changes_of(place))
        device_of(chip)
        assert chip.conditions.recalibrate == (place[4] == "recalibrate")


def test_retention_draws_the_means_and_the_band_that_it_has():
    rows = [
        retention.RetentionRow(*place, 30.0, 25.0 - 400 * place[3] + place[5])
        for place in retention.places(["cimnet", "dscnn"], 2)
    ]
    figure = retention.draw(rows)
    assert len(figure.axes) == 2 * len(retention.CELSIUS)
    line = figure.axes[0].lines[0].get_ydata()
    assert line == pytest.approx([25.5 - 0.4] * len(retention.TIMES))
    assert "21.50 .. 25.46" in retention.table(rows)


def test_places_of_faults_are_chips_that_can_be():
    found = list(faults.places(["cimnet"], 2))
    assert len(found) == len(set(found))
    for place in found:
        changes, allocation = faults.changes_of(place)
        assert load_hw("eflash40nm", changes).faults.none == (place[2] == 0)
        assert (allocation == "around_faults") == (place[3] == "around")


def test_faults_draw_what_is_lost():
    rows = [
        faults.FaultRow(*place, 30.0 - 100 * place[2] * (0.5 if place[3] == "around" else 1))
        for place in faults.places(["cimnet", "dscnn", "keyword-lstm"], 1)
    ]
    figure = faults.draw(rows)
    assert len(figure.axes) == 6
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([0.1, 1, 3])
    assert figure.axes[0].lines[1].get_ydata() == pytest.approx([0.05, 0.5, 1.5])
    assert "| cimnet | stuck cells, half off, half on | 1 % | 1.00 | – | 0.50 |" in faults.table(
        rows
    )


@pytest.mark.parametrize("script", [retention, faults])
def test_unknown_networks_are_refused_before_anything_runs(script, tmp_path):
    with pytest.raises(ConfigError, match="--network: 'vgg' is unknown"):
        script.main(network=["vgg"], out=tmp_path)
