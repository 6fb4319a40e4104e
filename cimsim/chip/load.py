"""Read a hardware description: shipped name or file -> `Chip`, with overrides."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError

from cimsim.boundary import json_text, limits, tree, yaml_text
from cimsim.boundary.limits import shown
from cimsim.boundary.outside import code_digest, lookup
from cimsim.boundary.text import NO_SUCH_FILE, is_file, read_text, told_missing
from cimsim.chip.auto import Estimate, resolve
from cimsim.chip.converters import check_converter
from cimsim.chip.described import describe
from cimsim.chip.history import History, Kept, Rescaled
from cimsim.chip.ledger import value_at
from cimsim.chip.parts.base import Named
from cimsim.chip.parts.converters import Adc
from cimsim.chip.parts.system import Interconnect
from cimsim.chip.ranges import relative_ranges
from cimsim.chip.rescale import is_given, rescale
from cimsim.chip.spec import Chip
from cimsim.chip.voltage import at_operating_point
from cimsim.errors import ConfigError, suggest
from cimsim.units import canonical

FILES = (("device", "file"), ("faults", "map"))  # fields that name a file
OP_COSTS = "cimsim.op_costs"  # group of entry points
# sections whose kind may be a class of the user's own, with the mark of that field
NAMED = {
    section: mark
    for section, part in (("adc", Adc), ("interconnect", Interconnect))
    for mark in part.model_fields["kind"].metadata
    if isinstance(mark, Named)
}
_FINDINGS = 8  # that one message lists
_TABLE = "operating.table"  # one number among others, although it is a mapping


def shipped() -> dict[str, str]:
    """Return the shipped descriptions: name -> YAML text, sorted by name."""
    folder = files("cimsim.hwconfigs")
    entries = [entry for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(entries, key=lambda entry: entry.name)
    }


def load_hw(
    name: str | Path, overrides: Mapping[str, object] | Iterable[str] | None = None
) -> Chip:
    """Load a chip.

    Parameters
    ----------
    name : str or Path
        A file, or the name of a shipped description with or without ``.yaml``. A file in the
        working directory wins over a shipped one of the same name.
    overrides : mapping or iterable of str, optional
        ``{"adc.bits": 6}`` or ``["adc.bits=6"]``: values as they would stand in the YAML.

    Raises
    ------
    ConfigError
        Unknown name, broken YAML, unknown key, wrong type, range or unit. The message reads
        ``<file>: <path>: <what was expected, what came>``.

    Notes
    -----
    Files that a description names (`FILES`) are sought beside it when their path is relative; in
    an override, in the working directory.

    Numbers that were given for what an override changes follow it, see `cimsim.chip.rescale`;
    `Chip.history` tells which.
    """
    return described(name, overrides)[0]


def described(
    name: str | Path, overrides: Mapping[str, object] | Iterable[str] | None = None
) -> tuple[Chip, str, Mapping[str, object]]:
    """Load a chip, and return with it its origin and its plain description, overrides included.

    Raises
    ------
    ConfigError
        As `load_hw`.
    """
    origin, text = _read(name)
    raw = _parse(origin, text)
    _beside(raw, Path(name))
    pairs = _pairs(overrides)
    if not pairs:
        return build(raw, origin), origin, raw
    plain = copy.deepcopy(raw)
    before = {path for path in _sources(raw) if _exists(raw, path)}
    # another kind of cell first: it must not sweep away parameters that stand before it
    for path, value in sorted(pairs, key=lambda pair: pair[0] != "device.kind"):
        _override(origin, raw, path, value)
    gone = {path for path in before if not _exists(raw, path)}
    sources = raw.get("sources")
    if gone and isinstance(sources, dict):
        raw["sources"] = {k: v for k, v in sources.items() if k not in gone}
    try:
        unchanged: Chip | None = _resolved(plain, origin)
    except ConfigError:  # the overrides mend a file that is none without them
        unchanged = None
    ranges: dict[str, tuple[float, float]] = {}
    given = frozenset(path for path, _ in pairs)
    if unchanged is not None:
        # a range is one of the number in the file, wherever the number goes from there
        ranges = _ranges(unchanged, origin)
        ranges = {path: ends for path, ends in ranges.items() if not is_given(path, given)}
        raw = _without_ranges(raw)
    chip = build(raw, origin)
    if unchanged is not None and chip.device.kind != unchanged.device.kind:
        ranges = {path: ends for path, ends in ranges.items() if not path.startswith("device.")}
    rescaled: tuple[Rescaled, ...] = ()
    kept: tuple[Kept, ...] = ()
    if unchanged is not None:
        new, rescaled, kept = rescale(
            origin, unchanged, raw, given, partial(_resolved, origin=origin)
        )
        raw = dict(new)
        chip = build(raw, origin) if rescaled else chip
    override_texts = tuple(f"{path}={_told(value)}" for path, value in pairs)
    history = replace(chip.history, overrides=override_texts, rescaled=rescaled, kept=kept)
    history = replace(history, ranges=ranges or chip.history.ranges)
    if unchanged is not None:
        stay = ranges.keys() - {one.path for one in rescaled}
        chip = _with_ranges(chip, unchanged, stay)
    return chip.with_history(history), origin, raw


def _ranges(chip: Chip, origin: str) -> dict[str, tuple[float, float]]:
    try:
        return relative_ranges(chip)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _without_ranges(raw: dict[str, object]) -> dict[str, object]:
    """Return a description whose numbers may leave the ranges that its file gives them."""
    kept = {key: value for key, value in raw.items() if key != "ranges"}
    sources = raw.get("sources")
    if isinstance(sources, dict):
        kept["sources"] = {
            path: {key: text for key, text in source.items() if key != "range"}
            if isinstance(source, dict) else source
            for path, source in sources.items()
        }  # fmt: skip
    return kept


def _with_ranges(chip: Chip, file: Chip, paths: AbstractSet[str]) -> Chip:
    """Return a chip with the ranges of its file, of numbers that stayed what they were."""
    sources = {
        path: file.sources[path] if path in paths and path in file.sources else source
        for path, source in chip.sources.items()
    }
    ranges = {path: text for path, text in file.ranges.items() if path in paths}
    return chip.model_copy(update={"sources": sources, "ranges": ranges})


def _resolved(raw: Mapping[str, object], origin: str) -> Chip:
    """Return a chip with all estimates, not yet at its operating point."""
    return _validated(origin, _filled(raw, origin)[0])


def _filled(
    raw: Mapping[str, object], origin: str
) -> tuple[Mapping[str, object], dict[str, Estimate]]:
    """Return the description with figures in place of each ``auto``, and what they are."""
    return resolve(raw, origin, partial(_validated, origin))


def _told(value: object) -> str:
    """Write a value of an override as the command line has it."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def build(raw: Mapping[str, object], origin: str = "chip") -> Chip:
    """Validate a plain mapping as a chip; ``origin`` stands at the head of each message.

    Fields that say ``auto`` are estimated, and the chip is brought to its operating point.
    """
    try:
        tree.check(raw, limits.CHIP)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    plain, estimated = _filled(raw, origin)
    chip = _validated(origin, plain)
    for path in chip.sources:
        if not _exists(raw, path):
            raise ConfigError(
                f"{origin}: sources: '{path}' names no field of this file"
                + suggest(path, sorted(numbers(raw)))
            )
    for part, path in chip.included_in.items():
        if not _exists(raw, path):
            raise ConfigError(
                f"{origin}: included_in.{part}: '{path}' names no field of this file"
                + suggest(path, sorted(numbers(raw)))
            )
        if not _is_number_at(chip, path):
            raise ConfigError(
                f"{origin}: included_in.{part}: {shown(path)} is no number that could hold another"
                + suggest(path, sorted(numbers(raw)))
            )
    ranges = _ranges(chip, origin)
    try:
        there = at_operating_point(chip)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    _ask_own(there, origin)
    return there.with_history(History(ranges=ranges, estimated=frozenset(estimated)))


def _ask_own(chip: Chip, origin: str) -> None:
    """Ask a converter and an interconnect of the user's own for their numbers."""
    from cimsim.chip.interconnects import check_interconnect

    try:
        check_converter(chip.adc.kind, chip.adc)
        check_interconnect(chip)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error.__cause__


def estimates(raw: Mapping[str, object], origin: str = "chip") -> dict[str, Estimate]:
    """Return what each ``auto`` of a description becomes, by dotted path."""
    return _filled(raw, origin)[1]


def _validated(origin: str, raw: Mapping[str, object]) -> Chip:
    try:
        return Chip.model_validate(dict(raw))
    except ValidationError as error:
        lines = _explain(origin, error)
        more = [f"{origin}: and {len(lines) - _FINDINGS} more"] if len(lines) > _FINDINGS else []
        raise ConfigError("\n".join(lines[:_FINDINGS] + more)) from None


def dump(chip: Chip) -> dict[str, object]:
    """Return the resolved chip as plain data in SI units (for results and hashes).

    A file stands there by its name and content, not by its place.
    """
    # a section that a chip lacks is no part of what it is
    absent = {"matmul"} if chip.matmul is None else set()
    data = chip.model_dump(mode="json", exclude={"sources", *absent})
    for section, field in FILES:
        given = data[section].get(field)
        if isinstance(given, str) and is_file(given):
            content = hashlib.sha256(Path(given).read_bytes()).hexdigest()
            data[section][field] = f"{Path(given).name} sha256:{content}"
    data["device"] = _in_si(data["device"])
    code = _code_of_cells(chip.device.kind)
    if code is not None:
        data["device"]["source_code"] = code
    data["operating"]["table"] = _in_si(data["operating"]["table"])
    costs = data["vector"].pop("costs")
    if costs:
        data["vector"]["costs"] = {name: _with_code(value, OP_COSTS)
                                   for name, value in costs.items()}  # fmt: skip
    if data["adc"]["count_noise_lsb"] == 0:  # of one kind only
        data["adc"].pop("count_noise_lsb")
    for section, named in NAMED.items():
        data[section]["kind"] = _with_code(data[section]["kind"], named.group, named.names)
    return data


def _with_code(value: object, group: str, known: Collection[str] = ()) -> object:
    """Return the name of a part of the user's own with the digest of its text.

    Anything else comes back as it is.
    """
    if not isinstance(value, str) or value in known:
        return value
    try:
        return f"{value} sha256:{code_digest(lookup(value, known, group, value, ConfigError))}"
    except ConfigError:  # who asks for it refuses it
        return value


def _code_of_cells(kind: str) -> str | None:
    """Return the digest of a cell model of the user's own: another text of it is another chip."""
    from cimsim.chip.cells import DEVICES, model_of

    if kind in DEVICES:
        return None
    try:
        return f"sha256:{code_digest(model_of(kind))}"
    except ConfigError:  # an unknown kind, which `device_of` refuses
        return None


def _in_si(value: object) -> object:
    """Return raw data with its quantities in SI units, so that 1 uS and 1000 nS are the same."""
    if isinstance(value, dict):
        return {canonical(key): _in_si(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_in_si(part) for part in value]
    return canonical(value) if isinstance(value, str) else value


def chip_hash(chip: Chip) -> str:
    """SHA-256 over everything that can change a result: titles and sources cannot."""
    data = dump(chip)
    for name in ("name", "summary", "leaves_out", "included_in"):
        data.pop(name)
    return json_text.digest(data)


def numbers(raw: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return every numeric leaf of a YAML mapping by dotted path (``sources`` left out)."""
    leaves: dict[str, object] = {}
    for key, value in raw.items():
        path = f"{prefix}{key}"
        if path in ("sources", "ranges", "schema_version"):
            continue
        if path == _TABLE:
            leaves[path] = value
        elif isinstance(value, Mapping):
            leaves |= numbers(value, path + ".")
        elif is_number(value) and path != "summary":
            leaves[path] = value
    return leaves


def is_number(value: object) -> bool:
    """Whether a YAML leaf is a number or a quantity string."""
    if isinstance(value, str):
        return value[:1].isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)


def raw_mapping(name: str | Path) -> tuple[str, dict[str, object]]:
    """Return (origin, plain YAML mapping) without validation, for `hw show` and `hw check`."""
    origin, text = _read(name)
    return origin, _parse(origin, text)


def _read(name: str | Path) -> tuple[str, str]:
    path = Path(name)
    if is_file(path):
        try:
            return str(path), read_text(path, limits.CHIP)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
    known = shipped()
    stem = path.name.removesuffix(".yaml").removesuffix(".yml")
    if path.parent == Path() and stem in known:
        return f"{stem}.yaml", known[stem]
    why = told_missing(path)
    if why != NO_SUCH_FILE:
        raise ConfigError(f"hw: '{name}' {why}; give a shipped name or the path of a YAML file")
    what = f"no file '{name}'" if path.suffix or path.parent != Path() else f"no chip '{name}'"
    raise ConfigError(
        f"hw: {what} and no shipped description of that name{suggest(stem, known)}; "
        "give one of these or the path of a YAML file"
    )


def _beside(raw: dict[str, object], file: Path) -> None:
    """Make relative file names of a description those beside it."""
    if not is_file(file):
        return
    for section, field in FILES:
        place = raw.get(section)
        if not isinstance(place, dict):
            continue
        given = place.get(field)
        if isinstance(given, str) and not Path(given).is_absolute():
            raw[section] = {**place, field: str(file.resolve().parent / given)}


def _parse(origin: str, text: str) -> dict[str, object]:
    try:
        raw = yaml_text.load(text, limits.CHIP)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    if raw is None:
        raise ConfigError(f"{origin}: the file is empty; expected a mapping of chip fields")
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin}: expected a mapping of chip fields, got {type(raw).__name__}")
    return raw


def _pairs(overrides: Mapping[str, object] | Iterable[str] | None) -> list[tuple[str, object]]:
    if overrides is None:
        return []
    if isinstance(overrides, Mapping):
        return [(_field(path, str(path)), _plain(path, value)) for path, value in overrides.items()]
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list of texts, got the text '{overrides}'")
    pairs = []
    for item in overrides:
        if not isinstance(item, str):
            raise ConfigError(f"--set: expected path=value such as adc.bits=6, got {item!r}")
        path, sign, text = item.partition("=")
        if not sign or not path.strip():
            raise ConfigError(
                f"--set: expected path=value such as adc.bits=6, got {limits.shown(item)}"
            )
        try:
            value = yaml_text.load(text, limits.OPTION)
        except ValueError as error:
            raise ConfigError(f"--set {_field(path, item)}: {error}") from None
        pairs.append((_field(path, item), value))
    return pairs


def _field(path: object, item: str) -> str:
    """Return the dotted path of an override."""
    if not isinstance(path, str) or not all(
        re.fullmatch(r"\w+", p) for p in path.strip().split(".")
    ):
        raise ConfigError(
            f"--set: expected the path of a field such as adc.bits, got {limits.shown(item)}"
        )
    return path.strip()


def _plain(path: str, value: object) -> object:
    """Return an override of the API as YAML would have it; numpy's scalars are welcome."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    try:
        tree.check(value, limits.OPTION)
    except ValueError as error:
        raise ConfigError(f"overrides: {path}: {error}") from None
    return value


def _override(origin: str, raw: dict[str, object], path: str, value: object) -> None:
    """Put ``value`` at a dotted path; the field itself is checked by the model afterwards.

    Another ``device.kind`` is another cell: the parameters of the old one go with it.
    """
    device = raw.get("device")
    if path == "device.kind" and isinstance(device, dict):
        if device.get("kind") != value:
            raw["device"] = {"kind": value}
            _leave_out_of_device(raw)
        return
    *parents, leaf = path.split(".")
    place = raw
    for depth, part in enumerate(parents):
        below = place.setdefault(part, {})
        if not isinstance(below, dict):
            at = ".".join(parents[: depth + 1])
            raise ConfigError(f"{origin}: --set {path}: '{at}' is a value, it has no fields")
        place = below
    place[leaf] = value


def _leave_out_of_device(raw: dict[str, object]) -> None:
    """Say that nobody counts what a parameter of the old cell held, and forget its sources."""
    sources = raw.get("sources")
    if isinstance(sources, dict):
        raw["sources"] = {k: v for k, v in sources.items() if not str(k).startswith("device.")}
    inside = raw.get("included_in")
    if isinstance(inside, dict):
        lost = [part for part, path in inside.items() if str(path).startswith("device.")]
        raw["included_in"] = {part: path for part, path in inside.items() if part not in lost}
        before = raw.get("leaves_out")
        raw["leaves_out"] = [*before, *lost] if isinstance(before, Iterable) else lost


def _sources(raw: Mapping[str, object]) -> Mapping[str, object]:
    sources = raw.get("sources")
    return sources if isinstance(sources, Mapping) else {}


def _exists(raw: Mapping[str, object], path: str) -> bool:
    place: object = raw
    for part in path.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return True


def _is_number_at(chip: Chip, path: str) -> bool:
    """Whether a dotted path leads to a number of a chip, and not to a section or a text."""
    try:
        value_at(chip, path)
    except (TypeError, ValueError, StopIteration):
        return False
    return True


def _explain(origin: str, error: ValidationError) -> list[str]:
    """Turn pydantic's findings into our message form."""
    lines = []
    for item in error.errors(include_url=False):
        location = [str(part) for part in item["loc"]]
        path = ".".join(location)
        head = f"{origin}: {path}: " if path else f"{origin}: "
        lines.append(head + describe(item, partial(_fields, location[:-1])))
    return lines


def _model_of(annotation: object) -> type[BaseModel] | None:
    """Return the model that an annotation names, also inside ``dict[str, ...]`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_of(part) for part in get_args(annotation))
    return next((one for one in models if one is not None), None)


def _fields(location: list[str]) -> list[str]:
    """YAML names of the fields of the model at ``location``; none where no model stands."""
    model: type[BaseModel] = Chip
    for part in location:
        fields = model.model_fields.items()
        field = next((one for name, one in fields if part in (one.alias, name)), None)
        if field is None:
            continue  # a key of a mapping of models
        inner = _model_of(field.annotation)
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
