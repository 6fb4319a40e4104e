import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip.cells import build
from cimsim.chip.load import load_hw
from cimsim.chip.parts.cells import Faults
from cimsim.crossbar.faults import (
    OPEN,
    STUCK_OFF,
    STUCK_ON,
    apply_faults,
    draw_faults,
    fault_map,
    read_fault_map,
)
from cimsim.errors import ConfigError

N = 400_000
CSV = "tile,array,row,col,cell,fault\n"


def drawn(seed=0, n=N, **shares):
    return draw_faults((n,), Faults(**shares), np.random.default_rng(seed))


def test_each_kind_has_its_share():
    shares = {"stuck_off": 0.01, "stuck_on": 0.004, "open": 0.002}
    codes = drawn(**shares)
    for code, share in zip((STUCK_OFF, STUCK_ON, OPEN), shares.values(), strict=True):
        assert abs((codes == code).mean() - share) < 4 * math.sqrt(share * (1 - share) / N)


def test_without_shares_every_cell_works_and_with_all_of_them_none_does():
    assert not drawn().any()
    assert (drawn(stuck_off=0.25, stuck_on=0.5, open=0.25) > 0).all()


@given(
    st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.1), st.integers(0, 99)
)
def test_more_faults_of_a_kind_keep_those_that_were_there(off, on, none, more, seed):
    few = drawn(seed, 500, stuck_off=off, stuck_on=on, open=none)
    many_on = drawn(seed, 500, stuck_off=off, stuck_on=on + more, open=none)
    np.testing.assert_array_equal(many_on[few == STUCK_OFF], STUCK_OFF)
    np.testing.assert_array_equal(many_on[few == STUCK_ON], STUCK_ON)
    many_off = drawn(seed, 500, stuck_off=off + more, stuck_on=on, open=none)
    np.testing.assert_array_equal(many_off[few == STUCK_OFF], STUCK_OFF)
    np.testing.assert_array_equal(many_off[few == STUCK_ON], STUCK_ON)


def test_faulty_cells_hold_their_conductance():
    device = build("eflash", {"g_max": "10 nS", "g_min": "0.1 nS"})
    g = np.full((2, 2), 5e-9)
    codes = np.array([[0, STUCK_OFF], [STUCK_ON, OPEN]], np.uint8)
    np.testing.assert_allclose(apply_faults(g, codes, device), [[5e-9, 1e-10], [1e-8, 0]])


def test_a_csv_and_an_npz_say_the_same(tmp_path):
    rows = "0,0,3,4,+,off\n\n1,0,0,0,-,on\n0, 0, 3, 5, -, open\n"
    (tmp_path / "f.csv").write_text(CSV + rows)
    codes = np.zeros((2, 8, 6), np.uint8)
    codes[0, 3, 4], codes[1, 3, 5] = STUCK_OFF, OPEN
    other = np.zeros((2, 8, 6), np.int64)
    other[1, 0, 0] = STUCK_ON
    np.savez(tmp_path / "f.npz", **{"0_0": codes, "1_0": other})
    for name in ("f.csv", "f.npz"):
        found = read_fault_map(tmp_path / name, (8, 6))
        assert sorted(found) == [(0, 0), (1, 0)]
        np.testing.assert_array_equal(found[0, 0], codes)
        np.testing.assert_array_equal(found[1, 0], other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 'tile,array,row,col,cell,fault', got ''"),
        ("tile,row\n", "line 1: expected 'tile,array,row,col,cell,fault', got 'tile,row'"),
        (CSV + "0,0,1,1,+\n", "line 2: expected 6 values, got 5"),
        (CSV + "\n0,0,x,1,+,off\n", "line 3: row: expected a whole number >= 0, got 'x'"),
        (CSV + "-1,0,1,1,+,off\n", "line 2: tile: expected a whole number >= 0, got '-1'"),
        (CSV + "0,0,8,1,+,off\n", r"line 2: row: expected 0 \.\. 7, got 8"),
        (CSV + "0,0,1,6,+,off\n", r"line 2: col: expected 0 \.\. 5, got 6"),
        (CSV + "0,0,1,1,p,off\n", r"line 2: cell: expected '\+' or '-', got 'p'"),
        (CSV + "0,0,1,1,+,offf\n", "line 2: fault: 'offf' is unknown; .*did you mean off"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(ConfigError, match=rf"^faults\.map: .*f\.csv, {message}"):
        read_fault_map(tmp_path / "f.csv", (8, 6))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"first": np.zeros((2, 8, 6), np.uint8)}, "expected names tile_array .*got 'first'"),
        (
            {"0_0": np.zeros((8, 6), np.uint8)},
            r"'0_0': expected .* shape \[2, 8, 6\]",
        ),
        ({"0_0": np.zeros((2, 8, 6))}, "'0_0': expected whole numbers .*got float64"),
        ({"0_0": np.full((2, 8, 6), 4)}, r"'0_0': expected 0 \.\. 3, got 4 \.\. 4"),
    ],
)
def test_a_wrong_array_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ConfigError, match=rf"^faults\.map: .*f\.npz: {message}"):
        read_fault_map(tmp_path / "f.npz", (8, 6))


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "f.npz").write_text("no archive")
    with pytest.raises(ConfigError, match=r"faults\.map: .*f\.npz: not readable as \.npz"):
        read_fault_map(tmp_path / "f.npz", (8, 6))
    with pytest.raises(ConfigError, match=r"faults\.map: .*none\.csv: no such file; .*YAML"):
        read_fault_map(tmp_path / "none.csv", (8, 6))
    with pytest.raises(ConfigError, match=r"faults\.map: .*f\.txt: expected a \.csv or \.npz"):
        read_fault_map(tmp_path / "f.txt", (8, 6))


def test_the_chip_says_how_large_the_map_is_and_which_arrays_there_are(tmp_path):
    assert fault_map(load_hw("eflash40nm")) == {}
    (tmp_path / "f.csv").write_text(CSV + "76,0,1,1,+,off\n")
    with pytest.raises(ConfigError, match=r"tile 76, array 0 is outside the chip of 76 tiles"):
        fault_map(load_hw("eflash40nm", {"faults.map": str(tmp_path / "f.csv")}))
    (tmp_path / "f.csv").write_text(CSV + "75,0,1023,1023,+,off\n")
    ((place, codes),) = fault_map(
        load_hw("eflash40nm", {"faults.map": str(tmp_path / "f.csv")})
    ).items()  # fmt: skip
    assert (place, codes.shape, codes.sum()) == ((75, 0), (2, 1024, 1024), STUCK_OFF)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"faults.stuck_off": "101 %"}, r"faults\.stuck_off: expected .* <= 1, got '101 %'"),
        ({"faults.stuck_on": "60 %", "faults.open": "50 %"}, r"at most 100 %, got 110 %"),
        ({"faults.stuck_on": "1 V"}, r"faults\.stuck_on: .*'1 V' is in V"),
        ({"faults.stuckon": "1 %"}, r"faults\.stuckon: unknown key .*did you mean stuck_on"),
    ],
)
def test_wrong_shares_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_hw("eflash40nm", overrides)
