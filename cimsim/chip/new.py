"""A new chip description: the commented example, with the answers of its owner as values.

What is not answered stays as in ``example_minimal.yaml``, and its source says so, so that results
and ``cimsim hw check`` tell what was taken from a data sheet and what was not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from cimsim.boundary import yaml_text
from cimsim.boundary.limits import CHIP, OPTION, shown
from cimsim.chip.fields import fields
from cimsim.chip.ledger import LEDGER
from cimsim.chip.load import build, numbers, shipped
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError, suggest

EXAMPLE = "example_minimal"
DEFAULT_SOURCE = "assumed by cimsim hw new: replace it"
KINDS = ("measured", "vendor", "model", "estimate")
_FIELD = re.compile(r"^(  )?(\w+):[ ]*(.*?)(\s+#.*)?$")


@dataclass(frozen=True, slots=True)
class Question:
    """What a data sheet may say.

    Attributes
    ----------
    path : str
        The field that it fills.
    text : str
        How it is asked.
    """

    path: str
    text: str


QUESTIONS = (
    Question("process.node", "Feature size of the process"),
    Question("process.vdd", "Core supply"),
    Question("process.clock", "Clock that everything digital runs at"),
    Question("array.rows", "Word lines of one array: inputs of one product"),
    Question("array.cols", "Columns of one array; a differential pair of cells is one column"),
    Question("array.t_read", "Time to drive the rows and let the columns settle, one pulse"),
    Question("device.kind", "Memory cell (eflash, ideal, pcm, rram, sonos40, sram, table)"),
    Question("weights.bits", "Bits of a weight, its sign included"),
    Question("inputs.bits", "Bits of an input"),
    Question("dac.bits", "Bits of an input that one pulse applies (1: bit by bit)"),
    Question("adc.kind", "Column converter (sar, ramp, flash, cco)"),
    Question("adc.bits", "Bits of a converter"),
    Question("adc.count", "Converters of one array"),
    Question("adc.t_conversion", "Time of one conversion"),
    Question("adc.energy", "Energy of one conversion (auto: estimated)"),
    Question("tile.count", "Tiles of the chip"),
    Question("tile.arrays", "Arrays in one tile"),
    Question("buffer.size", "Input buffer of one tile"),
    Question("frames", "Where inputs come from (dram, global_buffer, resident)"),
)


def default(path: str) -> object:
    """Return what the example has at a path, as its text has it."""
    place: object = yaml.safe_load(shipped()[EXAMPLE])
    for part in path.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


def written(
    name: str, given: Mapping[str, object], source: str = "", kind: str = "vendor",
    origin: str = "chip", schema: str = "chip.schema.json",
) -> tuple[str, Chip]:  # fmt: skip
    """Return the text of a description, checked.

    Parameters
    ----------
    name : str
        What tables call the chip.
    given : mapping
        Dotted path -> value as a YAML file has it: ``{"adc.bits": 6, "adc.energy": "1.2 pJ"}``.
    source : str
        Where the given numbers come from; one that is empty leaves them without a source, which
        ``cimsim hw check`` lists.
    kind : {"measured", "vendor", "model", "estimate"}
        Of the source.
    origin : str
        File that messages name.
    schema : str
        Where editors find the schema.

    Raises
    ------
    ConfigError
        A field that does not exist, or a value that does not fit.
    """
    if kind not in KINDS:
        raise ConfigError(f"--kind: {shown(kind)} is unknown{suggest(kind, KINDS)}")
    known = fields()
    for path in given:
        if path not in known and not path.startswith("device."):
            head = path.partition(".")[0]
            near = [one for one in known if one.startswith(f"{head}.")]
            listed = sorted(near or {one.partition(".")[0] for one in known})
            raise ConfigError(f"{origin}: {shown(path)} is no field{suggest(path, listed)}")
    lines = _head(name, schema) + _body({**following(given), **given})
    text = "\n".join(lines) + "\n"
    text += _sources(_parsed(text), given, source, kind)
    return text, build(_parsed(text), origin)


def _parsed(text: str) -> Mapping[str, object]:
    raw = yaml_text.load(text, CHIP)
    assert isinstance(raw, dict)  # the sections of the example
    return raw


def following(given: Mapping[str, object]) -> dict[str, object]:
    """Return what must be another value than the example's beside what was given.

    A pulse has no more bits than an input; a cell holds no more bits than its model says.
    """
    values: dict[str, object] = {}
    bits, usual = given.get("inputs.bits"), default("dac.bits")
    assert isinstance(usual, int)
    if "dac.bits" not in given and isinstance(bits, int) and 0 < bits < usual:
        values["dac.bits"] = bits
    weights = given.get("weights.bits", default("weights.bits"))
    most = _most_bits(given)
    if "weights.cell_bits" not in given and most is not None and isinstance(weights, int):
        needed = weights - 1  # the sign is that of the pair
        values |= {"weights.cell_bits": most} if needed > most else {}
    return values


def _most_bits(given: Mapping[str, object]) -> int | None:
    from cimsim.chip.cells import model_of

    try:
        return model_of(str(given.get("device.kind", default("device.kind")))).max_bits
    except ConfigError:  # an unknown kind, which is told when the chip is built
        return None


def _head(name: str, schema: str) -> list[str]:
    return [
        f"# yaml-language-server: $schema={schema}",
        "# Written by cimsim hw new. `cimsim hw check FILE` says what is missing or odd, `cimsim",
        "# hw show FILE` where area and energy go, `cimsim run --hw FILE` what a network does.",
        "# Quantities are texts with a unit (0.35 pJ, 20 ns, 64 KiB); a wrong dimension or an",
        "# unknown key is refused.",
        "schema_version: 1",
        f"name: {_value(name)}  # what tables call the chip",
        "summary: ''",
    ]


def _body(given: Mapping[str, object]) -> list[str]:
    """Return the example's sections with the given values; what it lacks is appended to them."""
    example = shipped()[EXAMPLE].splitlines()
    start = next(i for i, line in enumerate(example) if line.startswith("process:"))
    end = next(i for i, line in enumerate(example) if line.startswith("# Where each number"))
    left, lines, section = dict(given), [""], ""
    for line in example[start:end]:
        match = _FIELD.match(line)
        if match is None or line.startswith("#"):
            lines += _rest(left, section) if not line and section else []
            lines.append(line)
            section = "" if not line else section
            continue
        indent, key, _, comment = match.groups()
        if not indent:
            section = key
        path = f"{section}.{key}" if indent else key
        if path == "leaves_out" and path not in left:
            line = f"leaves_out: {_value(_left_out(given))}"
        if path in left:
            line = f"{indent or ''}{key}: {_value(left.pop(path))}{comment or ''}"
        lines.append(line)
    for head in dict.fromkeys(path.partition(".")[0] for path in left):
        if f"{head}:" not in {line.partition("  #")[0].rstrip() for line in lines}:
            own = _rest(left, head)
            whole = [f"{head}: {_value(left.pop(head))}"] if head in left else [f"{head}:", *own]
            lines += [*whole, ""]
    return lines


def _left_out(given: Mapping[str, object]) -> list[str]:
    """Return the parts that the example leaves out, without those that a given field states."""
    parts = default("leaves_out")
    assert isinstance(parts, list)
    return [part for part in parts if not any(path in given for path in LEDGER[part].fields)]


def _rest(left: dict[str, object], section: str) -> list[str]:
    """Return lines for given fields of a section that the example does not have."""
    paths = [path for path in left if path.partition(".")[0] == section and "." in path]
    return [f"  {path.partition('.')[2]}: {_value(left.pop(path))}" for path in paths]


def _value(value: object) -> str:
    """Return a value as it stands behind a colon, quoted where YAML would read another one."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()


def _sources(raw: Mapping[str, object], given: Mapping[str, object], source: str, kind: str) -> str:
    """Return the section ``sources``: what was given, and what nobody has told."""
    lines = [
        "# Where each number comes from: measured, vendor, model or estimate. The kind decides",
        "# how wide the interval of a result is; `range: 1.3..7.8 pJ` beside it does, too.",
        "sources:",
    ]
    for path, value in numbers(raw).items():
        if isinstance(value, str) and value.startswith("auto"):
            continue
        if path in given:
            if source:
                lines.append(f"  {path}: {{kind: {kind}, text: {_quoted(source)}}}")
        else:
            lines.append(f"  {path}: {{kind: estimate, text: {_quoted(DEFAULT_SOURCE)}}}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def answer(path: str, text: str) -> object:
    """Return what somebody typed as YAML would read it.

    Raises
    ------
    ConfigError
        Not a value.
    """
    try:
        return yaml_text.load(text, OPTION)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
