"""What the scripts of this folder share: shipped weights on a chip, scores, kept rows, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.paper.record import write_csv
from benchmarks.paper.style import DPI, paper_style
from cimsim.errors import ConfigError, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cimsim.session.functional import FunctionalRun
    from cimsim.zoo.weights import Card

SIGMA = 15.0
Row = TypeVar("Row", bound=Any)


def shipped_card(stem: str) -> Card:
    """Return the card of shipped weights.

    Raises
    ------
    ConfigError
        Naming those that are shipped.
    """
    from cimsim.zoo.weights import folder, named_card

    card = named_card(stem)
    if card is None:
        known = sorted(path.stem for path in folder().glob("*.json"))
        raise ConfigError(f"--weights: '{stem}' is not shipped{suggest(stem, known)}")
    return card


@lru_cache(maxsize=1)
def prepared(
    stem: str,
    seed: int,
    frames: int,
    size: int,
    threads: int | None,
    chip: str = "eflash40nm",
    changes: tuple[str, ...] = (),
) -> FunctionalRun:
    """Return shipped weights programmed and calibrated on a chip, and the embedded clip.

    What it has learned, inputs and rounded weights, serves other chips too: see `scores`.

    Parameters
    ----------
    stem : str
        Shipped weights.
    seed, frames, size : int
        Seed of chip and noise; frames of size x size pixels.
    threads : int, optional
        Of the engine; they never change a bit.
    chip : str
    changes : tuple of str
        Overrides of the chip, ``path=value``.
    """
    import cimsim
    from cimsim.engine.workers import one_torch_thread
    from cimsim.session.functional import FunctionalRun
    from cimsim.video.embedded import embedded_clip

    card = shipped_card(stem)
    network = cimsim.load_network(card.model, dict(card.options), stem)
    graph = cimsim.trace(network.module, network.example(size, size), name=stem)
    mapping = cimsim.map_graph(graph, cimsim.load_hw(chip, list(changes)))
    run = FunctionalRun(mapping, embedded_clip("default", frames, size, size), SIGMA, seed, threads)
    with one_torch_thread():
        run.prepare(None, lambda stage, done, total: None)
    return run


def scores(first: FunctionalRun, changes: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean PSNR of a chip that differs in some fields from `eflash40nm`.

    Parameters
    ----------
    first : FunctionalRun
        Has learned the inputs and rounded the weights of the same graph on the same clip, see
        `FunctionalRun.prepare`; weights are rounded anew only where their width differs.
    changes : mapping of str to value
        Overrides of the chip.

    Returns
    -------
    dict of str to float
        ``noisy_db``, ``float_db`` and ``chip_db``.
    """
    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.engine.prepare import prepare
    from cimsim.engine.rounding import round_to_inputs
    from cimsim.engine.workers import one_torch_thread
    from cimsim.session.functional import FunctionalRun

    chip = cimsim.load_hw("eflash40nm", dict(changes))
    mapping = cimsim.map_graph(first.mapping.graph, chip)
    learned = dict(first.learned)
    run = FunctionalRun(mapping, first.clean, first.sigma, first.seed, first.threads)
    with one_torch_thread():
        if chip.weights != first.mapping.chip.weights:
            learned["integers"] = round_to_inputs(mapping, learned["samples"], first.threads)
        run.calibrated = prepare(
            mapping, device_of(chip), seed=first.seed, threads=first.threads, **learned
        )
        run.execute(lambda stage, done, total: None)
    quality = run.quality()
    return {f"{name}_db": round(quality.mean(f"{name}_psnr"), 4)
            for name in ("noisy", "float", "chip")}  # fmt: skip


def measure_missing(
    kept: Path,
    columns: Sequence[str],
    old: Iterable[Row],
    wanted: Sequence[tuple[Any, ...]],
    measure: Callable[[tuple[Any, ...]], Row],
    tell: Callable[[int, Row], None],
) -> list[Row]:
    """Return the row of every wanted place; what is missing is measured and written at once.

    Parameters
    ----------
    kept : Path
        The CSV.
    columns : sequence of str
    old : iterable of rows
        What it holds.
    wanted : sequence of tuple
        ``row.place`` of every row.
    measure : callable
        Returns the row of a place.
    tell : callable
        Called with the number of each new row, from 1, and the row.
    """
    rows = {row.place: row for row in old}
    for number, place in enumerate(wanted, 1):
        if place in rows:
            continue
        row = rows[place] = measure(place)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_csv(kept, columns, map(asdict, rows.values()))
        tell(number, row)
    return [rows[place] for place in wanted]


def band(
    axes: Axes, xs: Sequence[float], levels: Sequence[Sequence[float]], alpha: float, **look: Any
) -> None:
    """Draw the mean of several levels at each x, and the range between them as a band."""
    lows, highs = [min(level) for level in levels], [max(level) for level in levels]
    axes.fill_between(xs, lows, highs, color=look["color"], alpha=alpha, linewidth=0)
    axes.plot(xs, [sum(level) / len(level) for level in levels], **look)


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name.png`` and ``name.svg``; return the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    with paper_style():
        figure.savefig(folder / f"{name}.png", dpi=DPI)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return folder / f"{name}.png"
