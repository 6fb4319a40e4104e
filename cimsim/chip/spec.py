"""The chip as data: a frozen pydantic model of its parts, units in every field name.

A YAML field is called as here without the unit suffix (``adc.energy: 2.61 pJ`` is read into
``chip.adc.energy_j``). Unknown keys are refused. Parameters of the cell model stay a raw mapping;
`cimsim.chip.cells` reads and checks them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from cimsim.chip.fact import Fact, Follows
from cimsim.chip.history import History
from cimsim.chip.parts.array import Array, Wires
from cimsim.chip.parts.base import Area, LedgerPart, Part, Power, Source
from cimsim.chip.parts.cells import Conditions, Faults, Programming
from cimsim.chip.parts.codes import Device, Inputs, Weights
from cimsim.chip.parts.converters import Adc, Calibration, Dac
from cimsim.chip.parts.digital import Adder, MatMul, Processor, Vector
from cimsim.chip.parts.memories import Buffer, Dram, GlobalBuffer
from cimsim.chip.parts.process import Operating, Process
from cimsim.chip.parts.system import Interconnect, Io, PowerConversion, System, Tile
from cimsim.display.tables import data_frame, html_table

if TYPE_CHECKING:
    from pandas import DataFrame


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
    matmul: MatMul | None = None
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
    ] = Field(default={})
    sources: Annotated[
        dict[str, Source], Fact(because="where numbers come from; ranges of results read it")
    ] = Field(default={})

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

    def __repr__(self) -> str:
        return (
            f"Chip({self.label}: {self.n_arrays} arrays of {self.array.rows} x {self.array.cols}, "
            f"{self.device.kind}, {self.process.node_m * 1e9:g} nm)"
        )

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        from cimsim.chip.fields import rows

        given = [row for row in rows(self) if row["given"]]
        head = ("field", "value", "kind", "source")
        return html_table(
            f"{self.label}: {self.summary}", [[row[name] for name in head] for row in given], head,
            [f"{self!r}; .to_frame() has every field"],
        )  # fmt: skip

    def to_frame(self) -> DataFrame:
        """Return every field with value, unit, and source, as a ``pandas.DataFrame``.

        Raises
        ------
        InputError
            Pandas is not installed.
        """
        from cimsim.chip.fields import rows

        frame: DataFrame = data_frame(rows(self), "Chip.to_frame")
        return frame

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

    def place_of(self, tile: int) -> float:
        """Return where a tile lies from side to side of its chip, -1/2 .. 1/2.

        Tiles stand row by row in a square, as the routers of a mesh do.
        """
        side = math.ceil(math.sqrt(self.tile.count))
        return tile % self.tile.count % side / (side - 1) - 0.5 if side > 1 else 0.0

    @property
    def drive_s(self) -> float:
        """Duration of one full-scale pulse, s."""
        return self.array.t_read_s + self.dac.steps_s

    def pulse_interval_s(self, columns: int) -> float:
        """Return for how long one pulse keeps an array and its front end, s.

        The array is driven, then ``columns`` (of weights) are converted; with double
        sample-and-hold the longer one of the two counts, as pulses then follow each other at that
        distance.
        """
        rounds = math.ceil(columns * self.weights.slices / self.adc.count)
        convert_s = rounds * self.adc.conversion_s
        double = self.tile.sample_hold == "double"
        return max(self.drive_s, convert_s) if double else self.drive_s + convert_s

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
