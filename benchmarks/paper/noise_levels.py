"""PSNR at several noise levels: networks in float beside classical denoisers, frame by frame.

python -m benchmarks.paper.noise_levels --test DIR --sigma 15 --sigma 25 --sigma 50
python -m benchmarks.paper.noise_levels --test DIR --weights out/paper --sample 4 --record
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.paper import document, level_table
from benchmarks.paper.clips import FULL_FRAMES, ClipSet, clips_in
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.denoisers import (
    Denoiser,
    FloatNetwork,
    cbm3d,
    noisy_input,
    non_local_means,
)
from benchmarks.paper.evaluate import NOISE_SEED
from benchmarks.paper.networks import shipped_weights, weights_in
from benchmarks.paper.record import RESULTS, read_plain, write_csv
from cimsim.cli.options import parse_size
from cimsim.errors import ConfigError
from cimsim.video.metrics import psnr
from cimsim.video.noise import add_awgn

LEVELS = RESULTS / "noise_levels.csv"
FRAMES = "levels.csv"
CLASSICAL: dict[str, Callable[[], Denoiser]] = {
    "noisy": noisy_input, "nlm": non_local_means, "cbm3d": cbm3d,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One frame of one clip at one noise level, by one method.

    Attributes
    ----------
    method, key : str
        Name, and what tells versions of it apart: hash of the weights or settings.
    saw : str
        Noise seen in training, empty for classical methods.
    clips, clip : str
        Test set and clip in it.
    sigma : float
        Of the noise, in 8-bit steps.
    frame : int
    psnr_db : float
        Of the estimate clipped to [0, 1].
    seconds : float
        Wall time.
    """

    method: str
    key: str
    saw: str
    clips: str
    clip: str
    sigma: float
    frame: int
    psnr_db: float
    seconds: float

    @property
    def place(self) -> tuple[Any, ...]:
        """What the row is about."""
        return self.method, self.key, self.clips, self.clip, self.sigma, self.frame


COLUMNS = tuple(entry.name for entry in fields(LevelRow))


def read_levels(path: Path) -> list[LevelRow]:
    """Read finished frames; none when there is no file."""
    return read_plain(path, LevelRow)


def sampled(total: int, count: int) -> list[int]:
    """Return which frames are judged: the middle one, then the quarters, the eighths, ...

    A larger sample holds every smaller one, so that a longer run goes on where a short one ended.

    Raises
    ------
    ConfigError
        For a sample of none, or of more frames than there are.
    """
    if not 1 <= count <= total:
        raise ConfigError(f"--sample: expected 1..{total} (frames of a clip), got {count}")
    order: dict[int, None] = {}
    parts = 2
    while len(order) < count:
        for odd in range(1, parts, 2):
            order.setdefault(odd * total // parts)
        parts *= 2
        if parts > 2 * total:  # halving has named every frame but perhaps the first
            order |= dict.fromkeys(range(total))
    return list(order)[:count]


@dataclass(frozen=True)
class Levels:
    """Measures methods on sampled frames and keeps every row.

    Attributes
    ----------
    clips : ClipSet
    kept : Path
        CSV of finished frames, which are never computed again.
    sample : int
        Frames of each clip, see `sampled`.
    progress : callable, optional
        Called with a finished row and how many are done and wanted.
    """

    clips: ClipSet
    kept: Path
    sample: int
    progress: Callable[[LevelRow, int, int], None] | None = None

    def run(self, methods: Sequence[Denoiser], sigmas: Sequence[float]) -> list[LevelRow]:
        """Compute what is missing and return all rows asked for.

        A KeyboardInterrupt passes through; the frames before it are kept.
        """
        wanted = list(self._wanted(methods, sigmas))
        rows = {row.place: row for row in read_levels(self.kept)}
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        noisy: dict[tuple[str, float], Any] = {}
        for method, place in wanted:
            if place in rows:
                continue
            _, _, _, clip, sigma, frame = place
            if (clip, sigma) not in noisy:
                noisy = {(clip, sigma): add_awgn(self.clips.clips[clip], sigma, NOISE_SEED)}
            started = time.perf_counter()
            estimate = method.estimate(noisy[clip, sigma], frame, sigma)
            row = LevelRow(
                method.name, method.key, method.saw, self.clips.name, clip, sigma, frame,
                round(psnr(self.clips.clips[clip][frame], estimate), 4),
                round(time.perf_counter() - started, 2),
            )  # fmt: skip
            rows[place] = row
            write_csv(self.kept, COLUMNS, map(asdict, rows.values()))
            if self.progress is not None:
                self.progress(row, sum(p in rows for _, p in wanted), len(wanted))
        return [rows[place] for _, place in wanted]

    def done(self, methods: Sequence[Denoiser], sigmas: Sequence[float]) -> list[LevelRow]:
        """Return the rows asked for that are there already."""
        rows = {row.place: row for row in read_levels(self.kept)}
        return [rows[place] for _, place in self._wanted(methods, sigmas) if place in rows]

    def _wanted(
        self, methods: Sequence[Denoiser], sigmas: Sequence[float]
    ) -> Iterator[tuple[Denoiser, tuple[Any, ...]]]:
        """Yield every frame: one of each clip and level before the second of any."""
        for method in methods:
            orders = {n: sampled(len(c), self.sample) for n, c in self.clips.clips.items()}
            for number in range(self.sample):
                for clip, order in orders.items():
                    for sigma in sigmas:
                        place = (
                            method.name, method.key, self.clips.name, clip, sigma, order[number],
                        )  # fmt: skip
                        yield method, place


def methods_of(
    weights: Path | None, others: Sequence[str], only: Sequence[str], skip: Sequence[str]
) -> list[Denoiser]:
    """Return the methods to compare, the quick ones first and CBM3D last.

    Parameters
    ----------
    weights : Path, optional
        Folder of weight files with cards, shown beside the shipped ones.
    others : sequence of str
        ``NAME=FILE``: weights of others, without a card.
    only, skip : sequence of str
        Patterns of names; ``noisy``, ``nlm`` and ``cbm3d`` are the classical ones.

    Raises
    ------
    ConfigError
        For a name that fits nothing.
    """
    found = [*shipped_weights(), *([] if weights is None else weights_in(weights))]
    networks = {w.card.sha256: FloatNetwork.of(w) for w in found}.values()
    named: list[tuple[str, Callable[[], Denoiser]]] = [
        ("noisy", noisy_input),
        *((network.name, lambda network=network: network) for network in networks),
        *((text.partition("=")[0], lambda text=text: _other(text)) for text in others),
        ("nlm", non_local_means), ("cbm3d", cbm3d),
    ]  # fmt: skip
    for option, patterns in (("--only", only), ("--skip", skip)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name, _ in named):
                known = ", ".join(name for name, _ in named)
                raise ConfigError(f"{option} {pattern}: fits no method; known: {known}")
    return [
        make()
        for name, make in named
        if (not only or any(fnmatchcase(name, pattern) for pattern in only))
        and not any(fnmatchcase(name, pattern) for pattern in skip)
    ]


def _other(text: str) -> FloatNetwork:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise ConfigError(f"--other {text}: expected NAME=FILE, such as half-width=net.pth")
    return FloatNetwork.of_file(name, Path(file))


def main(
    test: Annotated[
        Path, typer.Option("--test", "--data", metavar="DIR", help="Folder of test clips.")
    ],
    sigma: Annotated[
        list[float] | None, typer.Option(help="Noise in 8-bit steps; several times.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Weight files with cards, beside the shipped ones."),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights of others, without a card; several times."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames read of each clip.")] = FULL_FRAMES,
    sample: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Frames judged of each clip, the same for all methods: the middle one first. "
            "CBM3D takes a minute and more for one of 960x540.",
        ),
    ] = 4,
    crop: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Only the middle of every frame, for all methods alike."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="noisy, nlm, cbm3d, cimnet_s8, 'cimnet*'; repeatable."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Methods to leave out; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Finished frames and table.")] = Path(
        "out/levels"
    ),
    record: Annotated[
        bool, typer.Option("--record", help="Write the table into results/ and docs/paper.md.")
    ] = False,
) -> None:
    """Measure networks and classical denoisers on the same noisy frames.

    What is done is kept, frame by frame: the same command goes on after an interruption, with more
    weights, levels or a larger sample.
    """  # fmt: skip
    console = make_console()
    sigmas = _levels(sigma or [15.0, 25.0, 50.0])
    clips = clips_in(test, frames, parse_size(crop, "--crop") if crop else None)
    methods = methods_of(weights, other or (), only or (), skip or ())

    def tell(row: LevelRow, done: int, total: int) -> None:
        console.print(
            f"{done}/{total} {row.method} sigma {row.sigma:g} {row.clip} frame {row.frame}: "
            f"{row.psnr_db:.2f} dB, {row.seconds:.1f} s", highlight=False,
        )  # fmt: skip

    levels, finished = Levels(clips, out / FRAMES, sample, tell), True
    try:
        rows = levels.run(methods, sigmas)
    except KeyboardInterrupt:
        rows, finished = levels.done(methods, sigmas), False
    lines = level_table.summarise(rows)
    print_table(console, "PSNR / dB", *level_table.cells(lines))
    if not finished:
        console.print("interrupted: the same command goes on from here")
        raise typer.Exit(130)
    (out / "noise_levels.md").write_text(level_table.markdown(lines) + "\n", encoding="utf-8")
    if record:
        kept = record_rows(rows, LEVELS)
        table = level_table.markdown(level_table.summarise(kept))
        document.rewrite(document.PATH, {"noise_levels": table})
        console.print(f"recorded in {LEVELS} and {document.PATH}")


def record_rows(rows: Sequence[LevelRow], path: Path) -> list[LevelRow]:
    """Merge rows into the committed record; a test set of its own starts a new one."""
    clips = {row.clips for row in rows}
    kept = {row.place: row for row in read_levels(path) if row.clips in clips}
    kept |= {row.place: row for row in rows}
    ordered = sorted(kept.values(), key=lambda row: tuple(map(str, row.place)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, map(asdict, ordered))
    return ordered


def _levels(sigmas: Sequence[float]) -> list[float]:
    for value in sigmas:
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"--sigma: expected a number above 0 (scale 0..255), got {value:g}")
    return list(dict.fromkeys(sigmas))


if __name__ == "__main__":
    run_command(main)
