"""Whole networks: shapes are those of the publications, rows are rows, the page is current."""

import pytest

from benchmarks.validation import networks
from benchmarks.validation.nets import graph
from benchmarks.validation.networks import ROWS, Found, arrays_of
from cimsim.chip.load import load_hw

CHEAP = ("N1", "N6", "N7")


@pytest.mark.parametrize(
    ("name", "size", "macs", "weights"),
    [("resnet20", 32, 40.81e6, 270_896), ("jia_cnn", 32, 462e6, 7.47e6)],
)
def test_networks_have_the_published_sizes(name, size, macs, weights):
    traced = graph(name, size)
    assert sum(op.n_rows * op.n_cols for op in traced.matrix_ops) == pytest.approx(
        weights, rel=2e-3
    )
    total = sum(op.windows * op.n_rows * op.n_cols for op in traced.matrix_ops)
    assert total == pytest.approx(macs, rel=2e-3)


def closed_form(traced, rows, cols):
    """Arrays of a network whose matrices are cut at the array's edges."""
    return sum(-(-op.n_rows // rows) * -(-op.n_cols // cols) for op in traced.matrix_ops)


def test_neurram_holds_its_network_in_the_published_segments():
    assert arrays_of("resnet20", 32, "neurram130nm") == 61
    chip = load_hw("neurram130nm")
    assert closed_form(graph("resnet20", 32), 128, chip.weight_cols) == 61


def test_rows_name_their_kind_their_source_and_what_they_assume():
    assert len({row.row for row in ROWS}) == len(ROWS) >= 5
    for row in ROWS:
        assert row.kind in networks.KINDS
        assert row.source
        assert row.assumes
        assert row.low is None or row.low <= row.published <= row.high
        if "†" in row.network + row.assumes:
            assert row.kind == "unverified"
    assert sum(row.kind == "prediction" for row in ROWS) >= 4


def test_a_range_has_no_error_inside_and_the_distance_to_its_end_outside():
    row = next(row for row in ROWS if row.low is not None)
    assert Found(row, (row.low + row.high) / 2).error == 0
    assert Found(row, 2 * row.high).error == pytest.approx(1)
    assert Found(row, row.low / 2).error == pytest.approx(-0.5)


def test_only_predictions_count_for_the_mean():
    rows = [Found(row, 1.1 * (row.high or row.published)) for row in ROWS]
    rows += [Found(row, 99.0 * row.published) for row in ROWS if row.kind != "prediction"]
    assert "mean error 10 %" in networks.summary(rows)


def test_rows_that_take_no_time_are_on_the_page_as_computed():
    text = networks.PATH.read_text(encoding="utf-8")
    found = networks.evaluate([row for row in ROWS if row.row in CHEAP])
    for line in networks.markdown(found).splitlines()[2:]:
        assert line in text, "python -m benchmarks.validation.networks --write"
    for one in found:
        assert abs(one.error) < 0.01


@pytest.mark.slow
def test_the_page_shows_what_running_gives():
    text = networks.PATH.read_text(encoding="utf-8")
    found = networks.evaluate()
    assert networks.markdown(found) in text, "python -m benchmarks.validation.networks --write"
    assert networks.summary(found) in text
    assert networks.explained(found) in text
    assert all(one.row.off for one in found if abs(one.error) > networks.LARGE)
