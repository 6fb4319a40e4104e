"""The support matrix of docs/model.md is what running every combination gives."""

import pytest

from benchmarks.analog import support


@pytest.mark.slow
def test_the_matrix_in_the_docs_is_what_running_gives():
    table = support.markdown(support.support())
    assert table in support.PATH.read_text(encoding="utf-8"), "benchmarks.analog.support --write"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"adc.noise_lsb": 0}, "none"),
        ({"conditions.time": "21 y"}, "refused"),  # longer than any retention that was stated
        ({"adc.noise_lsb": 5}, "acts"),
        ({"device.nonlinearity": 4}, "refused"),  # a gate-driven cell
    ],
)
def test_a_verdict_can_be_another_one(change, verdict):
    base = dict(support.CLEAN)
    clean = support._output(base)
    assert support._judge({**base, **change}, clean) == verdict


def test_non_linear_cells_are_compared_with_linear_ones_of_the_same_kind():
    base = support.with_ohmic({**support.CLEAN, **support.WIRES["exact"]})
    clean = support._output(base)
    assert support._judge({**base, "device.nonlinearity": 2}, clean) == "none"
    assert support._judge({**base, "device.nonlinearity": 4}, clean) == "acts"
