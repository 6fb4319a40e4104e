"""Buffers of tiles, the buffer of the chip, memory off it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from cimsim.chip.fact import Fact, Follows
from cimsim.chip.parts.base import DRAM, TINY, Area, EnergyPerByte, Part, Power, Size


class Buffer(Part):
    """An SRAM: tile buffer or global buffer."""

    size_b: Annotated[
        Size,
        Fact(
            "cycles",
            "energy.buffer",
            "energy.global_buffer",
            plausible=(16, 2**28, "registers .. what one die holds"),
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
        Fact("cycles", "energy.buffer", when=TINY, tried=("ignore",)),
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
    def _no_overflow(cls, value: object) -> object:
        if value != "spill":
            raise ValueError("leave it out; it is for the tile buffers")
        return value


class Dram(Part):
    """Memory outside the chip, at its port."""

    bytes_per_cycle: Annotated[
        int,
        Fact("cycles", when=DRAM),
    ] = Field(gt=0, description="port width")
    latency_cycles: Annotated[
        int,
        Fact("cycles", when=DRAM, plausible=(1, 10_000, "a slow clock .. a busy memory")),
    ] = Field(default=0, ge=0, description="of a read")
    energy_j_b: Annotated[
        EnergyPerByte,
        Fact(
            "energy.dram",
            when=DRAM,
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
            when=DRAM,
            tried=("10 mW",),
        ),
    ] = Field(
        default=0.0, alias="static_power", description="refresh and standby, whether used or not"
    )
