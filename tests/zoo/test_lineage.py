from __future__ import annotations

import json

import pytest

from cimsim.zoo.errors import WeightsError
from cimsim.zoo.lineage import Stage, read_lineage, total_minutes
from cimsim.zoo.weights import Card, folder

STAGES = (
    Stage("cimsim train --steps 9", "ab" * 32, 9, 1.5, 0, kept_step=8),
    Stage("cimsim train --hw x", "cd" * 32, 4, 2.0, 1, "x", 4, ("3 steps",)),
)


def test_stages_survive_json():
    plain = json.loads(json.dumps([stage.plain() for stage in STAGES]))
    assert read_lineage(plain, "card") == STAGES
    assert total_minutes(STAGES) == 3.5
    assert total_minutes((*STAGES, Stage("a file"))) is None


def test_a_stage_is_one_line():
    assert STAGES[0].summary() == (
        "9 steps, 1.5 minutes, best weights of step 8, seed 0; sha256 abababababab"
    )
    assert "chip x in the loop, after 3 steps" in STAGES[1].summary()
    assert Stage("a file").summary() == "steps unknown, minutes unknown; sha256 unknown"


@pytest.mark.parametrize(
    "values", ["text", 3, ["text"], [{"command": "x", "minute": 1}], [{"steps": 1}]]
)
def test_what_is_no_lineage_is_refused(values):
    with pytest.raises(WeightsError, match=r"card\.json: lineage"):
        read_lineage(values, "card.json")


def test_a_card_without_optional_fields_is_read_and_tells_its_one_stage(tmp_path):
    values = json.loads((folder() / "cimnet_s8.json").read_text())
    for name in ("lineage", "hw", "sha256"):
        values.pop(name, None)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(values))
    card = Card.read(path)
    assert card.lineage == ()
    assert card.stages == (
        Stage(card.command, steps=card.steps, minutes=card.minutes, seed=card.seed),
    )
    path.write_text(json.dumps(values | {"colour": "red"}))
    with pytest.raises(WeightsError, match=r"unknown fields of a weight card: \['colour'\]"):
        Card.read(path)
