"""Groups of options: a command takes dataclasses; each field is an option of its command line."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from cimsim.cli.groups import grouped


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="Columns.")] = 4
    height: Annotated[int, typer.Option(help="Rows.")] = 3


@dataclass(frozen=True)
class Deep(Size):
    width: Annotated[int, typer.Option(help="Channels.")] = 8
    depth: Annotated[int, typer.Option(help="Layers.")] = 2


def invoke(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def test_a_command_gets_its_groups_and_its_own_options():
    given = []

    @grouped
    def command(first: int, size: Deep, loud: bool = False) -> None:
        """Do it."""
        given.append((first, size, loud))

    assert invoke(command, "7", "--height", "5", "--loud").exit_code == 0
    assert given == [(7, Deep(width=8, height=5, depth=2), True)]
    assert command.__doc__ == "Do it."


def test_options_stand_in_the_order_of_fields_and_a_deriving_group_keeps_their_places():
    @grouped
    def command(loud: bool = False, *, size: Deep, quiet: bool = False) -> None:
        """Do it."""

    text = invoke(command, "--help").output
    names = ["--loud", "--width", "--height", "--depth", "--quiet"]
    places = [text.index(name) for name in names]
    assert places == sorted(places)
    assert "Channels." in text
    assert "Columns." not in text


def test_two_groups_with_an_option_of_one_name_are_refused():
    with pytest.raises(ValueError, match="duplicate parameter name: 'width'"):

        @grouped
        def command(size: Size, deep: Deep) -> None:
            """Do it."""
