"""Entry point of the command ``cimsim``: collects the commands and turns errors into messages."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from cimsim import __version__
from cimsim.cli import (
    ablate,
    clip,
    count,
    device,
    diagnose,
    hw,
    map,
    models,
    program,
    prune,
    report,
    run,
    schema,
    search,
    study,
    sweep,
    time,
    train,
    verify,
)
from cimsim.cli.checked import App
from cimsim.cli.logged import listen, trace
from cimsim.cli.options import Interrupted
from cimsim.errors import CimsimError

app = App(
    name="cimsim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "What a real network does on a computing-in-memory chip: [bold]how good the output is, how "
        "many cycles it takes and how much energy it costs[/], all from one mapping.\n\n"
        "Start with [cyan]cimsim run[/]: it denoises a built-in clip with CIM-NET on the 40 nm "
        "eFlash chip."
    ),
)
app.command("run")(run.run)
app.command("program")(program.program)
app.command("sweep")(sweep.sweep)
app.command("search")(search.search)
app.command("compare")(study.compare)
app.command("ablate")(ablate.ablate)
app.command("diagnose")(diagnose.diagnose)
app.command("map")(map.map_)
app.command("count")(count.count)
app.command("time")(time.time)
app.command("train")(train.train)
app.command("prune")(prune.prune)
app.command("report")(report.report)
app.command("schema")(schema.schema)
app.command("verify")(verify.verify)
app.add_typer(study.app, name="study")
app.add_typer(study.cache_app, name="cache")
app.add_typer(clip.app, name="clip")
app.add_typer(hw.app, name="hw")
app.add_typer(device.app, name="device")
app.add_typer(models.app, name="models")

_OF_FILES = {
    errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT,
    errno.EROFS,
}  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cimsim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Say on stderr what is done, step by step; also after the command.",
        ),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Write that, with times, to a file."),
    ] = None,
) -> None:
    """Options of the command itself."""
    if verbose or log_file is not None:
        listen(verbose, log_file)


def main() -> None:
    """Run the command line; a `CimsimError` becomes one message on stderr and exit code 2."""
    try:
        app()
    except CimsimError as error:
        from cimsim.display.styled import Screen, styled

        console = Screen(stderr=True, soft_wrap=True)
        console.print(styled("[bold red]error:[/] {}", error))
        if error.__cause__ is not None:  # code of the user's own, mostly
            trace(error.__cause__)
        sys.exit(2)
    except OSError as error:
        # no bug but the user's file system, where nothing nearer to the place could say more
        if error.errno not in _OF_FILES or error.filename is None:
            raise
        typer.echo(f"error: '{error.filename}': {error.strerror}; take another name", err=True)
        sys.exit(2)
    except MemoryError as error:
        typer.echo(
            f"error: not enough memory ({error}); take fewer --frames or a smaller --size", err=True
        )
        sys.exit(2)
    except Interrupted:
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        # typer turns Ctrl-C into an exit with code 130
        if isinstance(error, SystemExit) and error.code != 130:
            raise
        typer.echo("interrupted; no result was written", err=True)
        sys.exit(130)
