"""What all parts of a chip share: quantities with units, and the model that they derive from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import installed, is_outside
from cimsim.errors import close
from cimsim.units import quantity

LARGEST = 2**31 - 1
_MOST = 1e18  # of plain numbers: products of a few of them stay in float64
REFERENCE_K = 298.15  # 25 C: what cells were programmed and measured at
_Config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False, allow_inf_nan=False)
if TYPE_CHECKING:  # to a type checker a quantity is the SI float that the field holds
    Energy = float
    EnergyPerByte = float
    Time = float
    PositiveTime = float
    Area = float
    Power = float
    Fraction = float
    Efficiency = float
    Size = float
    Length = float
    Temperature = float
    Difference = float
    Doubling = float
    Current = float
    Voltage = float
    Frequency = float
    Resistance = float
    Capacitance = float
else:
    Energy, EnergyPerByte = quantity("J"), quantity("J/B")
    # a read of a second and a clock of a terahertz are far beyond any chip; cycles stay in 64 bits
    Time, PositiveTime = quantity("s"), quantity("s", exclusive=True, maximum=1.0)
    Area, Power, Fraction = quantity("m2"), quantity("W"), quantity("1", maximum=1.0)
    Efficiency = quantity("1", exclusive=True, maximum=1.0)
    Size = quantity("B", exclusive=True)
    Length, Voltage = quantity("m", exclusive=True), quantity("V", exclusive=True)
    Frequency = quantity("Hz", exclusive=True, maximum=1e12)
    Resistance, Capacitance = quantity("ohm"), quantity("F")
    Temperature = quantity("K", exclusive=True)
    Difference = quantity("K", maximum=100.0, difference=True)
    Doubling = quantity("K", exclusive=True, difference=True)
    Current = quantity("A")


@dataclass(frozen=True, slots=True)
class Named:
    """Mark of a field that takes the name of a built-in part or of one of the user's own.

    Attributes
    ----------
    names : tuple of str
        Built in.
    group : str
        Of entry points.
    """

    names: tuple[str, ...]
    group: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check a name: built in, an import path, or what an installed package offers."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Offer the built-in names and allow import paths, for editors."""
        return {"anyOf": [{"enum": list(self.names)}, {"type": "string", "pattern": ":"}]}

    def _checked(self, name: str) -> str:
        if name in self.names or is_outside(name) or name in installed(self.group):
            return name
        offered = [*self.names, *installed(self.group)]
        raise ValueError(
            f"expected {', '.join(map(repr, offered))} or package.module:Class, got {shown(name)}"
            f"{close(name, offered)}"
        )


# beside what some fields take effect, for the test that changes each of them
LOW = {"operating.vdd": "0.85 V"}
# too small for any line buffer, and so for the estimators
TINY = {
    "buffer.size": "64 B", "buffer.read_energy": "1 pJ/B", "buffer.write_energy": "1 pJ/B",
    "buffer.leakage": "1 uW", "buffer.area": "0.01 mm2",
}  # fmt: skip
TABLE = {"0.1 V": "1 MHz", "5 V": "9 MHz"}
DRAM = {"dram": {"bytes_per_cycle": 8, "energy": "20 pJ/B"}, "frames": "dram"}
MATMUL = {
    "matmul": {"lanes": 4, "energy": "1 pJ", "leakage": "1 uW", "area": "0.01 mm2"}
}  # fmt: skip
CHAIN = {"system.chips": 2, "tile.count": 3}


# parts of a chip's energy, each of which a description states or leaves out; see cimsim.chip.ledger
LedgerPart = Literal[
    "array", "front_end", "references", "dac", "adc", "adder", "vector", "matmul", "buffer",
    "control", "interconnect", "global_buffer", "dram", "io", "processor", "static", "conversion",
]  # fmt: skip


class Part(BaseModel):
    """What all components share: frozen, no unknown keys, numbers that are numbers."""

    model_config = _Config

    @field_validator("*", mode="before")
    @classmethod
    def _plain_numbers(cls, value: object, info: ValidationInfo) -> object:
        """YAML's ``yes`` is no 1, and counts must leave room for products in 64 bits."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError(f"expected a value, got {str(value).lower()}")
        if not isinstance(value, int | float):
            return value
        kinds = (wanted, *get_args(wanted))
        if int in kinds and abs(value) > LARGEST:
            raise ValueError(f"expected at most {LARGEST}, got {shown(value)}")
        if float in kinds and _MOST < abs(value) < math.inf:
            raise ValueError(f"expected at most {_MOST:g}, got {shown(value)}")
        return value


class Source(Part):
    """Where a number comes from."""

    kind: Literal["measured", "vendor", "model", "estimate"]
    text: str = Field(min_length=3)
    range: str | None = Field(default=None, description="5 .. 95 %, such as 1.3..7.8 pJ")
