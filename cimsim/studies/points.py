"""One point of a study: a network, a chip, a mapping and what is asked of them, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from cimsim.chip.load import load_hw
from cimsim.chip.spec import Chip
from cimsim.mapping.strategies import USUAL

if TYPE_CHECKING:
    from cimsim.timing.plan.plan import Schedule

Value = int | float | str | bool | None


class NumberData(TypedDict):
    """A number of a result as JSON has it."""

    value: float | int | str | None
    unit: str
    meaning: str
    interval: list[float] | None


class Row(TypedDict):
    """What a study keeps of a point: settings, numbers, doubts, or why it has no numbers."""

    id: str
    key: str | None
    settings: dict[str, Value]
    numbers: dict[str, NumberData]
    doubts: list[dict[str, str]]
    network: str | None
    frame: list[int] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Seeds:
    """Where randomness comes from, each for itself.

    Attributes
    ----------
    clip : int
        Noise that is added to the frames.
    programming : int
        Cells, converters and drivers of one made chip, and the reads during its calibration.
    reads : int
        Read noise while frames run.
    calibration : int
        Noise on the calibration frames.
    """

    clip: int = 0
    programming: int = 0
    reads: int = 0
    calibration: int = 0

    @classmethod
    def of_chip(cls, seed: int, number: int) -> Seeds:
        """Return those of the ``number``-th chip that runs on the same frames.

        That of number 0 has the bits of ``cimsim run --seed``.
        """
        return cls(seed, seed + number, seed + number, seed)


@dataclass(frozen=True, slots=True)
class Network:
    """A network by name, as `cimsim.session.loading.load_network` takes it.

    Attributes
    ----------
    model : str
    options : tuple of (str, value)
    weights : str or None
    streaming : bool
    inputs : tuple of str
        What it takes where that is no window of frames and no file or package tells it, as
        ``--input-shape`` says it; such networks are asked for time and energy alone.
    """

    model: str = "cimnet"
    options: tuple[tuple[str, int | str], ...] = ()
    weights: str | None = None
    streaming: bool = False
    inputs: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, model: str, options: Mapping[str, int | str], weights: str | None,
        streaming: bool = False, inputs: Sequence[str] | None = None,
    ) -> Network:  # fmt: skip
        """Return the network that a command asks for, its options in the order of their names."""
        return cls(model, tuple(sorted(options.items())), weights, streaming, tuple(inputs or ()))


@dataclass(frozen=True, slots=True)
class Frames:
    """Which frames run.

    Attributes
    ----------
    clip : str or None
        A path as `cimsim.load_clip` takes it; None: the embedded clip.
    count : int
        0: none, only time and energy are asked.
    start : int
    size : (int, int) or None
        Height and width that are cut from the centre; None: the clip's own, 256 x 256 embedded.
    sigma : float
        Noise that is added, in 8-bit steps.
    """

    clip: str | None = None
    count: int = 5
    start: int = 0
    size: tuple[int, int] | None = None
    sigma: float = 15.0


@dataclass(frozen=True)
class Point:
    """One simulation of a study.

    Attributes
    ----------
    network : Network
    hw : str
    overrides : tuple of (str, value)
        Of chip fields, as `cimsim.load_hw` takes them.
    mapping, allocation, schedule : str
    frames : Frames
    seeds : Seeds
    frame_rate_hz : float or None
    settings : dict
        What the study varies, by name, for tables; no result depends on it.
    """

    network: Network = Network()
    hw: str = "eflash40nm"
    overrides: tuple[tuple[str, object], ...] = ()
    mapping: str = USUAL
    allocation: str = "in_order"
    schedule: Schedule = "pipelined"
    frames: Frames = Frames()
    seeds: Seeds = Seeds()
    frame_rate_hz: float | None = None
    settings: Mapping[str, Value] = field(default_factory=dict, compare=False)

    @property
    def chip(self) -> Chip:
        """The chip, overrides included.

        Raises
        ------
        ConfigError
            As `cimsim.load_hw`.
        """
        where = Path(self.hw)
        changed = where.stat().st_mtime_ns if where.is_file() else 0
        return _chip(self.hw, repr(self.overrides), _Held(self.overrides), changed)

    def to_data(self) -> dict[str, object]:
        """Return the point as plain data."""
        return asdict(self) | {"settings": dict(self.settings)}

    @classmethod
    def from_data(cls, data: Mapping[str, object]) -> Point:
        """Return what `to_data` wrote, also after a way through JSON."""
        held: dict[str, Any] = dict(data)
        network, frames = dict(held["network"]), dict(held["frames"])
        network["options"] = tuple((name, value) for name, value in network["options"])
        network["inputs"] = tuple(network.get("inputs", ()))
        frames["size"] = None if frames["size"] is None else tuple(frames["size"])
        return cls(**{
            **held, "network": Network(**network), "frames": Frames(**frames),
            "seeds": Seeds(**held["seeds"]),
            "overrides": tuple((path, value) for path, value in held["overrides"]),
        })  # fmt: skip


class _Held:
    """Overrides on their way through a cache; their text is what counts."""

    def __init__(self, overrides: tuple[tuple[str, object], ...]) -> None:
        self.overrides = overrides

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=512)
def _chip(hw: str, text: str, held: _Held, changed: int) -> Chip:
    return load_hw(hw, dict(held.overrides) or None)
