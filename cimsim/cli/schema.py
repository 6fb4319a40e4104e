"""``cimsim schema``: what editors need to help with cimsim's files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """Files that have a schema."""

    chip = "chip"
    study = "study"
    mapping = "mapping"


def schema(
    kind: Annotated[Kind, typer.Argument(help="Of which file.")],
) -> None:
    """Print the JSON schema of a file, for editors that complete and check YAML.

    A chip file that begins with the line `# yaml-language-server: $schema=chip.schema.json` is
    completed and checked while it is typed, in any editor with a YAML language server, with the
    schema beside it. The shipped chips begin so. Studies and mappings have study.schema.json and
    mapping.schema.json.

    \b
    cimsim schema chip > chip.schema.json
    cimsim schema study > study.schema.json
    cimsim schema mapping > mapping.schema.json
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    import json

    from cimsim.chip.schema import chip_schema
    from cimsim.mapping.schema import mapping_schema
    from cimsim.studies.schema import study_schema

    made = {Kind.chip: chip_schema, Kind.study: study_schema, Kind.mapping: mapping_schema}[kind]
    typer.echo(json.dumps(made(), indent=1, ensure_ascii=False))
