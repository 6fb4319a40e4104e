"""Files of a training run: written whole or not at all, with a clear word when a disk is full."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch
from filelock import FileLock, Timeout

from cimsim.errors import ConfigError, InputError
from cimsim.files import replacing

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.jsonl"
LOCK = ".lock"


class State(TypedDict, total=False):
    """What a checkpoint, or a file of the best weights, holds."""

    config: dict[str, object]
    fan_in: int
    pruned: bool
    model: dict[str, torch.Tensor]
    averaged: dict[str, torch.Tensor]
    optimiser: dict[str, object]
    chip: dict[str, torch.Tensor] | None
    step: int
    used_s: float
    mean_norm: float
    best_db: float
    judged_db: float
    psnr_db: float
    chip_db: float | None
    ancestors: list[dict[str, object]]
    earlier_budgets: list[str]


class FolderBusyError(ConfigError):
    """Another run trains into the folder."""


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Keep a folder for one run; a killed run leaves no lock.

    Parameters
    ----------
    folder : Path
    name : str
        File that stands for the folder.

    Raises
    ------
    FolderBusyError
        When another run writes into it.
    """
    lock = FileLock(folder / name, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderBusyError(
            f"{folder}: another run trains into this folder; wait for it, or give another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write(path: Path, state: State) -> None:
    """Save with torch under another name, then rename: a kill leaves the old file.

    Raises
    ------
    InputError
        When the file cannot be written; what was there before is kept.
    """
    try:
        with replacing(path) as scratch, scratch.open("wb") as handle:
            torch.save(state, handle)
            handle.flush()
            os.fsync(handle.fileno())
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        kept = "; the last checkpoint is kept" if path.is_file() else ""
        raise InputError(
            f"{path}: cannot be written: {_first_line(error)}{kept}; free some space and give the "
            "same command again"
        ) from error


def read(path: Path, device: torch.device, key: str = "config") -> State:
    """Load what `write` saved.

    Parameters
    ----------
    path : Path
    device : torch.device
    key : str
        What the file must hold.

    Raises
    ------
    InputError
        When the file is damaged.
    """
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"{path}: cannot read the checkpoint: {_first_line(error)}; delete it, or start again "
            "with --fresh"
        ) from error
    if not isinstance(state, dict) or key not in state:
        raise InputError(f"{path}: no checkpoint of cimsim train; train into another folder")
    return state


class Log:
    """One JSON object per line: step, minutes, loss and so on.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: Mapping[str, object]) -> None:
        """Write one line.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        try:
            with self.path.open("a") as handle:
                handle.write(json.dumps(line) + "\n")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error}; free some space") from error

    def cut(self, step: int) -> None:
        """Forget what was logged after ``step``: a resumed run takes those steps again.

        At 0 everything is forgotten: the run logs its start anew.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        if not self.path.is_file():
            return
        kept = []
        for text in self.path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # a kill can leave half a line
            if 0 < step >= line["step"]:
                kept.append(text + "\n")
        try:
            with replacing(self.path) as scratch:
                scratch.write_text("".join(kept))
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error}; free some space") from error

    def read(self) -> list[dict[str, float]]:
        """Return all lines."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
