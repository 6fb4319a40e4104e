"""docs/foreign.md from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAGES = ("traced", "equal", "mapped", "timed", "executed")
Records = list[dict[str, Any]]

_HEAD = """\
# Networks that others wrote

`make foreign` installs torchvision, timm and transformers into a folder of their own and takes
{total} of their networks through all stages: one or two of each family, chosen before any was tried
(`benchmarks/foreign/networks.py`). Weights are random, inputs small (the table says which), the
transformers a tenth of their usual width. The chip is `eflash40nm` with as many tiles as a network
takes and a matmul unit, and exact: no noise, lossless converters, weights of 12 and inputs of 14
bits, or, where roundings add up to more than 0.05 of the outputs, of 15 and 16 bits.

- **traced**: `cimsim.trace`;
- **equal**: the layer graph gives torch's own outputs, to 1e-4 of the largest value; and no
  operation that costs nothing does more than move values (each value that it gives is one it got);
- **mapped**, **timed**: arrays taken, cycles between two samples;
- **executed**: on the exact chip, RMS error of the outputs over their RMS at most 0.05.

**{passed} of the {measured} that were measured go through all stages**{rest}.
"""
_LEFT_OUT = """\

Not asked: torchvision's detectors, which return lists of boxes of a length that depends on values,
and its `quantized_` networks, whose packed weights no export holds.
"""

# what was looked into
_WHY = {
    "torchvision:efficientnet_v2_s": (
        ". With random weights the network is ill-conditioned: torch's own float32 deviates by 3 % "
        "from its float64, and inputs larger by a millionth change the outputs by 14 %."
    ),
}


def document(found: Mapping[str, Records]) -> str:
    """Return the document for records by network."""
    measured = {name: records for name, records in found.items() if records}
    rows = [_row(name, records) for name, records in measured.items()]
    passed = sum(_passed(records) for records in measured.values())
    failed = [
        f"- `{name}`: {_failure(records)}{_WHY.get(name, '')}"
        for name, records in measured.items()
        if not _passed(records)
    ]
    others = [name for name in found if name not in measured]
    rest = f"; not measured yet: {', '.join(others)}" if others else ""
    missing = [
        f"- `{name}`: {', '.join(covered['missing'])}"
        for name, records in found.items()
        if (covered := _of(records, "covered")) and covered["missing"]
    ]
    parts = [
        _HEAD.format(total=len(found), passed=passed, measured=len(measured), rest=rest),
        "\n## What does not\n\n" + "\n".join(failed) + "\n" if failed else "",
        _LEFT_OUT,
        "\n## Operations without time and energy\n\nThey run, and every command names them:\n\n"
        + "\n".join(missing) + "\n" if missing
        else "\nEvery operation of every network has time and energy.\n",
        "\n## All\n\n| network | input | million MACs | on arrays | modelled | arrays | "
        "cycles between samples | error, exact chip |\n|---|---|---|---|---|---|---|---|\n",
        "\n".join(rows) + "\n",
    ]  # fmt: skip
    return "".join(parts)


def _row(name: str, records: Records) -> str:
    from benchmarks.foreign.networks import NETWORKS

    shape = next(one.shape for one in NETWORKS if one.name == name)
    covered, mapped = _of(records, "covered"), _of(records, "mapped")
    timed, executed = _of(records, "timed"), _of(records, "executed")
    cells = [name, shape]
    cells += (
        [f"{covered['total'] / 1e6:,.1f}", _percent(covered["on_arrays"] / covered["total"]),
         _percent(covered["macs"])] if covered else ["", "", ""]
    )  # fmt: skip
    cells.append(f"{mapped['arrays']:,}" if mapped else "")
    cells.append(f"{timed['cycles']:,}" if timed else "")
    finer = " (15, 16 bits)" if executed and tuple(executed.get("bits", ())) == (15, 16) else ""
    cells.append(f"{executed['deviation']:.4f}{finer}" if executed else "")
    return "| " + " | ".join(cells) + " |"


def _of(records: Records, stage: str) -> dict[str, Any] | None:
    """Return the record of a stage that went well."""
    return next((r for r in records if r["stage"] == stage and "failed" not in r), None)


def _passed(records: Records) -> bool:
    return all(_of(records, stage) for stage in STAGES)


def _failure(records: Records) -> str:
    wrong = next((r for r in records if "failed" in r), None)
    if wrong is None:
        return "not measured"
    before = "" if wrong["stage"] == "ended" else f"not {wrong['stage']}: "
    return before + wrong["failed"]


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.3g} %"
