"""The chip as data: frozen pydantic models, one per component, units in every field name.

A YAML field is called as here without the unit suffix (``adc.energy: 2.61 pJ`` is read into
``chip.adc.energy_j``). Unknown keys are refused. Parameters of the cell model stay a raw mapping;
`cimsim.devices` reads and checks them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cimsim.units import quantity

_LARGEST = 2**31 - 1
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


# parts of a chip's energy, each of which a description states or leaves out; see cimsim.hw.ledger
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
        if isinstance(value, int) and abs(value) > _LARGEST and wanted is int:
            raise ValueError(f"expected at most {_LARGEST}, got {value}")
        return value


class Process(Part):
    """Technology and clock of the chip."""

    node_m: Length = Field(alias="node", description="feature size")
    vdd_v: Voltage = Field(alias="vdd", description="core supply")
    clock_hz: Frequency = Field(
        alias="clock", description="the one clock that cycles are counted in"
    )
    leakage_doubling_k: Temperature = Field(
        default=10.0, alias="leakage_doubling",
        description="leakage doubles with so many kelvin; 8 .. 12 K is what subthreshold currents "
        "of planar transistors do around room temperature",
    )  # fmt: skip


class Operating(Part):
    """Another supply than the one that the numbers of the file hold for.

    `cimsim.hw.voltage` says what scales, and how.
    """

    vdd_v: Voltage | None = Field(
        default=None, alias="vdd", description="supply now; default: process.vdd"
    )
    energy_exponent: float = Field(
        default=2.0, ge=0, le=4, description="energy of an action goes as vdd to this power"
    )
    frequency: Literal["fixed", "alpha", "table"] = Field(
        default="alpha",
        description="clock and analog times at another supply: unchanged, by the alpha-power law, "
        "or interpolated in a table",
    )
    v_threshold_v: Voltage = Field(default=0.35, alias="v_threshold", description="alpha law")
    alpha: float = Field(default=1.3, ge=1, le=2, description="alpha law; 2 for long channels")
    table: dict[str, str] = Field(
        default={}, description="supply: clock, such as {0.85 V: 40 MHz, 1.2 V: 100 MHz}"
    )


class Array(Part):
    """One crossbar: cells for ``rows x cols`` weights slices, its drivers and its read-out."""

    rows: int = Field(gt=0, le=65536, description="word lines")
    cols: int = Field(
        gt=0, le=65536,
        description="columns; a differential pair is one column, else each column of cells is one",
    )  # fmt: skip
    t_read_s: PositiveTime = Field(alias="t_read", description="drive and integrate one pulse")
    v_read_v: Voltage = Field(alias="v_read", description="cell voltage at full-scale input")
    mode: Literal["current", "charge"] = Field(
        default="current",
        description="current: a cell draws V**2 G t; charge: it moves the charge C V once a pulse",
    )
    cell_capacitance_f: Capacitance = Field(
        default=0.0, alias="cell_capacitance", description="charge: what one full-scale cell moves"
    )
    activity: float | None = Field(
        default=None, gt=0, le=1,
        description="mean of input x conductance over full scale when no functional run is made",
    )  # fmt: skip
    fixed_energy_j: Energy = Field(
        default=0.0, alias="fixed_energy",
        description="one pulse of one array, whatever the data: precharge, lines, control",
    )  # fmt: skip
    active_power_w: Power = Field(
        default=0.0, alias="active_power",
        description="column front end of one array while it fires: integrators, amplifiers, "
        "sample-and-hold, their biases",
    )  # fmt: skip
    reference_power_w: Power = Field(
        default=0.0, alias="reference_power",
        description="references and read pumps of one array, while its tile has a supply",
    )  # fmt: skip
    cell_area_m2: Area = Field(default=0.0, alias="cell_area", description="area per weight cell")
    periphery_area_m2: Area = Field(
        default=0.0,
        alias="periphery_area",
        description="drivers, high voltage and sense, per array",
    )


class Wires(Part):
    """Resistance of an array's lines; see `cimsim.arrays.wires` for the circuit."""

    model: Literal["ideal", "exact", "fast"] = Field(
        default="ideal",
        description="exact: nodal equations, solved once per array; fast: one ladder per line",
    )
    r_word_ohm: Resistance = Field(
        default=0.0, alias="r_word", description="word line, from one cell to the next"
    )
    r_bit_ohm: Resistance = Field(
        default=0.0, alias="r_bit", description="bit line, from one cell to the next"
    )
    r_driver_ohm: Resistance = Field(
        default=0.0, alias="r_driver", description="word-line driver to the first cell"
    )
    r_sense_ohm: Resistance = Field(
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
    kind: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but ``kind``, as the YAML has it."""
        return dict(self.model_extra or {})


class Weights(Part):
    """How weights become cells."""

    bits: int = Field(default=8, ge=2, le=16, description="signed integer weights")
    cell_bits: int | None = Field(
        default=None, ge=1, le=16,
        description="bits that one cell holds; fewer than a weight needs means several slices",
    )  # fmt: skip
    encoding: Literal["differential", "offset", "twos_complement"] = Field(
        default="differential",
        description="differential: difference of two cells; offset: one cell of q + 2**(bits-1) "
        "less a reference column; twos_complement: one cell per slice, the sign bit in its own",
    )
    rounding: Literal["nearest", "inputs"] = Field(
        default="nearest",
        description="inputs: round so that the layer's output errs least on calibration frames",
    )
    scale: Literal["layer", "column", "balanced"] = Field(
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

    bits: int = Field(
        default=8, ge=1, le=16, description="integer inputs, the sign of phases and rows included"
    )
    signed: Literal["offset", "phases", "rows"] = Field(
        default="offset",
        description="offset: a whole shift that is subtracted digitally; phases: positive part, "
        "then negative part; rows: both at once on two rows of opposite weights",
    )
    percentile: float = Field(
        default=100.0, gt=50, le=100, description="share of calibration inputs inside the range, %"
    )


class Dac(Part):
    """Word-line drivers."""

    bits: int = Field(default=8, ge=1, le=16, description="input bits applied in one pulse")
    encoding: Literal["amplitude", "pulse_width"] = "amplitude"
    t_step_s: PositiveTime | None = Field(
        default=None, alias="t_step",
        description="pulse_width: one step; full scale lasts 2**bits - 1 of them beyond t_read",
    )  # fmt: skip
    gain_sigma: Fraction = Field(default=0.0, description="static gain error per row, rms")
    inl_lsb: float = Field(default=0.0, ge=0, description="static non-linearity per row, rms")
    energy_j: Energy = Field(default=0.0, alias="energy", description="per conversion (row, pulse)")
    bit_energy_j: Energy = Field(
        default=0.0, alias="bit_energy", description="per row and input bit: trains of pulses"
    )
    area_m2: Area = Field(default=0.0, alias="area", description="per row")

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

    kind: Literal["sar", "ramp", "flash", "cco", "ideal"] = Field(
        default="sar", description="'ideal' passes the exact value on (for tests)"
    )
    bits: int = Field(ge=1, le=32)
    count: int = Field(gt=0, description="converters per array (per tile when shared by the tile)")
    shared: Literal["array", "tile"] = Field(
        default="array", description="who shares the converters"
    )
    t_conversion_s: PositiveTime = Field(alias="t_conversion", description="one conversion")
    energy_j: Energy = Field(default=0.0, alias="energy", description="one conversion")
    area_m2: Area = Field(default=0.0, alias="area", description="one converter")
    t_step_s: PositiveTime | None = Field(
        default=None, alias="t_step",
        description="one step on top of t_conversion: a ramp takes 2**bits of them, a SAR bits",
    )  # fmt: skip
    range: Literal["full", "calibrated", "power2"] = Field(
        default="calibrated",
        description="full: the worst case fits; calibrated: from calibration frames; power2: full "
        "over a power of two that calibration chooses",
    )
    method: Literal["percentile", "least_error"] = Field(
        default="percentile",
        description="percentile: that share of calibration currents fits; least_error: least "
        "squared error of clipping and steps together",
    )
    scope: Literal["layer", "array"] = Field(
        default="array", description="what shares one calibrated range"
    )
    percentile: float = Field(
        default=100.0, gt=50, le=100, description="share of calibration currents in range, %"
    )
    noise_lsb: float = Field(default=0.0, ge=0, description="input-referred noise, rms, in steps")
    gain_sigma: Fraction = Field(default=0.0, description="static gain mismatch per column, rms")
    offset_sigma_lsb: float = Field(default=0.0, ge=0, description="static offset per column, rms")
    inl_bow_lsb: float = Field(
        default=0.0, ge=0, description="static bow of the transfer curve at mid-range, rms"
    )
    inl_steps_lsb: float = Field(
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

    frames: int = Field(default=2, ge=1, description="frames used for ranges and corrections")
    column_gain: bool = Field(default=False, description="least-squares gain per output column")
    column_offset: bool = Field(default=False, description="mean error per output column")


class Buffer(Part):
    """An SRAM: tile buffer or global buffer."""

    size_b: Size = Field(alias="size")
    bytes_per_cycle: int = Field(gt=0, description="port width")
    read_energy_j_b: EnergyPerByte = Field(default=0.0, alias="read_energy")
    write_energy_j_b: EnergyPerByte = Field(default=0.0, alias="write_energy")
    leakage_w: Power = Field(default=0.0, alias="leakage")
    area_m2: Area = Field(default=0.0, alias="area")
    overflow: Literal["spill", "global_buffer", "dram", "error", "ignore"] = Field(
        default="spill",
        description="tile buffers: where line buffers go that do not fit. spill: to the global "
        "buffer as far as it holds them, else to DRAM; error: nowhere, tell what they need; "
        "ignore: a what-if, no memory is ever full",
    )


class Dram(Part):
    """Memory outside the chip, at its port."""

    bytes_per_cycle: int = Field(gt=0, description="port width")
    latency_cycles: int = Field(default=0, ge=0, description="of a read")
    energy_j_b: EnergyPerByte = Field(
        default=0.0, alias="energy", description="one byte moved: memory and both ends of its bus"
    )
    static_power_w: Power = Field(
        default=0.0, alias="static_power", description="refresh and standby, whether used or not"
    )


class Io(Part):
    """The link to whoever sends frames and takes results."""

    energy_j_b: EnergyPerByte = Field(
        default=0.0, alias="energy", description="one byte of a frame that comes in or goes out"
    )
    static_power_w: Power = Field(
        default=0.0, alias="static_power", description="of the link and its pads, always on"
    )


class Processor(Part):
    """A processor beside the arrays: starts them, prepares inputs, reads results."""

    power_w: Power = Field(default=0.0, alias="power", description="while it works")
    load: Efficiency = Field(default=1.0, description="share of the time that it works")


class PowerConversion(Part):
    """Regulators between the supply that a watt meter sees and the chip."""

    efficiency: Efficiency = Field(default=1.0, description="of all of them together")


class Vector(Part):
    """Digital vector units: scale, bias, activation, residual add, pooling."""

    lanes: int = Field(gt=0, description="elements per cycle of one unit")
    scope: Literal["tile", "chip"] = Field(default="tile", description="one unit per tile or chip")
    energy_j: Energy = Field(default=0.0, alias="energy", description="one operation on a value")
    scale_energy_j: Energy = Field(
        default=0.0, alias="scale_energy", description="scale and bias of one output value"
    )
    leakage_w: Power = Field(default=0.0, alias="leakage", description="one unit")
    area_m2: Area = Field(default=0.0, alias="area", description="one unit")


class Adder(Part):
    """Shift-add over pulses and slices, and the sum over row tiles."""

    lanes: int = Field(default=64, gt=0, description="values added per cycle at the home tile")
    energy_j: Energy = Field(default=0.0, alias="energy", description="one addition")
    area_m2: Area = Field(default=0.0, alias="area", description="one tile's adders")


class Interconnect(Part):
    """What connects the tiles of a chip: a shared bus, a mesh of routers, or nothing at all."""

    kind: Literal["bus", "mesh", "ideal"] = Field(
        default="bus", description="mesh: routers in a square grid, x first, then y"
    )
    bytes_per_cycle: int = Field(default=64, gt=0, description="of the bus, or of one mesh link")
    latency_cycles: int = Field(default=0, ge=0, description="added to each transfer")
    hop_cycles: int = Field(
        default=1, ge=1, description="mesh: from one link to the next, for the head of a message"
    )
    energy_j_b: EnergyPerByte = Field(
        default=0.0, alias="energy", description="one byte moved (mesh: over one link)"
    )
    static_power_w: Power = Field(
        default=0.0, alias="static_power", description="clocks of the whole interconnect, always on"
    )
    area_m2: Area = Field(default=0.0, alias="area", description="whole interconnect")


class System(Part):
    """Chips in a chain, tile 0 of each linked to its neighbours'."""

    chips: int = Field(default=1, gt=0)
    bytes_per_cycle: int = Field(default=8, gt=0, description="of one link, each way")
    latency_cycles: int = Field(default=0, ge=0, description="of one link")
    energy_j_b: EnergyPerByte = Field(default=0.0, alias="energy", description="one byte, one link")


class Tile(Part):
    """Tiles of the chip and the arrays in each."""

    count: int = Field(gt=0)
    arrays: int = Field(default=1, gt=0, description="arrays per tile")
    static_power_w: Power = Field(
        default=0.0, alias="static_power",
        description="control of one tile that stopping its clock does not save",
    )  # fmt: skip
    area_m2: Area = Field(default=0.0, alias="area", description="what no other field covers")
    sample_hold: Literal["double", "single"] = Field(
        default="double", description="double: a pulse is driven while the last one is converted"
    )
    input_reuse: Literal["row", "none"] = Field(
        default="row", description="row: a window loads only pixels that its left neighbour lacks"
    )
    gated: bool = Field(default=True, description="unused tiles are switched off")
    clock_power_w: Power = Field(
        default=0.0, alias="clock_power", description="clock tree and control of a working tile"
    )
    idle: Literal["on", "clock_gated", "power_gated"] = Field(
        default="on",
        description="a tile that waits: clocked on, its clock stopped, or its supply off, too",
    )
    wake_energy_j: Energy = Field(
        default=0.0, alias="wake_energy", description="power_gated: one tile once per frame"
    )


class Programming(Part):
    """Writing the weights."""

    t_pulse_s: Time = Field(default=0.0, alias="t_pulse")
    pulses_per_cell: float = Field(default=1.0, gt=0)
    pulse_energy_j: Energy = Field(default=0.0, alias="pulse_energy")
    parallel_cells: int = Field(default=1, gt=0, description="cells written at once in one array")
    t_erase_s: Time = Field(default=0.0, alias="t_erase", description="one array")
    erase_energy_j: Energy = Field(default=0.0, alias="erase_energy", description="one array")
    endurance_cycles: float | None = Field(default=None, gt=0)
    reload: Literal["refuse", "allow"] = Field(
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

    time_s: Time = Field(default=0.0, alias="time", description="since the cells were verified")
    temperature_k: Temperature = Field(
        default=REFERENCE_K, alias="temperature", description="of the cells when they are read"
    )
    recalibrate: bool = Field(
        default=False,
        description="ranges and column corrections anew at this time; else those of time 0, 25 C",
    )

    @property
    def fresh(self) -> bool:
        """True right after programming at 25 C: nothing has changed yet."""
        return self.time_s == 0 and self.temperature_k == REFERENCE_K


class Faults(Part):
    """Cells that hold one conductance whatever is written."""

    stuck_off: Fraction = Field(default=0.0, description="share of cells that stay at g_min")
    stuck_on: Fraction = Field(default=0.0, description="share of cells that stay at g_max")
    open: Fraction = Field(default=0.0, description="share of cells that conduct nothing, 0 S")
    map: str | None = Field(default=None, description=".csv or .npz of faults by array")

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


class Chip(Part):
    """A complete hardware description.

    Notes
    -----
    ``sources`` maps a dotted path (``adc.energy``) to the origin of the number that stands there.
    """

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    summary: str = ""
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
    global_buffer: Buffer
    dram: Dram | None = None
    frames: Literal["resident", "global_buffer", "dram"] = Field(
        default="resident",
        description="where frames come from and go to, row by row; resident: no time for either",
    )
    system: System = System()
    io: Io = Io()
    processor: Processor = Processor()
    power_conversion: PowerConversion = PowerConversion()
    static_power_w: Power = Field(
        default=0.0, alias="static_power", description="chip level: PLL, and what no section has"
    )
    other_area_m2: Area = Field(default=0.0, alias="other_area", description="chip level")
    programming: Programming = Programming()
    conditions: Conditions = Conditions()
    faults: Faults = Faults()
    leaves_out: tuple[LedgerPart, ...] = Field(
        default=(), description="parts of the energy that this description does not count"
    )
    included_in: dict[LedgerPart, str] = Field(
        default={}, description="part: the field whose figure holds it, too"
    )
    sources: dict[str, Source] = {}

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
        if self.global_buffer.overflow != "spill":
            raise ValueError("global_buffer.overflow: leave it out; it is for the tile buffers")
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
