"""Cells of known parameters are recovered from files as laboratories write them."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.cli.main import app
from cimsim.errors import CimsimError, InputError
from cimsim.measured.fit import Asked, fit_files
from cimsim.measured.write import write_fit

_SPEC = importlib.util.spec_from_file_location(
    "synthetic", Path(__file__).with_name("synthetic.py")
)
synthetic = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(synthetic)
SETS = synthetic.SETS
STATES = """target [uS], mean [uS], sigma [uS], time [h]
0,0.02,0.01,0
5,4.97,0.11,0
10,9.98,0.15,0
0,0.03,0.02,24
5,4.9,0.2,24
10,9.8,0.3,24
"""


def found(name, folder, seed):
    make, truth, file, options = SETS[name]
    fit = fit_files([make(folder / file, seed)], Asked(**options))
    return truth, {one.name: one for one in fit.estimates}, fit


@pytest.mark.slow
def test_known_parameters_are_recovered(tmp_path):
    hits = []
    for name in SETS:
        truth, numbers, _ = found(name, tmp_path, 7)
        for key, value in truth.items():
            one = numbers[key]
            # ends are 5 and 95 %: nothing lies four standard errors off
            assert one.low - 0.72 * (one.high - one.low) <= value, key
            assert value <= one.high + 0.72 * (one.high - one.low), key
            assert one.low <= one.value <= one.high, key
            hits.append(one.low <= value <= one.high)
    # 22 parameters of five sets: fewer than 15 inside has a chance of 0.1 %
    assert len(hits) == 22
    assert sum(hits) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_intervals_hold_as_often_as_they_say(name, tmp_path):
    counts = {}
    for seed in range(30):
        truth, numbers, _ = found(name, tmp_path, 100 + seed)
        for key, value in truth.items():
            counts.setdefault(key, []).append(numbers[key].low <= value <= numbers[key].high)
    for key, hits in counts.items():
        # 90 % of 30; the chance of fewer than 21 is below 1e-3
        assert sum(hits) >= 21, (key, sum(hits))


@pytest.mark.slow
def test_a_read_of_the_fitted_chip_has_the_spread_that_was_measured(tmp_path):
    make, _, file, options = SETS["flash"]
    fit = fit_files([make(tmp_path / file, 3)], Asked(**options))
    from cimsim.chip.load import described

    write_fit(fit, tmp_path / "fit", dict(described("eflash40nm")[2]))
    chip = load_hw(tmp_path / "fit" / "chip.yaml", {"conditions.time": "1000 h"})
    device = device_of(chip)
    assert chip.name == "eflash40nm-fitted"
    rng = np.random.default_rng(0)
    for state in (s for s in fit.states if s.time_s == 0 and s.target_s >= 2e-9):
        written = device.program(np.full(20_000, state.target_s), rng)
        assert written.std() == pytest.approx(state.sigma_s, rel=0.3)
        later = device.age(written, 3.6e6, 298.15, rng)
        last = next(
            s for s in fit.states if s.time_s == 3.6e6 and s.target_s == state.target_s
        )  # fmt: skip
        assert later.mean() == pytest.approx(last.mean_s, rel=0.02)


def test_a_fitted_table_gives_the_states_of_the_file(tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(STATES)
    fit = fit_files([path], Asked())
    write_fit(fit, tmp_path / "fit")
    chip = load_hw(
        "eflash40nm",
        {"device.kind": "table", "device.file": str(tmp_path / "fit" / "states.csv"),
         "conditions.time": "24 h"},
    )  # fmt: skip
    device = device_of(chip)
    rng = np.random.default_rng(1)
    written = device.program(np.full(20_000, 5e-6), rng)
    assert written.mean() == pytest.approx(4.97e-6, rel=1e-3)
    assert device.age(written, 86400.0, 298.15, rng).mean() == pytest.approx(4.9e-6, rel=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + STATES,
        STATES.replace(",", ";"),
        STATES.replace(",", ";").replace(".", ","),
        STATES.replace(", ", "\t").replace(",", "\t"),
        "sep=;\n" + STATES.replace(",", ";"),
        STATES.upper().replace("[US]", "[uS]").replace("[H]", "[h]"),
        STATES.replace(" [uS]", "_uS").replace(" [h]", "_h"),
    ],
)
def test_tables_of_spreadsheets_come_as_they_are(text, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(text, encoding="utf-8")
    states = fit_files([path], Asked(cells=128)).states
    assert [s.mean_s for s in states[:3]] == pytest.approx([0.02e-6, 4.97e-6, 9.98e-6])
    assert (states[-1].time_s, states[-1].n) == (86400, 128)
    assert states[1].sigma_low_s < 0.11e-6 < states[1].sigma_high_s


BAD = [
    ("cell,target [uS]\n1,2\n", "line 1: column 'read' is missing"),
    (
        "cell,target [uS],read [uS]\n1,2,3\n2,4,oops\n",
        "line 3: read: expected a number, got 'oops'",
    ),
    ("cell,target [uS],read [uS]\n1,2,\n", "line 2: read: expected a number, got nothing"),
    ("cell,target [uS],read [uS]\n1,2,inf\n", "line 2: read: expected a finite number"),
    ("cell,target [uS],read [uS]\n1,2,3\n1,4,3\n", "line 3: target: the cell had another one"),
    ("target [uS],read [uS]\n1,2\n", "line 1: no column tells one cell from another"),
    ("cell,target,read\n1,2,3\n", "line 1: column 'target' has no unit"),
    ("cell,target [uV],read [uS]\n1,2,3\n", "line 1: column 'target': expected uS, nS, uA or nA"),
    ("cell,target [uS],read [uA]\n1,2,3\n", "--read-voltage"),
    ("a;b\n1;2\n", "line 1: unknown column 'a'"),
    ("cell,cell,read [uS]\n1,2,3\n", "line 1: column 'cell' stands twice"),
    ("", "no rows"),
    ("cell,target [uS],read [uS],time [h]\n1,2,3,-1\n", "line 2: time: expected at least 0"),
    ("cell,target [uS],read [uS],pulse\n1,2,3,0.5\n", "line 2: pulse: expected a whole number"),
    ("cell,target [uS],read [uS]\n1,1,3\n2,2,2.1\n", "a state must be told from its neighbours"),
    ("cell,target [uS],read [uS]\n1,0,3\n2,0,2.1\n", "all are 0 S"),
    ("target [uS];mean [uS];sigma [uS]\n0;0,02;0,01\n5;4,97;0.11\n", "decimal commas and decimal"),
    ('"target [uS]","mean [uS]","sigma [uS]"\n"0","0,02","0,01"\n', "with decimal commas part the"),
    ("target [uS],mean [uS],sigma [uS]\n1,1,0.1\n1,1,0.1\n", "stands twice for the same time"),
    ("cell,target [uS],read [uS]\n1,2000000000000,3\n", "target:"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_table_has_one_clear_message(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text(text)
    with pytest.raises(CimsimError) as error:
        CliRunner().invoke(app, ["device", "fit", "bad.csv"], catch_exceptions=False)
    assert message in str(error.value)
    assert "bad.csv" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not Path("bad-fit").exists()


def test_workbooks_are_read_below_titles_and_by_the_name_of_a_sheet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "cells.xlsx"
    book = openpyxl.Workbook()
    for name in ("A", "B"):
        sheet = book.create_sheet(name)
        sheet.append(["wafer 3"])
        sheet.append(["Target [uS]", "Mean [uS]", "Sigma [uS]"])
        sheet.append([1, 1.5 if name == "A" else 1.25, "0,1"])
        sheet.append([2, 2.5, 0.2])
    book.save(path)
    with pytest.raises(
        InputError, match="tables on the sheets A, B; name one of them with --sheet"
    ):
        fit_files([path], Asked())
    states = fit_files([path], Asked(sheet="B")).states
    assert states[0].mean_s == pytest.approx(1.25e-6)
    assert states[0].sigma_s == pytest.approx(0.1e-6)
    with pytest.raises(InputError, match="sheet 'C' is unknown; known: Sheet, A, B"):
        fit_files([path], Asked(sheet="C"))
    path.write_text("no workbook")
    with pytest.raises(InputError, match="no readable workbook"):
        fit_files([path], Asked())


def test_two_times_tell_no_law(tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(STATES)
    assert fit_files([path], Asked()).drift is None


GROWING = """target [uS], mean [uS], sigma [uS], time [h]
1,1,0.1,{0}
5,5,0.1,{0}
1,1.1,0.1,10
5,5.5,0.1,10
1,1.2,0.1,100
5,6,0.1,100
"""


@pytest.mark.parametrize(
    ("kind", "law", "told"),
    [("eflash", "log", "gains none"), ("eflash", "power", "no power of time"), ("table", None, "")],
)
def test_a_course_that_the_device_does_not_hold_is_said(kind, law, told, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(GROWING.format(0))
    fit = fit_files([path], Asked(kind=kind, law=law, cells=20))
    assert fit.drift.rates.mean() < 0
    notes = [note for note in fit.all_notes if "is not in the device" in note]
    assert len(notes) == (1 if told else 0)
    assert all(told in note for note in notes)
    assert "charge_loss" not in fit.device("states.csv")


def test_charge_that_is_lost_has_its_interval_in_the_chip_file(tmp_path):
    path = synthetic.flash(tmp_path / "cells.csv", 4)
    fit = fit_files([path], Asked(kind="eflash"))
    from cimsim.chip.load import described
    from cimsim.session.retention import ends_of

    write_fit(fit, tmp_path / "fit", dict(described("eflash40nm")[2]))
    chip = load_hw(tmp_path / "fit" / "chip.yaml", {"conditions.time": "1 y"})
    low, high = (one.device.parameters["charge_loss"] for one in ends_of(chip))
    one = next(one for one in fit.estimates if one.name == "drift.charge_loss")
    assert (low, high) == pytest.approx((one.low, one.high), rel=1e-4)


def test_times_of_a_table_count_from_its_first_reading(tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(GROWING.format(1))
    (note,) = (n for n in fit_files([path], Asked(cells=20)).all_notes if "conditions.time" in n)
    assert note.startswith("cells were read first 1 h after programming")
    path.write_text(GROWING.format(0))
    assert not any("conditions.time" in n for n in fit_files([path], Asked(cells=20)).all_notes)


def test_the_command_writes_device_numbers_and_picture(tmp_path):
    path = synthetic.write_log(tmp_path / "log.tsv", 1, cells=60)
    done = CliRunner().invoke(
        app, ["device", "fit", str(path), "--out", str(tmp_path / "fit"), "--hw", "eflash40nm"],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    made = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert made["device"]["verify"]["gain"] == pytest.approx(0.4, rel=0.05)
    assert (tmp_path / "fit" / "fit.png").stat().st_size > 10_000
    chip = load_hw(tmp_path / "fit" / "chip.yaml")
    g, pulses = device_of(chip).write(np.full(2000, 8e-6), np.random.default_rng(0))
    # the loop of the chip takes about as many pulses as the log has
    assert pulses.mean() == pytest.approx(made["estimates"]["verify.pulses"]["value"], rel=0.35)
    assert abs(g - 8e-6).max() < 2e-6


def test_the_chip_reads_with_the_spectrum_that_was_measured(tmp_path):
    path = synthetic.noisy(tmp_path / "noise.csv", 3)
    fit = fit_files([path], Asked())
    told = fit.device("states.csv")["noise"]
    assert told["span"] == "1.024 s"
    assert told["read"] == "0.001 s"
    write_fit(fit, tmp_path / "fit")
    states = str(tmp_path / "fit" / "states.csv")
    device = fit.device(states)
    chip = load_hw("eflash40nm", {"device": device})
    assert device_of(chip).spectrum is not None


def test_white_noise_has_no_slow_part(tmp_path):
    path = synthetic.noisy(tmp_path / "noise.csv", 5, corner=1e-9)
    fit = fit_files([path], Asked())
    names = [one.name for one in fit.estimates]
    assert "noise.corner" not in names
    assert any("white" in note for note in fit.all_notes)
    one = next(one for one in fit.estimates if one.name == "noise.white")
    assert one.value == pytest.approx(4e-9 / 10e-6, rel=0.05)
    assert math.isfinite(one.low)
