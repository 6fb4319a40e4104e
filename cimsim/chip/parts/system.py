"""What joins the parts: tiles, interconnect, chips, host link, power conversion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.chip.fact import Fact, Follows
from cimsim.chip.parts.base import (
    CHAIN,
    Area,
    Efficiency,
    Energy,
    EnergyPerByte,
    Named,
    Part,
    Power,
    Time,
)

INTERCONNECT_GROUP = "cimsim.interconnects"  # of entry points


class Interconnect(Part):
    """What connects the tiles of a chip: a shared bus, a mesh of routers, or nothing at all.

    One of the user's own is a `cimsim.chip.interconnects.AbstractInterconnect`.
    """

    kind: Annotated[
        str,
        Named(("bus", "mesh", "ideal"), INTERCONNECT_GROUP),
        Fact("cycles", "energy.interconnect"),
    ] = Field(
        default="bus",
        description="mesh: routers in a square grid, x first, then y; or package.module:Class",
    )
    bytes_per_cycle: Annotated[int, Fact("cycles")] = Field(
        default=64, gt=0, description="of the bus, or of one mesh link"
    )
    latency_cycles: Annotated[
        int, Fact("cycles", plausible=(1, 1000, "a bus .. the far end of a mesh"))
    ] = Field(default=0, ge=0, description="added to each transfer")
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
    bytes_per_cycle: Annotated[int, Fact("cycles", when=CHAIN)] = Field(
        default=8, gt=0, description="of one link, each way"
    )
    latency_cycles: Annotated[
        int, Fact("cycles", when=CHAIN, plausible=(1, 100_000, "a package .. a network"))
    ] = Field(default=0, ge=0, description="of one link")
    energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.interconnect",
            plausible=(1e-13, 1e-09, "neighbours in a package .. a cable"),
            spread="wire",
            when=CHAIN,
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
            follows=Follows(
                law="clock",
                fields=("process.clock",),
                kept=("tile.arrays", "array.rows", "array.cols", "process.node"),
            ),
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
