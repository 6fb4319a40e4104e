"""Cell models, one per file. A new one is a file and a line in `DEVICES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cimsim.devices.base import AbstractDevice, parameters_of
from cimsim.devices.eflash import EFlash
from cimsim.devices.ideal import Ideal
from cimsim.errors import ConfigError, suggest

DEVICES: dict[str, type[AbstractDevice]] = {"eflash": EFlash, "ideal": Ideal}

__all__ = ["DEVICES", "AbstractDevice", "build"]


def build(kind: str, parameters: Mapping[str, Any]) -> AbstractDevice:
    """Make a device from its YAML entry.

    Parameters
    ----------
    kind : str
        A key of `DEVICES`.
    parameters : mapping
        Everything beside ``kind``, quantities as strings: ``{"g_max": "11.5 nS"}``.

    Raises
    ------
    ConfigError
        Unknown kind, unknown or missing key, wrong unit or range; one line ``device.<field>: ...``
        each.
    """
    if kind not in DEVICES:
        raise ConfigError(f"device.kind: '{kind}' is unknown{suggest(kind, DEVICES)}")
    model = DEVICES[kind]
    return model(parameters_of(model.Parameters, parameters))
