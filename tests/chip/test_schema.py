"""The schema that editors take: that of the code, and the one that the shipped chips pass."""

import copy
import json
from importlib.resources import files

import pytest
import yaml
from typer.testing import CliRunner

from cimsim.chip.fields import fields
from cimsim.chip.schema import HEADER, NAME, chip_schema
from cimsim.cli.main import app

jsonschema = pytest.importorskip("jsonschema")
PLACE = files("cimsim.hwconfigs")
CHIPS = sorted(entry.name for entry in PLACE.iterdir() if entry.name.endswith(".yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = chip_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_shipped_schema_is_that_of_the_code():
    done = CliRunner().invoke(app, ["schema", "chip"])
    assert done.exit_code == 0
    shipped = (PLACE / NAME).read_text(encoding="utf-8")
    assert json.loads(shipped) == json.loads(done.stdout) == chip_schema(), (
        f"cimsim schema chip > hwconfigs/{NAME}"
    )


@pytest.mark.parametrize("name", CHIPS)
def test_shipped_chips_name_it_and_pass(validator, name):
    text = (PLACE / name).read_text(encoding="utf-8")
    assert text.splitlines()[0] == HEADER
    assert not [error.message for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize(
    ("path", "value"),
    [("adc.bitz", 3), ("adc.kind", "foo"), ("adc.bits", "eight"), ("tile.count", 0),
     ("name", 5), ("leaves_out", ["weather"])],
)  # fmt: skip
def test_an_editor_marks_what_is_wrong(validator, path, value):
    chip = copy.deepcopy(yaml.safe_load((PLACE / "eflash40nm.yaml").read_text(encoding="utf-8")))
    *above, last = path.split(".")
    place = chip
    for key in above:
        place = place[key]
    place[last] = value
    assert list(validator.iter_errors(chip))


def test_every_quantity_says_its_unit():
    schema = chip_schema()
    assert schema["$defs"]["Adc"]["properties"]["energy"]["description"] == (
        "one conversion (J, such as 2.61 pJ)"
    )
    paths = {path.split(".")[0] for path in fields()}
    assert paths <= set(schema["properties"])
    assert "default" not in schema["$defs"]["Adc"]["properties"]["gain_sigma"]
