"""Sum up frames at several noise levels: per clip, mean over the clips, distance to CBM3D."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.paper.noise_levels import LevelRow

YARDSTICK = "CBM3D, one frame"
INPUT = "noisy input"


@dataclass(frozen=True, slots=True)
class LevelLine:
    """One method at one noise level.

    Attributes
    ----------
    method, key, saw, clips : str
    sigma : float
    frames : int
        Judged of each clip; the fewest where clips differ.
    per_clip : dict of str to float
        Mean PSNR in dB over the frames of a clip.
    mean_db, error_db : float
        Mean over clips and its standard error; 0 with one clip.
    against_db, against_error_db : float, optional
        Method minus `YARDSTICK` on the frames that both have seen: mean over the clips, standard
        error.
    """

    method: str
    key: str
    saw: str
    clips: str
    sigma: float
    frames: int
    per_clip: dict[str, float]
    mean_db: float
    error_db: float
    against_db: float | None
    against_error_db: float | None


Frames = dict[tuple[str, int], float]  # (clip, frame) -> PSNR


def summarise(rows: Iterable[LevelRow]) -> list[LevelLine]:
    """Return one line for each method and level: by level, then from the lowest PSNR up."""
    groups: dict[tuple[str, str, str, str, float], Frames] = {}
    for row in rows:
        group = groups.setdefault((row.method, row.key, row.saw, row.clips, row.sigma), {})
        group[row.clip, row.frame] = row.psnr_db
    yardsticks = {(k[3], k[4]): frames for k, frames in groups.items() if k[0] == YARDSTICK}
    lines = [_line(key, frames, yardsticks.get((key[3], key[4]))) for key, frames in groups.items()]
    return sorted(lines, key=lambda line: (line.sigma, line.mean_db, line.method))


def _line(
    key: tuple[str, str, str, str, float], frames: Frames, yardstick: Frames | None
) -> LevelLine:
    per_clip = _by_clip(frames)
    values = list(per_clip.values())
    both = (
        {}
        if yardstick is None
        else {p: v - yardstick[p] for p, v in frames.items() if p in yardstick}
    )
    differences = list(_by_clip(both).values()) if key[0] != YARDSTICK else []
    clips = [clip for clip, _ in frames]
    return LevelLine(
        *key, min(clips.count(clip) for clip in per_clip), per_clip, float(np.mean(values)),
        standard_error(values), float(np.mean(differences)) if differences else None,
        standard_error(differences) if differences else None,
    )  # fmt: skip


def _by_clip(frames: Frames) -> dict[str, float]:
    clips = sorted({clip for clip, _ in frames})
    return {c: float(np.mean([v for (clip, _), v in frames.items() if clip == c])) for c in clips}


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean (n - 1); 0 for fewer than two values."""
    count = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else 0.0


def cells(lines: Sequence[LevelLine]) -> tuple[list[str], list[list[str]]]:
    """Return the heads of the columns, and the cells of each line."""
    clips = sorted({clip for line in lines for clip in line.per_clip})
    heads = ["method", "saw σ", "σ", *clips, "mean", "minus CBM3D"]
    table = []
    for line in lines:
        against = "–"
        if line.against_db is not None:
            against = f"{line.against_db:+.2f} ± {line.against_error_db:.2f}"
        table.append(
            [
                line.method, line.saw or "–", f"{line.sigma:g}",
                *(_db(line.per_clip.get(clip)) for clip in clips),
                f"{line.mean_db:.2f} ± {line.error_db:.2f}", against,
            ]
        )  # fmt: skip
    return heads, table


def _db(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def markdown(lines: Sequence[LevelLine]) -> str:
    """Return a table in Markdown and what it says, in words."""
    if not lines:
        return "Nothing recorded yet."
    heads, table = cells(lines)
    out = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    out += ["| " + " | ".join(row) + " |" for row in table]
    for clips in sorted({line.clips for line in lines}):
        own = [line for line in lines if line.clips == clips]
        out += ["", _protocol(own), "", *_verdicts(own)]
    return "\n".join(out)


def _protocol(lines: Sequence[LevelLine]) -> str:
    counts = sorted({line.frames for line in lines})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"PSNR / dB in float of {each} frame{'s' * (counts[-1] > 1)} of each clip "
        f"({lines[0].clips.rpartition(' #')[0]} read; the middle frame first). ± is the standard "
        "error over the clips; *minus CBM3D* compares the frames that both have seen. *saw σ* is "
        "the noise of the training. CBM3D and non-local means look at one frame and know σ."
    )


def _verdicts(lines: Sequence[LevelLine]) -> list[str]:
    """Say for each level which networks stand above CBM3D, and how far off the best one is."""
    told = []
    for sigma in sorted({line.sigma for line in lines}):
        known = [
            line
            for line in lines
            if line.sigma == sigma and line.saw and line.against_db is not None
        ]
        if not known:
            continue
        above = [line for line in known if (line.against_db or 0) > 0]
        best = max(known, key=lambda line: line.against_db or 0)
        distance = abs(best.against_db or 0)
        tie = (
            " (within its standard error: a tie)" if distance < (best.against_error_db or 0) else ""
        )
        where = "above" if (best.against_db or 0) > 0 else "below"
        told.append(
            f"- σ = {sigma:g}: {len(above)} of {len(known)} networks stand above CBM3D; the best "
            f"one, {best.method} (saw {best.saw}), is {distance:.2f} dB {where} it{tie}."
        )
    return told
