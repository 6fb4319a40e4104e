"""Digital units: vector unit, matmul unit, adders, processor."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from cimsim.boundary.limits import shown
from cimsim.chip.fact import Fact, Follows
from cimsim.chip.parts.base import MATMUL, Area, Efficiency, Energy, Part, Power


class Vector(Part):
    """Digital vector units: scale, bias, activation, residual add, pooling."""

    lanes: Annotated[int, Fact("cycles")] = Field(
        gt=0, description="elements per cycle of one unit"
    )
    scope: Annotated[Literal["tile", "chip"], Fact("area.vector", "cycles", "energy.static")] = (
        Field(default="tile", description="one unit per tile or chip")
    )
    energy_j: Annotated[
        Energy,
        Fact(
            "energy.vector",
            scales="energy",
            plausible=(1e-16, 1e-10, "compare at 7 nm .. special functions"),
            expected=True,
            spread="logic",
            follows=Follows(law="input bits", fields=("inputs.bits", "process.node")),
        ),
    ] = Field(default=0.0, alias="energy", description="one operation on a value")
    scale_energy_j: Annotated[
        Energy,
        Fact(
            "energy.vector",
            scales="energy",
            plausible=(1e-16, 1e-10, "add at 7 nm .. 32-bit multiply at 40 nm"),
            expected=True,
            spread="logic",
            follows=Follows(
                law="multiplier bits", fields=("inputs.bits", "weights.bits", "process.node")
            ),
        ),
    ] = Field(default=0.0, alias="scale_energy", description="scale and bias of one output value")
    costs: Annotated[
        dict[str, float | str],
        Fact(
            "cycles",
            "energy.vector",
            tried=({"vector.costs": {"relu": 1000.0, "matmul": 1000.0}, "vector.lanes": 1},),
        ),
    ] = Field(
        default={},
        description="operation: operations of the unit for one value of its output, or "
        "package.module:Class that tells them; others cost what `cimsim count` says",
    )
    leakage_w: Annotated[
        Power,
        Fact(
            "energy.static",
            scales="static",
            plausible=(1e-09, 1, "a few lanes .. a core"),
            spread="leakage",
            tried=("1 uW",),
            follows=Follows(law="lanes", fields=("vector.lanes", "process.node")),
        ),
    ] = Field(default=0.0, alias="leakage", description="one unit")
    area_m2: Annotated[
        Area,
        Fact(
            "area.vector",
            plausible=(1e-12, 1e-05, "a few lanes .. a core"),
            expected=True,
            spread="area",
            follows=Follows(law="lanes", fields=("vector.lanes", "process.node")),
        ),
    ] = Field(default=0.0, alias="area", description="one unit")

    @field_validator("costs", mode="before")
    @classmethod
    def _by_operation(cls, value: object) -> object:
        """Refuse what is no table of costs, in one line."""
        if not isinstance(value, dict):
            raise ValueError(
                f"expected operations and what they cost, such as {{gelu: 12}}, got {shown(value)}"
            )
        for name, cost in value.items():
            plain = isinstance(cost, int | float) and not isinstance(cost, bool)
            if not isinstance(cost, str) and not (plain and 0 <= cost < math.inf):
                raise ValueError(
                    f"{name}: expected operations of the unit for one value, finite and >= 0, or "
                    f"package.module:Class, got {shown(cost)}"
                )
        return value


class MatMul(Part):
    """Digital units that multiply computed values with each other: attention.

    They keep partial sums inside, and read each operand once from the buffer of their tile. A chip
    without them does such products on its vector units, two operations for a product.
    """

    lanes: Annotated[int, Fact("cycles", when=MATMUL)] = Field(
        gt=0, description="multiply-accumulates per cycle of one unit"
    )
    scope: Annotated[
        Literal["tile", "chip"], Fact("area.matmul", "cycles", "energy.static", when=MATMUL)
    ] = Field(default="tile", description="one unit per tile or chip")
    energy_j: Annotated[
        Energy,
        Fact(
            "energy.matmul",
            scales="energy",
            plausible=(1e-15, 1e-10, "8 bits at 7 nm .. 32-bit floats at 65 nm"),
            spread="logic",
            when=MATMUL,
            follows=Follows(law="product bits", fields=("inputs.bits", "process.node")),
        ),
    ] = Field(default=0.0, alias="energy", description="one multiply-accumulate")
    leakage_w: Annotated[
        Power,
        Fact(
            "energy.static",
            scales="static",
            plausible=(1e-09, 1, "a few lanes .. a core"),
            spread="leakage",
            when=MATMUL,
            tried=("1 uW",),
            follows=Follows(law="lanes", fields=("matmul.lanes", "process.node")),
        ),
    ] = Field(default=0.0, alias="leakage", description="one unit")
    area_m2: Annotated[
        Area,
        Fact(
            "area.matmul",
            plausible=(1e-12, 1e-05, "a few lanes .. a core"),
            spread="area",
            when=MATMUL,
            follows=Follows(law="lanes", fields=("matmul.lanes", "process.node")),
        ),
    ] = Field(default=0.0, alias="area", description="one unit")


class Adder(Part):
    """Shift-add over pulses and slices, and the sum over row tiles."""

    lanes: Annotated[int, Fact("cycles")] = Field(
        default=64, gt=0, description="values added per cycle at the home tile"
    )
    energy_j: Annotated[
        Energy,
        Fact(
            "energy.adder",
            scales="energy",
            plausible=(1e-15, 1e-10, "16-bit add at 7 nm .. datapath at 65 nm"),
            expected=True,
            spread="logic",
            follows=Follows(law="node", fields=("process.node",)),
        ),
    ] = Field(default=0.0, alias="energy", description="one addition")
    area_m2: Annotated[
        Area,
        Fact(
            "area.adder",
            plausible=(1e-12, 1e-05, "some adders .. a datapath"),
            expected=True,
            spread="area",
            follows=Follows(law="lanes", fields=("adder.lanes", "process.node")),
        ),
    ] = Field(default=0.0, alias="area", description="one tile's adders")


class Processor(Part):
    """A processor beside the arrays: starts them, prepares inputs, reads results."""

    power_w: Annotated[
        Power,
        Fact(
            "energy.processor",
            scales="active",
            plausible=(1e-9, 50, "a microcontroller that sleeps .. application cores"),
            spread="logic",
            tried=("1 mW",),
        ),
    ] = Field(default=0.0, alias="power", description="while it works")
    load: Annotated[
        Efficiency, Fact("energy.processor", when={"processor.power": "1 mW"}, tried=(0.5,))
    ] = Field(default=1.0, description="share of the time that it works")
