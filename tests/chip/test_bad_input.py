"""Every field of every chip file deleted, mistyped, negated and in another unit, in turn.

Each is accepted, or refused by one error that names file, path, value and what is right.
"""

import copy

import pytest
import yaml
from typer.testing import CliRunner

from cimsim.chip.cells import device_of
from cimsim.chip.load import build, is_number, load_hw, raw_mapping, shipped
from cimsim.chip.spec import Chip
from cimsim.cli.hw import app
from cimsim.errors import CimsimError, ConfigError
from tests.thorough import some

CHIPS = sorted(shipped())
MISSING = object()
TEXTS = {"name", "summary"}  # any text will do


def leaves(raw, prefix=()):
    """Paths of all fields of a description, whole sections included."""
    for key, value in raw.items():
        if key == "sources":
            continue
        yield (*prefix, key)
        if isinstance(value, dict) and (*prefix, key) != ("operating", "table"):
            yield from leaves(value, (*prefix, key))


def value_at(raw, path):
    for key in path:
        raw = raw[key]
    return raw


def spoilt(raw, path, value):
    """Return the description with one field changed, or gone together with its sources."""
    changed = copy.deepcopy(raw)
    place = value_at(changed, path[:-1])
    if value is MISSING:
        del place[path[-1]]
        dotted = ".".join(path)
        changed["sources"] = {
            known: source for known, source in raw.get("sources", {}).items()
            if known != dotted and not known.startswith(dotted + ".")
        }  # fmt: skip
    else:
        place[path[-1]] = value
    return changed


def changes(value):
    """What can go wrong with a value; each with the text that the message must show."""
    yield MISSING, None
    for wrong in ("banana", [1, 2], {"a": 1}, True, float("nan")):
        if type(wrong) is not type(value):
            yield wrong, wrong
    # a summary may begin with a figure
    number = str(value).split(" ")[0].rstrip("%")
    if is_number(value) and number.replace(".", "").isdigit():
        text = str(value)
        if float(number) != 0:  # minus nothing is nothing
            yield (f"-{text}" if isinstance(value, str) else -value), f"-{text}"
        yield f"{number} kg", "kg"
        yield f"{number} ns" if not text.endswith("s") else f"{number} pJ", None
        yield "", None


def judge(raw, path, value):
    """Return None if a chip comes out of it, else the message."""
    try:
        chip = build(spoilt(raw, path, value), "mine.yaml")
        device_of(chip, "mine.yaml")
    except ConfigError as error:
        return str(error)
    assert isinstance(chip, Chip)
    return None


def check(name):
    _, raw = raw_mapping(name)
    tried = refused = 0
    for path in leaves(raw):
        for value, shown in changes(value_at(raw, path)):
            tried += 1
            message = judge(raw, path, value)
            where = f"{name}: {'.'.join(path)} = {value!r}: {message}"
            if message is None:
                assert accepted(path, value, value_at(raw, path)), where
                continue
            refused += 1
            lines = message.splitlines()
            assert all(line.startswith("mine.yaml: ") for line in lines), where
            assert path[-1] in message or path[0] in message, where
            assert len(message) < 1500, where
            if value is MISSING:
                continue
            assert len(lines) == 1 or isinstance(value, dict), where
            if shown is not None and not isinstance(shown, bool | dict | list):
                assert str(shown) in message, where
            told = ("expected", "known", "unknown key", "no estimator", "valid")
            assert any(word in message for word in told), where
    assert tried > 300
    assert refused > 0.75 * tried


def accepted(path, value, was):
    """Whether a change may leave a legal chip: a default, free text, a switch, a count."""
    if value is MISSING or path[-1] in TEXTS:
        return True  # a missing field has a default, or `build` would have refused it
    if isinstance(value, bool):
        return isinstance(was, bool)
    if isinstance(value, dict):
        return path == ("operating", "table")
    return False


@pytest.mark.parametrize("name", some(CHIPS, "eflash40nm"))
def test_every_field_spoilt_in_turn(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eflash40nm", "example_minimal", "sram65nm"])
def test_the_command_line_takes_or_refuses_every_spoilt_file(name, tmp_path):
    """The same through files and `cimsim hw`: what passes is shown, timed and charged."""
    _, raw = raw_mapping(name)
    file = tmp_path / "mine.yaml"
    for path in leaves(raw):
        for value, _ in changes(value_at(raw, path)):
            file.write_text(yaml.safe_dump(spoilt(raw, path, value)))
            where = f"{name}: {'.'.join(path)} = {value!r}"
            for command in ("check", "show"):
                done = CliRunner().invoke(app, [command, str(file)])
                fine = done.exception is None or isinstance(done.exception, CimsimError)
                assert fine, f"{command}: {where}: {done.exception!r}"
                if done.exception is not None:
                    assert str(done.exception).startswith(f"{file}: "), where


def test_what_is_missing_without_a_default_is_named():
    _, raw = raw_mapping("eflash40nm")
    required = {
        ".".join(path) for path in leaves(raw)
        if (message := judge(raw, path, MISSING)) and "missing; it has no default" in message
    }  # fmt: skip
    assert {
        "name", "process", "process.node", "process.clock", "array", "array.rows", "array.t_read",
        "device", "device.kind", "adc", "adc.bits", "adc.count", "adc.t_conversion", "tile",
        "tile.count", "buffer", "buffer.size", "vector.lanes", "global_buffer",
    } <= required  # fmt: skip
    assert "adc.energy" not in required


def test_a_section_that_is_no_mapping():
    _, raw = raw_mapping("eflash40nm")
    for section in ("adc", "device", "tile"):
        for wrong in (3, "text", [1], None):
            message = judge(raw, (section,), wrong)
            assert message is not None
            assert message.startswith(f"mine.yaml: {section}: expected a mapping"), message


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["device.kind=0", "sources=2147483648"], "sources: expected a valid dictionary"),
        # the key is also the name of a number of the chip, which has no fields
        (["sources.other_area={kind: model, text: made, auto: 0}"], "auto: unknown key 'auto'"),
    ],
)
def test_sources_that_are_none(overrides, part):
    with pytest.raises(ConfigError, match=part):
        load_hw("wtm2101", overrides)


@pytest.mark.parametrize("path", ["tile", "adc.kind", "name"])
def test_a_part_is_included_in_a_number_alone(path):
    with pytest.raises(ConfigError, match=f"included_in.front_end: '{path}' is no number"):
        load_hw("example_minimal", [f"included_in={{front_end: {path}}}", "name=2nd"])


def test_many_faults_fit_a_screen():
    raw = raw_mapping("example_minimal")[1] | {f"field{n}": 1 for n in range(200)}
    with pytest.raises(ConfigError, match=r"and 192 more$") as caught:
        build(raw)
    assert len(str(caught.value).splitlines()) == 9


@pytest.mark.parametrize(
    "path", ["process.leakage_doubling", "conditions.gradient", "device.loss_doubling"]
)
@pytest.mark.parametrize("text", ["20 C", "20degC", "20 °C"])
def test_a_difference_of_temperatures_is_not_in_celsius(path, text):
    with pytest.raises(ConfigError, match=rf"{path}: expected a difference .* 20 K$"):
        device_of(load_hw("eflash40nm", {path: text}))
    device_of(load_hw("eflash40nm", {path: "20 K"}))


@pytest.mark.parametrize("path", ["faults.dead_rows", "faults.stuck_on", "array.write_disturb"])
def test_a_share_is_at_most_all(path):
    load_hw("eflash40nm", {path: "100 %"})
    with pytest.raises(ConfigError, match=rf"{path}: expected a quantity <= 1, got '150 %'"):
        load_hw("eflash40nm", {path: "150 %"})


def test_noise_is_watched_for_a_read_at_least():
    noise = {"corner": "1 kHz", "span": "1 us"}
    with pytest.raises(ConfigError, match=r"device\.noise\.span: .* duration of a read, 6\.20 µs"):
        device_of(load_hw("eflash40nm", {"device.noise": noise}))
    device_of(load_hw("eflash40nm", {"device.noise": noise, "array.t_read": "1 us"}))
    device_of(load_hw("eflash40nm", {"device.noise": noise | {"corner": "0 Hz"}}))
