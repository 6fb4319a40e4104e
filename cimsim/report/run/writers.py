"""What else writes a result: files into the folder of a run, or a service elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.boundary import own
from cimsim.boundary.limits import shown
from cimsim.errors import InputError

if TYPE_CHECKING:
    from cimsim.session.result import Result


class AbstractWriter(ABC):
    """Writes a result beside ``result.json``, tables and pictures.

    It is made without arguments where it is named on the command line. It changes no number, so it
    is no part of the result's hash, and ``cimsim verify`` does not call it again.
    """

    def check(self) -> None:  # noqa: B027 - most writers have nothing to look for
        """Refuse, before anything runs, what could not be written afterwards.

        Raises
        ------
        InputError
        """

    @abstractmethod
    def write(self, result: Result, folder: Path) -> str | None:
        """Write a result.

        Parameters
        ----------
        result : Result
        folder : Path
            Of the run, while it is being written: files that are put here become part of it, and of
            its manifest. Those that stand there already must stay as they are.

        Returns
        -------
        str or None
            A line for the screen: what was written, and where.
        """


def call(
    writers: Sequence[AbstractWriter], result: Result, folder: Path,
    say: Callable[[str], None] | None,
) -> list[str]:  # fmt: skip
    """Let each writer write; one that fails does not keep the others from it.

    Parameters
    ----------
    writers : sequence of AbstractWriter
    result : Result
    folder : Path
    say : callable or None
        Gets the line of each.

    Returns
    -------
    list of str
        What failed, a line each.
    """
    failed = []
    for writer in writers:
        try:
            told = writer.write(result, folder)
        except Exception as why:  # noqa: BLE001 - the user's own code may raise anything
            if isinstance(why, InputError):
                failed.append(f"'{type(writer).__name__}' failed with {why}")
            else:
                failed.append(own.failed(why, writer, "write"))
            continue
        if told is not None and not isinstance(told, str):
            failed.append(
                f"{own.path_of(writer)}.write: expected a line or None, got {shown(told)}"
            )
        elif told and say is not None:
            say(told)
    return failed
