"""PSNR on the chip under each mapping, frame by frame; every finished frame is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fair.cases import ChipCase, NetworkCase
from benchmarks.fair.measure import FAST, IM2COL, Table
from benchmarks.paper.chip import ChipRuns, FrameRow, read_frames
from benchmarks.paper.clips import ClipSet
from benchmarks.paper.level_table import standard_error
from benchmarks.paper.networks import Weights
from benchmarks.paper.record import read_plain, write_csv
from cimsim.zoo.lineage import total_minutes

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping

JUDGED = (IM2COL, FAST)  # mappings on which quality is measured


@dataclass(frozen=True, slots=True)
class Judged:
    """PSNR of one network on one chip under one mapping.

    Attributes
    ----------
    network, hw, how : str
        As of a `Cell`.
    weights : str
        Stem of the weight file and whether it was trained for the chip.
    clips : str
    sigma : float
        In 8-bit steps.
    programmings, frames : int
        Programmings of the chip; different frames of all clips.
    noisy_db, float_db, chip_db : float
        Mean over the frames of a clip, then over clips, then over programmings.
    error_db : float
        Standard error of ``chip_db`` over programmings; 0 for one.
    """

    network: str
    hw: str
    how: str
    weights: str
    clips: str
    sigma: float
    programmings: int
    frames: int
    noisy_db: float
    float_db: float
    chip_db: float
    error_db: float

    @property
    def place(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.network, self.hw, self.how


COLUMNS = tuple(Judged.__dataclass_fields__)


def read_judged(path: Path) -> list[Judged]:
    """Read what `write_judged` wrote; none when there is no file."""
    return read_plain(path, Judged)


def write_judged(path: Path, rows: Sequence[Judged]) -> None:
    """Write the rows, sorted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{c: getattr(row, c) for c in COLUMNS} for row in sorted(rows, key=lambda r: r.place)]
    write_csv(path, COLUMNS, lines)


@dataclass(frozen=True)
class Judge:
    """Runs networks with weights on a chip.

    Attributes
    ----------
    table : Table
        Knows the mapping files; must have been filled for the chip.
    clips : ClipSet
    given : sequence of Weights
        Beside the shipped ones.
    seeds, step : int
        Programmings; each looks at every ``step``-th frame.
    sigma : float
    progress : callable, optional
        Called with a text after each frame.
    """

    table: Table
    clips: ClipSet
    given: Sequence[Weights]
    seeds: int = 1
    step: int = 1
    sigma: float = 15.0
    progress: Callable[[str], None] | None = None

    def run(self, jobs: Sequence[tuple[NetworkCase, ChipCase]]) -> list[Judged]:
        """Measure what is missing, and return a row for each job with weights and a mapping."""
        found = []
        for network, chip in jobs:
            weights = network.weights(chip.chip.name, self.given)
            if weights is not None:
                there = [how for how in JUDGED if self._mapped(network, chip, how)]
                found += [self._judge(network, chip, how, weights) for how in there]
        return found

    def done(self, jobs: Sequence[tuple[NetworkCase, ChipCase]]) -> list[Judged]:
        """Return rows of what is there already, of fewer frames where a run was interrupted."""
        found = []
        for network, chip in jobs:
            weights = network.weights(chip.chip.name, self.given)
            if weights is None:
                continue
            for how in JUDGED:
                rows = [
                    row
                    for row in read_frames(self._file(network, chip, how))
                    if (row.sha256, row.clips, row.sigma)
                    == (weights.card.sha256, self.clips.name, self.sigma)
                ]
                if rows:
                    found.append(judged(network, chip, how, weights, rows))
        return found

    def _mapped(self, network: NetworkCase, chip: ChipCase, how: str) -> bool:
        if how == IM2COL:
            return any(c.how == how and c.fits for c in self.table.done([(network, chip)]))
        return self.table.mapping_file(network, chip, how).is_file()

    def _file(self, network: NetworkCase, chip: ChipCase, how: str) -> Path:
        name = self.table.mapping_file(network, chip, how).stem
        return self.table.kept / "frames" / f"{name}.csv"

    def _judge(self, network: NetworkCase, chip: ChipCase, how: str, weights: Weights) -> Judged:
        file = self._file(network, chip, how)
        file.parent.mkdir(parents=True, exist_ok=True)

        def place(graph: LayerGraph, on: Chip) -> Mapping:
            import cimsim

            plan = self.table.mapping_file(network, chip, how)
            return cimsim.map_graph(graph, on, "im2col" if how == IM2COL else plan)

        def tell(row: FrameRow, done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(
                    f"{done}/{total} {network.name} {how} on {chip.title}: {row.clip} frame "
                    f"{row.frame}: float {row.float_db:.2f}, chip {row.chip_db:.2f} dB"
                )

        runs = ChipRuns(
            self.clips, file, chip.hw, self.sigma, self.step, 1, tell,
            changes=chip.changes, place=place,
        )  # fmt: skip
        return judged(network, chip, how, weights, runs.run([weights], self.seeds))


def judged(
    network: NetworkCase, chip: ChipCase, how: str, weights: Weights, rows: Sequence[FrameRow]
) -> Judged:
    """Sum up frames: mean over a clip's frames, then over clips, then over programmings."""
    seeds = sorted({row.seed for row in rows})
    means = np.array([_means([row for row in rows if row.seed == seed]) for seed in seeds])
    noisy, exact, on_chip = means.mean(axis=0)
    trained = f"trained for {weights.card.hw}" if weights.card.hw else "not trained for a chip"
    spent = total_minutes(weights.card.stages)  # of all stages, as on the card
    minutes = "minutes unknown" if spent is None else f"{spent:.0f} min"
    return Judged(
        network.name, chip.title, how, f"{weights.stem} ({minutes}, {trained})", rows[0].clips,
        rows[0].sigma, len(seeds), len({(row.clip, row.frame) for row in rows}),
        *(round(float(value), 4) for value in (noisy, exact, on_chip)),
        round(standard_error(list(means[:, 2])), 4),
    )  # fmt: skip


def _means(rows: Sequence[FrameRow]) -> np.ndarray:  # type: ignore[type-arg]
    per_clip = [
        np.mean([(r.noisy_db, r.float_db, r.chip_db) for r in rows if r.clip == clip], axis=0)
        for clip in dict.fromkeys(row.clip for row in rows)
    ]
    return np.mean(per_clip, axis=0)
