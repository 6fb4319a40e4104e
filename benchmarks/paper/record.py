"""Measured PSNRs as rows of a CSV: kept while a run goes on, committed as the record."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from cimsim.errors import InputError
from cimsim.files import replacing

RESULTS = Path(__file__).with_name("results")
FLOAT = RESULTS / "float.csv"
ON_CHIP = RESULTS / "on_chip.csv"
NOISY = "noisy"  # the row of the noisy input itself

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Row:
    """PSNR of one network on one set of clips at one noise level.

    Attributes
    ----------
    network, model : str
        Stem of the weight file (``cimnet_s8``) and name in the zoo; ``noisy`` for the input.
    stride : int, optional
        None for networks without one.
    windows_per_pixel : float, optional
        Matrix-vector products per pixel of the frame.
    clips : str
        Name of the test set.
    sigma : float
        Of the noise, in 8-bit steps.
    psnr_db : float
        Mean over frames of each clip, then over clips; frames clipped to [0, 1].
    per_clip : mapping of str to float
        Mean over the frames of each clip.
    trained_sigma : str
        ``15`` or ``5..55``.
    minutes : float, optional
        Of training.
    crops : int, optional
        Seen in training; None when nothing tells.
    device, seed, date, sha256
        Device and seed of the training, day of the measurement, hash of the weight file.
    """

    network: str
    model: str
    stride: int | None
    windows_per_pixel: float | None
    clips: str
    sigma: float
    psnr_db: float
    per_clip: Mapping[str, float]
    trained_sigma: str = ""
    minutes: float | None = None
    crops: int | None = None
    device: str = ""
    seed: int | None = None
    date: str = ""
    sha256: str = ""

    @property
    def place(self) -> tuple[str, str, float, int]:
        """What the row is about: a record holds one row for each."""
        return self.network, self.clips, self.sigma, self.seed or 0


COLUMNS = tuple(field.name for field in fields(Row))


def read(path: Path) -> list[Row]:
    """Read rows; none when the file does not exist.

    Raises
    ------
    InputError
        For other columns or values than `write` writes.
    """
    return read_csv(path, COLUMNS, _row)


def read_csv(
    path: Path, columns: tuple[str, ...], parse: Callable[[dict[str, str]], Parsed]
) -> list[Parsed]:
    """Read what `write_csv` wrote, each line by ``parse``; nothing when there is no file.

    Raises
    ------
    InputError
        For other columns, or naming the line that cannot be parsed.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if tuple(reader.fieldnames or ()) != columns:
            raise InputError(f"{path}: expected the columns {', '.join(columns)}")
        try:
            return [parse(values) for values in reader]
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: line {reader.line_num}: {error}") from None


def read_plain(path: Path, kind: type[Parsed]) -> list[Parsed]:
    """Read lines of a dataclass of texts, numbers and truths; nothing when there is no file.

    Its fields are the columns; an empty cell of a field that may be None is None.

    Raises
    ------
    InputError
        As `read_csv`.
    """
    kinds = get_type_hints(kind)

    def parse(values: dict[str, str]) -> Parsed:
        if len(values) != len(kinds) or None in values.values():
            raise ValueError(f"expected {len(kinds)} cells")
        return kind(**{name: _plain(kinds[name], text) for name, text in values.items()})

    return read_csv(path, tuple(kinds), parse)


def _plain(kind: Any, text: str) -> Any:
    if kind is bool:
        return text == "True"
    maybe = get_args(kind)  # of float | None
    return _maybe(maybe[0], text) if maybe else kind(text)


def _row(values: dict[str, str]) -> Row:
    pairs = (part.rpartition(" ") for part in values["per_clip"].split("; "))
    return Row(
        network=values["network"], model=values["model"], stride=_maybe(int, values["stride"]),
        windows_per_pixel=_maybe(float, values["windows_per_pixel"]), clips=values["clips"],
        sigma=float(values["sigma"]), psnr_db=float(values["psnr_db"]),
        per_clip={name: float(value) for name, _, value in pairs},
        trained_sigma=values["trained_sigma"], minutes=_maybe(float, values["minutes"]),
        crops=_maybe(int, values["crops"]), device=values["device"],
        seed=_maybe(int, values["seed"]), date=values["date"], sha256=values["sha256"],
    )  # fmt: skip


def _maybe(kind: type[Any], text: str) -> Any:
    return kind(text) if text else None


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows, sorted; the old file stays whole until the new one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in sorted(rows, key=lambda row: row.place):
        values = {name: getattr(row, name) for name in COLUMNS}
        values["per_clip"] = "; ".join(f"{name} {v:.4f}" for name, v in row.per_clip.items())
        values["psnr_db"] = f"{row.psnr_db:.4f}"
        lines.append({name: "" if value is None else value for name, value in values.items()})
    write_csv(path, COLUMNS, lines)


def write_csv(path: Path, columns: Iterable[str], lines: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV under another name, then rename it."""
    with (
        replacing(path) as scratch,
        scratch.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.DictWriter(handle, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def merged(old: Iterable[Row], new: Iterable[Row], *, by_weights: bool = False) -> list[Row]:
    """Return all rows, the new one where both are about the same.

    Parameters
    ----------
    old, new : iterable of Row
    by_weights : bool
        Keep rows of the same network with other weights side by side.
    """
    found = {}
    for row in (*old, *new):
        found[(*row.place, row.sha256 if by_weights else "")] = row
    return list(found.values())
