"""Cell models, one per file. A new one is a file and a line in `DEVICES`.

One of the user's own needs no change here: ``kind: package.module:Class``, or the name of an entry
point of the group ``cimsim.devices``.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import class_of
from cimsim.boundary.own import guarded, is_own, located
from cimsim.chip.cells.base import AbstractDevice, parameters_of
from cimsim.chip.cells.eflash import EFlash
from cimsim.chip.cells.ideal import Ideal
from cimsim.chip.cells.noise import colour
from cimsim.chip.cells.ohmic import bend, check_bent
from cimsim.chip.cells.pcm import Pcm
from cimsim.chip.cells.rram import Rram
from cimsim.chip.cells.rules import RULES, check_cell
from cimsim.chip.cells.sonos40 import Sonos40
from cimsim.chip.cells.sram import Sram
from cimsim.chip.cells.table import Table
from cimsim.chip.cells.verify import VerifyParameters, WriteVerified
from cimsim.chip.spec import Chip
from cimsim.errors import CimsimError, ConfigError
from cimsim.units import format_celsius

DEVICES: dict[str, type[AbstractDevice]] = {
    "eflash": EFlash,
    "ideal": Ideal,
    "pcm": Pcm,
    "rram": Rram,
    "sonos40": Sonos40,
    "sram": Sram,
    "table": Table,
}

COMMON = ("noise", "nonlinearity", "verify")  # keys that may stand beside those of any device

GROUP = "cimsim.devices"  # of entry points

__all__ = ["DEVICES", "AbstractDevice", "build", "device_of", "model_of"]


def model_of(kind: str) -> type[AbstractDevice]:
    """Return the class behind ``device.kind``: built in, ``package.module:Class``, an entry point.

    Raises
    ------
    ConfigError
        Unknown, cannot be imported, or no cell model.
    """
    return class_of(kind, DEVICES, AbstractDevice, GROUP, "device.kind")


def build(kind: str, parameters: Mapping[str, object]) -> AbstractDevice:
    """Make a device from its YAML entry.

    Parameters
    ----------
    kind : str
        A key of `DEVICES`, or what else `model_of` knows.
    parameters : mapping
        Everything beside ``kind``, quantities as strings: ``{"g_max": "11.5 nS"}``. With
        ``verify`` among them, cells are written by `cimsim.chip.cells.verify.WriteVerified`; with
        ``nonlinearity``, their current is that of `cimsim.chip.cells.ohmic`; with ``noise``, their
        read noise has the spectrum of `cimsim.chip.cells.noise`.

    Raises
    ------
    ConfigError
        Unknown kind, unknown or missing key, wrong unit or range; one line ``device.<field>: ...``
        each.
    """
    model = model_of(kind)
    own = dict(parameters)
    common = {name: own.pop(name) for name in COMMON if name in own}
    device = _own(model, own) if is_own(model) else _made(model, own)
    if "nonlinearity" in common:
        bend(device, common["nonlinearity"])
    if "noise" in common:
        colour(device, common["noise"])
    if "verify" not in common:
        return device
    verify = common["verify"]
    if not isinstance(verify, Mapping):
        raise ConfigError(
            f"device.verify: expected fields such as {{tolerance: 1 %, max_pulses: 30}}, got "
            f"{verify!r}"
        )
    return WriteVerified(device, parameters_of(VerifyParameters, verify, "device.verify"))


def _made(model: type[AbstractDevice], raw: Mapping[str, object]) -> AbstractDevice:
    return model(parameters_of(model.Parameters, raw, others=COMMON))  # type: ignore[call-arg]


def _own(model: type[AbstractDevice], raw: Mapping[str, object]) -> AbstractDevice:
    """Make a cell of the user's own, whose answers are held to what a cell can have."""
    place = "device.kind"
    name = f"{place}: '{model.__module__}:{model.__qualname__}'"
    parameters = getattr(model, "Parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, BaseModel)):
        raise ConfigError(
            f"{name}: Parameters: expected a class that derives from pydantic.BaseModel, which "
            f"says what may stand beside kind, got {shown(parameters)}"
        )
    try:
        device = _made(model, raw)
    except CimsimError:
        raise
    except Exception as why:  # the user's own code may raise anything
        raise ConfigError(f"{name} cannot be built: {located(why, model)}") from why
    device = guarded(device, place, RULES)
    check_cell(device, place)
    return device


def device_of(chip: Chip, origin: str = "") -> AbstractDevice:
    """Make a chip's device and check that it can do what the chip asks of it.

    Parameters
    ----------
    chip : Chip
    origin : str
        File that stands at the head of each line of a message, if it is given.

    Raises
    ------
    ConfigError
        As `build`; conditions that the model has no data for; more bits per cell than it holds;
        non-linear cells behind wires or drivers that know linear ones only.
    """
    if origin:
        try:
            return device_of(chip)
        except ConfigError as error:
            lines = (f"{origin}: {line}" for line in str(error).splitlines())
            raise ConfigError("\n".join(lines)) from error.__cause__
    device = build(chip.device.kind, chip.device.parameters)
    _check_conditions(chip, device)
    if device.colour is not None:
        device.colour(chip.drive_s)  # refuses a spectrum that no pulse of this chip can have
    if device.max_bits is not None and chip.weights.slice_bits > device.max_bits:
        raise ConfigError(
            f"weights.cell_bits: expected at most {device.max_bits} for device '{device.name}', "
            f"got {chip.weights.slice_bits}; set weights.cell_bits to {device.max_bits}"
        )
    check_bent(chip, device)
    return device


def _check_conditions(chip: Chip, device: AbstractDevice) -> None:
    """Refuse a time or a temperature of any tile that the cells have no model for."""
    conditions = chip.conditions
    device.check_conditions(conditions.time_s, conditions.temperature_k)
    for place in (-0.5, 0.5) if conditions.gradient_k else ():
        try:
            device.check_conditions(conditions.time_s, conditions.at(place))
        except ConfigError as error:
            raise ConfigError(
                f"conditions.gradient: {conditions.gradient_k:g} K around "
                f"{format_celsius(conditions.temperature_k)} makes some tiles "
                f"{format_celsius(conditions.at(place))}; {error}"
            ) from None
