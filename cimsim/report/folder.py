"""Run folders: written under a temporary name and renamed, so that no half folder is ever left."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

from cimsim.errors import InputError
from cimsim.report.plots import draw_all
from cimsim.report.result import Result


def check_target(folder: str | Path) -> Path:
    """Refuse a target that would overwrite something that is no run folder.

    Raises
    ------
    InputError
        The path is a file or a folder with other content, or nothing can be written there.
    """
    folder = Path(folder)
    above = next(place for place in folder.absolute().parents if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"--out: cannot write '{folder}': no write access to '{above}'")
    if folder.is_file():
        raise InputError(f"--out: '{folder}' is a file; give a folder that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "result.json").is_file():
        raise InputError(
            f"--out: '{folder}' holds other files and no earlier run; give a new folder"
        )
    return folder


def write(result: Result, folder: str | Path) -> Path:
    """Write a result with its tables, pictures and frames.

    Parameters
    ----------
    result : Result
    folder : str or Path
        An earlier run in the same place is replaced as a whole.

    Returns
    -------
    Path
        The folder.
    """
    folder = check_target(folder)
    partial = folder.parent / f".{folder.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (partial / "result.json").write_text(result.to_json(), encoding="utf-8")
        _write_layers(result, partial / "layers.csv")
        draw_all(result, partial)
        if "chip" in result.frames:
            from cimsim.video.io import displayed, write_clip

            for name in ("noisy", "chip"):
                write_clip(partial / "frames" / name, displayed(result.frames[name]))
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        raise InputError(f"--out: cannot write '{folder}': {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_layers(result: Result, path: Path) -> None:
    names = list(dict.fromkeys(name for row in result.layers for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(result.layers)
