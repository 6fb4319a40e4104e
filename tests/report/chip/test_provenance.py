"""What a careful reader would ask about a description, and what is wrong in it."""

import pytest

from cimsim.chip.load import load_hw, raw_mapping, shipped
from cimsim.errors import ConfigError
from cimsim.report.chip.provenance import findings


def doubts(tmp_path, added):
    path = tmp_path / "mine.yaml"
    path.write_text(shipped()["eflash40nm"] + added)
    return findings(load_hw(path), raw_mapping(path)[1])


def test_what_a_user_asks_about_needs_no_source(tmp_path):
    before = doubts(tmp_path, "")
    asked = "conditions:\n  temperature: 60 C\nfaults:\n  stuck_on: 0.1 %\n"
    assert doubts(tmp_path, asked) == before
    unsourced = doubts(tmp_path, "other_area: 1 mm2\n")
    assert unsourced == ["other_area: no source given", *before]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("conditions: {time: 21 y}\n", r"conditions\.time: expected 0 .. 20 y"),
        ("conditions: {temperature: 100 C}\n", r"conditions\.temperature: expected -20"),
    ],
)
def test_conditions_that_the_cells_do_not_know_are_an_error(tmp_path, added, message):
    with pytest.raises(ConfigError, match=message):
        doubts(tmp_path, added)
