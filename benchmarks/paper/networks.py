"""The networks of the figures: names, windows per pixel, and where their weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.paper.recipe import Entry, Recipe
from benchmarks.paper.runner import Done
from cimsim.errors import InputError
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, folder, shipped_cards

PAPER: Mapping[str, Mapping[str, int]] = {"cimnet": {"coarse": 1}}  # what the zoo leaves out
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
    """Return the weights of a network: those in ``place``, one for each seed; at most one shipped.

    Parameters
    ----------
    entry : Entry
    place : Path, optional
        What the training runner wrote (``place/cimnet_s2/cimnet_s2.safetensors``, or the same below
        ``place/seed0``, ``place/seed1`` ...), or a folder of weight files with cards.
    """
    found = []
    files = (f"{entry.stem}/{entry.weights_stem}.json", f"{entry.stem}.json")
    for folder_ in () if place is None else (place, *sorted(place.glob("seed*"))):
        card = next((folder_ / name for name in files if (folder_ / name).is_file()), None)
        if card is not None:
            found.append(
                Weights(entry.stem, Card.read(card), Done.read(card.parent), shipped=False)
            )
    card = folder() / f"{shipped_stem(entry)}.json"
    if card.is_file():
        found.append(Weights(card.stem, Card.read(card), None, shipped=True))
    return found


def shipped_stem(entry: Entry) -> str:
    """Return the name of the weights that the zoo ships for a network of the figures.

    They may be of another form than the paper's: CIM-NET without its coarse path.
    """
    if entry.variant is None and entry.args == PAPER.get(entry.model):
        return registry.info(entry.model).weights_stem({"stride": entry.stride})
    return entry.stem


def all_weights(place: Path | None, recipe: Recipe) -> list[Weights]:
    """Return every shipped weight file (variants too), then those of the recipe in ``place``."""
    found = shipped_weights()
    known = {weights.card.sha256 for weights in found}
    given = [  # of several seeds the first
        weights for entry in recipe.networks for weights in find_weights(entry, place)[:1]
    ]
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


def windows_per_pixel(model: str, stride: int | None) -> float:
    """Count the windows (matrix-vector products) per pixel of a network as the paper draws it."""
    options: dict[str, int | str] = {} if stride is None else {"stride": stride}
    return windows_of(model, options | dict(PAPER.get(model, {})))


def windows_of(model: str, options: Mapping[str, int | str]) -> float:
    """Count a network's windows per pixel; weights do not matter."""
    return _windows(model, tuple(sorted(options.items())))


@cache
def _windows(model: str, options: tuple[tuple[str, int | str], ...]) -> float:
    import cimsim
    from cimsim.report.chip.counts import count_row

    network = cimsim.load_network(model, dict(options), "random")
    size = max(FRAME, 4 * int(dict(options).get("stride", 1)))
    graph = cimsim.trace(network.module, network.example(size, size), name=model)
    chip = cimsim.load_hw("eflash40nm")  # of which only the array size is used
    return count_row(model, model, graph, chip, "im2col").per_pixel("windows")


def title(model: str, stride: int | None) -> str:
    """Return a display name: ``CIM-NET S = 8``."""
    return registry.info(model).title + ("" if stride is None else f" S = {stride}")
