"""The networks of the figures: names, windows per pixel, and where their weights are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.paper.recipe import Entry, Recipe
from benchmarks.paper.runner import Done
from cimsim.errors import InputError
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, folder, shipped_cards

FRAME = 64  # pixels; windows per pixel are exact where it is a multiple of 4 S


@dataclass(frozen=True, slots=True)
class Weights:
    """A weight file and what is known about its training.

    Attributes
    ----------
    stem : str
        File name without suffix.
    card : Card
    done : Done, optional
        Note of the training runner beside it.
    shipped : bool
        It comes with cimsim.
    """

    stem: str
    card: Card
    done: Done | None
    shipped: bool

    @property
    def trained_sigma(self) -> str:
        """Noise seen in training: ``15`` or ``5..55``."""
        low, high = self.card.sigma[0], self.card.sigma[-1]
        return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def find_weights(entry: Entry, place: Path | None) -> list[Weights]:
    """Return the weights of a network: at most one from ``place``, at most one shipped.

    Parameters
    ----------
    entry : Entry
    place : Path, optional
        What the training runner wrote (``place/cimnet_s8/cimnet_s8.safetensors``), or a folder of
        weight files with cards.
    """
    found = []
    folders = ((entry.stem, entry.weights_stem), (".", entry.stem))
    for base, stem in () if place is None else folders:
        card = place / base / f"{stem}.json"
        if card.is_file():
            found.append(
                Weights(entry.stem, Card.read(card), Done.read(card.parent), shipped=False)
            )
            break
    card = folder() / f"{entry.stem}.json"
    if card.is_file():
        found.append(Weights(entry.stem, Card.read(card), None, shipped=True))
    return found


def all_weights(place: Path | None, recipe: Recipe) -> list[Weights]:
    """Return every shipped weight file (variants too), then those of the recipe in ``place``."""
    found = shipped_weights()
    known = {weights.card.sha256 for weights in found}
    given = [weights for entry in recipe.networks for weights in find_weights(entry, place)]
    return found + [w for w in given if not w.shipped and w.card.sha256 not in known]


def weights_in(place: Path) -> list[Weights]:
    """Return every weight file with a card in a folder and below it, sorted by path.

    Raises
    ------
    InputError
        When there is no such folder or it holds none.
    """
    if not place.is_dir():
        raise InputError(f"--weights {place}: no such folder")
    cards = [path.with_suffix(".json") for path in sorted(place.rglob("*.safetensors"))]
    found = [
        Weights(path.stem, Card.read(path), Done.read(path.parent), shipped=False)
        for path in cards
        if path.is_file()
    ]
    if not found:
        raise InputError(
            f"--weights {place}: holds no weights (NAME.safetensors with its card NAME.json), "
            "neither does a folder in it; cimsim train writes both"
        )
    return found


def shipped_weights() -> list[Weights]:
    """Return every weight file that comes with cimsim, sorted by name."""
    return [
        Weights(card.file.stem, card, None, shipped=True) for card in shipped_cards() if card.file
    ]


def shipped_hashes() -> set[str]:
    """Return the SHA-256 of every weight file that comes with cimsim."""
    return {card.sha256 for card in shipped_cards()}


@cache
def windows_per_pixel(model: str, stride: int | None) -> float:
    """Count a network's windows (matrix-vector products) per pixel; weights do not matter."""
    import cimsim
    from cimsim.report.counts import count_row

    network = cimsim.load_network(model, {} if stride is None else {"stride": stride}, "random")
    size = max(FRAME, 4 * (stride or 1))
    graph = cimsim.trace(network.module, network.example(size, size), name=model)
    chip = cimsim.load_hw("eflash40nm")  # of which only the array size is used
    return count_row(model, model, graph, chip, "im2col").per_pixel("windows")


def title(model: str, stride: int | None) -> str:
    """Return a display name: ``CIM-NET S = 8``."""
    return registry.info(model).title + ("" if stride is None else f" S = {stride}")
