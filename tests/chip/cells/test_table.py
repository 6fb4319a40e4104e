"""Cells that users measured: statistics of what the file says, and every fault in it."""

import math

import numpy as np
import pytest

from cimsim.chip.cells import build
from cimsim.chip.load import chip_hash, dump, load_hw, shipped
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import ConfigError
from cimsim.session.doubts import chip_doubts

N = 60_000
MEASURED = """\
# 128 cells per state
target [uS], mean [uS], sigma [uS], time [h]
2, 2.1, 0.10, 0
6, 5.8, 0.20, 0
10, 9.9, 0.40, 0

2, 2.3, 0.20, 24
4, 4.3, 0.30, 24
10, 9.1, 0.50, 24
"""


@pytest.fixture
def table(tmp_path):
    def make(text=MEASURED, **parameters):
        path = tmp_path / "cells.csv"
        path.write_text(text)
        return build("table", {"file": str(path)} | parameters)

    return make


def assert_normal(values, mean, sigma):
    assert abs(values.mean() - mean) < 4 * sigma / math.sqrt(values.size)
    assert abs(values.std() / sigma - 1) < 4 / math.sqrt(2 * values.size)


@pytest.mark.parametrize(
    ("target", "mean", "sigma"), [(2, 2.1, 0.1), (4, 3.95, 0.15), (6, 5.8, 0.2), (9, 8.875, 0.35)]
)
def test_programming_is_linear_between_the_measured_states(table, target, mean, sigma):
    written = table().program(np.full(N, target * 1e-6), np.random.default_rng(1)) * 1e6
    assert_normal(written, mean, sigma)


@pytest.mark.parametrize(
    ("hours", "moved", "more"),
    [
        (24, 2.3 - 2.1, math.sqrt(0.2**2 - 0.1**2)),
        (12, (2.3 - 2.1) / 2, math.sqrt(0.15**2 - 0.1**2)),
    ],
)
def test_ageing_moves_the_mean_and_widens_the_state(table, hours, moved, more):
    g = table().age(
        np.full(N, 2.1e-6), hours * 3600, REFERENCE_K, np.random.default_rng(2)
    )  # fmt: skip
    assert_normal(g * 1e6, 2.1 + moved, more)


def test_a_state_between_two_times_and_two_targets(table):
    # mean 3.95 at time 0 is target 4; at 6 h a quarter of the way to (4.3, 0.3)
    g = table().age(np.full(N, 3.95e-6), 6 * 3600, REFERENCE_K, np.random.default_rng(3)) * 1e6
    assert_normal(g, 3.95 + (4.3 - 3.95) / 4, math.sqrt((0.15 + 0.15 / 4) ** 2 - 0.15**2))


def test_a_spread_that_falls_adds_nothing(table):
    device = table(MEASURED.replace("9.1, 0.50", "9.1, 0.30"))
    g = device.age(np.full(50, 9.9e-6), 24 * 3600, REFERENCE_K, np.random.default_rng(3))
    np.testing.assert_allclose(g, 9.1e-6, rtol=1e-12)


def test_conductances_are_never_negative(table):
    device = table("target_uS,mean_uS,sigma_uS\n0,0,1\n5,5,1\n")
    written = device.program(np.zeros(N), np.random.default_rng(4))
    assert written.min() == 0
    assert abs((written == 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(N)


def test_range_read_noise_and_kind_of_read(table):
    device = table(sigma_read="1 %", conduction="gate")
    assert (device.g_min_s, device.g_max_s) == pytest.approx((2e-6, 1e-5), rel=1e-12)
    assert device.conduction == "gate"
    np.testing.assert_allclose(device.read_sigma(np.array([0, 5e-6])), 1e-7, rtol=1e-12)
    assert table().conduction == "ohmic"
    assert not table().is_exact


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        ("target_uS,mean_uS,sigma_uS,time_h", {}),
        ("target,mean,sigma,time", {"unit": "uS", "time_unit": "h"}),
        ("target [uS],mean,sigma,time [min]", {"unit": "uS"}),
    ],
)
def test_units_stand_in_the_header_or_the_yaml(table, header, parameters):
    rows = "2,2.1,.1,0\n10,9.9,.4,0\n2,2.3,.2,60\n10,9.1,.5,60\n"
    device = table(f"{header}\n{rows}", **parameters)
    assert device.g_max_s == pytest.approx(1e-5)
    hour = 3600.0 if "min" in header else 60 * 3600.0
    assert device.states[-1].time_s == pytest.approx(hour)
    np.testing.assert_allclose(device.states[0].mean_s, [2.1e-6, 9.9e-6])


def test_columns_in_another_order_are_the_same(table):
    device = table("sigma_uS,target_uS,mean_uS\n.1,2,2.1\n.4,10,9.9\n")
    np.testing.assert_allclose(device.states[0].sigma_s, [1e-7, 4e-7])
    with pytest.raises(ConfigError, match=r"expected 0 \.\. 0 s .*'table', got 1 h: '.*csv"):
        device.check_conditions(3600, REFERENCE_K)


HEADER = "target_uS,mean_uS,sigma_uS,time_h\n"
GOOD = "0,0,0,0\n5,5,0,0\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "the file is empty; expected a header such as"),
        ("# nothing\n\n", None, "the file is empty"),
        ("target_uS,mean_uS,spread_uS\n", 1, "unknown column 'spread_uS'; known: target, mean"),
        ("target_uS,mean_uS\n", 1, "column 'sigma' is missing; expected a header such as"),
        ("target_uS,mean_uS,sigma_uS,mean_uS\n", 1, "column 'mean' stands twice; keep one"),
        ("target,mean_uS,sigma_uS\n", 1, r"column 'target' has no unit; write 'target \[uS\]', or"),
        ("target_uA,mean_uS,sigma_uS\n", 1, "column 'target': expected a unit of S .*got 'uA'"),
        ("target_uS,mean_uS,sigma_uS,time_uS\n", 1, "column 'time': expected a unit of s .*'uS'"),
        (HEADER, 1, "expected rows of time 0, .*but there are no rows"),
        (HEADER + "0,0,0,2\n5,5,0,2\n", 1, "expected rows of time 0, .*the first time is 2 h"),
        (HEADER + "0,0,0,0\n", 2, "one target at time 0 s; expected two or more"),
        (HEADER + "0,0,0,0\n5,,0,0\n", 3, "mean: expected a number, got nothing; fill the hole"),
        (HEADER + "0,0,0,0\n5,x,0,0\n", 3, "mean: expected a number, got 'x'"),
        (HEADER + "0,0,0,0\n5,nan,0,0\n", 3, "mean: expected a finite number, got 'nan'"),
        (HEADER + "0,0,0,0\n5,inf,0,0\n", 3, "mean: expected a finite number, got 'inf'"),
        (HEADER + "0,0,0,0\n5,5,-.1,0\n", 3, r"sigma: expected at least 0, got -\.1"),
        (HEADER + "0,0,0,0\n5,5,0\n", 3, "expected 4 values as in the header, got 3"),
        (HEADER + "0,0,0,0\n5,5,0,0\n4,4,0,0\n", 4, "target 4.00 µS is below that of line 3; sort"),
        (HEADER + "0,0,0,0\n5,5,0,0\n5,5,0,0\n", 4, "target 5.00 µS stands in line 3 already"),
        (HEADER + "0,1,0,0\n5,1,0,0\n", 3, "mean 1.00 µS is not above that of line 2; at time 0"),
        (
            HEADER + GOOD + "0,0,0,9\n4,5,0,9\n",
            4,
            "targets at time 9 h end at 0 S and 4.00 µS",
        ),
    ],
)
def test_one_clear_error_with_file_line_and_fix(table, text, line, message):
    place = r"cells\.csv" + (f", line {line}" if line else "")
    with pytest.raises(ConfigError, match=f"^device.file: .*{place}: {message}"):
        table(text)


def test_a_missing_file_says_where_relative_paths_start(tmp_path):
    with pytest.raises(ConfigError, match=r"device\.file: .*none\.csv: no such file; .*YAML file"):
        build("table", {"file": str(tmp_path / "none.csv")})
    with pytest.raises(ConfigError, match=r"device\.file: .*cannot be read"):
        build("table", {"file": str(tmp_path)})


def own_chip(folder, file):
    head, _, rest = shipped()["eflash40nm"].partition("device:\n")
    path = folder / "mine.yaml"
    sources = rest.index("sources:")
    body = rest[rest.index("\nweights:") : sources]
    path.write_text(f"{head}device:\n  kind: table\n  file: {file}\n{body}")
    return path


def test_a_relative_file_lies_beside_the_yaml(tmp_path, monkeypatch):
    (tmp_path / "chip").mkdir()
    (tmp_path / "chip" / "cells.csv").write_text(MEASURED)
    path = own_chip(tmp_path / "chip", "cells.csv")
    monkeypatch.chdir(tmp_path)
    chip = load_hw("chip/mine.yaml")
    assert build(chip.device.kind, chip.device.parameters).g_max_s == pytest.approx(1e-5)
    # an override starts at the working directory
    (tmp_path / "other.csv").write_text(MEASURED.replace("10,", "11,"))
    chip = load_hw(path, ["device.file=other.csv"])
    assert build(chip.device.kind, chip.device.parameters).g_max_s == pytest.approx(1.1e-5)


def test_the_hash_of_a_chip_follows_the_content_of_the_file_and_not_its_place(tmp_path):
    hashes = []
    for folder, text in (("a", MEASURED), ("b", MEASURED), ("c", MEASURED.replace("9.9", "9.8"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cells.csv").write_text(text)
        chip = load_hw(own_chip(tmp_path / folder, "cells.csv"))
        hashes.append(chip_hash(chip))
        assert str(tmp_path) not in str(dump(chip))
    assert hashes[0] == hashes[1] != hashes[2]


def test_headers_may_have_capitals(table):
    shouting = MEASURED.replace("target", "Target").replace("mean", "MEAN")
    for one, other in zip(table().states, table(shouting).states, strict=True):
        assert (one.target_s == other.target_s).all()
        assert (one.mean_s == other.mean_s).all()


@pytest.mark.parametrize(("header", "doubts"), [
    ("mean [uS]", 0), ("mean [nS]", 1),
])  # fmt: skip
def test_means_far_from_their_targets_are_a_doubt(header, doubts, tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text(MEASURED.replace("mean [uS]", header))
    chip = load_hw("eflash40nm", {"device.kind": "table", "device.file": str(path)})
    told = [str(one) for one in chip_doubts(chip) if "times their targets" in str(one)]
    assert len(told) == doubts
    assert all("are both columns in the units that the header names?" in text for text in told)
