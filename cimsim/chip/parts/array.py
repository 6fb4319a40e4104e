"""The crossbar: its cells and its lines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.chip.fact import Fact, Follows
from cimsim.chip.parts.base import (
    Area,
    Capacitance,
    Current,
    Energy,
    Fraction,
    Part,
    PositiveTime,
    Power,
    Resistance,
    Voltage,
)


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
            follows=Follows(
                law="estimator", fields=("array.cell_area",), of_ideal_cells=("weights.bits",)
            ),
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
            plausible=(1e-09, 0.5, "amplifiers of one array"),
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
            plausible=(1e-9, 0.1, "a bias cell .. pumps of a large array"),
            spread="analog",
            tried=("10 uW",),
            follows=Follows(kept=("array.rows", "array.cols", "process.node")),
        ),
    ] = Field(
        default=0.0,
        alias="reference_power",
        description="references and read pumps of one array, while its tile has a supply",
    )
    off_current_a: Annotated[
        Current,
        Fact(
            "energy.array",
            plausible=(1e-15, 1e-9, "a negative gate .. a short cell at 0 V"),
            spread="analog",
            tried=("10 pA",),
        ),
    ] = Field(
        default=0.0,
        alias="off_current",
        description="what a cell of a row that is not selected draws from a read column at 25 C; "
        "it doubles with process.leakage_doubling",
    )
    r_supply_ohm: Annotated[
        Resistance,
        Fact(
            "frames",
            plausible=(0.01, 10000.0, "a grid of thick metal .. a long thin line"),
            tried=("1 Mohm",),
            trained=(0.0,),
        ),
    ] = Field(
        default=0.0,
        alias="r_supply",
        description="from the supply to the drivers of one array: what all its cells draw together "
        "lowers the voltage of all of them",
    )
    write_disturb: Annotated[
        Fraction,
        Fact(
            "frames",
            plausible=(1e-9, 1e-3, "next to nothing .. a line of 1000 cells loses half"),
            tried=("1e-3",),
            trained=(0.0,),
        ),
    ] = Field(
        default=0.0,
        description="share of what a cell holds above g_min that it loses each time another cell "
        "on its word line or bit line is written",
    )
    cell_area_m2: Annotated[
        Area,
        Fact(
            "area.cells",
            plausible=(1e-16, 1e-10, "4 F^2 at 5 nm .. an analog memory cell of 10 um edge"),
            expected=True,
            spread="area",
            follows=Follows(
                law="squares of the feature size",
                fields=("process.node",),
                of_ideal_cells=("weights.bits",),
            ),
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
    """Resistance of an array's lines; see `cimsim.crossbar.wires` for the circuit."""

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

    c_word_f: Annotated[
        Capacitance | None,
        Fact(
            because="with the resistances it says how long a line settles; a doubt compares that "
            "with array.t_read (cimsim.chip.settling)",
            plausible=(1e-17, 1e-13, "a short wire .. a wide one with its gates"),
            tried=("1 fF",),
        ),
    ] = Field(
        default=None,
        alias="c_word",
        description="word line, of each cell; default: 0.2 fF/um over the cell's pitch",
    )
    c_bit_f: Annotated[
        Capacitance | None,
        Fact(
            because="with the resistances it says how long a line settles; a doubt compares that "
            "with array.t_read (cimsim.chip.settling)",
            plausible=(1e-17, 1e-13, "a short wire .. a wide one with its drains"),
            tried=("1 fF",),
        ),
    ] = Field(
        default=None,
        alias="c_bit",
        description="bit line, of each cell; default: 0.2 fF/um over the cell's pitch",
    )

    @property
    def are_ideal(self) -> bool:
        """True if no resistance takes any effect."""
        whole = self.r_word_ohm + self.r_bit_ohm + self.r_driver_ohm + self.r_sense_ohm
        return self.model == "ideal" or whole == 0
