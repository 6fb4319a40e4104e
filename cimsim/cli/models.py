"""``cimsim models``: the networks that are shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.checked import App
from cimsim.cli.options import JsonOption
from cimsim.cli.steps import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.zoo.registry import ModelInfo, Option

_WIDE = 100  # columns of a terminal with room for a SHA-256

app = App(no_args_is_help=True, help="Networks of the zoo and their weights.")


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the networks of the zoo, their options and which of them have weights."""
    from cimsim.display.styled import Screen
    from cimsim.report.screen import compact
    from cimsim.zoo.registry import CLASSIFIERS, MODELS, flag

    if as_json:
        known = [*MODELS.values(), *CLASSIFIERS.values()]
        print_json({"networks": [_told(one) for one in known], "weights": list(_shipped())})
        return
    table = compact("Networks")
    for name in ("name", "frames", "options", "what it is"):
        table.add_column(name, no_wrap=name == "name")
    for entry in MODELS.values():
        options = "\n".join(
            f"{flag(key, spec.listed(' | '))} (default {spec.default_text})"
            for key, spec in entry.options.items()
        )
        table.add_row(entry.name, str(entry.n_frames), options, entry.description)
    console = Screen()
    console.print(table)
    table = compact("Classifiers")
    for name in ("name", "task", "what it is"):
        table.add_column(name, no_wrap=name == "name")
    for entry in CLASSIFIERS.values():
        table.add_row(entry.name, entry.task, entry.description)
    console.print(table)
    console.print(f"weights shipped: {', '.join(_shipped()) or 'none'}")


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Name as `cimsim models list` prints it.")],
    as_json: JsonOption = False,
) -> None:
    """Show one network: reference, options and the cards of its weights."""
    from cimsim.display.styled import Screen, styled
    from cimsim.errors import InputError
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.registry import flag, info

    try:
        entry = info(name)
    except ZooError as error:
        raise InputError(str(error)) from None
    cards = {stem: card for stem, card in _shipped().items() if card["model"] == name}
    if as_json:
        print_json(_told(entry) | {"weights": cards})
        return
    console = Screen(highlight=False)
    console.print(styled("[bold]{}[/] ({}): {}", entry.title, entry.name, entry.description))
    console.print(f"reference: {entry.reference}")
    for key, spec in entry.options.items():
        console.print(f"{flag(key)}: {spec.listed()} (default {spec.default_text}): {spec.meaning}")
    if not cards:
        way = "" if entry.task != "denoising" else "; see `cimsim train --help`"
        console.print(f"weights: none shipped{way}")
    for stem, card in cards.items():
        _print_card(console, stem, card)


def _told(entry: ModelInfo) -> dict[str, object]:
    """Return a network as plain data."""
    from cimsim.zoo.registry import flag

    return {
        "name": entry.name, "title": entry.title, "description": entry.description,
        "task": entry.task, "frames": entry.n_frames, "reference": entry.reference,
        "options": {
            key: {"flag": flag(key), "allowed": _allowed(spec), "default": spec.default,
                  "except": spec.except_for or None, "meaning": spec.meaning}
            for key, spec in entry.options.items()
        },
    }  # fmt: skip


def _allowed(spec: Option) -> list[int | str] | dict[str, int]:
    if isinstance(spec.allowed, range):
        return {"least": spec.allowed[0], "most": spec.allowed[-1]}
    return list(spec.allowed)


def _shipped() -> dict[str, dict[str, Any]]:
    """Cards of the shipped weights by stem, read without importing torch."""
    import json
    from importlib.resources import files

    folder = files("cimsim.zoo") / "weights"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".json"):
            found[entry.name.removesuffix(".json")] = json.loads(entry.read_text())
    return found


def _print_card(console: Console, stem: str, card: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(
        title=f"--weights {stem}", title_justify="left", title_style="bold cyan", show_header=False
    )
    for key, value in card.items():
        # no chip was trained for, nothing was recorded, no lineage known
        if value is None or value in ({}, "", []):
            continue
        if key == "contributions":
            value = "\n".join(f"{name}: {db:+.3f} dB" for name, (db, _) in value.items())
        if key == "lineage":
            value = _lineage(value, stem)
        elif isinstance(value, dict):
            value = "\n".join(f"{name}: {number}" for name, number in value.items())
        elif isinstance(value, list):
            value = " .. ".join(map(str, value))
        elif key == "sha256" and console.width < _WIDE:  # else it is cut off
            value = f"{value[:32]}\n{value[32:]}"
        table.add_row(key.replace("_", " "), str(value))
    console.print(table)


def _lineage(values: list[dict[str, Any]], stem: str) -> str:
    """Return the stages of training line by line, and their minutes together."""
    from cimsim.zoo.lineage import read_lineage, total_minutes

    stages = read_lineage(values, stem)
    minutes = total_minutes(stages)
    total = "minutes unknown" if minutes is None else f"{minutes:g} minutes"
    lines = [f"{len(stages)} stage{'s' * (len(stages) > 1)}, {total} together"]
    for number, stage in enumerate(stages, 1):
        lines += [f"{number}. {stage.command}", f"   {stage.summary()}"]
    return "\n".join(lines)
