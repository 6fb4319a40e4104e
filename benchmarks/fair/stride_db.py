"""PSNR of CIM-NET over its stride, in float and on the chip, one row for each weight file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from benchmarks.fair.stride import FORMS, STRIDES
from benchmarks.paper.chip import ChipRuns, FrameRow
from benchmarks.paper.clips import ClipSet
from benchmarks.paper.level_table import standard_error
from benchmarks.paper.networks import Weights, shipped_weights
from benchmarks.paper.record import read_plain, write_csv
from cimsim.zoo import registry
from cimsim.zoo.lineage import total_minutes

MODEL, HW = "cimnet", "eflash40nm"


@dataclass(frozen=True, slots=True)
class StrideDb:
    """PSNR of one weight file at one stride, each layer once on the chip (`im2col`).

    Attributes
    ----------
    form : str
        One of `benchmarks.fair.stride.FORMS`.
    stride, trained_at : int
        S, and the stride of the weight file: where it is smaller the weights are written out.
    weights : str
        Stem of the weight file.
    hw : str
        Chip that it was trained for; empty: none.
    shipped : bool
        It comes with cimsim.
    minutes : float or None
        Of all its stages of training.
    clips : str
    sigma : float
        In 8-bit steps.
    float_db, chip_db : str
        For each programming of the chip, parted by blanks: mean over the frames of a clip, then
        over clips.
    """

    form: str
    stride: int
    trained_at: int
    weights: str
    hw: str
    shipped: bool
    minutes: float | None
    clips: str
    sigma: float
    float_db: str
    chip_db: str

    @property
    def place(self) -> tuple[str, int, int, str, bool, str]:
        """What the row is about."""
        return self.form, self.stride, self.trained_at, self.hw, self.shipped, self.weights

    @property
    def in_float(self) -> float:
        """Mean PSNR in float."""
        return float(np.mean(_numbers(self.float_db)))

    def on_chip(self, other: StrideDb | None = None) -> tuple[float, float]:
        """Return the mean PSNR on the chip and its standard error over programmings.

        Parameters
        ----------
        other : StrideDb, optional
            Whose PSNR of the same programming is taken away: both saw the same noisy frames.
        """
        values = _numbers(self.chip_db)
        if other is not None:
            values = values - _numbers(other.chip_db)
        return float(values.mean()), standard_error(list(values))


def _numbers(text: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([float(part) for part in text.split()])


COLUMNS = tuple(entry.name for entry in fields(StrideDb))


def read_strides(path: Path) -> list[StrideDb]:
    """Read what `write_strides` wrote; none when there is no file."""
    return read_plain(path, StrideDb)


def write_strides(path: Path, rows: Sequence[StrideDb]) -> None:
    """Write the rows, sorted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [asdict(row) for row in sorted(rows, key=lambda row: row.place)]
    write_csv(path, COLUMNS, [{k: "" if v is None else v for k, v in one.items()} for one in lines])


def candidates(given: Sequence[Weights], sigma: float) -> Iterator[tuple[Weights, int]]:
    """Yield weights of CIM-NET with the stride that they were trained at.

    Those trained for this noise level alone, in float or for the chip. Shipped ones of two layers
    come again, written out for each larger stride.

    Parameters
    ----------
    given : sequence of Weights
        Beside the shipped ones.
    sigma : float
        In 8-bit steps.
    """
    for weights in (*shipped_weights(), *given):
        card = weights.card
        if card.model != MODEL or card.hw not in (None, HW) or set(card.sigma) != {sigma}:
            continue
        options = registry.info(MODEL).resolve(card.options)
        stride, form = int(options["stride"]), form_of(options)
        if form is None:
            continue
        yield weights, stride
        for larger in STRIDES if weights.shipped and not options["coarse"] else ():
            if larger > stride:
                out = replace(card, options=options | {"stride": larger})
                yield replace(weights, card=out), stride


def form_of(options: dict[str, int | str]) -> str | None:
    """Return the name in `FORMS` of resolved options, None for other readings of the network."""
    for name, own in FORMS.items():
        wanted = registry.info(MODEL).resolve({"stride": options["stride"], **own})
        if wanted == options:
            return name
    return None


def measure(
    clips: ClipSet,
    given: Sequence[Weights],
    kept: Path,
    *,
    seeds: int,
    step: int,
    sigma: float = 15.0,
    progress: Callable[[str], None] | None = None,
) -> list[StrideDb]:
    """Run every weight file on the chip; finished frames stay in ``kept``.

    Parameters
    ----------
    clips : ClipSet
    given : sequence of Weights
        Beside the shipped ones.
    kept : Path
        Folder.
    seeds, step : int
        Programmings; each looks at every ``step``-th frame.
    sigma : float
        In 8-bit steps.
    progress : callable, optional
        Called with a text after each weight file.
    """
    kept.mkdir(parents=True, exist_ok=True)
    found = []
    for weights, trained_at in candidates(given, sigma):
        options = registry.info(MODEL).resolve(weights.card.options)
        file = kept / f"{weights.stem}-s{options['stride']}.csv"  # written out: the same hash
        rows = ChipRuns(clips, file, HW, sigma, step, 1).run([weights], seeds)
        row = summed_up(weights, options, trained_at, rows)
        found.append(row)
        if progress is not None:
            chip, error = row.on_chip()
            progress(
                f"{row.weights} at S = {row.stride}: float {row.in_float:.2f}, "
                f"chip {chip:.2f} ± {error:.2f} dB"
            )
    return found


def summed_up(
    weights: Weights, options: dict[str, int | str], trained_at: int, rows: Sequence[FrameRow]
) -> StrideDb:
    """Sum up frames: mean over a clip's frames, then over clips, for each programming."""
    means = []
    for seed in sorted({row.seed for row in rows}):
        own = [row for row in rows if row.seed == seed]
        per_clip = [
            np.mean([(r.float_db, r.chip_db) for r in own if r.clip == clip], axis=0)
            for clip in dict.fromkeys(row.clip for row in own)
        ]
        means.append(np.mean(per_clip, axis=0))
    form = form_of(options)
    assert form is not None  # as `candidates` chose them
    return StrideDb(
        form, int(options["stride"]), trained_at, weights.stem, weights.card.hw or "",
        weights.shipped, total_minutes(weights.card.stages), rows[0].clips, rows[0].sigma,
        *(" ".join(f"{pair[i]:.4f}" for pair in means) for i in (0, 1)),
    )  # fmt: skip
