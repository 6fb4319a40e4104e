"""Sum up frames on the chip: PSNR in float and on chip, loss, mean and spread over seeds."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paper.chip import FrameRow
from benchmarks.paper.record import read_plain, write_csv

ALL = "mean"  # the row over all clips


@dataclass(frozen=True, slots=True)
class ChipRow:
    """One network on one clip, or on all (``clip`` = ``mean``).

    Attributes
    ----------
    network, sha256, hw, chip, clips, clip, sigma
        As of the frames.
    seeds : int
        Programmings of the chip.
    frames_per_seed, frames : int
        Frames that each looked at, and how many different ones all did: more when the seeds share
        the frames.
    noisy_db, float_db, chip_db : float
        PSNR: mean over the frames of a seed, then over seeds.
    chip_sd_db : float
        Standard deviation of the chip's PSNR over seeds (n - 1); when the seeds share the frames
        it holds the difference between frames too.
    loss_db, loss_sd_db, loss_max_db : float
        Float minus chip on the same frames: mean, standard deviation and largest over seeds.
    date : str
    """

    network: str
    sha256: str
    hw: str
    chip: str
    clips: str
    clip: str
    sigma: float
    seeds: int
    frames_per_seed: int
    frames: int
    noisy_db: float
    float_db: float
    chip_db: float
    chip_sd_db: float
    loss_db: float
    loss_sd_db: float
    loss_max_db: float
    date: str

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about, whatever the weights."""
        return self.network, self.hw, self.clips, self.clip, self.sigma


COLUMNS = tuple(field.name for field in fields(ChipRow))


def summarise(rows: Iterable[FrameRow]) -> list[ChipRow]:
    """Return one row for each network and clip, and one for each network over its clips."""
    groups: dict[tuple[str, str, str, str, float], list[FrameRow]] = {}
    for row in rows:
        groups.setdefault((row.network, row.sha256, row.chip, row.clips, row.sigma), []).append(row)
    found = []
    for group in groups.values():
        clips = list(dict.fromkeys(row.clip for row in group))
        found += [_row(group, [clip], clip) for clip in clips]
        if len(clips) > 1:
            found.append(_row(group, clips, ALL))
    return found


def _row(group: Sequence[FrameRow], clips: Sequence[str], name: str) -> ChipRow:
    seeds = sorted({row.seed for row in group if row.clip in clips})
    # [seed, clip, (noisy, float, chip)]: the mean over frames; clips count alike
    table = np.array([[_means(group, clip, seed) for clip in clips] for seed in seeds])
    noisy, exact, chip = np.nanmean(table, axis=1).T
    loss = exact - chip
    first = group[0]
    count = max(sum(r.seed == s and r.clip in clips for r in group) for s in seeds)
    numbers = {
        "noisy_db": noisy.mean(), "float_db": exact.mean(), "chip_db": chip.mean(),
        "chip_sd_db": _spread(chip), "loss_db": loss.mean(), "loss_sd_db": _spread(loss),
        "loss_max_db": loss.max(),
    }  # fmt: skip
    return ChipRow(
        network=first.network, sha256=first.sha256, hw=first.hw, chip=first.chip,
        clips=first.clips, clip=name, sigma=first.sigma, seeds=len(seeds), frames_per_seed=count,
        frames=len({(r.clip, r.frame) for r in group if r.clip in clips}),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        **{key: round(float(value), 4) for key, value in numbers.items()},
    )  # fmt: skip


def _spread(values: Any) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _means(group: Sequence[FrameRow], clip: str, seed: int) -> tuple[float, float, float]:
    chosen = [row for row in group if row.clip == clip and row.seed == seed]
    if not chosen:  # an interrupted run
        return (np.nan, np.nan, np.nan)
    values = np.array([(row.noisy_db, row.float_db, row.chip_db) for row in chosen])
    noisy, exact, chip = values.mean(axis=0)
    return float(noisy), float(exact), float(chip)


def read(path: Path) -> list[ChipRow]:
    """Read a summary; empty when there is no file."""
    return read_plain(path, ChipRow)


def write(path: Path, rows: Iterable[ChipRow]) -> None:
    """Write a summary, sorted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, map(asdict, sorted(rows, key=lambda row: row.place)))


def merged(old: Iterable[ChipRow], new: Sequence[ChipRow]) -> list[ChipRow]:
    """Return all rows: where new ones know a place, they alone.

    One place may have several rows in ``new``: shipped weights and those of the equal budget.
    """
    known = {row.place for row in new}
    kept = [row for row in old if row.place not in known]
    return [*kept, *{(row.place, row.sha256): row for row in new}.values()]


def markdown(rows: Sequence[ChipRow], shipped: Collection[str] = ()) -> str:
    """Return the table in Markdown, with a line that says how it was measured.

    Parameters
    ----------
    rows : sequence of ChipRow
    shipped : collection of str
        Hashes of shipped weights. Others have only their mean over the clips in the table, if there
        is one.
    """
    if not rows:
        return "Nothing recorded yet."
    lines = [
        "| network | weights | clip | noisy / dB | float / dB | chip / dB | loss / dB | largest |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    over_all = {(row.network, row.sha256, row.clips) for row in rows if row.clip == ALL}
    for row in sorted(
        rows, key=lambda r: (r.clips, r.sha256 not in shipped, r.network, r.clip == ALL, r.clip)
    ):
        ours = row.sha256 in shipped
        if not ours and row.clip != ALL and (row.network, row.sha256, row.clips) in over_all:
            continue
        lines.append(
            f"| {row.network} | {'shipped' if ours else 'equal budget'} | {row.clip} | "
            f"{row.noisy_db:.2f} | {row.float_db:.2f} | "
            f"{row.chip_db:.2f} ± {row.chip_sd_db:.2f} | "
            f"{row.loss_db:.3f} ± {row.loss_sd_db:.3f} | {row.loss_max_db:.3f} |"
        )
    for how in sorted({_protocol(row) for row in rows if row.clip != ALL}):
        lines += ["", how]
    return "\n".join(lines)


def _protocol(row: ChipRow) -> str:
    shared = row.frames_per_seed < row.frames
    each = f"{row.frames_per_seed} of the " if shared else ""
    text = (
        f"{row.clips.rpartition(' #')[0]}; σ = {row.sigma:g}; chip {row.hw} ({row.chip}); "
        f"programmings: {row.seeds}, each on {each}{row.frames} frames of a clip. ± is the "
        "standard deviation over programmings; the loss is float minus chip on the same frames."
    )
    return text + (
        " The programmings share the frames, so the ± of the PSNR holds that of the frames: "
        "compare the losses."
        if shared
        else ""
    )
