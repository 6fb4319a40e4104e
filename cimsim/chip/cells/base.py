"""The contract of a cell model. Conductances are in siemens, everywhere."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cimsim.chip.cells.spectrum import Spectrum
from cimsim.chip.described import describe
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import ConfigError
from cimsim.units import format_celsius, format_duration

M = TypeVar("M", bound=BaseModel)
Conduction = Literal["ohmic", "gate"]
PARAMETERS = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)


class AbstractDevice(ABC):
    """One programmable conductance: how exactly it is written, how it ages, how it fluctuates.

    A device object holds no state of any cell; it maps target conductances to programmed ones.

    Attributes
    ----------
    Parameters : type of pydantic model
        What stands beside ``kind`` in the YAML.
    conduction : {"ohmic", "gate"}
        ``ohmic``: current ``V * G``, so the energy of a read ``V**2 * G * t`` is quadratic in an
        input that is applied as an amplitude. ``gate``: a gate-coupled floating-gate cell; its
        drain voltage is constant and its current ``x * w`` linear in the input, so the energy ``V *
        I * t`` is linear.
    max_bits : int or None
        Magnitude bits that one cell can hold; None for an analog cell.
    nonlinearity : float
        Current at the read voltage over that at half of it, see `cimsim.chip.cells.ohmic`; 2 is
        linear.
    colour : callable or None
        What `cimsim.chip.cells.noise` read from the chip file: the spectrum of the read noise for
        the duration of a pulse; None where the file says nothing.
    states_spectrum : bool
        Whether the model's own source says how fast its noise is.
    """

    Parameters: ClassVar[type[BaseModel]]
    conduction: Conduction
    max_bits: int | None = None
    nonlinearity: float = 2.0
    colour: Callable[[float], Spectrum] | None = None
    states_spectrum: bool = False

    @abstractmethod
    def __init__(self, parameters: BaseModel) -> None:
        """Take an instance of `Parameters`."""

    @property
    @abstractmethod
    def g_min_s(self) -> float:
        """Conductance of an erased cell, S."""

    @property
    @abstractmethod
    def g_max_s(self) -> float:
        """Conductance of a full-scale cell, S."""

    @property
    @abstractmethod
    def is_exact(self) -> bool:
        """True if cells take their target exactly and never fluctuate."""

    @abstractmethod
    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Write and verify cells.

        Parameters
        ----------
        target_s : float64, any shape
            Wanted conductances in S, between ``g_min_s`` and ``g_max_s``.
        rng : numpy.random.Generator
            Where the programming error comes from.

        Returns
        -------
        float64, same shape
            Conductances that the cells keep, S, never negative.
        """

    def write(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
        """Write cells as `program` does, and say how many pulses each one took.

        Returns
        -------
        g_s : float64, same shape
        pulses : int64, same shape, or None
            None where the model gives the outcome of write-verify without running it.
        """
        return self.program(target_s, rng), None

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Refuse a time or a temperature that the model has no data for.

        Parameters
        ----------
        time_s : float
            Since the programming error was verified, >= 0.
        temperature_k : float
            Of the cells when they are read.

        Raises
        ------
        ConfigError
            Naming the field, the value and the range. A model without drift knows time 0 at the
            reference temperature, 25 C, only.
        """
        refuse_warm(self.name, temperature_k)
        if time_s != 0:
            raise ConfigError(
                f"conditions.time: expected 0 s, got {format_duration(time_s)}: device "
                f"'{self.name}' has no drift model"
            )

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Return conductances some time after programming and at another temperature.

        Parameters
        ----------
        g_s : float64, any shape
            What `program` returned, S.
        time_s, temperature_k : float
            See `check_conditions`.
        rng : numpy.random.Generator
            Where differences between cells come from. The same generator gives one cell the same
            course at every time.

        Returns
        -------
        float64, same shape
            S, never negative; ``g_s`` itself at time 0 and 25 C.

        Raises
        ------
        ConfigError
            See `check_conditions`.
        """
        self.check_conditions(time_s, temperature_k)
        return g_s

    @abstractmethod
    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the standard deviation of the conductance during one pulse, S, per cell.

        Independent per cell; it scales with the input that is applied to the cell. `spectrum` says
        what pulses have in common.

        Parameters
        ----------
        g_s : float64, any shape
            Conductances when they are read, S.
        time_s : float
            Since programming; only models whose noise grows with time look at it.
        written_s : float64, same shape as ``g_s``, optional
            What `program` returned for the same cells; ``g_s`` when left out. Only models whose
            noise belongs to the programmed state look at it.
        """

    def noise_growth(self, temperature_k: float) -> float:
        """Return the standard deviation of the read noise at a temperature over that at 25 C."""
        return 1.0

    def spectrum(self, pulse_s: float, time_s: float = 0.0) -> Spectrum | None:
        """Return how fast the read noise is.

        Parameters
        ----------
        pulse_s : float
            Duration of a pulse on this chip.
        time_s : float
            Since programming.

        Returns
        -------
        Spectrum or None
            None: neither the model's source nor the chip file says so; the noise is then taken as
            white, of the same size for pulses of any duration.
        """
        return None if self.colour is None else self.colour(pulse_s)

    @property
    def steepness(self) -> float:
        """Read voltage over the voltage ``V0`` of the cell's sinh; 0 for a linear cell."""
        return 2 * math.acosh(self.nonlinearity / 2)

    @property
    def name(self) -> str:
        """What the YAML calls this kind of cell."""
        return type(self).__module__.rpartition(".")[2]


def refuse_warm(device: str, temperature_k: float) -> None:
    """Raise a `ConfigError` unless the temperature is the reference of 25 C."""
    if temperature_k != REFERENCE_K:
        raise ConfigError(
            f"conditions.temperature: expected 25 C, got {format_celsius(temperature_k)}: device "
            f"'{device}' has no temperature model"
        )


def refuse_late(device: str, time_s: float, limit_s: float, why: str) -> None:
    """Raise a `ConfigError` for times beyond what was measured."""
    if time_s > limit_s:
        raise ConfigError(
            f"conditions.time: expected 0 .. {format_duration(limit_s)} for device '{device}', got "
            f"{format_duration(time_s)}: {why}"
        )


def check_range(g_min_s: float, g_max_s: float) -> None:
    """Raise a ValueError, which pydantic reports, unless ``g_min_s`` is below ``g_max_s``."""
    if g_max_s <= g_min_s:
        raise ValueError(f"g_max: expected more than g_min = {g_min_s:g} S, got {g_max_s:g} S")


def parameters_of(
    model: type[M],
    raw: Mapping[str, object],
    place: str = "device",
    others: tuple[str, ...] = (),
) -> M:
    """Read device parameters as they stand in the YAML at ``place``.

    ``others`` are keys that somebody else has read: a message about an unknown one names them, too.

    Raises
    ------
    ConfigError
        One line ``device.<field>: ...`` for each fault.
    """
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, error, place, others))) from None


def _explain(
    model: type[BaseModel], error: ValidationError, place: str, others: tuple[str, ...]
) -> list[str]:
    known = [*(field.alias or name for name, field in model.model_fields.items()), *others]
    lines = []
    for item in error.errors(include_url=False):
        text = describe(item, lambda: known)
        if item["type"] == "value_error" and not item["loc"]:
            lines.append(f"{place}.{text}")  # a check over several fields names its field itself
        else:
            lines.append(f"{'.'.join([place, *map(str, item['loc'])])}: {text}")
    return lines
