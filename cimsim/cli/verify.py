"""``cimsim verify``: whether a result is what was written, and comes out again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.options import JsonOption, was_given
from cimsim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.session.result import Result

_UNSAID = (
    "out",
    "trace_file",
    "picture",
    "video",
    "quiet",
    "as_json",
    "strict",
    "threads",
    "no_cache",
    "writer",
)  # change no number
_SHOWN = 6  # differences that a message lists


def command_of(context: typer.Context | None) -> dict[str, object] | None:
    """Return the options of the command that runs, as plain data to keep in its result."""
    if context is None:
        return None
    given = {
        name: str(value) if isinstance(value, Path) else getattr(value, "value", value)
        for name, value in context.params.items()
        if name not in _UNSAID and (value != _default(context, name) or _typed(context, name))
    }
    return {"name": context.info_name, "options": given}


def _typed(context: typer.Context, name: str) -> bool:
    """Whether a value was given: what stands for one that was not may depend on the task."""
    return was_given(context, name) and not isinstance(context.params[name], bool)


def _default(context: typer.Context, name: str) -> object:
    parameter = next(p for p in context.command.params if p.name == name)
    value = parameter.get_default(context)
    return getattr(value, "value", value)


def verify(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or its result.json.")],
    only_files: Annotated[
        bool, typer.Option("--files", help="Check the files alone; do not run anything.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that a result was not edited, run it again and compare every bit.

    The command that made it is run once more in the working directory, with clip, weights and
    chip where they were. Ends with code 2 where anything differs.

    \b
    cimsim run --out o && cimsim verify o
    cimsim verify o --files
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.cli.steps import print_json
    from cimsim.display.styled import Screen

    console = Screen(highlight=False, stderr=as_json)
    told: dict[str, object] = {}
    _check(context, run, only_files, console, told)
    if as_json:
        print_json(told)


def _check(
    context: typer.Context, run: Path, only_files: bool, console: Console, data: dict[str, object]
) -> None:
    """Do what `verify` promises, say it, and lay what was found into ``data``."""
    from cimsim import folders
    from cimsim.session.result import Result

    held = Result.load(run)
    console.print(f"{run}: result as it was written, hash {held.hash[:12]}")
    folder = run if run.is_dir() else run.parent
    has_files = folders.manifest(folder) is not None
    data |= {"run": str(run), "sha256": held.hash, "files_checked": has_files, "run_again": False}
    if has_files:
        missing, changed = folders.changes(folder)
        if missing or changed:
            told = [f"{name} is missing" for name in missing]
            told += [f"{name} was changed" for name in changed]
            raise InputError(f"{folder}: {_listed(told)}")
        console.print(f"{folder}: all files as they were written")
    if only_files:
        return
    if held.command is None:
        console.print(
            "it was made by cimsim.simulate, not by a command: run the same program again and "
            "compare result.hash and result.outputs"
        )
        return
    again = _again(arguments_of(held.command, context), console)
    differing = list(_differences(held, again))
    other = {
        name: f"{name} {value} then, {again.environment.get(name, 'none')} now"
        for name, value in held.environment.items()
        if again.environment.get(name) != value
    }
    if differing:
        why = f" Computed with {', '.join(other.values())}." if other else ""
        raise InputError(f"{run}: another result this time: {_listed(differing)}.{why}")
    data |= {"run_again": True, "numbers": len(held.numbers()), "clips": len(held.outputs),
             "environment_differs": list(other.values())}  # fmt: skip
    same = f" (although {', '.join(other.values())})" if other else ""
    frames = f", {len(held.outputs)} clips bit by bit" if held.outputs else ""
    console.print(f"run again: the same{same}: {len(held.numbers())} numbers{frames}")


def _again(arguments: list[str], console: Console) -> Result:
    """Run a command once more into a temporary folder and return its result."""
    from cimsim.session.result import Result

    console.print(f"running again: cimsim {' '.join(arguments)}")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "again"
        line = [sys.executable, "-m", "cimsim", *arguments, "--out", str(target), "--quiet"]
        line.append("--no-cache")  # else it would compare the run with what was kept of it
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()
            raise InputError(
                f"the command does not run any more: {last[-1] if last else done.returncode}; "
                "its clip, weights and chip must be where they were"
            )
        return Result.load(target)


def arguments_of(command: Mapping[str, object], context: typer.Context) -> list[str]:
    """Return the command line of options that `command_of` kept; ``context`` knows all commands."""
    known: Any = context.find_root().command
    name, options = command.get("name"), command.get("options")
    called = known.commands.get(name) if isinstance(name, str) else None
    if name != "run" or called is None or not isinstance(options, dict):
        raise InputError(f"command: expected one of cimsim run, got {name!r}")
    found = [name]
    by_name = {parameter.name: parameter for parameter in called.params}
    for option, value in options.items():
        if option not in by_name or option in _UNSAID:
            raise InputError(f"command: {option!r} is no option of cimsim run")
        flag = max(by_name[option].opts, key=len)
        for one in value if isinstance(value, list) else [value]:
            found += [flag] if one is True else [f"{flag}={one}"]
    return found


def _differences(first: Result, second: Result) -> Iterator[str]:
    if first.hash != second.hash:
        before, now = _flat(first.inputs), _flat(second.inputs)
        places = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
        yield from (f"input {p}: {before.get(p)} then, {now.get(p)} now" for p in places[:_SHOWN])
    for name, value in first.outputs.items():
        if second.outputs.get(name) != value:
            yield f"other bits in the frames '{name}'"
    numbers = second.numbers()
    for name, told in first.numbers().items():
        here = numbers[name].value if name in numbers else None
        if repr(here) != repr(told.value):
            yield f"{name}: {told.value} then, {here} now"


def _flat(data: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(data, dict):
        return {prefix.rstrip("."): data}
    found: dict[str, object] = {}
    for name, part in data.items():
        found |= _flat(part, f"{prefix}{name}.")
    return found


def _listed(told: list[str]) -> str:
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return "; ".join(told[:_SHOWN]) + more
