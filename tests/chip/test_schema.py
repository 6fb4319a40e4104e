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


@pytest.mark.parametrize("kind", ["study", "mapping"])
def test_the_other_shipped_schemas_are_those_of_the_code(kind):
    done = CliRunner().invoke(app, ["schema", kind])
    assert done.exit_code == 0
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    shipped = (PLACE / f"{kind}.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == schema, f"cimsim schema {kind} > hwconfigs/{kind}.schema.json"


def _told(validator, data):
    return [error.message for error in validator.iter_errors(data)]


STUDY = {
    "name": "paper", "chips": ["eflash40nm", "sonos40nm"], "frames": 2, "size": "128x128",
    "seeds": 3, "set": {"adc.bits": "4..10", "adc.count": [16, 32]},
    "grids": [{"networks": [{"model": "cimnet", "stride": "2,8"}]}, {"networks": "dncnn"}],
}  # fmt: skip


def test_a_study_that_is_read_passes_its_schema_and_wrong_ones_do_not():
    from cimsim.studies.grid import from_data
    from cimsim.studies.schema import study_schema

    validator = jsonschema.Draft202012Validator(study_schema())
    assert from_data(STUDY).n_points
    assert not _told(validator, STUDY)
    for wrong in ({"chip": "x"}, {"frames": "two"}, {"size": "big"}, {"grids": [{"grids": []}]},
                  {"networks": [{"stride": 8}]}, {"set": ["adc.bits"]}):  # fmt: skip
        assert _told(validator, {**STUDY, **wrong}), wrong


def test_a_mapping_that_is_written_passes_its_schema_and_wrong_ones_do_not():
    import cimsim
    from cimsim.mapping.files import to_data
    from cimsim.mapping.schema import mapping_schema

    network = cimsim.load_network("cimnet", {"stride": 8, "coarse": 1}, "random")
    graph = cimsim.trace(network.module, network.example(32, 32))
    validator = jsonschema.Draft202012Validator(mapping_schema())
    for how, places in (("im2col", "packed"), ("sdk", "replicated"), ("im2col", "short_wires")):
        mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"), how, places)
        data = json.loads(json.dumps(to_data(mapping)))
        assert not _told(validator, data), (how, places)
    layer = data["layers"][0]
    for wrong in ({"tile": 3}, {"replicas": [[[1]]]}, {"blocks": []}, {"ops": "all"}, {"load": -1}):
        assert _told(validator, {**data, "layers": [{**layer, **wrong}]}), wrong
