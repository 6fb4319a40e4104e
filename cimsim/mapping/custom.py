"""Strategies and allocations of the user's own: by import path or by entry point."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import cast

from cimsim.boundary.outside import lookup
from cimsim.boundary.own import ask, located
from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.strategies import STRATEGIES, Strategy, strategy

STRATEGY_GROUP = "cimsim.mapping"
ALLOCATION_GROUP = "cimsim.allocation"


def find_strategy(how: str | Strategy) -> Strategy:
    """Return a strategy: built in, ``package.module:Class``, or of an installed package.

    Installed packages offer theirs as entry points of the group ``cimsim.mapping``.

    Raises
    ------
    MappingError
        An unknown name, or something that is no strategy.
    """
    if not isinstance(how, str):
        return cast(Strategy, checked(how, "place", repr(how)))
    if how.partition(":")[0] in STRATEGIES:
        return strategy(how)
    return cast(Strategy, find(how, STRATEGIES, STRATEGY_GROUP, "mapping", "place"))


def find(name: str, known: MappingABC[str, object], group: str, option: str, method: str) -> object:
    """Return what ``name`` stands for: a known name, an import path or an entry point.

    Parameters
    ----------
    name : str
    known : mapping
        Built-in names.
    group : str
        Of the entry points.
    option : str
        For messages.
    method : str
        What the object must be able to do.
    """
    if name in known:
        return known[name]
    return checked(lookup(name, known, group, option, MappingError), method, name)


def checked_layout(how: Strategy, op: MatrixOp, chip: Chip) -> Layout:
    """Ask a strategy for a layout and make sure that it is one, of this layer on this chip.

    Raises
    ------
    MappingError
        Naming strategy and layer.
    """
    head = f"layer '{op.name}': strategy '{how.name}'"
    layout = ask(how, "place", op, chip, place=head, error=MappingError)
    if not isinstance(layout, Layout):
        raise MappingError(
            f"{head} returned {type(layout).__name__}, expected a Layout: "
            "return Layout.of(op, chip, blocks)"
        )
    lines = chip.lines_per_input(op.signed)
    wanted = {
        "groups": op.groups, "group_rows": op.group_rows, "group_cols": op.group_cols,
        "array_rows": chip.array.rows // lines, "array_cols": chip.weight_cols,
        "lines_per_row": lines,
    }  # fmt: skip
    for field, value in wanted.items():
        if getattr(layout, field) != value:
            raise MappingError(
                f"{head} returned a layout of {field} {getattr(layout, field)}, the layer has "
                f"{value} on this chip: return Layout.of(op, chip, blocks)"
            )
    return layout


def checked(made: object, method: str, name: str) -> object:
    """Return an object with a name and the method; a class is called without arguments."""
    if isinstance(made, type):
        try:
            made = made()
        except Exception as error:  # the user's own code may raise anything
            raise MappingError(
                f"{name}: building it without arguments failed with {located(error, made)}"
            ) from error
    if not callable(getattr(made, method, None)) or not isinstance(
        getattr(made, "name", None), str
    ):
        raise MappingError(
            f"{name}: expected an object with a text 'name' and a method '{method}', "
            f"got {type(made).__name__}"
        )
    return made
