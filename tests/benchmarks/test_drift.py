"""The drift figure: what it asks for, what it keeps, and that it draws the numbers it has."""

from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.analog.drift import (
    COLUMNS,
    TIMES,
    ZERO_AT_S,
    DriftRow,
    draw,
    main,
    places,
    psnr_after,
    read_rows,
)
from benchmarks.analog.runs import save
from benchmarks.paper.record import write_csv
from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.errors import ConfigError

STEM = "cimnet_s8_eflash40nm"


def row(time_s, renewed, seed, chip_db, device="pcm", stem=STEM):
    return DriftRow(stem, device, time_s, renewed, seed, 2, 256, 24.8, 30.2, chip_db)


def test_time_zero_occurs_once_and_every_other_time_twice():
    found = list(places([STEM], ["pcm", "sonos40"], 2, 1, 64))
    assert (
        len(found) == len(set(found)) == 2 * sum(2 * len(TIMES[d]) - 1 for d in ("pcm", "sonos40"))
    )
    assert {place[3] for place in found if place[2] == 0} == {False}


@pytest.mark.parametrize("device", TIMES)
def test_every_time_is_one_that_the_cells_know(device):
    for text in TIMES[device]:
        device_of(load_hw("eflash40nm", {"device.kind": device, "conditions.time": text}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weights": ["cimnet_s9"]},
            r"--weights: 'cimnet_s9' is not shipped; .*mean cimnet",
        ),
        ({"device": ["eflash"]}, r"--device: 'eflash' is unknown; known: pcm, sonos40, rram"),
    ],
)
def test_unknown_names_are_refused_before_anything_runs(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        main(**({"weights": None, "device": None} | options), out=tmp_path)


def test_rows_survive_the_file(tmp_path):
    rows = [row(0.0, False, 0, 27.5), row(3600.0, True, 1, 25.25)]
    write_csv(tmp_path / "drift.csv", COLUMNS, map(asdict, rows))
    assert read_rows(tmp_path / "drift.csv") == rows
    assert read_rows(tmp_path / "none.csv") == []


def test_lines_are_means_over_chips_and_start_together_at_time_zero(tmp_path):
    rows = [row(0.0, False, 0, 27), row(0.0, False, 1, 29), row(60.0, False, 0, 20),
            row(60.0, False, 1, 24), row(60.0, True, 0, 25), row(60.0, True, 1, 26)]  # fmt: skip
    figure = draw(rows)
    drawn = sorted(
        tuple(line.get_ydata()) for line in figure.axes[0].lines if line.get_marker() == "o"
    )
    assert drawn == [(28.0, 22.0), (28.0, 25.5)]
    assert all(list(line.get_xdata()) == [ZERO_AT_S, 60.0] for line in figure.axes[0].lines[:2])
    save(figure, tmp_path, "drift")
    assert (tmp_path / "drift.png").stat().st_size > 10_000
    assert (tmp_path / "drift.svg").is_file()


@pytest.mark.slow
def test_a_pcm_chip_loses_quality_in_a_day_and_a_new_calibration_brings_part_back():
    scores = [
        psnr_after((STEM, "pcm", time_s, renewed, 0, 1, 64), threads=1)
        for time_s, renewed in ((0.0, False), (86400.0, False), (86400.0, True))
    ]
    fresh, kept, renewed = (score.chip_db for score in scores)
    assert kept < renewed < fresh < scores[0].float_db
    assert np.ptp([score.noisy_db for score in scores]) == 0
