"""Run folders: what stands in them; how they are replaced is `cimsim.folders`' affair."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cimsim import folders
from cimsim.errors import InputError
from cimsim.report.run.writers import AbstractWriter, call
from cimsim.session.result import Result


def check_target(folder: str | Path) -> Path:
    """Refuse a target where something would be overwritten that no earlier run wrote.

    Raises
    ------
    InputError
        See `cimsim.folders.check_target`.
    """
    return folders.check_target(folder)


def write(
    result: Result, folder: str | Path, *, unique: bool = False,
    writers: Sequence[AbstractWriter] = (), say: Callable[[str], None] | None = None,
) -> Path:  # fmt: skip
    """Write a result with its tables, pictures and frames.

    Parameters
    ----------
    result : Result
    folder : str or Path
        An earlier run in the same place is replaced as a whole; see `cimsim.folders`.
    unique : bool
        Take another name instead if there is something of this one.
    writers : sequence of AbstractWriter
        Write, too, once all else is in the folder.
    say : callable, optional
        Gets what writers say.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        It cannot be written, or would overwrite files of the user's; or a writer failed, which is
        said when the folder with all else stands there.
    """
    from cimsim.report.run.plots import draw_all

    text = result.to_json()  # before anything is written: it may refuse
    shown = Path(folder)
    with folders.new_folder(folder, unique=unique) as made:
        (made / "result.json").write_text(text, encoding="utf-8")
        _write_layers(result, made / "layers.csv")
        draw_all(result, made)
        if "chip" in result.frames:
            from cimsim.video.io import displayed, write_clip

            for name in ("noisy", "chip"):
                write_clip(made / "frames" / name, displayed(result.frames[name]))
        failed = call(writers, result, made, say)
    name = folders.placed(made).name
    stands = shown.with_name(name) if unique else shown
    if failed:
        raise InputError(f"--writer: {'; '.join(failed)}; all else is written: {stands}")
    return stands


def write_files(files: Mapping[str, bytes], folder: str | Path, *, unique: bool = False) -> Path:
    """Write a folder of an earlier run again, from the contents of its files.

    Parameters
    ----------
    files : mapping of str to bytes
        By relative path.
    folder, unique
        As for `write`.

    Raises
    ------
    InputError
        As `write`.
    """
    shown = Path(folder)
    with folders.new_folder(folder, unique=unique) as made:
        for name, content in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(content)
    name = folders.placed(made).name
    return shown.with_name(name) if unique else shown


def _write_layers(result: Result, path: Path) -> None:
    names = list(dict.fromkeys(name for row in result.layers for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(result.layers)
