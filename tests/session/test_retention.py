"""An aged chip answers with an interval: the PSNR at both ends of what is known of its cells."""

import pytest

import cimsim
from cimsim.chip.load import load_hw
from cimsim.errors import ConfigError
from cimsim.session.retention import ends_of, why
from cimsim.tasks.keywords import keywords
from cimsim.video.embedded import embedded_clip

AGED = {"conditions.time": "10 y", "conditions.temperature": "55 C", "conditions.recalibrate": True}
SIDE = 64


def psnr(changes):
    network = cimsim.load_network("cimnet", {}, "cimnet_s8_eflash40nm")
    graph = cimsim.trace(network.module, network.example(SIDE, SIDE))
    mapping = cimsim.map_graph(graph, load_hw("eflash40nm", changes))
    return cimsim.simulate(mapping, embedded_clip("default", 1, SIDE, SIDE))


@pytest.mark.slow
def test_the_interval_is_that_of_runs_with_the_loss_at_its_ends():
    aged = psnr(AGED)
    (found,) = aged.measures
    ends = [psnr(AGED | {"device.charge_loss": loss}).quality.psnr_db for loss in ("0.01 %", "1 %")]
    assert found.interval == (min(*ends, found.mean), max(*ends, found.mean))
    assert found.mean == aged.quality.psnr_db
    assert found.interval[1] - found.interval[0] > 1
    assert aged.numbers()["quality.psnr_by_retention"].interval == found.interval
    assert any("rests on device.charge_loss of 0.01 .. 1 %" in note for note in aged.notes)


def test_a_fresh_chip_and_a_loss_of_ones_own_have_no_range():
    assert ends_of(load_hw("eflash40nm")) == ()
    assert why(load_hw("eflash40nm")) == ""
    assert ends_of(load_hw("eflash40nm", AGED | {"device.charge_loss": "0.2 %"})) == ()
    drift = {"device.drift_per_decade": "1 %", "device.drift_start": "1 h"}  # in its place
    assert ends_of(load_hw("eflash40nm", AGED | drift)) == ()
    assert why(load_hw("eflash40nm", AGED | drift)) == ""
    low, high = ends_of(load_hw("eflash40nm", AGED))
    assert low.device.parameters["charge_loss"] == pytest.approx(1e-4)
    assert high.device.parameters["charge_loss"] == pytest.approx(1e-2)


def test_a_task_has_an_interval_for_each_of_its_scores():
    chip = load_hw("wtm2101", AGED)
    network = cimsim.load_network("dscnn", {}, "dscnn_wtm2101").taking(None)
    graph = cimsim.trace(network.module, network.example(1, 1))
    mapping = cimsim.map_graph(graph, chip, allocation="packed")
    result = cimsim.run(mapping, keywords(samples=4))
    names = [m.name for m in result.measures if m.interval_of == "retention"]
    assert names == [f"{m.name}_by_retention" for m in result.measures[: len(names)]]
    assert names[0] == "top1_by_retention"


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("device.charge_lost", "0.01..1 %", "no number of device 'eflash'"),
        ("device.charge_loss", "0.2..1 %", "expected a range around 0.001, got '0.2..1 %'"),
        ("device.charge_loss", "1 %", "expected two ends such as"),
    ],
)
def test_ranges_of_cells_are_checked(path, text, message, tmp_path):
    from cimsim.chip.load import shipped

    file = tmp_path / "mine.yaml"
    plain = shipped()["eflash40nm"].replace(', range: "0.01..1 %"', "")
    file.write_text(plain + f'\nranges: {{{path}: "{text}"}}\n')
    with pytest.raises(ConfigError, match=message):
        load_hw(file)
