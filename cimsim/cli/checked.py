"""What holds for every command line: no value is empty, no name too long, no input overwritten.

Help pages fit the terminal: examples can be copied as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, Unpack

import typer
from typer.core import TyperCommand, TyperGroup

from cimsim.boundary.arguments import check_length
from cimsim.cli.helped import folded_help
from cimsim.cli.logged import without_verbose
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter
    from typer._click.formatting import HelpFormatter

Function = TypeVar("Function", bound=Callable[..., object])
_MARGINS = 2  # columns beside the text of a help page
OUTPUTS = frozenset({"out", "video", "trace_file", "picture", "save"})
"""Names of the parameters that name what a command writes."""


class _Flags:
    """Switches without a type behind them: they take no value, and options get the room."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """See `click.Command`."""
        found: list[Parameter] = super().get_params(ctx)  # type: ignore[misc]
        for param in found:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return found


class Group(_Flags, TyperGroup):
    """A group of commands."""


class Command(_Flags, TyperCommand):
    """A command whose options are checked against each other before it begins."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """See `click.Command`; the text is folded for the terminal that it is printed on."""
        from rich.markup import escape

        from cimsim.display.styled import Screen

        whole = self.help
        self.help = escape(folded_help(whole or "", Screen().width - _MARGINS))
        try:
            super().format_help(ctx, formatter)
        finally:
            self.help = whole

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """See `click.Command`; ``--out "$NOT_SET"`` is not the folder that one stands in."""
        refuse_empty(args)
        return super().parse_args(ctx, without_verbose(args))

    def invoke(self, ctx: Context) -> object:
        """See `click.Command`."""
        options = {param.name: param.opts[0] for param in self.params}
        written = {name: options[name] for name in OUTPUTS & options.keys()}
        for name, option in written.items():
            if ctx.params.get(name) is not None:
                check_length(option, Path(str(ctx.params[name])))
        refuse_overwriting({options[name]: value for name, value in ctx.params.items()},
                           set(written.values()))  # fmt: skip
        return super().invoke(ctx)


class Shown(TypedDict, total=False):
    """How typer shows a group of commands; see `typer.Typer`."""

    name: str
    no_args_is_help: bool
    context_settings: dict[str, object]
    rich_markup_mode: Literal["markdown", "rich"] | None
    pretty_exceptions_enable: bool


class App(typer.Typer):
    """A group of commands, each of which is checked."""

    def __init__(self, help: str, **options: Unpack[Shown]) -> None:
        super().__init__(cls=Group, help=help, **options)

    def command(self, name: str) -> Callable[[Function], Function]:  # type: ignore[override]
        """See `typer.Typer.command`; commands of cimsim give nothing but their name."""
        return super().command(name, cls=Command)


def refuse_empty(arguments: list[str]) -> None:
    """Refuse an empty value: of a shell's variable that is not set, mostly.

    Raises
    ------
    ConfigError
    """
    for place, text in enumerate(arguments):
        before = arguments[place - 1] if place else ""
        option = text[:-1] if text.startswith("--") and text.find("=") == len(text) - 1 else ""
        if not text.strip():
            option = before if before.startswith("-") else f"argument {place + 1}"
        if option:
            raise ConfigError(f"{option}: the value is empty; is a variable of the shell not set?")


def refuse_overwriting(given: Mapping[str, object], outputs: set[str]) -> None:
    """Refuse to write over what the same command reads.

    Parameters
    ----------
    given : dict
        Value by option.
    outputs : set of str
        The options that name files or folders to write.

    Raises
    ------
    ConfigError
    """
    named = {option: Path(str(given[option])) for option in outputs if given.get(option)}
    for option, value in given.items():
        if option in outputs:
            continue
        for read in _files(value):
            for other, written in named.items():
                if _is_lost(read, written):
                    raise ConfigError(
                        f"{other}: would write over '{read}', which {option} reads; choose another "
                        "name"
                    )


def _files(value: object) -> Iterator[Path]:
    """Yield the files and folders that stand in a value, ``path=file`` and lists included."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _files(part)
    elif isinstance(value, str | Path):
        for text in {str(value), str(value).partition("=")[2]} - {""}:
            try:
                if Path(text).exists():
                    yield Path(text)
            except (OSError, ValueError):
                continue  # no name of a file at all


def _is_lost(read: Path, written: Path) -> bool:
    """Tell whether ``read`` is ``written``, or of an earlier run in that folder."""
    from cimsim.folders import manifest

    try:
        if not written.exists():
            return False
        if not written.is_dir():
            return read.samefile(written)
        inside = read.resolve().relative_to(written.resolve())
    except (OSError, ValueError):
        return False
    names = map(Path, manifest(written.resolve()) or {})
    return inside != Path() and any(name == inside or inside in name.parents for name in names)
