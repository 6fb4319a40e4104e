"""``cimsim schema``: what editors need to help with cimsim's files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """Files that have a schema."""

    chip = "chip"


def schema(
    kind: Annotated[Kind, typer.Argument(help="Of which file.")],
) -> None:
    """Print the JSON schema of a file, for editors that complete and check YAML.

    A chip file that begins with the line `# yaml-language-server: $schema=chip.schema.json` is
    completed and checked while it is typed, in any editor with a YAML language server, with the
    schema beside it. The shipped chips begin so.

    \b
    cimsim schema chip > chip.schema.json
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    import json

    from cimsim.chip.schema import chip_schema

    typer.echo(json.dumps({Kind.chip: chip_schema}[kind](), indent=1, ensure_ascii=False))
