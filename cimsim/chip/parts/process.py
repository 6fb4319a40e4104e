"""Technology, supply and clock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.chip.fact import Fact
from cimsim.chip.parts.base import LOW, TABLE, Doubling, Frequency, Length, Part, Voltage


class Process(Part):
    """Technology and clock of the chip."""

    node_m: Annotated[
        Length,
        Fact(
            because="numbers that are given hold for it; estimators and rescaling read it",
            plausible=(5e-09, 2.5e-07, "nodes that arrays were built in"),
        ),
    ] = Field(alias="node", description="feature size")
    vdd_v: Annotated[
        Voltage,
        Fact(
            because="numbers that are given hold for it; operating.vdd and estimators read it",
            plausible=(0.4, 5, "core supplies of 5 .. 250 nm"),
        ),
    ] = Field(alias="vdd", description="core supply")
    clock_hz: Annotated[
        Frequency,
        Fact(
            "cycles",
            "energy.static",
            plausible=(100000.0, 5000000000.0, "clocks of published accelerators"),
        ),
    ] = Field(alias="clock", description="the one clock that cycles are counted in")
    leakage_doubling_k: Annotated[
        Doubling,
        Fact(
            "energy.static",
            plausible=(5, 40, "steep subthreshold leakage .. mostly gate leakage"),
            spread="analog",
            when={
                "conditions.temperature": "60 C",
                "device": {"kind": "ideal", "g_max": "10 uS"},
                "buffer.leakage": "1 mW",
            },
            tried=("8 K",),
        ),
    ] = Field(
        default=10.0,
        alias="leakage_doubling",
        description="leakage doubles with so many kelvin; 8 .. 12 K is what subthreshold currents "
        "of planar transistors do around room temperature",
    )


class Operating(Part):
    """Another supply than the one that the numbers of the file hold for.

    `cimsim.chip.voltage` says what scales, and how.
    """

    vdd_v: Annotated[
        Voltage | None, Fact("energy.adc", "energy.array", "cycles", tried=("0.85 V",))
    ] = Field(default=None, alias="vdd", description="supply now; default: process.vdd")
    energy_exponent: Annotated[
        float, Fact("energy.adc", "energy.array", "energy.vector", "energy.buffer", when=LOW)
    ] = Field(default=2.0, ge=0, le=4, description="energy of an action goes as vdd to this power")
    frequency: Annotated[Literal["fixed", "alpha", "table"], Fact("cycles", when=LOW)] = Field(
        default="alpha",
        description="clock and analog times at another supply: unchanged, by the alpha-power law, "
        "or interpolated in a table",
    )
    v_threshold_v: Annotated[
        Voltage, Fact("cycles", when={"operating.vdd": "0.85 V", "operating.frequency": "alpha"})
    ] = Field(default=0.35, alias="v_threshold", description="alpha law")
    alpha: Annotated[
        float, Fact("cycles", when={"operating.vdd": "0.85 V", "operating.frequency": "alpha"})
    ] = Field(default=1.3, ge=1, le=2, description="alpha law; 2 for long channels")
    table: Annotated[
        dict[str, str],
        Fact(
            "cycles",
            when={**LOW, "operating.frequency": "table", "operating.table": TABLE},
            tried=({"0.1 V": "1 MHz", "5 V": "2 MHz"},),
        ),
    ] = Field(default={}, description="supply: clock, such as {0.85 V: 40 MHz, 1.2 V: 100 MHz}")
