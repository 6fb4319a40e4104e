from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.analog import ir_drop
from benchmarks.analog.ir_drop import COLUMNS, Row, draw, measure
from benchmarks.paper.record import read_plain, write_csv
from cimsim.errors import SimulationError


class FakeBench:
    """Loses 1 dB at 10 ohm; ``fast`` refuses 100 ohm."""

    def __init__(self):
        self.asked = []

    def run(self, wires, ohm, corrected):
        self.asked.append((wires, ohm, corrected))
        if wires == "fast" and ohm >= 100:
            raise SimulationError("refused")
        return Row(wires, ohm, int(corrected), 24.5, 30.0, 30.0 - ohm / 10 - (not corrected), 1.5)


def test_finished_points_are_kept_and_not_run_again(tmp_path):
    kept, bench = tmp_path / "rows.csv", FakeBench()
    rows = measure(bench, kept, (0.0, 10.0, 100.0), (10.0,))
    assert {row.place for row in rows} == {
        (wires, ohm, corrected)
        for corrected in (0, 1)
        for wires, ohm in (("fast", 0.0), ("fast", 10.0), ("exact", 10.0))
    }
    assert read_plain(kept, Row) == rows
    again = FakeBench()
    assert measure(again, kept, (0.0, 10.0, 100.0), (10.0,)) == rows
    assert again.asked == [("fast", 100.0, True), ("fast", 100.0, False)]


def test_the_figure_shows_every_point(tmp_path):
    bench = FakeBench()
    rows = measure(bench, tmp_path / "rows.csv", (0.0, 10.0), (10.0,))
    lost = np.linspace(0, 0.1, 12).reshape(3, 4)
    figure = draw(rows, lost, 30.0)
    left, right = figure.axes[:2]
    drawn = {
        (line.get_marker(), x, y)
        for line in left.lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        if line.get_marker() not in ("None", "")
    }
    # 0 ohm stands at a third of the smallest resistance
    assert drawn == {
        ("o", 10 / 3, 30.0), ("o", 10.0, 29.0), ("s", 10 / 3, 29.0), ("s", 10.0, 28.0),
        ("x", 10.0, 29.0), ("x", 10.0, 28.0),
    }  # fmt: skip
    np.testing.assert_allclose(
        right.images[0].get_array(), 100 * np.linspace(0, 0.1, 12).reshape(3, 4)
    )
    assert right.get_title(loc="left") == "b  current lost at 30 Ω per segment"


def test_blocks_are_sums_over_their_cells(monkeypatch):
    monkeypatch.setattr(ir_drop, "BLOCKS", (2, 3))
    a = np.arange(35.0).reshape(5, 7)
    expected = [[a[i : i + 2, j : j + 3].sum() for j in (0, 3, 6)] for i in (0, 2, 4)]
    np.testing.assert_array_equal(ir_drop._blocks(a), expected)


def test_rows_survive_the_csv(tmp_path):
    row = Row("exact", 0.3, 1, 24.81, 29.86, 29.934497385127095, 12.5)
    write_csv(tmp_path / "rows.csv", COLUMNS, [asdict(row)])
    assert read_plain(tmp_path / "rows.csv", Row) == [row]


def test_the_chip_has_equal_segments_and_only_the_asked_correction():
    hw = ir_drop.chip_with("fast", 2.5, False, "eflash40nm")
    assert (hw.wires.r_word_ohm, hw.wires.r_bit_ohm) == (2.5, 2.5)
    assert not hw.calibration.column_gain
    assert not hw.calibration.column_offset
    assert ir_drop.chip_with("exact", 0.0, True, "eflash40nm").calibration.column_gain


@pytest.mark.slow
def test_without_resistance_nothing_is_lost():
    bench = ir_drop.Bench((16, 16), 1, "eflash40nm", 0)
    none, some = (ir_drop.lost_share(bench, ohm) for ohm in (0.0, 100.0))
    assert none == pytest.approx(0, abs=1e-12)
    assert (some > 0).all()
    assert some[0, -1] > some[-1, 0]  # far from drivers and sense amplifiers against near to both
