"""The exception tree: every message a user can cause names the place, the value and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CimsimError(Exception):
    """Base of all errors that cimsim raises on purpose; the command line prints them bare."""


class ConfigError(CimsimError, ValueError):
    """A hardware description, an override or an option is wrong."""


class GraphError(CimsimError, ValueError):
    """A network cannot be turned into a layer graph, or the graph is not legal."""


class MappingError(CimsimError, ValueError):
    """A layer graph cannot be placed on the chip, or a placement is not legal."""


class SimulationError(CimsimError, RuntimeError):
    """A simulation cannot go on."""


class InputError(CimsimError, ValueError):
    """A clip, an image folder or a weight file cannot be used."""


_COMPARED = 80  # characters of a wrong name; comparing takes the square of it


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return ``"; known: a, b (did you mean a?)"`` for an unknown name.

    Parameters
    ----------
    wrong : str
        What the user wrote.
    known : iterable of str
        What would have been accepted.
    """
    names = list(known)
    return f"; known: {', '.join(names)}{close(wrong, names)}"


def close(wrong: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean a?)"`` where an unknown name is nearly a known one, else nothing."""
    found = difflib.get_close_matches(wrong[:_COMPARED], list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""
