"""What comes in from outside: limits that hold before anything is built, one clear line each."""

import math

import numpy as np
import pytest

from cimsim.boundary import arguments, json_text, limits, memory, yaml_text
from cimsim.boundary.tables import read_table
from cimsim.boundary.text import read_text
from cimsim.cli.options import check_numbers, model_options, parse_size
from cimsim.errors import ConfigError
from cimsim.units import canonical, check_possible, parse_quantity

DEEP = "a: " + "[" * 400 + "]" * 400
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (DEEP, "nest"),
        (LAUGHS, "more than 100,000 values"),
        ("a: &a [*a]", "an alias that holds itself"),
        ("a: 1\na: 2", "stands twice"),
        ("? [1, 2]\n: x", "no text"),
        ("1: x", "no text"),
        ("a: " + "9" * 5000, "5000 digits; expected at most 20"),
        ("a: 0x" + "f" * 5000, "at most 20 digits"),
        ("a: 2026-01-01", "quotes"),
        ("a: !!python/object/apply:os.system [ls]", "!!|tag|python"),
        ("a: !!set {x}", "!!set"),
        ("a: !!int x", "tag does not fit"),
        ("a: !!float x", "tag does not fit"),
        ("a: !!bool x", "tag does not fit"),
        ('a: "\\0"', "control"),
        ("a: [1", "line"),
        ("a: b: c", "line 1"),
        ("- x\n--- \n- y", "line"),
        ("a: *nobody", "line 1"),
    ],
)
def test_yaml_beyond_its_limits_is_one_line(text, part):
    with pytest.raises(ValueError, match=part) as caught:
        yaml_text.load(text, limits.CHIP)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_yaml_within_its_limits_is_plain_data():
    text = "a: &x {b: 1.5, c: [yes, null, text]}\nd: *x\n"
    part = {"b": 1.5, "c": [True, None, "text"]}
    assert yaml_text.load(text, limits.CHIP) == {"a": part, "d": part}
    assert yaml_text.load("", limits.CHIP) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[" * 100_000, "nested deeper|no JSON"),
        ("[" * 40 + "]" * 40, "nested deeper than 32"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": -Infinity}', "Infinity is no JSON"),
        ('{"a": 1e999}', "finite"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"a": ' + "7" * 5000 + "}", "5000 digits"),
        ('"\\ud800"', "half a character"),
        ("{", "no JSON: line 1"),
    ],
)
def test_json_is_strict(text, part):
    with pytest.raises(ValueError, match=part):
        json_text.load(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1: 2}, {"a": [1, {"b": -math.inf}]}, {1}])
def test_what_is_no_json_is_not_written(value):
    with pytest.raises(ValueError, match=r"expected|text as key"):
        json_text.dump(value)


def test_a_digest_does_not_see_how_a_number_was_written():
    assert json_text.digest({"a": 5, "b": [1.0]}) == json_text.digest({"b": [1], "a": 5.0})
    assert json_text.digest({"a": 5}) != json_text.digest({"a": 5.5})
    assert json_text.digest([0.0]) == json_text.digest([-0.0])
    assert canonical("1000 nS") == canonical("1 uS")
    assert canonical("24 h") == canonical("1 d")
    assert canonical("sar") == "sar"


def test_text_files_of_other_programs(tmp_path):
    file = tmp_path / "a.txt"
    for content in ("\ufeffµS".encode(), "µS".encode("utf-16")):
        file.write_bytes(content)
        assert read_text(file, limits.CHIP) == "µS"
    file.write_bytes(b"\xb5S")
    with pytest.raises(ValueError, match=r"no UTF-8 text .byte 0."):
        read_text(file, limits.CHIP)
    file.write_bytes(b"x" * (limits.OPTION.n_bytes + 1))
    with pytest.raises(ValueError, match="more than"):
        read_text(file, limits.OPTION)
    for nothing in (tmp_path, tmp_path / "none", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(OSError, match="no "):
            read_text(nothing, limits.CHIP)


@pytest.mark.parametrize(
    "text",
    ["²x3", "--1x5", "1x" + "9" * 5000, "1x", "x", "0x5", "-1x5", "1x2x3", "1.5x2", "１x２",
     "1_0x5", "65537x1", "65536x65536", "nan x 1", "+3x4", ""],
)  # fmt: skip
def test_sizes_that_are_none(text):
    with pytest.raises(ConfigError, match=r"^--size: expected .{1,200}$"):
        parse_size(text)


def test_sizes():
    assert parse_size(" 960 x 540 ") == parse_size("960×540") == parse_size("960X540") == (540, 960)


@pytest.mark.parametrize("text", ["a=²", "a=" + "9" * 30, "=1", "a=", "2a=1", "a"])
def test_arguments_that_are_none(text):
    if text == "a=²":
        assert model_options([text]) == {"a": "²"}  # a text, for the network to refuse
        return
    with pytest.raises(ConfigError, match=r"^--arg"):
        model_options([text])


@pytest.mark.parametrize(
    ("numbers", "option"),
    [
        ((math.nan, 1, 0, None), "--sigma"),
        ((15.0, 0, 0, None), "--frames"),
        ((15.0, 2**40, 0, None), "--frames"),
        ((15.0, 1, -1, None), "--seed"),
        ((15.0, 1, 10**5000, None), "--seed"),
        ((15.0, 1, 0, 0), "--threads"),
        ((15.0, 1, 0, 10**9), "--threads"),
    ],
)
def test_numbers_of_options(numbers, option):
    with pytest.raises(ConfigError, match=f"^{option}: expected .{{1,120}}$"):
        check_numbers(*numbers)


def test_arguments_of_the_api():
    assert arguments.whole("n", np.int32(3), 0, 5) == 3
    assert type(arguments.number("x", np.float32(0.5), 0, 1)) is float
    for wrong in (True, 1.0, "1", None, np.True_, np.array([1])):
        with pytest.raises(ConfigError, match="n: expected a whole number"):
            arguments.whole("n", wrong, 0, 5)
    for wrong in (math.nan, math.inf, -1, 2, "0.5", None, True, 10**400):
        with pytest.raises(ConfigError, match=r"^x: expected"):
            arguments.number("x", wrong, 0, 1)
    with pytest.raises(ConfigError, match=r"s: 'pipelind' is unknown.*did you mean pipelined"):
        arguments.choice("s", "pipelind", ("pipelined", "sequential"))


def test_memory_is_known_before_it_is_taken(monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "1 GiB")
    memory.check(2**30, "frames", "take fewer")
    for much in (2**30 + 1, 1e30, math.inf, math.nan):
        with pytest.raises(ConfigError, match=r"frames: needs .* 1 GiB are allowed; take fewer"):
            memory.check(much, "frames", "take fewer")
    for wrong in ("much", "-1", "1 XB", "nan"):
        monkeypatch.setenv(memory.VARIABLE, wrong)
        with pytest.raises(ConfigError, match="CIMSIM_MEMORY: expected a size"):
            memory.limit()


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("1e308 J", "J"), ("1e-300 m", "m"), ("1e400 W", "W"), (10**400, "1"), ("9" * 500, "1"),
        ("² pJ", "J"), ("3² V", "V"), ("1 GJ", "J"), ("40 m", "m"), (math.inf, "1"), ([], "J"),
        ("1..2 s", "s"),
        # a parser of quantities reads these as 2 V, 15 pJ, 30 s and 1000 nm
        ("0,2 V", "V"), ("1,5 pJ", "J"), ("1:30 s", "s"), ("1,000 nm", "m"), ("1_0 V", "V"),
    ],
)  # fmt: skip
def test_quantities_that_no_chip_has(value, unit):
    with pytest.raises(ValueError, match=r"expected.{1,300}$"):
        check_possible(parse_quantity(value, unit), unit, value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "sep={}\n", "# a note; with, all\tof them\n\n"])
def test_the_separator_is_found(tmp_path, separator, head):
    file = tmp_path / "t.csv"
    rows = [["target [uS]", "mean [uS]", "sigma"], ["1", "2", "3"]]
    body = "\r\n".join(separator.join(cells) for cells in rows)
    file.write_bytes(("\ufeff" + head.format(separator) + body).encode())
    table = read_table(file, ("target", "mean", "sigma"))
    assert [cells for _, cells in table.rows] == rows
    assert table.separator == separator


def test_decimal_commas(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("target;mean\n0,5;1,25\n")
    table = read_table(file, ("target", "mean"))
    assert [table.number(text) for text in table.rows[1][1]] == [0.5, 1.25]
    file.write_text("target;mean\n0,5;1.25\n")
    with pytest.raises(ValueError, match="line 2: decimal commas and decimal points"):
        read_table(file, ("target", "mean"))
    file.write_text('target,mean\n"0,5","1,25"\n')  # quoted: the comma is no separator
    table = read_table(file, ("target", "mean"))
    with pytest.raises(ValueError, match="could not convert"):
        table.number(table.rows[1][1][0])


def test_quantities_as_editors_write_them():
    """Greek mu, a raised 2, a true minus, a fixed blank; never another power of ten."""
    assert parse_quantity("0.5 \u03bcm2", "m2") == parse_quantity("0.5 µm²", "m2") == 0.5e-12
    assert parse_quantity("5 \u03bcs", "s") == parse_quantity("5\u00a0µs", "s") == 5e-6
    assert parse_quantity("\u22120.5 V", "V") == -0.5


@pytest.mark.parametrize("text", ["rows: 0512", "rows: 1:30", "rows: -1:30.5"])
def test_numbers_of_other_bases_are_refused(text):
    with pytest.raises(ValueError, match=r"line 1: .* is (octal|base 60) in YAML; write a decimal"):
        yaml_text.load(text, limits.CHIP)
    assert yaml_text.load(text.replace(": ", ": '") + "'", limits.CHIP)["rows"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"PK\x03\x04\x14\0", "workbook"), (b"\xd0\xcf\x11\xe0\xa1\xb1", "workbook"),
        (b"\x1f\x8b\x08\0", "compressed"), ("a;b\n1;2".encode("utf-16-le"), "UTF-16 without"),
    ],
)  # fmt: skip
def test_files_of_other_programs_are_named(tmp_path, content, part):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=part):
        read_text(file, limits.TABLE)


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "a,b,,\n1,2,,\n", ",a,b\n,1,2\n", "a,b\n1,2,,\n,,,\n", '"sep=;"\na;b\n1;2\n'],
)  # fmt: skip
def test_empty_columns_of_spreadsheets_are_left_out(tmp_path, text):
    file = tmp_path / "a.csv"
    file.write_text(text)
    assert [cells for _, cells in read_table(file, ("a", "b")).rows] == [["a", "b"], ["1", "2"]]
    file.write_text(text.replace("2", "2,3" if "," in text else "2;3"))
    assert any(len(cells) > 2 for _, cells in read_table(file, ("a", "b")).rows)


@pytest.mark.parametrize("separator", ["|", " ", ":"])
def test_an_unknown_separator_is_named(tmp_path, separator):
    file = tmp_path / "a.csv"
    file.write_text(separator.join("ab") + "\n" + separator.join("12"))
    with pytest.raises(ValueError, match="line 1: columns are parted by none of comma, semicolon"):
        read_table(file, ("a", "b"))
