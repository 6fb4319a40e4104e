"""The three figures: what is measured so far, with the budget in the caption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paper import style

Results = dict[str, dict[str, Any]]
COLOURS = ("#D55E00", "#0072B2", "#009E73")
MARKERS = ("o", "s", "^")


def figures(results: Results, protocol: dict[str, Any], out: Path) -> list[Path]:
    """Draw what there are results for; returns the files."""
    made = []
    for name, function in (("pruning", _pruning), ("distillation", _distillation), ("bits", _bits)):
        found = [row for row in results.values() if row["figure"] == name]
        if not found:
            continue
        with style.paper_style():
            figure = function(found)
            path = out / f"{name}.png"
            figure.savefig(path, dpi=style.DPI)
        (out / f"{name}.txt").write_text(_caption(name, found, protocol) + "\n")
        made.append(path)
    return made


def _by_series(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    series: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        series.setdefault(row["series"], []).append(row)
    return series


def _pruning(rows: list[dict[str, Any]]) -> Any:
    figure, axes = style.new_figure(4.6, 2, 2, sharey="row")
    figure.set_figwidth(6.6)
    for number, (name, found) in enumerate(_by_series(rows).items()):
        found = sorted(found, key=lambda row: row["arrays"])
        for across, (key, scale) in enumerate((("arrays", 1), ("energy_j", 1e3))):
            for down, psnr in enumerate(("float_db", "chip_db")):
                axes[down][across].plot(
                    [scale * row[key] for row in found], [row[psnr] for row in found],
                    color=COLOURS[number], marker=MARKERS[number], label=name,
                )  # fmt: skip
    for down, what in enumerate(("float32", "on the chip")):
        axes[down][0].set_ylabel(f"PSNR {what} / dB")
    axes[1][0].set_xlabel("arrays of 256 x 256")
    axes[1][1].set_xlabel("energy per frame / mJ")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _distillation(rows: list[dict[str, Any]]) -> Any:
    figure, axes = style.new_figure(2.6, 1, 2, sharey=False)
    figure.set_figwidth(5.0)
    for number, found in enumerate(_by_series(rows).values()):
        for one, key, what in zip(axes, ("float_db", "chip_db"), ("float32", "on the chip"),
                                  strict=True):  # fmt: skip
            values = [row[key] for row in found]
            one.plot([number] * len(values), values, color=COLOURS[number],
                     marker=MARKERS[number], linestyle="none")  # fmt: skip
            one.plot([number - 0.2, number + 0.2], [np.mean(values)] * 2, color=COLOURS[number])
            one.set_title(what)
    for one in axes:
        names = list(_by_series(rows))
        one.set_xticks(range(len(names)), names)
        one.set_xlim(-0.5, len(names) - 0.5)
    axes[0].set_ylabel("PSNR / dB")
    return figure


def _bits(rows: list[dict[str, Any]]) -> Any:
    figure, axes = style.new_figure(2.9, 1, 2, sharey=True)
    figure.set_figwidth(5.6)
    for number, (name, found) in enumerate(_by_series(rows).items()):
        for one, key in zip(axes, ("weights.bits", "adc.bits"), strict=True):
            points = sorted(
                (row["overrides"].get(key, 8), row["chip_db"])
                for row in found
                if not row["overrides"] or key in row["overrides"]
            )
            one.plot([x for x, _ in points], [y for _, y in points], color=COLOURS[number],
                     marker=MARKERS[number], label=name)  # fmt: skip
            one.set_xlabel("bits of a weight" if key == "weights.bits" else "bits of a converter")
            one.set_xticks(sorted({x for x, _ in points}))
    axes[0].set_ylabel("PSNR on the chip / dB")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _caption(name: str, rows: list[dict[str, Any]], protocol: dict[str, Any]) -> str:
    budget, clips = protocol["budget"], protocol["clips"]
    crops = f"steps of {budget['batch']} crops of {budget['crop']} x {budget['crop']}"
    shape = next(iter(clips.values()))
    where = (
        f"Mean of {len(clips)} test clips, {shape[0]} frames of {shape[2]} x {shape[1]} each, "
        f"sigma {protocol['sigma']:g}, one programming; noisy {rows[0]['noisy_db']:.2f} dB."
    )
    whole = budget["whole"] + budget["tune"]
    told = {
        "pruning": (
            "FastDVDnet block on eflash40nm with arrays of 256 x 256. Circles: the shipped "
            f"weights, pruned. The others: {budget['whole']} steps from random weights, pruned and "
            f"{budget['tune']} more, or narrower from the start for {whole} ({crops}, one training "
            "seed)."
        ),
        "distillation": (
            f"Fold-NET (stride 2), {budget['student']} {crops} from random weights, two seeds "
            "(marks) and their mean (bars), without and with the shipped FastDVDnet block as "
            "teacher."
        ),
        "bits": (
            "FastDVDnet block on eflash40nm with fewer bits: the shipped float weights, those "
            "shipped for this chip of 8 bits, and these after "
            f"{budget['chip']} {crops} with the chip of fewer bits in the loop (one training seed)."
        ),
    }
    return f"{told[name]} {where}"
