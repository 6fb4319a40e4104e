"""A study: what varies and how far, from options, a file or Python; and the points of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cimsim.boundary import yaml_text
from cimsim.boundary.arguments import number as checked_number
from cimsim.boundary.limits import CHIP, OPTION, shown
from cimsim.boundary.text import read_text
from cimsim.errors import ConfigError, suggest
from cimsim.mapping.strategies import USUAL
from cimsim.studies.points import Frames, Network, Point, Seeds, Value

if TYPE_CHECKING:
    from cimsim.timing.plan.plan import Schedule

T = TypeVar("T")
MOST = 10_000  # points that nobody needs to confirm
_LARGEST = 10_000_000  # values of one range
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"\s*([A-Za-z%µ/]*)\s*"
_IS_RANGE = re.compile(r"\s*[-+]?\.?\d[^/]*\.\.")  # ../cells.csv is none
_RANGE = re.compile(rf"\s*({_NUMBER}){_UNIT}\.\.\s*({_NUMBER}){_UNIT}(?::\s*({_NUMBER}){_UNIT})?")


@dataclass(frozen=True)
class Grid:
    """Every combination of what is listed.

    Attributes
    ----------
    networks : tuple of Network
    chips : tuple of str
        Names or files.
    set : mapping of str to tuple
        Chip field -> its values.
    mappings, allocations : tuple of str
    schedule : str
    clips : tuple of (str or None)
        None: the embedded clip.
    sigmas : tuple of float
        Noise, in 8-bit steps.
    frames : int
        Of each clip; 0: none, only time and energy.
    start : int
    size : (int, int) or None
        Height and width.
    seed, seeds : int
        Chips that are programmed and read on the same frames, with ``seed``, ``seed + 1`` ...
    frame_rate_hz : float or None
    """

    networks: tuple[Network, ...] = (Network(),)
    chips: tuple[str, ...] = ("eflash40nm",)
    set: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    mappings: tuple[str, ...] = (USUAL,)
    allocations: tuple[str, ...] = ("in_order",)
    schedule: Schedule = "pipelined"
    clips: tuple[str | None, ...] = (None,)
    sigmas: tuple[float, ...] = (15.0,)
    frames: int = 5
    start: int = 0
    size: tuple[int, int] | None = None
    seed: int = 0
    seeds: int = 1
    frame_rate_hz: float | None = None

    def __post_init__(self) -> None:
        for name in ("networks", "chips", "mappings", "allocations", "clips", "sigmas"):
            if not getattr(self, name):
                raise ConfigError(f"study: {name}: expected at least one, got none")
        for path, values in self.set.items():
            if not values:
                raise ConfigError(f"study: set {path}: expected at least one value, got none")
        for name, least, most in (
            ("frames", 0, 1 << 20), ("start", 0, 1 << 31), ("seeds", 1, 1_000_000),
            ("seed", 0, 2**63 - 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(f"study: {name}: expected {least} .. {most}, got {shown(value)}")
        for sigma in self.sigmas:
            if (
                isinstance(sigma, bool)
                or not isinstance(sigma, int | float)
                or not (0 <= sigma <= 255)
            ):
                raise ConfigError(f"study: sigma: expected 0 .. 255, got {shown(sigma)}")
        _check_rate(self.frame_rate_hz)
        if self.schedule not in ("pipelined", "sequential"):
            known = ("pipelined", "sequential")
            raise ConfigError(
                f"study: schedule {shown(self.schedule)} is unknown{suggest(self.schedule, known)}"
            )

    @property
    def n_points(self) -> int:
        """How many points there are."""
        axes = (self.networks, self.chips, self.mappings, self.allocations, self.clips, self.sigmas)
        return prod(map(len, axes)) * prod(map(len, self.set.values())) * self._chips

    @property
    def _chips(self) -> int:
        return self.seeds if self.frames else 1  # without frames no seed changes a number

    def points(self) -> Iterator[Point]:
        """Yield the points, chips on the same frames last."""
        places = product(
            self.networks, self.chips, product(*self.set.values()), self.mappings,
            self.allocations, self.clips, self.sigmas, range(self._chips),
        )  # fmt: skip
        for network, hw, values, mapping, allocation, clip, sigma, number in places:
            overrides = tuple(zip(self.set, values, strict=True))
            settings: dict[str, Value] = {"network": network.model}
            settings |= {f"network.{name}": value for name, value in network.options}
            settings |= {"weights": network.weights, "chip": hw}
            settings |= {path: _told(value) for path, value in overrides}
            settings |= {"mapping": mapping, "allocation": allocation, "clip": clip,
                         "sigma": float(sigma), "seed": self.seed + number}  # fmt: skip
            yield Point(
                network, hw, overrides, mapping, allocation, self.schedule,
                Frames(clip, self.frames, self.start, self.size, float(sigma)),
                Seeds.of_chip(self.seed, number), self.frame_rate_hz, settings,
            )  # fmt: skip

    def check(self) -> None:
        """Refuse names and fields that no chip and no program has, before anything takes long.

        Raises
        ------
        CimsimError
            The first of them.
        """
        from cimsim.chip.load import load_hw
        from cimsim.placing import by_name
        from cimsim.session.loading import check_name

        for network in self.networks:
            check_name(network.model, dict(network.options))
            _check_weights(network.weights)
        for mapping, allocation in product(self.mappings, self.allocations):
            by_name.check(mapping, allocation)
        for clip in self.clips:
            _check_clip(clip)
        for hw in self.chips:
            load_hw(hw)
            for path, values in self.set.items():
                self._check_field(hw, path, values)

    def _check_field(self, hw: str, path: str, values: tuple[object, ...]) -> None:
        """Refuse a field only if no other value of the study lets it pass."""
        from cimsim.chip.load import load_hw

        first: ConfigError | None = None
        others = {other: held[0] for other, held in self.set.items() if other != path}
        for value in (values[0], values[-1]):
            for beside in ({}, others):
                try:
                    load_hw(hw, {**beside, path: value})
                except ConfigError as error:
                    first = first or error
                else:
                    return
        assert first is not None
        if isinstance(values[0], Mapping):
            raise ConfigError(
                f"{first}\n{path}: braces stand for the whole of it; if it is one of its fields "
                f"that varies: {path}.{next(iter(values[0]), 'FIELD')}"
            )
        raise first


@dataclass(frozen=True)
class Plan:
    """The grids of a study, one after another.

    Attributes
    ----------
    grids : tuple of Grid
    name : str
    """

    grids: tuple[Grid, ...]
    name: str = "study"

    @property
    def n_points(self) -> int:
        """How many points there are; such that stand in two grids count twice."""
        return sum(grid.n_points for grid in self.grids)

    def points(self) -> list[Point]:
        """Return all points, each once."""
        points: dict[str, Point] = {}
        for grid in self.grids:
            for point in grid.points():
                points.setdefault(repr(point), point)
        return list(points.values())

    def check(self, confirmed: bool = False) -> None:
        """Refuse what is wrong, and more than `MOST` points that nobody confirmed.

        Raises
        ------
        CimsimError
            One message.
        """
        if self.n_points > MOST and not confirmed:
            raise ConfigError(
                f"study: {self.n_points:,} points; more than {MOST:,} run only with --yes "
                "(Python: confirmed=True). Take fewer values, or search instead of sweeping"
            )
        for grid in self.grids:
            grid.check()

    def to_data(self) -> dict[str, object]:
        """Return the study as plain data."""
        return {"name": self.name, "grids": [_grid_data(grid) for grid in self.grids]}


def _grid_data(grid: Grid) -> dict[str, object]:
    return asdict(replace(grid, set={})) | {"set": {k: list(v) for k, v in grid.set.items()}}


def expand(text: str, name: str) -> tuple[object, ...]:
    """Return the values that a text stands for: ``4..10``, ``20..100:20 MHz``, ``40,76``, ``on``.

    Parameters
    ----------
    text : str
        Parts between commas; a part ``a..b`` is a range with both ends, of whole numbers or with a
        step after a colon; a unit behind it holds for all its values.
    name : str
        What messages name.

    Raises
    ------
    ConfigError
        An empty range, or a part that cannot be read.
    """
    expanded: list[object] = []
    for part in _parts(text):
        if not part.strip():
            raise ConfigError(f"{name}: an empty value in {shown(text)}")
        expanded += _range(part, name) if _IS_RANGE.match(part) else [_value(part, name)]
    return tuple(expanded)


def _parts(text: str) -> Iterator[str]:
    """Cut at commas that stand in no bracket."""
    depth, begin = 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]


def _range(part: str, name: str) -> list[object]:
    match = _RANGE.fullmatch(part)
    units = set() if match is None else {unit for unit in (match[2], match[4], match[6]) if unit}
    if match is None or len(units) > 1:
        raise ConfigError(
            f"{name}: {shown(part.strip())} is no range; expected such as 4..10, or with a step "
            "and one unit 20..100:20 MHz"
        )
    low, high, step = (Decimal(match[n] or "1") for n in (1, 3, 5))
    if match[5] is None and (low != int(low) or high != int(high)):
        raise ConfigError(
            f"{name}: the range {part.strip()} needs a step, such as {part.strip()}:{high - low}"
        )
    if step <= 0 or low > high:
        why = "its step is not above 0" if step <= 0 else f"{low} is above {high}"
        raise ConfigError(f"{name}: the range {part.strip()} is empty: {why}")
    count = int((high - low) / step) + 1
    if count > _LARGEST:  # before they are made
        raise ConfigError(f"{name}: the range {part.strip()} has {count:,} values")
    values = [low + i * step for i in range(count)]
    for unit in units:
        return [f"{value.normalize():f} {unit}" for value in values]
    exact = low == int(low) and step == int(step)
    return [int(v) if exact else float(v) for v in values]


def _value(part: str, name: str) -> object:
    try:
        return yaml_text.load(part.strip(), OPTION)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def _told(value: object) -> Value:
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _check_rate(rate: object) -> None:
    if rate is not None and checked_number("study: frame_rate", rate, 0, float("inf")) == 0:
        raise ConfigError("study: frame_rate: expected more than 0 frames per second, got 0")


def _check_clip(clip: str | None) -> None:
    from cimsim.video.clip import load_clip

    if clip is not None:
        load_clip(clip, 1)


def _check_weights(weights: str | None) -> None:
    """Refuse weights of which there is neither a file nor a shipped name."""
    from cimsim.zoo.weights import folder, named_card

    if weights in (None, "random") or Path(str(weights)).is_file():
        return
    if named_card(str(weights)) is None:
        known = sorted(file.stem for file in folder().glob("*.safetensors"))
        raise ConfigError(
            f"weights: '{weights}' is no file and no name of shipped weights"
            f"{suggest(str(weights), known)}"
        )


KEYS = ("name", "networks", "chips", "set", "mappings", "allocations", "schedule", "clips",
         "sigmas", "frames", "start", "size", "seed", "seeds", "frame_rate", "grids")  # fmt: skip
_OF_ALL = ("grids", "name")
_WEIGHTS, _MODEL, _STREAMING, _INPUTS = "weights", "model", "streaming", "input_shape"


def read(path: str | Path) -> Plan:
    """Read a ``study.yaml``.

    Raises
    ------
    ConfigError
        One message: the file, the key, what was expected.
    """
    path = Path(path)
    try:
        data = yaml_text.load(read_text(path, CHIP), CHIP)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the study cannot be read: {error}") from None
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{path}: expected a mapping with {', '.join(KEYS)}")
    try:
        return from_data(data, path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def from_data(data: Mapping[str, object], name: str = "study") -> Plan:
    """Return the study that plain data describes; each of its ``grids`` overrides what is above.

    Raises
    ------
    ConfigError
        An unknown key, or a value that cannot be one.
    """
    common = {key: value for key, value in data.items() if key not in _OF_ALL}
    parts = data.get("grids", [{}])
    if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) for p in parts):
        raise ConfigError("grids: expected a list of mappings")
    for part in parts:
        for key in _OF_ALL:
            if key in part:
                raise ConfigError(f"grids: '{key}' belongs to the whole study, not to one of them")
    return Plan(tuple(_grid({**common, **part}) for part in parts), _name(data.get("name", name)))


def _name(value: object) -> str:
    """Return what a study is called; its folder is, too."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"name: expected a text, got {shown(value)}")
    text = str(value).strip()
    if not text or len(text) > 100 or not text.isprintable() or set(text) & set("/\\:"):
        raise ConfigError(
            f"name: expected 1 to 100 characters, for a folder is called so, too: no "
            f"'/', '\\' or ':', got {shown(value)}"
        )
    return text


def _grid(data: Mapping[str, object]) -> Grid:
    given: dict[str, Any] = {}  # arguments of a grid
    for key, value in data.items():
        if key not in KEYS:
            raise ConfigError(f"{shown(key)} is no key of a study{suggest(key, KEYS)}")
        if key == "networks":
            given[key] = _once([one for part in _listed(value) for one in _networks(part)])
        elif key == "set":
            if not isinstance(value, Mapping):
                raise ConfigError(f"set: expected chip fields and values, got {shown(value)}")
            given[key] = {path: _once(values(v, f"set {path}")) for path, v in value.items()}
        elif key in ("chips", "mappings", "allocations"):
            given[key] = _once([str(one) for one in _listed(value)])
        elif key == "clips":
            clips = (None if v in (None, "embedded") else str(v) for v in _listed(value))
            given[key] = _once(list(clips))
        elif key == "sigmas":
            given[key] = _once(values(value, key))
        elif key == "size":
            given[key] = _size(value)
        elif key == "frame_rate":
            given["frame_rate_hz"] = value
        else:
            given[key] = value
    return Grid(**given)


def _once(values: Sequence[T]) -> tuple[T, ...]:
    """Return values in their order, each once; 4 and 4.0 are two."""
    return tuple({repr(value): value for value in values}.values())


def values(value: object, name: str) -> tuple[object, ...]:
    """Return the values of an axis: a list, a range as text, or one."""
    if isinstance(value, list | tuple):
        return tuple(one for part in value for one in values(part, name))
    if isinstance(value, range):
        return tuple(value)
    if isinstance(value, str):
        return expand(value, name)
    return (value,)


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _networks(part: object) -> Iterator[Network]:
    """Yield the networks of one entry; each of its options may be a range."""
    if isinstance(part, Network):
        yield part
        return
    if isinstance(part, str):
        part = {_MODEL: part}
    if not isinstance(part, Mapping) or not isinstance(part.get(_MODEL), str):
        raise ConfigError(f"networks: expected a name or {{model: NAME, ...}}, got {shown(part)}")
    axes = {
        name: tuple(_listed(v)) if name == _WEIGHTS else values(v, f"networks: {name}")
        for name, v in part.items()
        if name != _MODEL
    }
    for chosen in product(*axes.values()):
        own = dict(zip(axes, chosen, strict=True))
        weights, streaming = own.pop(_WEIGHTS, None), own.pop(_STREAMING, False)
        if not isinstance(streaming, bool):
            raise ConfigError(
                f"networks: streaming: expected true or false, got {shown(streaming)}"
            )
        if weights is not None and not isinstance(weights, str | Path):
            raise ConfigError(f"networks: weights: expected file or name, got {shown(weights)}")
        weights = None if weights is None else str(weights)
        shapes = tuple(filter(None, str(own.pop(_INPUTS, "")).split(";")))
        yield Network(part[_MODEL], tuple(own.items()), weights, streaming, shapes)


def _size(value: object) -> tuple[int, int] | None:
    if value is None or isinstance(value, tuple):
        return value
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", str(value))
    if match is None or "0" in (match[1].strip("0") or "0", match[2].strip("0") or "0"):
        raise ConfigError(f"size: expected WIDTHxHEIGHT such as 960x540, got {shown(value)}")
    return int(match[2]), int(match[1])
