"""``cimsim hw new``: what it writes loads, says where its numbers are from, and is the example."""

import json
import re

import pytest
import yaml
from typer.testing import CliRunner

from cimsim.chip.cells import device_of
from cimsim.chip.load import chip_hash, load_hw, numbers
from cimsim.chip.new import DEFAULT_SOURCE, QUESTIONS, default, written
from cimsim.cli.main import app
from cimsim.errors import ConfigError
from cimsim.report.chip.provenance import findings


def new(*arguments, **options):
    return CliRunner().invoke(app, ["hw", "new", *arguments], **options)


def test_without_answers_it_is_the_example_but_for_name_and_sources():
    _, chip = written("mine", {})
    example = load_hw("example_minimal")
    assert chip_hash(chip) == chip_hash(example)
    assert chip.name == "mine"
    assert {source.text for source in chip.sources.values()} == {DEFAULT_SOURCE}
    assert all(source.kind == "estimate" for source in chip.sources.values())


def test_given_numbers_stand_in_their_lines_with_their_source(tmp_path):
    path = tmp_path / "mine.yaml"
    done = new(
        str(path), "--set", "array.rows=256", "--set", "adc.energy=1.2 pJ", "--set",
        "adc.noise_lsb=0.4", "--set", "io.energy=3 pJ/B", "--set", "device.kind=rram", "--set",
        "device.g_max=30 uS", "--source", 'ISSCC "14.3"', "--kind", "measured",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    chip = load_hw(path)
    assert (chip.array.rows, chip.adc.energy_j, chip.adc.noise_lsb) == (256, 1.2e-12, 0.4)
    assert device_of(chip).g_max_s == pytest.approx(30e-6)
    assert chip.sources["adc.energy"].text == 'ISSCC "14.3"'
    assert chip.sources["io.energy"].kind == "measured"
    assert chip.sources["array.cols"].text == DEFAULT_SOURCE
    assert "io" not in chip.leaves_out
    assert "control" in chip.leaves_out
    text = path.read_text()
    assert "rows: 256  # word lines" in text  # comments stay
    raw = yaml.safe_load(text)
    assert not findings(chip, raw)
    figures = {path for path, value in numbers(raw).items() if not str(value).startswith("auto")}
    assert set(raw["sources"]) == figures


def test_a_schema_for_the_editor_lies_beside_it(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    assert new(str(tmp_path / "mine.yaml")).exit_code == 0
    schema = json.loads((tmp_path / "chip.schema.json").read_text())
    text = (tmp_path / "mine.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=chip.schema.json\n")
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(text))


def test_a_schema_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "chip.schema.json").write_text('{"mine": 1}')
    assert new(str(tmp_path / "mine.yaml")).exit_code == 0
    assert (tmp_path / "chip.schema.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "adc.bitz=3"], "'adc.bitz' is no field.*did you mean adc.bits"),
        (["--set", "adc.bits=77"], "adc.bits: expected .*77"),
        (["--set", "process.vdd=28 nm"], "process.vdd: expected a quantity in V"),
        (["--set", "adc.bits"], "expected PATH=VALUE"),
        (["--set", "device.kind=rramm"], "device.kind: 'rramm' is unknown"),
        (["--set", "adc.noise_lsb=1", "--kind", "guess"], "--kind: 'guess' is unknown"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(tmp_path, arguments, told):
    path = tmp_path / "mine.yaml"
    done = new(str(path), *arguments)
    assert done.exit_code != 0
    assert re.search(told, str(done.exception)), done.exception
    assert not path.exists()


def test_a_file_is_written_over_only_when_asked(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: precious\n")
    assert "--force" in str(new(str(path)).exception)
    assert path.read_text() == "name: precious\n"
    assert new(str(path), "--force").exit_code == 0
    assert load_hw(path).name == "mine"


def test_in_a_terminal_it_asks_and_asks_again(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    monkeypatch.setattr("cimsim.cli.hw._is_terminal", lambda: True)
    answers = ["28 nm", "28 nm", "0.9 V"] + [""] * (len(QUESTIONS) - 2) + ["data sheet, page 3"]
    done = new(str(path), input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    chip = load_hw(path)
    assert chip.process.node_m == pytest.approx(28e-9)
    assert chip.process.vdd_v == pytest.approx(0.9)
    assert chip.sources["process.vdd"].text == "data sheet, page 3"
    assert done.output.count("Core supply") == 2  # 28 nm is no voltage


def test_every_question_is_about_a_line_of_the_example():
    assert all(default(question.path) is not None for question in QUESTIONS)


def test_an_unknown_kind_of_source_is_refused():
    with pytest.raises(ConfigError, match="measured"):
        written("mine", {}, "x", "measurd")


def test_what_must_follow_an_answer_follows_it_and_is_marked_as_assumed():
    text, chip = written(
        "mine", {"inputs.bits": 4, "device.kind": "sram", "weights.bits": 4}, "a paper"
    )
    assert (chip.dac.bits, chip.weights.cell_bits) == (4, 1)
    assert device_of(chip).max_bits == 1
    assert chip.sources["dac.bits"].text == DEFAULT_SOURCE
    assert chip.sources["inputs.bits"].text == "a paper"
    assert "cell_bits: 1" in text
    with pytest.raises(ConfigError, match=r"dac.bits: expected at most inputs.bits = 4, got 8"):
        written("mine", {"inputs.bits": 4, "dac.bits": 8})
