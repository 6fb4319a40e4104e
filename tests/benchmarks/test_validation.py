"""Published figures: the bars are met, the page is current, all numbers come from the YAML."""

import math

import pytest
import yaml

from benchmarks.validation import __main__ as validation
from benchmarks.validation import measures
from benchmarks.validation.targets import TARGETS, UNCALIBRATED, is_estimable
from cimsim.chip.load import load_hw, shipped
from cimsim.units import parse_quantity

TIMES = (measures.tops, measures.one_bit_tops, measures.interval_us, measures.macro_density)


@pytest.fixture(scope="module")
def rows():
    return validation.evaluate()


@pytest.mark.slow
def test_macros_are_within_a_tenth_and_fits_within_a_fiftieth_on_average(rows):
    # the rows of the SoC are no macros: docs/validation.md says why they are off
    macros = [row for row in rows if row.target.row != "V13"]
    assert validation.mean_error(macros, "prediction") <= 0.10
    assert validation.mean_error(rows, "rescaling") <= 0.10
    assert validation.mean_error(rows, "fit") <= 0.02
    assert validation.mean_error(rows, "identity") <= 0.002
    # not one good row among bad ones
    assert max(abs(row.error) for row in rows if row.target.kind == "fit") <= 0.03
    assert max(abs(row.error) for row in macros) <= 0.25
    assert max(abs(row.error) for row in rows) <= 1.15


def test_every_row_of_the_table_is_there_and_no_figure_is_called_both():
    assert {t.row for t in TARGETS} >= {f"V{n}" for n in (2, 3, 5, 6, 7, 8, 9, 10, 11)}
    assert {"V1a", "V1b", "V4a", "V4b", "V5b", "V6b"} <= {t.row for t in TARGETS}
    names = [(t.row, t.chip, t.what) for t in TARGETS]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_the_page_shows_what_running_gives(rows):
    text = validation.PATH.read_text(encoding="utf-8")
    for part in (validation.markdown(rows), validation.summary(rows)):
        assert part in text, "python -m benchmarks.validation --write"


def doubled(name, tmp_path, paths):
    """Write the description of a chip with some quantities doubled."""
    raw = yaml.safe_load(shipped()[name])
    for path in paths:
        section, field = path.split(".")
        value, unit = raw[section][field].split()
        raw[section][field] = f"{2 * float(value)} {unit}"
    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


@pytest.mark.parametrize(
    "target", [t for t in TARGETS if t.chip], ids=lambda t: f"{t.row} {t.chip} {t.what}"
)
def test_another_number_in_the_yaml_is_another_prediction(target, tmp_path):
    """Twice the times is half the speed; twice the cells' voltage or an area changes the rest."""
    (before,) = validation.evaluate([target])
    name = target.chip
    raw = yaml.safe_load(shipped()[name])
    if target.measure in (*TIMES, measures.chip_density):
        # wtm2101 waits for its input bytes, not for cells
        if name == "wtm2101":
            raw["process"]["clock"] = "12 MHz"
        else:
            for section, fields in (("array", "t_read"), ("adc", "t_conversion t_step"),
                                    ("dac", "t_step")):  # fmt: skip
                for field in fields.split():
                    if field in raw[section]:
                        value, unit = raw[section][field].split()
                        raw[section][field] = f"{2 * float(value)} {unit}"
        changes = dict(target.changes)
        if "dac.t_step" in changes:
            changes["dac.t_step"] = "85 ns"
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(raw))
        after = target.measure(load_hw(file, changes))
        expected = 2 if target.measure is measures.interval_us else 0.5
        assert after / before.predicted == pytest.approx(expected, rel=0.07)
        return
    paths = {
        measures.chip_mm2: ["buffer.area"], measures.adc_mm2: ["adc.area"],
    }.get(target.measure, ["array.v_read"])  # fmt: skip
    file = doubled(name, tmp_path, paths)
    after = target.measure(load_hw(file, dict(target.changes)))
    assert not math.isclose(after, before.predicted, rel_tol=1e-6) or (
        # nothing of the array depends on its voltage when next to no output is there
        target.changes.get("array.activity", 1) < 1e-6
    )
    if target.measure is measures.adc_mm2:
        assert after == pytest.approx(2 * before.predicted)


def test_efficiency_follows_a_converter_by_hand():
    """One more picojoule per conversion in the YAML: 256 of them more per product."""
    base, more = (
        measures.tops_per_w(load_hw("hermes14nm", {"adc.energy": f"{pj} pJ"})) for pj in (0, 1)
    )
    ops = 2 * 256 * 256 / 1e12
    assert ops / more - ops / base == pytest.approx(256e-12, rel=1e-9, abs=0)


def test_estimators_alone_contain_no_fitted_energy():
    """What is taken out says 'fitted' in its source, and what is left does not."""
    for name, changes in UNCALIBRATED.items():
        sources = load_hw(name).sources
        fitted = {
            path for path, source in sources.items()
            if source.text.startswith("fitted") and path.rpartition(".")[2]
            in ("energy", "bit_energy", "fixed_energy", "active_power", "cell_capacitance")
        }  # fmt: skip
        assert fitted <= set(changes), name


def test_estimators_stay_silent_where_they_know_nothing():
    assert not is_estimable(next(t for t in TARGETS if t.measure is measures.tops))
    assert parse_quantity("1 pJ", "J") == pytest.approx(1e-12, abs=0)
