"""Code of the user's own by name: ``package.module:Name``, or an entry point of a package.

Every kind of plug is found here (cell models, estimators, tasks, metrics, writers ...), so that
none of them needs a change in cimsim.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from cimsim.boundary.limits import shown
from cimsim.boundary.own import first_line as first_line
from cimsim.boundary.own import located
from cimsim.errors import CimsimError, ConfigError, suggest

Role = TypeVar("Role")


def is_outside(name: str) -> bool:
    """Whether a name is an import path, ``package.module:Name``."""
    return ":" in name


def lookup(
    name: str, known: Iterable[str], group: str, place: str, error: type[CimsimError]
) -> object:  # fmt: skip
    """Return what a name stands for that is none of the built-in ones.

    Parameters
    ----------
    name : str
        ``package.module:Name`` (on ``sys.path`` or in the working directory), or the name of an
        entry point.
    known : iterable of str
        Built-in names, for the message.
    group : str
        Of entry points: ``cimsim.devices``, ``cimsim.estimators``, ``cimsim.tasks`` ...
    place : str
        What messages begin with: ``device.kind``, ``--task`` ...
    error : type of CimsimError
        What is raised.

    Raises
    ------
    CimsimError
        A name that is unknown, or code that cannot be imported.
    """
    if is_outside(name):
        return imported(name, f"{place}: {shown(name)}", error)
    offered = installed(group)
    if name in offered:
        try:
            loaded: object = offered[name].load()
            return loaded
        except Exception as why:  # the package's own code may raise anything
            raise error(
                f"{place}: loading {shown(name)} ({offered[name].value}) failed with {located(why)}"
            ) from why
    listed = [*known, *offered]
    others = f"{suggest(name, listed)}; or" if listed else ";"
    raise error(f"{place}: {shown(name)} is unknown{others} give package.module:Class")


def class_of(
    name: str, known: Mapping[str, type[Role]], role: type[Role], group: str, place: str,
    error: type[CimsimError] = ConfigError,
) -> type[Role]:  # fmt: skip
    """Return the class behind a name: built in, ``package.module:Class``, or an entry point.

    Parameters
    ----------
    name : str
    known : mapping of str to type
        Built-in classes.
    role : type
        What the class must derive from; a name of `cimsim.api`.
    group, place, error
        As for `lookup`.

    Raises
    ------
    CimsimError
        Unknown, cannot be imported, or of another kind.
    """
    if name in known:
        return known[name]
    made = lookup(name, known, group, place, error)
    if not (isinstance(made, type) and issubclass(made, role)):
        raise error(
            f"{place}: '{name}': expected a class that derives from cimsim.api.{role.__name__}, "
            f"got {made!r}"
        )
    return made


def built(kind: type[Role], name: str, place: str, error: type[CimsimError] = ConfigError) -> Role:
    """Return an instance of a class that takes no arguments.

    Raises
    ------
    CimsimError
        It takes some, a method is missing, or its own code failed.
    """
    try:
        return kind()
    except Exception as why:  # the user's own code may raise anything
        raise error(f"{place}: '{name}' cannot be built: {located(why, kind)}") from why


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name."""
    return {point.name: point for point in entry_points(group=group)}


def imported(
    name: str, place: str, error: type[CimsimError],
    example: str = "package.module:Name such as mypkg.parts:MyPart",
) -> object:  # fmt: skip
    """Return the object behind ``package.module:Name``; the working directory is looked at, too.

    ``example`` is what the message of a malformed name tells to give.

    Raises
    ------
    CimsimError
        It cannot be imported or is not there; ``place`` heads the message.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute or module.startswith("."):
        raise error(f"{place}: expected {example}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        there: object = getattr(importlib.import_module(module), attribute)
        return there
    except ImportError as why:
        raise error(f"{place}: cannot import '{module}': {first_line(why)}") from None
    except AttributeError:
        raise error(f"{place}: module '{module}' has no '{attribute}'") from None
    except Exception as why:  # the user's own code may raise anything
        raise error(f"{place}: importing '{module}' failed with {located(why)}") from why


def called(made: object, **options: object) -> object:
    """Call an object of the user's own.

    Raises
    ------
    TypeError
        It cannot be called, or not so.
    """
    if not callable(made):
        raise TypeError(f"'{type(made).__name__}' object is not callable")
    result: object = made(**options)
    return result


def code_digest(made: object) -> str:
    """Return the SHA-256 of the Python file that a class stands in, so that a hash can hold it.

    What that file imports is not seen. Where there is no file (an interactive session) the digest
    is that of the class's name.
    """
    try:
        if not callable(made) and not isinstance(made, ModuleType):
            raise TypeError(made)
        file = inspect.getsourcefile(made)
        content = Path(file).read_bytes() if file else b""
    except (TypeError, OSError):
        content = b""
    return hashlib.sha256(content or repr(made).encode()).hexdigest()
