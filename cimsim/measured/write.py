"""The folder of a fit: device for a chip file, states, all numbers, pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import yaml

from cimsim import __version__
from cimsim.folders import new_folder
from cimsim.measured.fit import Fit
from cimsim.units import format_duration, format_interval, format_si

DEVICE, STATES, NUMBERS, PICTURE = "device.yaml", "states.csv", "fit.json", "fit.png"


def write_fit(fit: Fit, folder: str | Path, chip: dict[str, object] | None = None) -> Path:
    """Write everything that was found.

    Parameters
    ----------
    fit : Fit
    folder : str or Path
        An earlier fit there is replaced whole.
    chip : dict, optional
        A chip's plain description: a whole chip file, ``chip.yaml``, is written, too, in which the
        device is the fitted one.
    """
    from cimsim.measured.pictures import draw

    with new_folder(folder) as made:
        (made / STATES).write_text(states_csv(fit), encoding="utf-8")
        (made / DEVICE).write_text(device_yaml(fit), encoding="utf-8")
        (made / NUMBERS).write_text(json.dumps(numbers(fit), indent=1) + "\n", encoding="utf-8")
        draw(fit).savefig(made / PICTURE)
        if chip is not None:
            (made / "chip.yaml").write_text(chip_yaml(fit, chip), encoding="utf-8")
    return Path(folder)


def states_csv(fit: Fit) -> str:
    """Return the states as `cimsim.chip.cells.table` reads them."""
    first = fit.states[0].time_s
    lines = [
        f"# {', '.join(fit.files)}; cells read first {format_duration(first)} after programming",
        "target [uS], mean [uS], sigma [uS], time [s]",
    ]
    for s in fit.states:
        values = (s.target_s * 1e6, max(s.mean_s, 0.0) * 1e6, s.sigma_s * 1e6, s.time_s - first)
        lines.append(", ".join(f"{value:.9g}" for value in values))
    return "\n".join(lines) + "\n"


def sources(fit: Fit) -> dict[str, dict[str, str]]:
    """Return the entries of ``sources`` for the fitted fields, with their ranges."""
    what = f"cimsim device fit {' '.join(fit.files)}: {fit.cells or 'unknown number of'} cells"
    fields = fit.device(STATES)
    entries: dict[str, dict[str, str]] = {}
    for name in fields:
        if name in ("kind", "file", "conduction", "verify", "program_shape", "neutral_ratio"):
            continue
        entries[f"device.{name}"] = {"kind": "measured", "text": what}
    loss = next((one for one in fit.estimates if one.name == "drift.charge_loss"), None)
    # what an aged chip's interval rests on; a rate that may be 0 has none
    if "charge_loss" in fields and loss is not None and loss.low > 0 and math.isfinite(loss.high):
        entries["device.charge_loss"]["range"] = f"{100 * loss.low:.5g}..{100 * loss.high:.5g} %"
    return entries


def device_yaml(fit: Fit) -> str:
    """Return the section of a chip file, with each number's interval as a comment."""
    lines = [f"# fitted by cimsim {__version__} to {', '.join(fit.files)}"]
    lines += [
        f"# {one.name}: {told(one.value, one.low, one.high, one.unit)}; {one.meaning}"
        for one in fit.estimates
    ]
    lines += [f"# note: {note}" for note in fit.all_notes]
    told_ = {"device": fit.device(STATES), "sources": sources(fit)}
    return "\n".join(lines) + "\n" + yaml.safe_dump(told_, sort_keys=False, width=100)


def chip_yaml(fit: Fit, chip: dict[str, object]) -> str:
    """Return a whole chip file in which the device is the fitted one."""
    old = chip.get("sources") or {}
    assert isinstance(old, dict)
    kept = {k: v for k, v in old.items() if k.partition(".")[0] != "device"}
    whole = dict(chip) | {"device": fit.device(STATES), "sources": kept | sources(fit)}
    whole["name"] = f"{chip.get('name', 'chip')}-fitted"
    return yaml.safe_dump(whole, sort_keys=False, width=100)


def told(value: float, low: float, high: float, unit: str) -> str:
    """Write a number with its interval, where it has one."""
    if unit == "1":
        if math.isnan(low) or math.isnan(high):
            return f"{value:.4g}"
        return f"{value:.4g} ({low:.4g} .. {high:.4g})"
    if math.isnan(low) or math.isinf(high) or math.isnan(high):
        return format_si(value, unit)
    return format_interval(value, low, high, unit)


def numbers(fit: Fit) -> dict[str, object]:
    """Return all that was found as plain data; unknown ends are null."""
    return {
        "cimsim": __version__,
        "files": list(fit.files), "cells": fit.cells, "readings": fit.readings,
        "device": fit.device(STATES),
        "estimates": {
            e.name: {"value": _plain(e.value), "low": _plain(e.low), "high": _plain(e.high),
                     "unit": e.unit, "meaning": e.meaning}
            for e in fit.estimates
        },
        "goodness": {
            g.name: {"value": _plain(g.value), "p": _plain(g.p), "meaning": g.meaning}
            for g in fit.goodness
        },
        "law": fit.drift.law if fit.drift else None,
        "states": [
            {"target": s.target_s, "time": s.time_s, "cells": s.n,
             "mean": [_plain(x) for x in (s.mean_s, s.mean_low_s, s.mean_high_s)],
             "sigma": [_plain(x) for x in (s.sigma_s, s.sigma_low_s, s.sigma_high_s)],
             "read_sigma": _plain(s.read_sigma_s)}
            for s in fit.states
        ],
        "notes": fit.all_notes,
    }  # fmt: skip


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
