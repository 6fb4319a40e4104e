"""The contract of a cell model. Conductances are in siemens, everywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cimsim.errors import ConfigError
from cimsim.hw.load import describe

Conduction = Literal["ohmic", "gate"]
PARAMETERS = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)


class AbstractDevice(ABC):
    """One programmable conductance: how exactly it is written and how much it fluctuates.

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
    """

    Parameters: ClassVar[type[BaseModel]]
    conduction: ClassVar[Conduction]

    @abstractmethod
    def __init__(self, parameters: Any) -> None:
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

    @abstractmethod
    def read_sigma(self, g_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of the conductance during one pulse, S, per cell.

        Independent per cell and per pulse; it scales with the input that is applied to the cell.
        """


def parameters_of(model: type[BaseModel], raw: Mapping[str, Any]) -> Any:
    """Read device parameters as they stand in the YAML.

    Raises
    ------
    ConfigError
        One line ``device.<field>: ...`` for each fault.
    """
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, error))) from None


def _explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    known = [field.alias or name for name, field in model.model_fields.items()]
    lines = []
    for item in error.errors(include_url=False):
        text = describe(item, lambda: known)
        if item["type"] == "value_error" and not item["loc"]:
            lines.append(f"device.{text}")  # a check over several fields names its field itself
        else:
            lines.append(f"{'.'.join(['device', *map(str, item['loc'])])}: {text}")
    return lines
