"""Run networks on a chip frame by frame; every finished frame is kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paper.clips import ClipSet
from benchmarks.paper.networks import Weights
from benchmarks.paper.record import read_plain, write_csv
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One frame, in float and on one programming of the chip.

    Attributes
    ----------
    network, sha256 : str
        Stem and hash of the weight file.
    hw, chip : str
        Name of the chip and the start of its hash.
    clips, clip : str
        Test set and clip in it.
    sigma : float
        Of the noise, in 8-bit steps.
    seed, frame : int
        Seed of programming, reads and noise, as in ``cimsim run --seed``; number of the frame.
    noisy_db, float_db, chip_db : float
        PSNR of the input, of the float network and of the chip.
    seconds : float
        Wall time of the frame.
    """

    network: str
    sha256: str
    hw: str
    chip: str
    clips: str
    clip: str
    sigma: float
    seed: int
    frame: int
    noisy_db: float
    float_db: float
    chip_db: float
    seconds: float

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about."""
        return self.sha256, self.chip, self.clips, self.clip, self.sigma, self.seed, self.frame


COLUMNS = tuple(field.name for field in fields(FrameRow))


def read_frames(path: Path) -> list[FrameRow]:
    """Read the frames that are done; none when there is no file yet."""
    return read_plain(path, FrameRow)


def frames_of_seed(seed: int, total: int, step: int) -> range:
    """Return the frames that a seed looks at: every ``step``-th, each seed from another start."""
    return range(seed % step, total, step)


@dataclass
class ChipRuns:
    """Runs networks on one kind of chip.

    Attributes
    ----------
    clips : ClipSet
    kept : Path
        CSV of finished frames; those are not computed again.
    hw : str
        Name or file of the chip.
    sigma : float
    step : int
        1: each seed sees all frames. K: seed s sees the frames s, s + K, s + 2 K, ...
    threads : int, optional
        Of the engine; they never change a bit.
    progress : callable, optional
        Called with a finished row and how many are done and wanted.
    changes : sequence of str
        Fields of the chip, ``field=value``.
    place : callable, optional
        Graph and chip -> mapping; by default each layer once, `im2col`. Rows do not say which: a
        file of finished frames belongs to one mapping.
    """

    clips: ClipSet
    kept: Path
    hw: str = "eflash40nm"
    sigma: float = 15.0
    step: int = 1
    threads: int | None = None
    progress: Callable[[FrameRow, int, int], None] | None = None
    changes: Sequence[str] = ()
    place: Callable[[LayerGraph, Chip], Mapping] | None = None
    _mappings: dict[tuple[str, Size], tuple[Network, Mapping]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Load the chip once; its hash names the rows."""
        from cimsim.chip.load import chip_hash, load_hw

        shortest = min(len(clip) for clip in self.clips.clips.values())
        if not 1 <= self.step <= shortest:
            raise ConfigError(
                f"--stride-frames: expected 1..{shortest} (frames of a clip), got {self.step}"
            )
        self.chip = load_hw(self.hw, list(self.changes))
        self.chip_id = chip_hash(self.chip)[:12]

    def run(self, networks: Sequence[Weights], seeds: int) -> list[FrameRow]:
        """Compute what is missing, one seed after the other, and return all rows asked for.

        A KeyboardInterrupt passes through; the frames before it are kept.
        """
        wanted = {
            (w.card.sha256, self.chip_id, self.clips.name, name, self.sigma, seed, frame)
            for w in networks
            for seed in range(seeds)
            for name, frame in self._jobs(seed)
        }
        rows = {row.place: row for row in read_frames(self.kept)}
        for seed in range(seeds):
            for weights in networks:
                for row in self._seed(weights, seed, set(rows)):
                    rows[row.place] = row
                    write_csv(self.kept, COLUMNS, map(asdict, rows.values()))
                    if self.progress is not None:
                        self.progress(row, len(wanted & rows.keys()), len(wanted))
        return [row for place, row in rows.items() if place in wanted]

    def _jobs(self, seed: int) -> Iterator[tuple[str, int]]:
        for name, clip in self.clips.clips.items():
            for frame in frames_of_seed(seed, len(clip), self.step):
                yield name, frame

    def _seed(self, weights: Weights, seed: int, done: set[Any]) -> Iterator[FrameRow]:
        """Yield the missing frames of one programmed chip, all clips of a size on the same one."""
        from cimsim.engine.workers import one_torch_thread

        start = (weights.card.sha256, self.chip_id, self.clips.name)
        missing = [
            (name, frame)
            for name, frame in self._jobs(seed)
            if (*start, name, self.sigma, seed, frame) not in done
        ]
        for size in dict.fromkeys(self._size(name) for name, _ in missing):
            with one_torch_thread():
                frame_of = self._programmed(weights, seed, size)
                for name, frame in missing:
                    if self._size(name) == size:
                        yield frame_of(name, frame)

    def _size(self, name: str) -> Size:
        height, width = self.clips.clips[name].shape[1:3]
        return height, width

    def _mapped(self, weights: Weights, size: Size) -> tuple[Network, Mapping]:
        import cimsim

        key = (weights.card.sha256, size)
        if key not in self._mappings:
            card = weights.card
            network = cimsim.load_network(card.model, dict(card.options), card.file)
            graph = cimsim.trace(network.module, network.example(*size), name=weights.stem)
            place = self.place or cimsim.map_graph
            self._mappings[key] = network, place(graph, self.chip)
        return self._mappings[key]

    def _programmed(self, weights: Weights, seed: int, size: Size) -> Callable[..., FrameRow]:
        """Program and calibrate a chip, and return the function that runs a frame on it.

        Calibration uses the embedded scenes of `cimsim.session.calibration`, never the judged
        clips; of the clip handed over here only the size counts.
        """
        from cimsim.engine.execute import execute
        from cimsim.session.frames import picture, window_of_frames
        from cimsim.session.functional import FunctionalRun
        from cimsim.video.metrics import psnr
        from cimsim.video.noise import add_awgn

        network, mapping = self._mapped(weights, size)
        blank = np.zeros((1, *size, 3), np.float32)
        run = FunctionalRun(mapping, blank, self.sigma, seed, self.threads)
        run.prepare(None, lambda stage, done, total: None)
        noisy = {
            name: add_awgn(clip, self.sigma, seed)
            for name, clip in self.clips.clips.items()
            if clip.shape[1:3] == size
        }

        def one(name: str, frame: int) -> FrameRow:
            started = time.perf_counter()
            clean = self.clips.clips[name][frame]
            inputs = window_of_frames(
                noisy[name], frame, network.n_frames, self.sigma, len(mapping.graph.inputs)
            )
            expected = mapping.graph.reference(*inputs)[0]
            done = execute(run.calibrated, inputs, frame, seed, threads=self.threads)
            values = {
                "noisy_db": psnr(clean, noisy[name][frame]),
                "float_db": psnr(clean, picture(expected)),
                "chip_db": psnr(clean, picture(done.outputs[0])),
            }
            return FrameRow(
                network=weights.stem, sha256=weights.card.sha256, hw=self.hw, chip=self.chip_id,
                clips=self.clips.name, clip=name, sigma=self.sigma, seed=seed, frame=frame,
                seconds=round(time.perf_counter() - started, 2),
                **{key: round(value, 4) for key, value in values.items()},
            )  # fmt: skip

        return one
