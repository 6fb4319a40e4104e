"""What a cell model of the user's own must return: shapes, types and signs of its answers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.own import Rule, flag, like, number, path_of, require, text
from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.cells.spectrum import Spectrum
from cimsim.errors import ConfigError

_ANY = -1e300  # any finite number: both ends are looked at together


def _cells(value: object, target_s: NDArray[np.float64], *arguments: object) -> None:
    like(value, target_s)


def _written(value: object, target_s: NDArray[np.float64], *arguments: object) -> None:
    require(isinstance(value, tuple) and len(value) == 2,
            "expected a tuple: conductances, and pulses of each cell or None")  # fmt: skip
    assert isinstance(value, tuple)
    like(value[0], target_s)
    if value[1] is not None:
        like(value[1], target_s, np.int64)


def _spectrum(value: object, *arguments: object) -> None:
    require(value is None or isinstance(value, Spectrum),
            f"expected a Spectrum or None, got {type(value).__name__}")  # fmt: skip


RULES: dict[str, Rule | None] = {
    "g_min_s": number(_ANY), "g_max_s": number(_ANY), "is_exact": flag,
    "program": _cells, "write": _written, "age": _cells, "read_sigma": _cells,
    "noise_growth": number(), "spectrum": _spectrum, "name": text, "check_conditions": None,
}  # fmt: skip


def check_cell(device: AbstractDevice, place: str) -> None:
    """Refuse a cell whose own numbers no cell can have.

    Raises
    ------
    ConfigError
        How it conducts, its range of conductances, its bits or its non-linearity.
    """
    name = f"{place}: {path_of(device)}"
    conduction, bits = getattr(device, "conduction", None), device.max_bits
    if conduction not in ("ohmic", "gate"):
        raise ConfigError(f"{name}: conduction: expected 'ohmic' or 'gate', got {conduction!r}")
    low, high = device.g_min_s, device.g_max_s
    if not 0 <= low < high:
        raise ConfigError(f"{name}: expected 0 <= g_min_s < g_max_s, got {low!r} and {high!r}")
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or bits < 1):
        raise ConfigError(
            f"{name}: max_bits: expected None or a whole number of at least 1, got {bits!r}"
        )
    bent = device.nonlinearity
    if not isinstance(bent, int | float) or not math.isfinite(bent) or bent < 2:
        raise ConfigError(f"{name}: nonlinearity: expected a number >= 2, got {bent!r}")
    for field in ("is_exact", "name"):
        getattr(device, field)  # is held to its rule
