"""Writing cells, what befalls them later, and broken ones."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cimsim.chip.fact import Fact, Follows
from cimsim.chip.parts.base import (
    REFERENCE_K,
    Difference,
    Energy,
    Fraction,
    Part,
    Temperature,
    Time,
)


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
    gradient_k: Annotated[
        Difference,
        Fact(
            "frames",
            plausible=(0.1, 60, "an idle chip .. one corner at work beside a processor"),
            tried=("30 K",),
            when={
                "device": {"kind": "eflash", "g_max": "10 nS", "g_min": "0.1 nS"},
                "tile.count": 64,
                "weights.cell_bits": 4,  # a cell of one bit is at an end, which does not move
            },
            trained=(0.0,),
        ),
    ] = Field(
        default=0.0,
        alias="gradient",
        description="warmest less coldest column of tiles; the temperature is that of the middle",
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
        warm = self.temperature_k != REFERENCE_K or self.gradient_k != 0
        return self.time_s == 0 and not warm

    def at(self, place: float) -> float:
        """Return the temperature at a place from -1/2 (coldest tiles) to 1/2 (warmest), K."""
        return self.temperature_k + self.gradient_k * place


_DEAD = Fact(
    "frames",
    plausible=(1e-6, 0.05, "a mature line .. first silicon"),
    tried=("10 %",),
    trained=(0.0,),
)
_SPARE = Fact(
    "frames",
    "area.cells",
    when={"faults.stuck_on": "5 %", "faults.seed": 1},
    tried=(4,),
    trained=(0,),
)


_STUCK = Fact(
    "frames",
    # 1.75 % and 9.04 % of a memristor array: C.-Y. Chen et al., IEEE Trans. Computers 64(1), 2015
    plausible=(1e-9, 0.15, "a mature line .. first memristor arrays"),
    tried=("5 %",),
    trained=(0.0,),
)


class Faults(Part):
    """Cells that hold one conductance whatever is written."""

    stuck_off: Annotated[Fraction, _STUCK] = Field(
        default=0.0, description="share of cells that stay at g_min"
    )
    stuck_on: Annotated[Fraction, _STUCK] = Field(
        default=0.0, description="share of cells that stay at g_max"
    )
    open: Annotated[Fraction, _STUCK] = Field(
        default=0.0, description="share of cells that conduct nothing, 0 S"
    )
    map: Annotated[
        str | None,
        Fact(
            because="names a file; the faults in it move the frames (cimsim.crossbar.faults)",
            trained=(None,),
        ),
    ] = Field(default=None, description=".csv or .npz of faults by array")
    dead_rows: Annotated[Fraction, _DEAD] = Field(
        default=0.0, description="share of word lines whose cells all conduct nothing"
    )
    dead_cols: Annotated[Fraction, _DEAD] = Field(
        default=0.0, description="share of bit lines whose cells all conduct nothing"
    )
    seed: Annotated[
        int | None,
        Fact("frames", when={"faults.stuck_on": "5 %"}, tried=(3,), trained=(None,)),
    ] = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="one tested chip: random faults belong to its arrays, whoever writes what into "
        "them; without it each programming draws its own",
    )
    spare_rows: Annotated[int, _SPARE] = Field(
        default=0,
        ge=0,
        le=4096,
        description="word lines of each array that take the place of its worst ones",
    )
    spare_cols: Annotated[int, _SPARE] = Field(
        default=0,
        ge=0,
        le=4096,
        description="columns of each array that take the place of its worst ones",
    )

    @model_validator(mode="after")
    def _tested(self) -> Self:
        for name in ("spare_rows", "spare_cols"):
            if getattr(self, name) and self.seed is None:
                raise ValueError(
                    f"{name}: expected faults.seed beside it, as only faults of a tested chip can "
                    "be repaired: faults.seed: 1"
                )
        return self

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
        """Whether some cells or lines are drawn at random."""
        lines = self.dead_rows + self.dead_cols
        return self.stuck_off + self.stuck_on + self.open + lines > 0

    @property
    def none(self) -> bool:
        """Whether no cell is faulty."""
        return not self.drawn and self.map is None
