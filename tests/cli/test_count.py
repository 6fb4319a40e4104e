"""The published and the exact counts, cell by cell (per pixel of the frame)."""

import json

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app

# windows, array activations, ADC conversions per pixel; cells on 1024 x 1024 arrays
TABLE = {
    "fastdvdnet-block": (5.875, 6.1875, 373, 1_243_800),
    "cimnet-s2": (3.875, 4.1875, 251, 1_201_824),
    "cimnet-s4": (0.59375, 0.796875, 120, 1_714_176),
    "cimnet-s8": (0.1484375, 0.29296875, 90.5, 5_152_768),
    "cimnet-s16": (0.037109375, 0.2685546875, 198.375, 40_992_768),
}


def counted(*arguments):
    done = CliRunner().invoke(app, ["count", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def table():
    return counted("--size=64x96", "--model=fastdvdnet-block", "--model=cimnet", "--arg=coarse=1")


@pytest.fixture(scope="module")
def at_8():
    return counted("--size=64x96", "--stride=8")


@pytest.mark.parametrize("name", TABLE)
def test_exact_counts(table, name):
    row = next(row for row in table["networks"] if row["name"] == name)
    windows, activations, conversions, cells = TABLE[name]
    assert row["per_pixel"]["windows"] == windows
    assert row["per_pixel"]["activations"] == activations
    assert row["per_pixel"]["conversions"] == conversions
    assert row["per_frame"]["cells"] == cells
    assert row["per_frame"]["windows"] == windows * 64 * 96


def test_strided_networks_have_their_closed_form_windows(at_8):
    per_pixel = {row["name"]: row["per_pixel"]["windows"] for row in at_8["networks"]}
    assert per_pixel["baseline-o1-s8"] == 5.875 / 64
    assert per_pixel["baseline-o2-s8"] == 11.5 / 64
    assert per_pixel["abla-net-s8"] == 9.5 / 64
    assert per_pixel["cimnet-s8"] == 9.5 / 64


def test_by_name_it_is_the_network_of_all_commands():
    row = counted("--size=64x96", "--model=cimnet", "--stride=8")["networks"][0]
    assert row["per_pixel"]["windows"] == 2 / 64
    assert row["title"] == "CIM-NET S=8, no coarse path"


def test_claims_of_the_paper_stand_beside_the_exact_ratios(at_8):
    found = {ratio["name"]: ratio["value"] for ratio in at_8["comparisons"]}
    assert found["saved"] == pytest.approx(17.39, abs=0.005)
    assert found["paper"] == pytest.approx(64 * 23 / 19)
    assert found["exact windows"] == pytest.approx(5.875 / (9.5 / 64))
    assert round(found["exact windows"], 1) == 39.6
    assert round(found["exact activations"], 1) == 21.1
    assert round(found["exact conversions"], 1) == 4.1


def test_grouped_first_layer_counts_its_weights_without_the_zeros(table):
    row = next(row for row in table["networks"] if row["name"] == "fastdvdnet-block")
    # 3 groups of 36 x 30 instead of one 108 x 90
    assert row["per_frame"]["weights"] == 1_243_800 - 108 * 90 + 3 * 36 * 30


def test_full_fastdvdnet_is_four_runs_of_two_blocks():
    block, full = counted("--size=64x64", "--model=fastdvdnet-block", "--model=fastdvdnet")[
        "networks"
    ]
    assert full["per_frame"]["windows"] == 4 * block["per_frame"]["windows"]
    assert full["per_frame"]["conversions"] == 4 * block["per_frame"]["conversions"]
    assert full["per_frame"]["weights"] == 2 * block["per_frame"]["weights"]
    assert full["per_frame"]["arrays"] == 2 * block["per_frame"]["arrays"]


def test_half_the_width():
    rows = counted("--size=64x64", "--model=fastdvdnet-block", "--model=dncnn", "--width=16")
    block, other = rows["networks"]
    assert (block["name"], block["title"]) == (
        "fastdvdnet-block-w16",
        "FastDVDnet block (width 16)",
    )
    assert other["name"] == "dncnn"  # has no width
    assert block["per_pixel"]["windows"] == 5.875
    # 3 x 3 kernels between c, 2 c and 4 c channels; the first layer in three groups
    c, first = 16, 3 * 4 * 30 * 9
    square = 9 * (c * c + c * 2 * c + 4 * (2 * c) ** 2 + 2 * c * 4 * c * (1 + 1) + 4 * (4 * c) ** 2)
    rest = 9 * (90 * c + 4 * c * 8 * c + c * 3)
    assert block["per_frame"]["weights"] == first + square + rest


def test_tables_fit_an_80_column_terminal():
    arguments = [
        "count",
        "--model=fastdvdnet-block",
        "--model=cimnet",
        "--arg=coarse=1",
        "--stride=8",
        "--size=64x64",
    ]
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, arguments)
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    assert "39.58" in done.output
    assert "…" not in done.output


def test_counts_that_are_kept_are_those_that_were_counted(tmp_path, monkeypatch):
    """Of the same network on the same arrays only; nothing is counted for them."""
    from cimsim.report.chip import counts

    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path))
    asked = ("--size=32x32", "--model=cimnet", "--stride=8")
    traced, real = [], counts.count_row
    monkeypatch.setattr(counts, "count_row", lambda *a: traced.append(a) or real(*a))
    first = counted(*asked)
    assert len(traced) == 1
    assert counted(*asked) == first
    assert len(traced) == 1
    fresh = counted(*asked, "--no-cache")
    assert fresh == first
    assert len(traced) == 2
    for other in (("--set=array.rows=512",), ("--set=adc.bits=6",), ("--mapping=smd",)):
        counted(*asked, *other)
    assert len(traced) == 5
    counted("--size=64x32", *asked[1:])
    assert len(traced) == 6
