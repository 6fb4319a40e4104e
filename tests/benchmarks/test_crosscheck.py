"""The cross-check: the sides that are always there agree, and the page holds the table."""

import numpy as np
import pytest

from benchmarks.crosscheck import in_time, pcm
from benchmarks.crosscheck.__main__ import BEGIN, END, PAGE
from benchmarks.crosscheck.cases import CASES, COLS, ROWS, WINDOWS, integers
from benchmarks.crosscheck.sides import cimsim_sums, sides
from cimsim.errors import ConfigError

W, X = (part.astype(np.float64) for part in integers())
EXACT = X @ W


def error(side, name, seed=1):
    case = next(case for case in CASES if case.name.startswith(name))
    return (side(case, W, X, seed) - EXACT) / EXACT.std()


def test_without_any_effect_both_sides_give_the_exact_sums():
    assert EXACT.shape == (WINDOWS, COLS)
    assert W.shape == (ROWS, COLS)
    np.testing.assert_allclose(error(cimsim_sums, "ideal"), 0, atol=1e-6)
    np.testing.assert_allclose(error(in_time.run, "ideal"), 0, atol=1e-12)


@pytest.mark.parametrize(("name", "within"), [("read", 0.05), ("8-bit", 0.05), ("6-bit", 0.1)])
def test_what_is_fresh_in_each_window_has_one_size(name, within):
    # 3072 sums: 1.3 % of a standard deviation, and columns of one chip share their cells
    here, there = error(cimsim_sums, name), error(in_time.run, name)
    assert here.std() / there.std() == pytest.approx(1, abs=within)


def test_programming_errors_have_one_size_over_chips():
    here = [error(cimsim_sums, "programming", seed).std() for seed in (1, 2, 3)]
    there = [error(in_time.run, "programming", seed).std() for seed in (1, 2, 3)]
    assert np.mean(here) / np.mean(there) == pytest.approx(1, abs=0.12)


def test_the_page_has_a_row_for_each_case():
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition(BEGIN)[2].partition(END)[0]
    for case in CASES:
        assert f"| {case.name} |" in table


def test_the_page_has_a_row_for_each_time_of_phase_change_cells():
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("<!-- begin pcm -->")[2].partition("<!-- end pcm -->")[0]
    for compensation in pcm.COMPENSATIONS:
        for time in pcm.TIMES:
            (row,) = (line for line in table.splitlines() if f"| {time} | {compensation} |" in line)
            assert 0.97 < float(row.rstrip(" |").rpartition(" ")[2]) < 1.03


def test_phase_change_cells_read_with_the_published_noise():
    for row in pcm.reading_rows()[2:]:
        ratios = [float(cell) for cell in row.strip("| ").split("|")[1:]]
        assert ratios == pytest.approx([1.0] * len(pcm.TIMES), abs=1e-3)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    from benchmarks.crosscheck.__main__ import main

    with pytest.raises(ConfigError, match="no folder 'simulator'"):
        main(crosssim=tmp_path)
    assert list(sides(None))[:2] == ["cimsim", "single cells in time"]
