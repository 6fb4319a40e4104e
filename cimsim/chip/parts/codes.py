"""How weights and inputs become codes of cells and drivers."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cimsim.chip.fact import Fact
from cimsim.chip.parts.base import Part


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
    def parameters(self) -> dict[str, object]:
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
