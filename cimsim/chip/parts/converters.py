"""Drivers of word lines, converters of columns, and how they are calibrated."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cimsim.chip.converters import CONVERTERS, GROUP, AbstractConverter, converter_of
from cimsim.chip.fact import Fact, Follows
from cimsim.chip.parts.base import Area, Energy, Fraction, Named, Part, PositiveTime


class Dac(Part):
    """Word-line drivers."""

    bits: Annotated[int, Fact("cycles", "frames", "energy.dac")] = Field(
        default=8, ge=1, le=16, description="input bits applied in one pulse"
    )
    encoding: Annotated[
        Literal["amplitude", "pulse_width"],
        Fact("frames", "cycles", tried=({"dac.encoding": "pulse_width", "dac.t_step": "1 us"},)),
    ] = "amplitude"
    t_step_s: Annotated[
        PositiveTime | None,
        Fact(
            "cycles",
            scales="time",
            plausible=(1e-12, 0.0001, "a gate delay .. slow counters"),
            when={"dac.encoding": "pulse_width"},
            tried=("100 ns",),
        ),
    ] = Field(
        default=None,
        alias="t_step",
        description="pulse_width: one step; full scale lasts 2**bits - 1 of them beyond t_read",
    )
    gain_sigma: Annotated[Fraction, Fact("frames", trained=(0.0,), tried=("5 %",))] = Field(
        default=0.0, description="static gain error per row, rms"
    )
    inl_lsb: Annotated[
        float, Fact("frames", trained=(0.0,), tried=(2.0,), when={"dac.bits": 4})
    ] = Field(default=0.0, ge=0, description="static non-linearity per row, rms")
    energy_j: Annotated[
        Energy,
        Fact(
            "energy.dac",
            scales="energy",
            plausible=(1e-17, 1e-10, "one line switched .. a fast 10-bit DAC"),
            expected=True,
            spread="converter",
            follows=Follows(
                law="capacitive DAC", fields=("dac.bits", "process.node"), kept=("dac.encoding",)
            ),
        ),
    ] = Field(default=0.0, alias="energy", description="per conversion (row, pulse)")
    bit_energy_j: Annotated[
        Energy,
        Fact(
            "energy.dac",
            scales="energy",
            plausible=(1e-17, 1e-10, "one line switched .. a pair of long word lines"),
            spread="converter",
            tried=("1 pJ",),
            follows=Follows(
                law="columns", fields=("array.cols",), kept=("process.node", "dac.encoding")
            ),
        ),
    ] = Field(
        default=0.0, alias="bit_energy", description="per row and input bit: trains of pulses"
    )
    area_m2: Annotated[
        Area,
        Fact(
            "area.dac",
            plausible=(1e-14, 1e-08, "inverter .. capacitive DAC at 130 nm"),
            expected=True,
            spread="area",
            follows=Follows(
                law="capacitive DAC", fields=("dac.bits", "process.node"), kept=("dac.encoding",)
            ),
        ),
    ] = Field(default=0.0, alias="area", description="per row")

    @property
    def steps_s(self) -> float:
        """What a full-scale pulse lasts beyond ``array.t_read``, s."""
        return 0.0 if self.t_step_s is None else (2**self.bits - 1) * self.t_step_s

    @model_validator(mode="after")
    def _width_only(self) -> Self:
        if self.t_step_s is not None and self.encoding != "pulse_width":
            raise ValueError(
                f"t_step: expected encoding = pulse_width, got {self.encoding}; leave t_step out"
            )
        return self


class Adc(Part):
    """Read-out converters."""

    kind: Annotated[
        str, Named(tuple(CONVERTERS), GROUP), Fact("frames", "cycles", tried=("ideal",))
    ] = Field(
        default="sar",
        description="'ideal' passes the exact value on (for tests); or package.module:Class",
    )
    bits: Annotated[int, Fact("frames")] = Field(ge=1, le=32)
    count: Annotated[int, Fact("cycles", "area.adc")] = Field(
        gt=0, description="converters per array (per tile when shared by the tile)"
    )
    shared: Annotated[
        Literal["array", "tile"],
        Fact("cycles", "area.adc", when={"tile.arrays": 4, "adc.count": 2}),
    ] = Field(default="array", description="who shares the converters")
    t_conversion_s: Annotated[
        PositiveTime,
        Fact(
            "cycles",
            scales="time",
            plausible=(1e-11, 0.001, "Murmann's survey"),
            follows=Follows(
                law="steps of a conversion", fields=("adc.bits",), kept=("adc.kind", "process.node")
            ),
        ),
    ] = Field(alias="t_conversion", description="one conversion")
    energy_j: Annotated[
        Energy,
        Fact(
            "energy.adc",
            scales="energy",
            plausible=(1e-15, 1e-09, "Murmann's survey, 4 .. 16 bits"),
            expected=True,
            spread="converter",
            follows=Follows(
                law="converter survey", fields=("adc.bits", "process.node"), kept=("adc.kind",)
            ),
        ),
    ] = Field(default=0.0, alias="energy", description="one conversion")
    area_m2: Annotated[
        Area,
        Fact(
            "area.adc",
            plausible=(1e-12, 1e-06, "Murmann's survey"),
            expected=True,
            spread="converter",
            follows=Follows(
                law="converter survey", fields=("adc.bits", "process.node"), kept=("adc.kind",)
            ),
        ),
    ] = Field(default=0.0, alias="area", description="one converter")
    t_step_s: Annotated[
        PositiveTime | None,
        Fact(
            "cycles",
            scales="time",
            plausible=(1e-12, 0.001, "a gate delay .. slow counters"),
            when={"adc.kind": "sar"},
            tried=("100 ns",),
        ),
    ] = Field(
        default=None,
        alias="t_step",
        description="one step on top of t_conversion: a ramp and a CCO take 2**bits of them, a SAR "
        "bits",
    )
    range: Annotated[
        Literal["full", "calibrated", "power2"], Fact("frames", trained=("full", "calibrated"))
    ] = Field(
        default="calibrated",
        description="full: the worst case fits; calibrated: from calibration frames; power2: full "
        "over a power of two that calibration chooses",
    )
    method: Annotated[
        Literal["percentile", "least_error"],
        Fact("frames", when={"adc.range": "calibrated"}),
    ] = Field(
        default="percentile",
        description="percentile: that share of calibration currents fits; least_error: least "
        "squared error of clipping and steps together",
    )
    scope: Annotated[
        Literal["layer", "array"],
        Fact("frames", when={"adc.range": "calibrated", "adc.bits": 3}),
    ] = Field(default="array", description="what shares one calibrated range")
    percentile: Annotated[
        float,
        Fact("frames", when={"adc.range": "calibrated", "adc.method": "percentile"}, tried=(90.0,)),
    ] = Field(default=100.0, gt=50, le=100, description="share of calibration currents in range, %")
    noise_lsb: Annotated[float, Fact("frames", tried=(1.0,))] = Field(
        default=0.0, ge=0, description="input-referred noise, rms, in steps"
    )
    gain_sigma: Annotated[Fraction, Fact("frames", tried=("5 %",))] = Field(
        default=0.0, description="static gain mismatch per column, rms"
    )
    offset_sigma_lsb: Annotated[float, Fact("frames", tried=(2.0,))] = Field(
        default=0.0, ge=0, description="static offset per column, rms"
    )
    inl_bow_lsb: Annotated[float, Fact("frames", trained=(0.0,), tried=(3.0,))] = Field(
        default=0.0, ge=0, description="static bow of the transfer curve at mid-range, rms"
    )
    inl_steps_lsb: Annotated[float, Fact("frames", trained=(0.0,), tried=(2.0,))] = Field(
        default=0.0, ge=0, description="static random non-linearity, rms over converters and codes"
    )

    count_noise_lsb: Annotated[
        float,
        Fact("frames", trained=(0.0,), tried=(5.0,), when={"adc.kind": "cco"}),
    ] = Field(
        default=0.0,
        ge=0,
        description="cco: noise of the count at the largest code, rms, in steps; goes with the "
        "root of the count",
    )

    @property
    def converter(self) -> AbstractConverter:
        """What the kind stands for, with the numbers of this section."""
        return converter_of(self.kind, self)

    @property
    def conversion_s(self) -> float:
        """Duration of one conversion, s."""
        return self.converter.conversion_s

    @model_validator(mode="after")
    def _by_kind(self) -> Self:
        known = CONVERTERS.get(self.kind)
        if self.t_step_s is not None and known is not None and not known.takes_steps:
            stepwise = ", ".join(name for name, kind in CONVERTERS.items() if kind.takes_steps)
            raise ValueError(
                f"t_step: expected a kind that works in steps ({stepwise}), got {self.kind}; leave "
                "t_step out"
            )
        if self.count_noise_lsb > 0 and known is not None and self.kind != "cco":
            raise ValueError(
                f"count_noise_lsb: expected kind = cco, got {self.kind}; leave count_noise_lsb out"
            )
        return self


class Calibration(Part):
    """What the chip measures about itself after programming and corrects digitally."""

    frames: Annotated[int, Fact("frames")] = Field(
        default=2, ge=1, description="frames used for ranges and corrections"
    )
    column_gain: Annotated[bool, Fact("frames")] = Field(
        default=False, description="least-squares gain per output column"
    )
    column_offset: Annotated[bool, Fact("frames")] = Field(
        default=False, description="mean error per output column"
    )
