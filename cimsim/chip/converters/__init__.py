"""Column converters, one per file. A new one is a file and a line in `CONVERTERS`.

One of the user's own needs no change here: ``kind: package.module:Class``, or the name of an entry
point of the group ``cimsim.converters``.
"""

from __future__ import annotations

from cimsim.boundary.outside import class_of
from cimsim.boundary.own import Rule, amount, built_on, flag, is_own, number, require, table
from cimsim.chip.converters.base import AbstractConverter, ConverterNumbers
from cimsim.chip.converters.cco import Cco
from cimsim.chip.converters.flash import Flash
from cimsim.chip.converters.ideal import IdealConverter
from cimsim.chip.converters.ramp import Ramp
from cimsim.chip.converters.sar import Sar

CONVERTERS: dict[str, type[AbstractConverter]] = {
    "sar": Sar, "ramp": Ramp, "flash": Flash, "cco": Cco, "ideal": IdealConverter
}  # fmt: skip
GROUP = "cimsim.converters"  # of entry points
_LEAST_S = 1e-15  # no circuit converts faster

__all__ = ["CONVERTERS", "GROUP", "AbstractConverter", "check_converter", "converter_of"]


def _curves(value: object, *arguments: object) -> None:
    curves = table(value, "[m, k]")
    require(curves.shape[0] >= 1 and curves.shape[1] >= 2, "has fewer than two points")


def _noise_curve(value: object) -> None:
    if value is not None:
        require(table(value, "[k]", least=0.0).size >= 2, "has fewer than two points")


RULES: dict[str, Rule | None] = {
    "is_exact": flag, "takes_steps": flag, "is_bent": flag, "steps": number(1.0),
    "conversion_s": number(_LEAST_S), "energy_j": amount, "noise_lsb": number(),
    "curves": _curves, "noise_curve": _noise_curve,
}  # fmt: skip


def converter_of(kind: str, adc: ConverterNumbers) -> AbstractConverter:
    """Return a converter: built in, ``package.module:Class``, or an entry point.

    Raises
    ------
    ConfigError
        Unknown, cannot be imported or built, or no converter.
    """
    known = CONVERTERS.get(kind)
    if known is not None:
        return known(adc)
    made = class_of(kind, CONVERTERS, AbstractConverter, GROUP, "adc.kind")
    return built_on(made, adc, "adc", "adc.kind", kind, RULES)


def check_converter(kind: str, adc: ConverterNumbers) -> None:
    """Ask a converter of the user's own for all its numbers; built-in ones are known to have them.

    Raises
    ------
    ConfigError
        It has none, or one that no converter can have.
    """
    converter = converter_of(kind, adc)
    if is_own(converter):
        for name in RULES:
            made = getattr(converter, name)
            if name == "steps":
                made(adc.bits)
            elif name == "noise_curve":
                made()
