"""The support matrix of docs/model.md is what running every combination gives."""

import pytest

from benchmarks.analog import support


def test_the_matrix_in_the_docs_is_what_running_gives():
    table = support.markdown(support.support())
    assert table in support.PATH.read_text(encoding="utf-8"), "benchmarks.analog.support --write"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"adc.noise_lsb": 0}, "none"),
        ({"conditions.time": "1 d"}, "refused"),  # an eFlash cell without a figure for drift
        ({"adc.noise_lsb": 5}, "acts"),
    ],
)
def test_a_verdict_can_be_another_one(change, verdict):
    base = dict(support.CLEAN)
    clean = support._output(base)
    assert support._judge({**base, **change}, clean) == verdict
