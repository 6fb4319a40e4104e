"""Measure what a queue trained on test clips, and make it the shipped weights when it is better.

python -m benchmarks.paper.ship --out out/queue --test clips/test foldnet_t1 foldnet_t1_eflash40nm
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.paper import chip_table, on_chip
from benchmarks.paper.clips import FULL_FRAMES, ClipSet, clips_in
from benchmarks.paper.console import make_console, print_table, run_command, stopped
from benchmarks.paper.evaluate import Evaluator
from benchmarks.paper.networks import Weights
from benchmarks.paper.runner import Done
from cimsim.errors import ConfigError, InputError, suggest
from cimsim.zoo.weights import Card, folder, save_weights

SIGMAS = (15.0, 25.0, 50.0)  # of networks that were trained for a range of noise
SEEDS = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """What a weight file is worth on the test clips.

    Attributes
    ----------
    psnr_db : dict of str to float
        As it stands on a card: clip by clip, and the noisy input.
    judged_db : float
        The mean that decides: over clips and noise levels, on the chip where there is one.
    """

    psnr_db: dict[str, float]
    judged_db: float


def main(
    names: Annotated[list[str], typer.Argument(help="Finished entries of the queue.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="What the queue wrote.")],
    test: Annotated[Path, typer.Option(metavar="DIR", help="Test clips, one folder for each.")],
    to: Annotated[
        str | None, typer.Option("--as", metavar="STEM", help="Ship one entry under another name.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to; default: those of this checkout.")
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="What it was trained on; default: as on the card replaced.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Terms of the weights; default: as on the card replaced.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each clip.")] = FULL_FRAMES,
    seeds: Annotated[int, typer.Option(min=1, help="Programmings; they share frames.")] = SEEDS,
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Finished frames; default: OUT/ship.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for the float networks.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Ship what is not better, too.")] = False,
) -> None:
    """Measure entries as the shipped weights of their name, and replace those that are worse.

    Float networks are judged in float, those trained for a chip on it, at the noise of the card
    (of a range at 15, 25 and 50). What is measured is kept: a killed run goes on. Exit code 1: an
    entry is not better than what is shipped, and --force was not given.
    """
    console = make_console()
    if to is not None and len(names) > 1:
        raise ConfigError(f"--as {to}: one name for {len(names)} entries; ship them one by one")
    place, work = weights or folder(), work or out / "ship"
    found = [(entry_weights(out, name), to or name) for name in names]
    clips = clips_in(test, frames)
    work.mkdir(parents=True, exist_ok=True)
    worse = False
    for new, stem in found:
        old = _shipped(place, stem)
        judge = Judge(console, clips, work, seeds, device)
        mine = judge.measure(new)
        theirs = None if old is None else judge.measure(old)
        better = theirs is None or mine.judged_db > theirs.judged_db
        _show(console, stem, mine, theirs)
        if not better and not force:
            worse = True
            continue
        before = None if old is None else old.card
        card = described(new.card, mine, before, clips, about=about, licence=licence)
        path = write(new.card, card, place / f"{stem}.safetensors")
        console.print(f"{stem}: shipped as {path}", highlight=False)
    if worse:
        raise typer.Exit(1)


def entry_weights(out: Path, name: str) -> Weights:
    """Return the weights of a finished entry.

    Raises
    ------
    InputError
        When there is no such entry, or it is not finished.
    """
    place = out / name
    done = Done.read(place)
    if done is None:
        finished = sorted(path.parent.name for path in out.glob("*/done.json"))
        raise InputError(f"{place}: no finished entry of a queue{suggest(name, finished)}")
    for path in sorted(place.glob("*.safetensors")):
        card = Card.read(path.with_suffix(".json"))
        if card.sha256 == done.sha256:
            return Weights(name, card, done, shipped=False)
    raise InputError(f"{place}: the weights that done.json tells of are gone; train them again")


def _shipped(place: Path, stem: str) -> Weights | None:
    path = place / f"{stem}.json"
    return Weights(stem, Card.read(path), None, shipped=True) if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Judge:
    """Measures weights on the test clips; what was measured before is not measured again.

    Attributes
    ----------
    console : Console
    clips : ClipSet
    work : Path
        Folder of what was measured.
    seeds : int
        Programmings of the chip: each sees its share of the frames.
    device : str
        Of the float network.
    """

    console: Console
    clips: ClipSet
    work: Path
    seeds: int
    device: str

    def measure(self, weights: Weights) -> Measured:
        """Return what a weight file is worth, at the noise that it was trained for."""
        sigmas = noise_levels(weights.card)
        psnr: dict[str, float] = {}
        judged = []
        for sigma in sigmas:
            at = f" at sigma {sigma:g}" if len(sigmas) > 1 else ""
            value = self._float(weights, sigma, at, psnr)
            if weights.card.hw is not None:
                value = self._chip(weights, sigma, at, psnr)
            judged.append(value)
        rounded = {name: round(value, 2) for name, value in psnr.items()}
        return Measured(rounded, round(float(np.mean(judged)), 4))

    def _float(self, weights: Weights, sigma: float, at: str, psnr: dict[str, float]) -> float:
        evaluator = Evaluator(self.clips, self.work / "float.csv", self.device, self._say)
        row, noisy = evaluator.network(weights, sigma), evaluator.noisy(sigma)
        for name, value in row.per_clip.items():
            psnr[f"{name}{at}"] = value
            psnr[f"{name}{at} noisy"] = noisy.per_clip[name]
        psnr[f"mean of clips{at}"] = row.psnr_db
        return row.psnr_db

    def _chip(self, weights: Weights, sigma: float, at: str, psnr: dict[str, float]) -> float:
        hw = str(weights.card.hw)
        step = min(self.seeds, *(len(clip) for clip in self.clips.clips.values()))
        rows, finished = on_chip.measure(
            self.console, self.clips, [weights], self.work, seeds=self.seeds, step=step, hw=hw,
            sigma=sigma,
        )  # fmt: skip
        if not finished:
            self.console.print("interrupted: the same command goes on from here")
            raise stopped()
        count = f"on {hw}, {self.seeds} programmings"
        for row in rows:
            clip = "mean of clips" if row.clip == chip_table.ALL else row.clip
            psnr[f"{clip}{at} {count}"] = row.chip_db
        if len(rows) == 1:  # one clip is its own mean
            psnr[f"mean of clips{at} {count}"] = rows[0].chip_db
        return psnr[f"mean of clips{at} {count}"]

    def _say(self, text: str) -> None:
        self.console.print(f"measuring {text}", highlight=False)


def noise_levels(card: Card) -> list[float]:
    """Return the noise at which weights are judged: the card's, of a range those of `SIGMAS`."""
    low, high = card.sigma[0], card.sigma[-1]
    if low == high:
        return [low]
    return [sigma for sigma in SIGMAS if low <= sigma <= high] or [(low + high) / 2]


def described(
    card: Card,
    measured: Measured,
    before: Card | None,
    clips: ClipSet,
    *,
    about: str | None = None,
    licence: str | None = None,
) -> Card:
    """Return the card of shipped weights: the entry's, with what was measured.

    What they were trained on and their terms are given, or those of the card that is replaced.
    """
    noise = ", ".join(f"{sigma:g}" for sigma in noise_levels(card))
    if about is None:
        about = (before or card).data.partition("; PSNR on ")[0]
    validation = {name: value for name, value in card.psnr_db.items() if "validation" in name}
    return replace(
        card,
        data=f"{about}; PSNR on {clips.title}, sigma {noise}",
        licence=licence or (before or card).licence,
        psnr_db=validation | measured.psnr_db,
    )


def write(source: Card, card: Card, path: Path) -> Path:
    """Write the weights of one card with another card."""
    import cimsim

    network = cimsim.load_network(source.model, dict(source.options), source.file)
    return save_weights(network.module, path, card).file or path


def _show(console: Console, stem: str, mine: Measured, theirs: Measured | None) -> None:
    old = {} if theirs is None else theirs.psnr_db
    rows = [
        (name, f"{value:.2f}", f"{old[name]:.2f}" if name in old else "")
        for name, value in mine.psnr_db.items()
    ]
    print_table(console, f"{stem}: PSNR / dB", ("clip", "new", "shipped"), rows)
    if theirs is not None and mine.judged_db <= theirs.judged_db:
        console.print(
            f"{stem}: not better than what is shipped: {mine.judged_db:.3f} dB against "
            f"{theirs.judged_db:.3f} dB; --force ships it all the same",
            style="red", highlight=False,
        )  # fmt: skip


if __name__ == "__main__":
    run_command(main)
