"""``result.json``: what it must hold, and whether it is as cimsim wrote it.

The file names the SHA-256 of its own content (`seal`), so that an edited digit is noticed. That is
no signature: who changes a file on purpose can compute it anew.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cimsim.boundary import json_text
from cimsim.boundary.limits import RESULT, shown
from cimsim.display.doubts import Doubt
from cimsim.energy.ledger import Effect
from cimsim.graph.coverage import Missing
from cimsim.tasks.measures import Measure

SCHEMA_VERSION = 2
SEAL = "sha256"
Pair = tuple[float, float]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Number(_Part):
    """One entry of ``numbers``; null is an infinite PSNR, of frames without any error."""

    value: float | int | str | None
    unit: str
    meaning: str
    interval: Pair | None = None


class Quality(_Part):
    """Of each frame; null is an infinite PSNR."""

    noisy_psnr: tuple[float | None, ...]
    float_psnr: tuple[float | None, ...]
    chip_psnr: tuple[float | None, ...]
    noisy_ssim: tuple[float, ...]
    float_ssim: tuple[float, ...]
    chip_ssim: tuple[float, ...]


class Timing(_Part):
    """See `cimsim.session.result.Timing`."""

    latency_cycles: int
    cycles_per_frame: int
    clock_hz: float
    bottleneck: str
    bottleneck_busy: float
    schedule: str


class Energy(_Part):
    """See `cimsim.session.result.Energy`."""

    by_component: dict[str, float]
    total_j: float
    average_power_w: float
    tops_per_w: float
    array_energy_from: str
    programming_j: float
    programming_s: float
    frame_rate_hz: float | None
    compensation_j: float
    compensation_s: float


class Hardware(_Part):
    """See `cimsim.session.result.Hardware`."""

    chip: str
    arrays_used: int
    arrays: int
    utilisation: float
    weights: int
    area_m2: float
    area_used_m2: float
    windows: int
    activations: int
    conversions: int
    macs: int


class AsWritten(_Part):
    """See `cimsim.session.result.AsWritten`."""

    cycles_per_frame: int
    latency_cycles: int
    energy_j: float
    arrays_used: int
    windows: int
    activations: int
    conversions: int
    reused: int
    uses: int


class Coverage(_Part):
    """See `cimsim.graph.coverage.Coverage`."""

    modelled: dict[str, float]
    macs_on_arrays: Count
    macs_digital: Count
    macs_missing: Count
    weights_modelled: Count
    weights_missing: Count
    values_modelled: Count
    values_missing: Count
    missing: tuple[Missing, ...]
    borrowed: tuple[Missing, ...] = ()


class Stored(_Part):
    """The whole file."""

    schema_version: int
    model: str
    frame: tuple[int, int, int]
    hash: str
    numbers: dict[str, Number]
    quality: Quality | None
    timing: Timing
    energy: Energy
    hardware: Hardware
    as_written: AsWritten | None
    layers: tuple[dict[str, str | int | float | None], ...]
    notes: tuple[str, ...]
    programmings: tuple[float | None, ...]
    sensitivity: tuple[Effect, ...]
    doubts: tuple[Doubt, ...]
    left_out: tuple[str, ...]
    programmed: dict[str, str | int | float | None] | None
    inputs: dict[str, Any]
    measures: tuple[Measure, ...]
    details: dict[str, Any]
    coverage: Coverage | None
    environment: dict[str, str]
    outputs: dict[str, str]
    command: dict[str, Any] | None
    sha256: str


_ADAPTER = TypeAdapter(Stored)


def seal(data: dict[str, Any]) -> str:
    """Return the SHA-256 of a result as plain data, its own ``sha256`` left out."""
    told = {name: value for name, value in data.items() if name != SEAL}
    return hashlib.sha256(json_text.dump(told, indent=None, sort_keys=True).encode()).hexdigest()


def read(text: str) -> tuple[Stored, dict[str, Any]]:
    """Read the text of a ``result.json``.

    Returns
    -------
    Stored
    dict
        The same as plain data.

    Raises
    ------
    ValueError
        No JSON, another schema, a field that is missing, too much or of another type, or content
        that is not what was written.
    """
    data = json_text.load(text, RESULT)
    if not isinstance(data, dict) or "schema_version" not in data:
        raise ValueError("no result of a run")
    if data["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"schema_version {shown(data['schema_version'])}, expected {SCHEMA_VERSION}; run it "
            "again with this version"
        )
    try:
        # in JSON mode lists become tuples, and nothing else is converted
        found = _ADAPTER.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(
            f"no result of this version: {place}: {first['msg']}, got {shown(first['input'])}"
        ) from None
    if found.sha256 != seal(data):
        raise ValueError(
            "the content does not have the SHA-256 that it names: it was edited or is damaged; "
            "copy it again, or run it again"
        )
    return found, data
