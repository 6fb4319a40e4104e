"""The chip as data: frozen pydantic models, one per component, units in every field name.

A YAML field is called as here without the unit suffix (``adc.energy: 2.61 pJ`` is read into
``chip.adc.energy_j``). Unknown keys are refused. Parameters of the cell model stay a raw mapping;
`cimsim.chip.cells` reads and checks them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cimsim.boundary.limits import shown
from cimsim.chip.fact import Fact, Follows
from cimsim.chip.history import History
from cimsim.units import quantity

_LARGEST = 2**31 - 1
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
    Voltage = float
    Frequency = float
    Resistance = float
    Capacitance = float
else:
    Energy, EnergyPerByte = quantity("J"), quantity("J/B")
    # a read of a second and a clock of a terahertz are far beyond any chip; cycles stay in 64 bits
    Time, PositiveTime = quantity("s"), quantity("s", exclusive=True, maximum=1.0)
    Area, Power, Fraction = quantity("m2"), quantity("W"), quantity("1")
    Efficiency = quantity("1", exclusive=True, maximum=1.0)
    Size = quantity("B", exclusive=True)
    Length, Voltage = quantity("m", exclusive=True), quantity("V", exclusive=True)
    Frequency = quantity("Hz", exclusive=True, maximum=1e12)
    Resistance, Capacitance = quantity("ohm"), quantity("F")
    Temperature = quantity("K", exclusive=True)


# beside what some fields take effect, for the test that changes each of them
_LOW = {"operating.vdd": "0.85 V"}
# too small for any line buffer, and so for the estimators
_TINY = {
    "buffer.size": "64 B", "buffer.read_energy": "1 pJ/B", "buffer.write_energy": "1 pJ/B",
    "buffer.leakage": "1 uW", "buffer.area": "0.01 mm2",
}  # fmt: skip
_TABLE = {"0.1 V": "1 MHz", "5 V": "9 MHz"}
_DRAM = {"dram": {"bytes_per_cycle": 8, "energy": "20 pJ/B"}, "frames": "dram"}
_CHAIN = {"system.chips": 2, "tile.count": 3}


# parts of a chip's energy, each of which a description states or leaves out; see cimsim.chip.ledger
LedgerPart = Literal[
    "array", "front_end", "references", "dac", "adc", "adder", "vector", "buffer", "control",
    "interconnect", "global_buffer", "dram", "io", "processor", "static", "conversion",
]  # fmt: skip


class Part(BaseModel):
    """What all components share: frozen, no unknown keys, numbers that are numbers."""

    model_config = _Config

    @field_validator("*", mode="before")
    @classmethod
    def _plain_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's ``yes`` is no 1, and counts must leave room for products in 64 bits."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError(f"expected a value, got {str(value).lower()}")
        if not isinstance(value, int | float):
            return value
        kinds = (wanted, *get_args(wanted))
        if int in kinds and abs(value) > _LARGEST:
            raise ValueError(f"expected at most {_LARGEST}, got {shown(value)}")
        if float in kinds and _MOST < abs(value) < math.inf:
            raise ValueError(f"expected at most {_MOST:g}, got {shown(value)}")
        return value


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
        Temperature,
        Fact(
            "energy.static",
            plausible=(5, 40, "steep subthreshold leakage .. mostly gate leakage"),
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
        float, Fact("energy.adc", "energy.array", "energy.vector", "energy.buffer", when=_LOW)
    ] = Field(default=2.0, ge=0, le=4, description="energy of an action goes as vdd to this power")
    frequency: Annotated[Literal["fixed", "alpha", "table"], Fact("cycles", when=_LOW)] = Field(
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
            when={**_LOW, "operating.frequency": "table", "operating.table": _TABLE},
            tried=({"0.1 V": "1 MHz", "5 V": "2 MHz"},),
        ),
    ] = Field(default={}, description="supply: clock, such as {0.85 V: 40 MHz, 1.2 V: 100 MHz}")


class Array(Part):
    """One crossbar: cells for ``rows x cols`` weights slices, its drivers and its read-out."""

    rows: Annotated[int, Fact("mapping", "area.cells", "frames")] = Field(
        gt=0, le=65536, description="word lines"
    )
    cols: Annotated[int, Fact("mapping", "area.cells", "frames")] = Field(
        gt=0,
        le=65536,
        description="columns; a differential pair is one column, else each column of cells is one",
    )
    t_read_s: Annotated[
        PositiveTime,
        Fact(
            "cycles",
            "energy.array",
            scales="time",
            plausible=(1e-10, 0.0001, "reads of SRAM .. subthreshold flash"),
            follows=Follows(kept=("array.rows", "array.cols", "dac.bits", "dac.encoding")),
        ),
    ] = Field(alias="t_read", description="drive and integrate one pulse")
    v_read_v: Annotated[
        Voltage,
        Fact(
            "energy.array",
            plausible=(0.001, 3, "read voltages from charge-trap cells to NAND"),
            spread="analog",
        ),
    ] = Field(alias="v_read", description="cell voltage at full-scale input")
    mode: Annotated[
        Literal["current", "charge"],
        Fact(
            "energy.array",
            tried=(
                {"array.mode": "charge", "array.cell_capacitance": "1 fF"},
                {"array.mode": "current", "array.cell_capacitance": "0 F"},
            ),
        ),
    ] = Field(
        default="current",
        description="current: a cell draws V**2 G t; charge: it moves the charge C V once a pulse",
    )
    cell_capacitance_f: Annotated[
        Capacitance,
        Fact(
            "energy.array",
            plausible=(1e-17, 1e-12, "wire of a cell .. a ladder of capacitors"),
            spread="analog",
            when={"array.mode": "charge", "array.cell_capacitance": "1 fF"},
            tried=("2 fF",),
            follows=Follows(law="estimator", fields=("array.cell_area",)),
        ),
    ] = Field(
        default=0.0, alias="cell_capacitance", description="charge: what one full-scale cell moves"
    )
    activity: Annotated[float | None, Fact("energy.array", spread="analog", tried=(0.2,))] = Field(
        default=None,
        gt=0,
        le=1,
        description="mean of input x conductance over full scale when no functional run is made",
    )
    fixed_energy_j: Annotated[
        Energy,
        Fact(
            "energy.array",
            scales="energy",
            plausible=(1e-15, 1e-06, "control of one array"),
            spread="logic",
            tried=("1 pJ",),
            follows=Follows(
                law="cells of an array", fields=("array.rows", "array.cols"), kept=("process.node",)
            ),
        ),
    ] = Field(
        default=0.0,
        alias="fixed_energy",
        description="one pulse of one array, whatever the data: precharge, lines, control",
    )
    active_power_w: Annotated[
        Power,
        Fact(
            "energy.front_end",
            scales="active",
            plausible=(1e-09, 1, "amplifiers of one array"),
            spread="analog",
            tried=("1 uW",),
            follows=Follows(law="columns", fields=("array.cols",), kept=("process.node",)),
        ),
    ] = Field(
        default=0.0,
        alias="active_power",
        description="column front end of one array while it fires: integrators, amplifiers, "
        "sample-and-hold, their biases",
    )
    reference_power_w: Annotated[
        Power,
        Fact(
            "energy.references",
            scales="static",
            plausible=(1e-9, 1, "a bias cell .. pumps of a large array"),
            spread="analog",
            tried=("10 uW",),
            follows=Follows(kept=("array.rows", "array.cols", "process.node")),
        ),
    ] = Field(
        default=0.0,
        alias="reference_power",
        description="references and read pumps of one array, while its tile has a supply",
    )
    cell_area_m2: Annotated[
        Area,
        Fact(
            "area.cells",
            plausible=(1e-16, 1e-10, "4 F^2 at 5 nm .. an analog memory cell of 10 um edge"),
            expected=True,
            spread="area",
            follows=Follows(law="squares of the feature size", fields=("process.node",)),
        ),
    ] = Field(default=0.0, alias="cell_area", description="area per weight cell")
    periphery_area_m2: Annotated[
        Area,
        Fact(
            "area.array periphery",
            plausible=(1e-12, 1e-05, "drivers of one array"),
            expected=True,
            spread="area",
            follows=Follows(
                law="lines of an array", fields=("array.rows", "array.cols"), kept=("process.node",)
            ),
        ),
    ] = Field(
        default=0.0,
        alias="periphery_area",
        description="drivers, high voltage and sense, per array",
    )


class Wires(Part):
    """Resistance of an array's lines; see `cimsim.arrays.wires` for the circuit."""

    model: Annotated[
        Literal["ideal", "exact", "fast"],
        Fact(
            "frames", trained=("ideal",), tried=({"wires.model": "exact", "wires.r_bit": "50 ohm"},)
        ),
    ] = Field(
        default="ideal",
        description="exact: nodal equations, solved once per array; fast: one ladder per line",
    )
    r_word_ohm: Annotated[
        Resistance,
        Fact(
            "frames",
            plausible=(0.001, 10000.0, "a wide metal line .. poly"),
            when={"wires.model": "exact"},
            tried=("50 ohm",),
        ),
    ] = Field(default=0.0, alias="r_word", description="word line, from one cell to the next")
    r_bit_ohm: Annotated[
        Resistance,
        Fact(
            "frames",
            plausible=(0.001, 10000.0, "a wide metal line .. poly"),
            when={"wires.model": "exact"},
            tried=("50 ohm",),
        ),
    ] = Field(default=0.0, alias="r_bit", description="bit line, from one cell to the next")
    r_driver_ohm: Annotated[
        Resistance,
        Fact(
            "frames",
            plausible=(0.1, 1000000.0, "a wide driver .. a small switch"),
            when={"wires.model": "exact"},
            tried=("5 kohm",),
        ),
    ] = Field(default=0.0, alias="r_driver", description="word-line driver to the first cell")
    r_sense_ohm: Annotated[
        Resistance,
        Fact(
            "frames",
            plausible=(0.1, 1000000.0, "an amplifier's input .. a small switch"),
            when={"wires.model": "exact"},
            tried=("5 kohm",),
        ),
    ] = Field(
        default=0.0, alias="r_sense", description="last cell to the bit line's virtual ground"
    )

    @property
    def are_ideal(self) -> bool:
        """True if no resistance takes any effect."""
        whole = self.r_word_ohm + self.r_bit_ohm + self.r_driver_ohm + self.r_sense_ohm
        return self.model == "ideal" or whole == 0


class Device(BaseModel):
    """The cell model by name, with its own parameters beside it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: Annotated[
        str,
        Fact(
            "frames",
            tried=(
                {"device": {"kind": "ideal"}},
                {"device": {"kind": "eflash", "g_max": "10 nS"}},
                {"device": {"kind": "pcm"}},
            ),
        ),
    ]

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but ``kind``, as the YAML has it."""
        return dict(self.model_extra or {})


class Weights(Part):
    """How weights become cells."""

    bits: Annotated[int, Fact("frames", "mapping")] = Field(
        default=8, ge=2, le=16, description="signed integer weights"
    )
    cell_bits: Annotated[
        int | None,
        Fact(
            "mapping",
            "frames",
            tried=(3, 2),
            when={"device": {"kind": "ideal", "g_max": "10 uS"}},
        ),
    ] = Field(
        default=None,
        ge=1,
        le=16,
        description="bits that one cell holds; fewer than a weight needs means several slices",
    )
    encoding: Annotated[
        Literal["differential", "offset", "twos_complement"],
        Fact("mapping", "frames", trained=("differential",)),
    ] = Field(
        default="differential",
        description="differential: difference of two cells; offset: one cell of q + 2**(bits-1) "
        "less a reference column; twos_complement: one cell per slice, the sign bit in its own",
    )
    rounding: Annotated[Literal["nearest", "inputs"], Fact("frames")] = Field(
        default="nearest",
        description="inputs: round so that the layer's output errs least on calibration frames",
    )
    scale: Annotated[Literal["layer", "column", "balanced"], Fact("frames")] = Field(
        default="layer",
        description="one weight scale per layer, per output column, or per column as far as the "
        "converters' range allows",
    )

    @property
    def q_max(self) -> int:
        """Largest weight magnitude, ``2**(bits-1) - 1`` (symmetric)."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def unsigned_bits(self) -> int:
        """Bits that are cut into slices: all with an offset, else those without the sign."""
        return self.bits if self.encoding == "offset" else self.bits - 1

    @property
    def slice_bits(self) -> int:
        """Bits per cell (the sign of a two's complement has a cell of its own)."""
        return min(self.cell_bits or self.unsigned_bits, self.unsigned_bits)

    @property
    def slices(self) -> int:
        """Columns (differential pairs or single cells) that one weight takes."""
        sign = self.encoding == "twos_complement"
        return math.ceil(self.unsigned_bits / self.slice_bits) + sign

    @property
    def cells_per_slice(self) -> int:
        """Cells that one slice of a weight takes."""
        return 2 if self.encoding == "differential" else 1

    @property
    def reference_cols(self) -> int:
        """Reference columns of each array: one for each slice of single cells."""
        return 0 if self.encoding == "differential" else self.slices


class Inputs(Part):
    """How activations become voltages."""

    bits: Annotated[int, Fact("frames", "cycles")] = Field(
        default=8, ge=1, le=16, description="integer inputs, the sign of phases and rows included"
    )
    signed: Annotated[
        Literal["offset", "phases", "rows"],
        Fact("frames", "mapping", "cycles", trained=("offset",)),
    ] = Field(
        default="offset",
        description="offset: a whole shift that is subtracted digitally; phases: positive part, "
        "then negative part; rows: both at once on two rows of opposite weights",
    )
    percentile: Annotated[float, Fact("frames", tried=(90.0,))] = Field(
        default=100.0, gt=50, le=100, description="share of calibration inputs inside the range, %"
    )


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
        Literal["sar", "ramp", "flash", "cco", "ideal"], Fact("frames", "cycles", tried=("ideal",))
    ] = Field(default="sar", description="'ideal' passes the exact value on (for tests)")
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
        description="one step on top of t_conversion: a ramp takes 2**bits of them, a SAR bits",
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

    @property
    def conversion_s(self) -> float:
        """Duration of one conversion, s."""
        if self.t_step_s is None:
            return self.t_conversion_s
        steps = 2**self.bits if self.kind == "ramp" else self.bits
        return self.t_conversion_s + steps * self.t_step_s

    @model_validator(mode="after")
    def _ramp_only(self) -> Self:
        if self.t_step_s is not None and self.kind not in ("ramp", "sar"):
            raise ValueError(
                f"t_step: expected kind = ramp or sar, got {self.kind}; leave t_step out"
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


class Buffer(Part):
    """An SRAM: tile buffer or global buffer."""

    size_b: Annotated[
        Size,
        Fact(
            "cycles",
            "energy.buffer",
            "energy.global_buffer",
            when={"buffer.overflow": "global_buffer", "buffer.size": "64 B"},
            tried=("64 KiB",),
        ),
    ] = Field(alias="size")
    bytes_per_cycle: Annotated[int, Fact("cycles", when={"frames": "global_buffer"})] = Field(
        gt=0, description="port width"
    )
    read_energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.{section}",
            scales="energy",
            plausible=(1e-15, 1e-09, "registers .. DRAM of an older generation"),
            expected=True,
            spread="memory",
            when={"frames": "global_buffer"},
            follows=Follows(law="SRAM table", fields=("{section}.size", "process.node")),
        ),
    ] = Field(default=0.0, alias="read_energy")
    write_energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.{section}",
            scales="energy",
            plausible=(1e-15, 1e-09, "registers .. DRAM of an older generation"),
            expected=True,
            spread="memory",
            when={"frames": "global_buffer"},
            follows=Follows(law="SRAM table", fields=("{section}.size", "process.node")),
        ),
    ] = Field(default=0.0, alias="write_energy")
    leakage_w: Annotated[
        Power,
        Fact(
            "energy.static",
            scales="static",
            plausible=(1e-09, 1, "registers .. tens of megabytes of SRAM"),
            spread="leakage",
            tried=("1 uW",),
            follows=Follows(law="SRAM table", fields=("{section}.size", "process.node")),
        ),
    ] = Field(default=0.0, alias="leakage")
    area_m2: Annotated[
        Area,
        Fact(
            "area.{section}",
            plausible=(1e-11, 0.001, "registers .. tens of megabytes of SRAM"),
            expected=True,
            spread="area",
            follows=Follows(law="SRAM table", fields=("{section}.size", "process.node")),
        ),
    ] = Field(default=0.0, alias="area")
    overflow: Annotated[
        Literal["spill", "global_buffer", "dram", "error", "ignore"],
        Fact("cycles", "energy.buffer", when=_TINY, tried=("ignore",)),
    ] = Field(
        default="spill",
        description="tile buffers: where line buffers go that do not fit. spill: to the global "
        "buffer as far as it holds them, else to DRAM; error: nowhere, tell what they need; "
        "ignore: a what-if, no memory is ever full",
    )


class GlobalBuffer(Buffer):
    """The chip's own memory: frames, and line buffers that spill."""

    size_b: Annotated[
        Size, Fact(because="line buffers that spill into it beyond its size are refused")
    ] = Field(alias="size")
    overflow: Annotated[
        Literal["spill"],
        Fact(because="for tile buffers; nothing spills out of the global buffer"),
    ] = "spill"

    @field_validator("overflow", mode="before")
    @classmethod
    def _no_overflow(cls, value: Any) -> Any:
        if value != "spill":
            raise ValueError("leave it out; it is for the tile buffers")
        return value


class Dram(Part):
    """Memory outside the chip, at its port."""

    bytes_per_cycle: Annotated[
        int,
        Fact("cycles", when=_DRAM),
    ] = Field(gt=0, description="port width")
    latency_cycles: Annotated[
        int,
        Fact("cycles", when=_DRAM),
    ] = Field(default=0, ge=0, description="of a read")
    energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.dram",
            when=_DRAM,
            plausible=(1e-12, 2e-09, "stacked DRAM .. DDR2 with its bus"),
            expected=True,
            spread="memory",
        ),
    ] = Field(
        default=0.0, alias="energy", description="one byte moved: memory and both ends of its bus"
    )
    static_power_w: Annotated[
        Power,
        Fact(
            "energy.dram",
            plausible=(1e-6, 50, "self-refresh of one die .. modules"),
            spread="memory",
            when=_DRAM,
            tried=("10 mW",),
        ),
    ] = Field(
        default=0.0, alias="static_power", description="refresh and standby, whether used or not"
    )


class Io(Part):
    """The link to whoever sends frames and takes results."""

    energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.io",
            plausible=(1e-12, 1e-8, "a link on a board .. a slow serial port"),
            spread="wire",
            tried=("100 pJ/B",),
        ),
    ] = Field(
        default=0.0, alias="energy", description="one byte of a frame that comes in or goes out"
    )
    static_power_w: Annotated[
        Power,
        Fact(
            "energy.io",
            plausible=(1e-9, 50, "a serial port .. links of a server"),
            spread="logic",
            tried=("10 mW",),
        ),
    ] = Field(default=0.0, alias="static_power", description="of the link and its pads, always on")


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


class PowerConversion(Part):
    """Regulators between the supply that a watt meter sees and the chip."""

    efficiency: Annotated[
        Efficiency,
        Fact(
            "energy.conversion",
            plausible=(0.3, 1, "linear regulators .. none at all"),
            tried=(0.8,),
        ),
    ] = Field(default=1.0, description="of all of them together")


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


class Interconnect(Part):
    """What connects the tiles of a chip: a shared bus, a mesh of routers, or nothing at all."""

    kind: Annotated[Literal["bus", "mesh", "ideal"], Fact("cycles", "energy.interconnect")] = Field(
        default="bus", description="mesh: routers in a square grid, x first, then y"
    )
    bytes_per_cycle: Annotated[int, Fact("cycles")] = Field(
        default=64, gt=0, description="of the bus, or of one mesh link"
    )
    latency_cycles: Annotated[int, Fact("cycles")] = Field(
        default=0, ge=0, description="added to each transfer"
    )
    hop_cycles: Annotated[int, Fact("cycles", when={"interconnect.kind": "mesh"})] = Field(
        default=1, ge=1, description="mesh: from one link to the next, for the head of a message"
    )
    energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.interconnect",
            scales="energy",
            plausible=(1e-15, 1e-09, "a millimetre of wire .. a link off the chip"),
            expected=True,
            spread="wire",
            when={"interconnect.kind": "bus"},
            follows=Follows(
                kept=("interconnect.kind", "tile.count", "array.rows", "array.cols", "process.node")
            ),
        ),
    ] = Field(default=0.0, alias="energy", description="one byte moved (mesh: over one link)")
    static_power_w: Annotated[
        Power,
        Fact(
            "energy.interconnect",
            scales="static",
            plausible=(1e-9, 50, "a bus .. routers of a large chip"),
            spread="logic",
            tried=("1 mW",),
            follows=Follows(kept=("tile.count", "interconnect.kind", "process.node")),
        ),
    ] = Field(
        default=0.0, alias="static_power", description="clocks of the whole interconnect, always on"
    )
    area_m2: Annotated[
        Area,
        Fact(
            "area.interconnect",
            plausible=(1e-12, 0.001, "a bus .. a mesh of routers"),
            expected=True,
            spread="area",
            tried=("1 mm2",),
            follows=Follows(
                law="tiles", fields=("tile.count",), kept=("interconnect.kind", "process.node")
            ),
        ),
    ] = Field(default=0.0, alias="area", description="whole interconnect")


class System(Part):
    """Chips in a chain, tile 0 of each linked to its neighbours'."""

    chips: Annotated[int, Fact("mapping", "area.other", "energy.static")] = Field(default=1, gt=0)
    bytes_per_cycle: Annotated[int, Fact("cycles", when=_CHAIN)] = Field(
        default=8, gt=0, description="of one link, each way"
    )
    latency_cycles: Annotated[int, Fact("cycles", when=_CHAIN)] = Field(
        default=0, ge=0, description="of one link"
    )
    energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.interconnect",
            plausible=(1e-13, 1e-09, "neighbours in a package .. a cable"),
            spread="wire",
            when=_CHAIN,
            tried=("10 pJ/B",),
        ),
    ] = Field(default=0.0, alias="energy", description="one byte, one link")


class Tile(Part):
    """Tiles of the chip and the arrays in each."""

    count: Annotated[int, Fact("mapping", "area.buffer")] = Field(gt=0)
    arrays: Annotated[int, Fact("mapping", "area.cells")] = Field(
        default=1, gt=0, description="arrays per tile"
    )
    static_power_w: Annotated[
        Power,
        Fact(
            "energy.control",
            scales="static",
            plausible=(1e-09, 10, "leakage .. clock and registers of a large tile"),
            spread="leakage",
            tried=("1 mW",),
            follows=Follows(kept=("tile.arrays", "array.rows", "array.cols", "process.node")),
        ),
    ] = Field(
        default=0.0,
        alias="static_power",
        description="control of one tile that stopping its clock does not save",
    )
    area_m2: Annotated[
        Area,
        Fact(
            "area.tile other",
            plausible=(1e-12, 0.0001, "one tile"),
            spread="area",
            tried=("0.1 mm2",),
            follows=Follows(kept=("tile.arrays", "process.node")),
        ),
    ] = Field(default=0.0, alias="area", description="what no other field covers")
    sample_hold: Annotated[
        Literal["double", "single"],
        Fact(
            "cycles",
            when={
                "interconnect.kind": "ideal",
                "array.t_read": "1 us",
                "adc.t_conversion": "1 us",
            },
        ),
    ] = Field(
        default="double", description="double: a pulse is driven while the last one is converted"
    )
    input_reuse: Annotated[Literal["row", "none"], Fact("cycles", "energy.buffer")] = Field(
        default="row", description="row: a window loads only pixels that its left neighbour lacks"
    )
    t_stage_s: Annotated[
        Time,
        Fact(
            "cycles",
            scales="time",
            plausible=(1e-10, 1e-5, "a clock .. a slow pulse"),
            tried=("100 ns",),
        ),
    ] = Field(
        default=0.0,
        alias="t_stage",
        description="clocked tile pipelines: LOAD, POST and STORE take whole stages, at least one, "
        "REDUCE one more for shift-add; 0: each takes the cycles that it needs",
    )
    gated: Annotated[bool, Fact("energy.control", "energy.references", "energy.static")] = Field(
        default=True, description="unused tiles are switched off"
    )
    clock_power_w: Annotated[
        Power,
        Fact(
            "energy.control",
            scales="active",
            plausible=(1e-09, 10, "clock of one tile"),
            spread="logic",
            tried=("1 mW",),
            follows=Follows(law="clock", fields=("process.clock",), kept=("process.node",)),
        ),
    ] = Field(
        default=0.0, alias="clock_power", description="clock tree and control of a working tile"
    )
    idle: Annotated[
        Literal["on", "clock_gated", "power_gated"],
        Fact("energy.control", when={"tile.clock_power": "1 mW"}),
    ] = Field(
        default="on",
        description="a tile that waits: clocked on, its clock stopped, or its supply off, too",
    )
    wake_energy_j: Annotated[
        Energy,
        Fact(
            "energy.control",
            scales="energy",
            plausible=(1e-12, 0.001, "a small tile .. a large one"),
            spread="logic",
            when={"tile.idle": "power_gated"},
            tried=("1 nJ",),
        ),
    ] = Field(default=0.0, alias="wake_energy", description="power_gated: one tile once per frame")


class Programming(Part):
    """Writing the weights."""

    t_pulse_s: Annotated[
        Time, Fact("programming", plausible=(1e-10, 1, "SRAM write .. slow flash"), tried=("1 us",))
    ] = Field(default=0.0, alias="t_pulse")
    pulses_per_cell: Annotated[float, Fact("programming", when={"programming.t_pulse": "1 us"})] = (
        Field(default=1.0, gt=0)
    )
    pulse_energy_j: Annotated[
        Energy,
        Fact(
            "programming",
            plausible=(1e-16, 1e-05, "SRAM write .. hot electrons with pump losses"),
            spread="analog",
            tried=("1 nJ",),
        ),
    ] = Field(default=0.0, alias="pulse_energy")
    parallel_cells: Annotated[int, Fact("programming", when={"programming.t_pulse": "1 us"})] = (
        Field(default=1, gt=0, description="cells written at once in one array")
    )
    t_erase_s: Annotated[
        Time, Fact("programming", plausible=(1e-09, 10, "SRAM .. flash sectors"), tried=("1 ms",))
    ] = Field(default=0.0, alias="t_erase", description="one array")
    erase_energy_j: Annotated[
        Energy,
        Fact(
            "programming",
            plausible=(1e-13, 1, "one array"),
            spread="analog",
            tried=("1 uJ",),
            follows=Follows(law="cells of an array", fields=("array.rows", "array.cols")),
        ),
    ] = Field(default=0.0, alias="erase_energy", description="one array")
    endurance_cycles: Annotated[
        float | None,
        Fact("programming", plausible=(100.0, 1e17, "worn flash .. SRAM"), tried=(1000000.0,)),
    ] = Field(default=None, gt=0)
    reload: Annotated[
        Literal["refuse", "allow"],
        Fact(
            "mapping",
            when={"tile.count": 3, "tile.arrays": 1, "programming.t_pulse": "1 us"},
            tried=("allow",),
        ),
    ] = Field(
        default="refuse",
        description="allow: a network that does not fit is written load after load in each frame",
    )

    def time_s(self, arrays: int, cells: int, pulses: float | None = None) -> float:
        """Duration of erasing and writing arrays one after another, s."""
        steps = cells / self.parallel_cells * (self.pulses_per_cell if pulses is None else pulses)
        return arrays * self.t_erase_s + steps * self.t_pulse_s

    def energy_j(self, arrays: int, cells: int, pulses: float | None = None) -> float:
        """Energy of erasing and writing, J."""
        each = self.pulses_per_cell if pulses is None else pulses
        return arrays * self.erase_energy_j + cells * each * self.pulse_energy_j


class Conditions(Part):
    """When and how warm the cells are read: time since programming, temperature."""

    time_s: Annotated[
        Time, Fact("frames", tried=("1 h",), when={"device": {"kind": "pcm"}}, trained=(0.0,))
    ] = Field(default=0.0, alias="time", description="since the cells were verified")
    temperature_k: Annotated[
        Temperature,
        Fact(
            "energy.static",
            "frames",
            tried=("60 C",),
            when={"device": {"kind": "eflash", "g_max": "10 nS"}},
            trained=(298.15,),
        ),
    ] = Field(
        default=REFERENCE_K, alias="temperature", description="of the cells when they are read"
    )
    recalibrate: Annotated[
        bool, Fact("frames", when={"device": {"kind": "pcm"}, "conditions.time": "30 d"})
    ] = Field(
        default=False,
        description="ranges and column corrections anew at this time; else those of time 0, 25 C",
    )
    compensation: Annotated[
        Literal["none", "global", "column"],
        Fact("frames", when={"device": {"kind": "pcm"}, "conditions.time": "30 d"}),
    ] = Field(
        default="none",
        description="what is taken back at this time, ranges kept: one factor for each array, or "
        "gain and offset of each column",
    )

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.recalibrate and self.compensation != "none":
            raise ValueError(
                f"compensation: expected none beside recalibrate: true, which fits the columns "
                f"anew, got {self.compensation}; drop one of the two"
            )
        return self

    @property
    def fresh(self) -> bool:
        """True right after programming at 25 C: nothing has changed yet."""
        return self.time_s == 0 and self.temperature_k == REFERENCE_K


class Faults(Part):
    """Cells that hold one conductance whatever is written."""

    stuck_off: Annotated[Fraction, Fact("frames", tried=("5 %",), trained=(0.0,))] = Field(
        default=0.0, description="share of cells that stay at g_min"
    )
    stuck_on: Annotated[Fraction, Fact("frames", tried=("5 %",), trained=(0.0,))] = Field(
        default=0.0, description="share of cells that stay at g_max"
    )
    open: Annotated[Fraction, Fact("frames", tried=("5 %",), trained=(0.0,))] = Field(
        default=0.0, description="share of cells that conduct nothing, 0 S"
    )
    map: Annotated[
        str | None,
        Fact(
            because="names a file; the faults in it move the frames (cimsim.arrays.faults)",
            trained=(None,),
        ),
    ] = Field(default=None, description=".csv or .npz of faults by array")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        total = self.stuck_off + self.stuck_on + self.open
        if total > 1:
            raise ValueError(
                f"stuck_off: expected stuck_off + stuck_on + open of at most 100 %, got "
                f"{100 * total:g} %"
            )
        return self

    @property
    def drawn(self) -> bool:
        """Whether some cells are drawn at random."""
        return self.stuck_off + self.stuck_on + self.open > 0

    @property
    def none(self) -> bool:
        """Whether no cell is faulty."""
        return not self.drawn and self.map is None


class Source(Part):
    """Where a number comes from."""

    kind: Literal["measured", "vendor", "model", "estimate"]
    text: str = Field(min_length=3)
    range: str | None = Field(default=None, description="5 .. 95 %, such as 1.3..7.8 pJ")


class Chip(Part):
    """A complete hardware description.

    Notes
    -----
    ``sources`` maps a dotted path (``adc.energy``) to the origin of the number that stands there.
    """

    schema_version: Annotated[Literal[1], Fact(because="says how the file is to be read")] = 1
    name: Annotated[
        str, Fact(because="text for people; chooses the shipped weights that were trained for it")
    ] = Field(min_length=1)
    summary: Annotated[str, Fact(because="text for people, no number")] = ""
    process: Process
    operating: Operating = Operating()
    array: Array
    wires: Wires = Wires()
    device: Device
    weights: Weights = Weights()
    inputs: Inputs = Inputs()
    dac: Dac = Dac()
    adc: Adc
    calibration: Calibration = Calibration()
    tile: Tile
    buffer: Buffer
    adder: Adder = Adder()
    vector: Vector
    interconnect: Interconnect = Interconnect()
    global_buffer: GlobalBuffer
    dram: Dram | None = None
    frames: Annotated[
        Literal["resident", "global_buffer", "dram"],
        Fact("cycles", "energy.global_buffer", tried=("global_buffer",)),
    ] = Field(
        default="resident",
        description="where frames come from and go to, row by row; resident: no time for either",
    )
    system: System = System()
    io: Io = Io()
    processor: Processor = Processor()
    power_conversion: PowerConversion = PowerConversion()
    static_power_w: Annotated[
        Power,
        Fact(
            "energy.static",
            scales="static",
            plausible=(1e-09, 200, "a sensor node .. a card"),
            spread="leakage",
            tried=("1 mW",),
        ),
    ] = Field(
        default=0.0, alias="static_power", description="chip level: PLL, and what no section has"
    )
    other_area_m2: Annotated[
        Area,
        Fact(
            "area.other",
            plausible=(1e-12, 0.001, "a reticle"),
            spread="area",
            tried=("1 mm2",),
            follows=Follows(kept=("process.node",)),
        ),
    ] = Field(default=0.0, alias="other_area", description="chip level")
    programming: Programming = Programming()
    conditions: Conditions = Conditions()
    faults: Faults = Faults()
    leaves_out: Annotated[
        tuple[LedgerPart, ...], Fact(because="says what is not counted; results print it")
    ] = Field(default=(), description="parts of the energy that this description does not count")
    included_in: Annotated[
        dict[LedgerPart, str],
        Fact(because="says where a part is counted; results print the others"),
    ] = Field(default={}, description="part: the field whose figure holds it, too")
    ranges: Annotated[
        dict[str, str], Fact(because="intervals of results are drawn from it, no value is")
    ] = {}
    sources: Annotated[
        dict[str, Source], Fact(because="where numbers come from; ranges of results read it")
    ] = {}

    _history: History = PrivateAttr(default=History())

    @property
    def history(self) -> History:
        """Overrides that made this chip of its file, and what they moved; no part of its hash."""
        return self._history

    def with_history(self, history: History) -> Self:
        """Return the same chip with another history."""
        new = self.model_copy()
        new._history = history
        return new

    @property
    def label(self) -> str:
        """The name for headings: ``eflash40nm with adc.bits=6``."""
        changed = ", ".join(self.history.overrides)
        return f"{self.name} with {changed}" if changed else self.name

    def __eq__(self, other: object) -> bool:
        """Chips are equal by what they are, not by how they came about."""
        return isinstance(other, Chip) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dac.bits > self.inputs.bits:
            raise ValueError(
                f"dac.bits: expected at most inputs.bits = {self.inputs.bits}, got {self.dac.bits}"
            )
        if self.array.mode == "charge" and self.array.cell_capacitance_f == 0:
            raise ValueError(
                "array.cell_capacitance: expected more than 0 F with array.mode = charge, got 0 F; "
                "give it, such as '1.2 fF', or auto"
            )
        if self.array.mode == "current" and self.array.cell_capacitance_f > 0:
            raise ValueError(
                "array.cell_capacitance: expected array.mode = charge, got current; leave it out"
            )
        taken = self.weights.slices + self.weights.reference_cols
        if self.array.cols < taken:
            raise ValueError(
                f"array.cols: one weight takes {taken} columns (weights.bits = "
                f"{self.weights.bits}, weights.cell_bits = {self.weights.cell_bits}, "
                f"weights.encoding = {self.weights.encoding}), got {self.array.cols}"
            )
        if self.inputs.signed != "offset" and self.inputs.bits < 2:
            raise ValueError(
                f"inputs.bits: expected at least 2 with inputs.signed = {self.inputs.signed} (one "
                f"is the sign), got {self.inputs.bits}"
            )
        if self.dram is None and "dram" in (self.frames, self.buffer.overflow):
            where = "frames" if self.frames == "dram" else "buffer.overflow"
            raise ValueError(f"{where}: dram, but the chip has no section dram; describe its port")
        if self.inputs.signed == "rows" and self.array.rows < 2:
            raise ValueError("array.rows: expected at least 2 with inputs.signed = rows, got 1")
        return self

    @property
    def n_tiles(self) -> int:
        """Tiles of all chips; tile ``t`` is on chip ``t // tile.count``."""
        return self.system.chips * self.tile.count

    @property
    def n_arrays(self) -> int:
        """Arrays of all chips."""
        return self.n_tiles * self.tile.arrays

    @property
    def drive_s(self) -> float:
        """Duration of one full-scale pulse, s."""
        return self.array.t_read_s + self.dac.steps_s

    @property
    def weight_cols(self) -> int:
        """Weights that fit beside each other in one array."""
        return (self.array.cols - self.weights.reference_cols) // self.weights.slices

    @property
    def pulses(self) -> int:
        """Pulses of one activation whose inputs are never negative."""
        return self.pulses_for(signed=False)

    def phases(self, signed: bool) -> int:
        """Return how often inputs that may (not) be negative are applied: 2 for two phases."""
        return 2 if signed and self.inputs.signed == "phases" else 1

    def lines_per_input(self, signed: bool) -> int:
        """Word lines of one input that may (not) be negative."""
        return 2 if signed and self.inputs.signed == "rows" else 1

    def pulses_for(self, signed: bool) -> int:
        """Pulses of one activation whose inputs may (not) be negative, all phases."""
        return self.phases(signed) * math.ceil(self.magnitude_bits(signed) / self.dac.bits)

    def magnitude_bits(self, signed: bool) -> int:
        """Bits of one input, that may (not) be negative, in one phase."""
        return self.inputs.bits - (signed and self.inputs.signed != "offset")

    @property
    def input_bytes(self) -> int:
        """Bytes of one activation value in a buffer."""
        return math.ceil(self.inputs.bits / 8)

    @property
    def partial_sum_bytes(self) -> int:
        """Bytes of one partial sum on its way to the home tile."""
        return 4
