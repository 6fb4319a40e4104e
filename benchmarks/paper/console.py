"""What the commands share: messages for errors, tables, a polite end on SIGTERM."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from cimsim.errors import CimsimError
from cimsim.zoo.errors import ZooError

_asked_by: list[int] = []  # signals other than that of Ctrl-C


def run_command(function: Callable[..., Any]) -> None:
    """Run a typer command; an error of cimsim becomes one message and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        app()
    except (CimsimError, ZooError) as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, style="red")
        sys.exit(2)
    except SystemExit as end:
        # an exception of Ctrl-C that nobody caught, or a command that knows nothing of SIGTERM
        sys.exit(stopped().exit_code if end.code == 130 else end.code)


def make_console() -> Console:
    """Return a console that is wide enough for the tables where no terminal says how wide it is."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=140)


def stopped() -> typer.Exit:
    """Return the end of a command that was asked to stop: 143 after SIGTERM, else 130."""
    return typer.Exit(128 + _asked_by[-1] if _asked_by else 130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM as Ctrl-C, so that a checkpoint is written.

    The handler is called, not the signal raised: a shell lets its background jobs ignore SIGINT.
    """
    _asked_by.append(number)
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table; all columns but the first are aligned to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
