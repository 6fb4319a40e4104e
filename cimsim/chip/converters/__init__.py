"""Column converters, one per file. A new one is a file and a line in `CONVERTERS`.

One of the user's own needs no change here: ``kind: package.module:Class``, or the name of an entry
point of the group ``cimsim.converters``.
"""

from __future__ import annotations

from cimsim.boundary.outside import class_of, first_line
from cimsim.chip.converters.base import AbstractConverter, ConverterNumbers
from cimsim.chip.converters.cco import Cco
from cimsim.chip.converters.flash import Flash
from cimsim.chip.converters.ideal import IdealConverter
from cimsim.chip.converters.ramp import Ramp
from cimsim.chip.converters.sar import Sar
from cimsim.errors import CimsimError, ConfigError

CONVERTERS: dict[str, type[AbstractConverter]] = {
    "sar": Sar, "ramp": Ramp, "flash": Flash, "cco": Cco, "ideal": IdealConverter
}  # fmt: skip
GROUP = "cimsim.converters"  # of entry points

__all__ = ["CONVERTERS", "GROUP", "AbstractConverter", "converter_of"]


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
    try:
        return made(adc)
    except CimsimError:
        raise
    except Exception as why:  # the user's own code may raise anything
        raise ConfigError(f"adc.kind: '{kind}' cannot be built: {first_line(why)}") from why
