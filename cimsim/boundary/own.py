"""Where the package calls parts of the user's own: what they raise and what they return.

An error of their code becomes one line with class, method, error and the line that it came from;
`cimsim -v` has the whole traceback, and Python has it behind the message. What they return is held
to rules before anything is computed with it. Faults of the package itself pass through.
"""

from __future__ import annotations

import inspect
import math
import numbers
import traceback
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.limits import shown
from cimsim.errors import CimsimError, ConfigError

Part = TypeVar("Part")
T = TypeVar("T")
Rule = Callable[..., None]
"""Is given what a method returned and its arguments; raises `Unfit`."""
Rules = Mapping[str, Rule]

Numbers = NDArray[np.float64]
"""Of any type until it was looked at."""

_PACKAGE = Path(__file__).resolve().parents[1]
_SHOWN = 60  # characters of arguments that a message repeats


class Unfit(Exception):
    """What a part returned is not what its contract says: expected ..., got ..."""


def is_own(part: object) -> bool:
    """Whether a part, or a class, is none of the package's."""
    kind = part if isinstance(part, type) else type(part)
    return kind.__module__.partition(".")[0] != "cimsim"


def path_of(part: object) -> str:
    """Return ``module:Class`` of a part."""
    kind = part if isinstance(part, type) else type(part)
    return f"{kind.__module__}:{kind.__qualname__}"


def failed(error: BaseException, part: object, method: str = "", *arguments: object) -> str:
    """Return what became of a call as one line: class, method, error, file and line.

    Parameters
    ----------
    error : BaseException
        What the part's code raised.
    part : object
        The part, or its class.
    method : str
        Which one was called; nothing where the part was built.
    arguments : object
        With what.
    """
    what = f".{_call(method, arguments)}" if method else ""
    return f"{path_of(part)}{what} failed with {located(error, part, method)}"


def first_line(error: Exception) -> str:
    """Return an error of other people's code as one line: kind and first line of its text."""
    told = str(error).strip().splitlines()
    return f"{type(error).__name__}: {told[0]}" if told else type(error).__name__


def located(error: BaseException, part: object = None, method: str = "") -> str:
    """Return an error as one line, with the place in the user's own code that it came from."""
    where = _where(error, part, method)
    told = first_line(error) if isinstance(error, Exception) else type(error).__name__
    return f"{told} ({where})" if where else told


def ask(
    part: object, method: str, *arguments: object, place: str, rule: Rule | None = None,
    error: type[CimsimError] = ConfigError,
) -> object:  # fmt: skip
    """Call a method of a part and hold what it returns to a rule.

    Parameters
    ----------
    part : object
    method : str
    arguments : object
    place : str
        What messages begin with: ``device.kind``, ``--task`` ...
    rule : callable, optional
    error : type of CimsimError
        What is raised.

    Raises
    ------
    CimsimError
        Its code failed, or gave what its contract does not allow.
    """
    return _held(lambda: getattr(part, method)(*arguments), (part, method, arguments),
                 place, rule, error)  # fmt: skip


def _held(
    of: Callable[[], T], what: tuple[object, str, tuple[object, ...]], place: str,
    rule: Rule | None, error: type[CimsimError],
) -> T:  # fmt: skip
    part, method, arguments = what
    try:
        value = of()
    except (CimsimError, MemoryError):
        raise
    except Exception as why:  # the user's own code may raise anything
        if not is_own(part):
            raise
        raise error(f"{place}: {failed(why, part, method, *arguments)}") from why
    if rule is None:
        return value
    try:
        rule(value, *arguments)
    except Unfit as why:
        told = f"{path_of(part)}.{_call(method, arguments)}: {why}"
        raise error(f"{place}: {told}") from None
    return value


def guarded(
    part: Part, place: str, rules: Mapping[str, Rule | None],
    error: type[CimsimError] = ConfigError,
) -> Part:  # fmt: skip
    """Return a part whose methods are held to rules wherever the package calls them.

    What comes back is an instance of the part's class that shares its attributes. Only methods and
    values that the user's own classes define are looked at; those of the package's base classes
    run as they are, so that a fault of theirs is not told to be the user's. A part of the package
    comes back as it is.

    Parameters
    ----------
    part : object
    place : str
        What messages begin with.
    rules : mapping
        Name of a method or of a value -> what it must return; None where anything will do. A rule
        of a method is given its arguments, too.
    error : type of CimsimError
        What is raised.
    """
    kind: type = type(part)
    if not is_own(kind) or hasattr(kind, "_cimsim_raw"):
        return part
    # a class can be hashed, which mypy does not see
    key = cast(Hashable, kind), place, tuple(rules.items()), cast(Hashable, error)
    guard: object = object.__new__(_guard_of(*key))
    object.__setattr__(guard, "_cimsim_raw", part)
    if hasattr(part, "__dict__"):
        object.__setattr__(guard, "__dict__", part.__dict__)
    return cast(Part, guard)


def built_on(
    made: Callable[[T], Part], on: T, attribute: str, place: str, kind: str,
    rules: Mapping[str, Rule | None],
) -> Part:  # fmt: skip
    """Build a part of the user's own on what it belongs to, and guard it.

    Parameters
    ----------
    made : type
        Of the part.
    on : object
        What it is given, and keeps as an attribute of this name:
    attribute : str
    place : str
        What messages begin with.
    kind : str
        As the user named it.
    rules : mapping
        As in `guarded`.

    Raises
    ------
    ConfigError
        Its code failed, or left the base class's out.
    """
    try:
        part = made(on)
    except CimsimError:
        raise
    except Exception as why:  # the user's own code may raise anything
        raise ConfigError(f"{place}: '{kind}' cannot be built: {located(why, made)}") from why
    if not hasattr(part, attribute):
        told = f"its __init__ must call super().__init__({attribute})"
        raise ConfigError(f"{place}: '{kind}': {told}")
    return guarded(part, place, rules)


@cache
def _guard_of(
    kind: type, place: str, rules: tuple[tuple[str, Rule | None], ...], error: type[CimsimError]
) -> type:
    def missing(self: object, name: str) -> object:
        return getattr(_raw(self), name)

    def reduced(self: object, protocol: object) -> object:
        return _alone, (_raw(self),)

    body: dict[str, object] = {
        "__slots__": ("_cimsim_raw",), "__module__": kind.__module__, "__doc__": kind.__doc__,
        "__qualname__": kind.__qualname__, "__getattr__": missing, "__reduce_ex__": reduced,
    }  # fmt: skip
    for name, rule in rules:
        made = _definition(kind, name)
        if made is None:
            continue
        is_method = inspect.isroutine(made) or isinstance(made, staticmethod | classmethod)
        body[name] = _method(name, place, rule, error) if is_method else property(
            _value(name, place, rule, error)
        )  # fmt: skip
    guard: type = type(kind)(kind.__name__, (kind,), body)
    return guard


def _raw(guard: object) -> object:
    """Return the part itself that stands behind a guard."""
    part: object = object.__getattribute__(guard, "_cimsim_raw")
    return part


def _alone(part: Part) -> Part:
    """Return a part that was pickled: another process asks for it by name, or trusts it."""
    return part


def _definition(kind: type, name: str) -> object | None:
    """Return what a class of the user's own has under a name; None where it is the package's."""
    for base in kind.__mro__:
        if name in base.__dict__:
            made: object = base.__dict__[name]
            return made if is_own(base) else None
    return None


def _method(
    name: str, place: str, rule: Rule | None, error: type[CimsimError]
) -> Callable[..., object]:  # fmt: skip
    def method(self: object, *arguments: object, **options: object) -> object:
        raw = _raw(self)
        return _held(
            lambda: getattr(raw, name)(*arguments, **options), (raw, name, arguments), place, rule,
            error,
        )  # fmt: skip

    return method


def _value(
    name: str, place: str, rule: Rule | None, error: type[CimsimError]
) -> Callable[[object], object]:  # fmt: skip
    def value(self: object) -> object:
        raw = _raw(self)
        return _held(lambda: getattr(raw, name), (raw, name, ()), place, rule, error)

    return value


def _call(method: str, arguments: tuple[object, ...]) -> str:
    """Return a call with those of its arguments that say something in a line."""
    told = [text for text in map(_argument, arguments) if text]
    text = f"{method}({', '.join(told)})" if told else method
    return text if len(text) <= _SHOWN + len(method) else method


def _argument(value: object) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    if all(isinstance(one, int | float | str) for one in parts):
        return repr(value)
    name = getattr(value, "name", None)
    return repr(name) if isinstance(name, str) else ""


def _where(error: BaseException, part: object, method: str) -> str:
    """Return file and line of the last step inside of the user's own code."""
    if isinstance(error, SyntaxError):
        return ""  # says so itself
    kind = part if isinstance(part, type) else type(part)
    own = _files(kind)
    steps = [(frame.f_code.co_filename, line) for frame, line in
             traceback.walk_tb(error.__traceback__)]  # fmt: skip
    found = [step for step in steps if step[0] in own] or [
        step for step in steps if not _is_packages(step[0])
    ]
    if not found:  # called in a way that it cannot be called
        code = getattr(inspect.unwrap(getattr(kind, method or "__init__", None) or kind),
                       "__code__", None)  # fmt: skip
        if not isinstance(code, CodeType) or _is_packages(code.co_filename):
            return ""
        found = [(code.co_filename, code.co_firstlineno)]
    file, line = found[-1]
    return f"{_short(file)}, line {line}"


def _files(kind: type) -> set[str]:
    found = set()
    for base in kind.__mro__:
        if is_own(base) and base.__module__ != "builtins":
            try:
                found.add(inspect.getfile(base))
            except (TypeError, OSError):  # of an interactive session
                continue
    return found


def _is_packages(file: str) -> bool:
    return file.startswith("<") or Path(file).is_relative_to(_PACKAGE)


def _short(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def require(condition: object, text: str) -> None:
    """Raise unless a rule holds.

    Raises
    ------
    Unfit
    """
    if not condition:
        raise Unfit(text)


def number(least: float = 0.0) -> Rule:
    """Return the rule of a finite number that is not below another."""

    def rule(value: object, *arguments: object) -> None:
        fits = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
        require(
            fits and math.isfinite(cast(float, value)) and cast(float, value) >= least,
            f"expected a finite number >= {least:g}, got {shown(value)}",
        )

    return rule


def amount(value: object, *arguments: object) -> None:
    """Hold a value to be a finite number >= 0, or an array of them: the ledger asks with those."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        _finite(value, 0.0)
    else:
        number()(value)


def whole(least: int) -> Rule:
    """Return the rule of a whole number that is not below another."""

    def rule(value: object, *arguments: object) -> None:
        require(
            isinstance(value, int) and not isinstance(value, bool) and value >= least,
            f"expected a whole number >= {least}, got {shown(value)}",
        )

    return rule


def flag(value: object, *arguments: object) -> None:
    """Hold a value to be True or False."""
    require(isinstance(value, bool), f"expected True or False, got {shown(value)}")


def text(value: object, *arguments: object) -> None:
    """Hold a value to be a text."""
    require(isinstance(value, str), f"expected a text, got {shown(value)}")


def table(
    value: object, shape: str, dtype: type[np.generic] = np.float32, least: float | None = None
) -> Numbers:  # fmt: skip
    """Return an array of finite numbers with so many axes, ``[m, k]``; see `like`."""
    axes = shape.count(",") + 1
    name = np.dtype(dtype).name
    fits = isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == axes
    require(fits, f"expected {name} {shape}, got {_form(value)}")
    return _finite(cast(Numbers, value), least)


def like(value: object, other: Numbers, dtype: type[np.generic] = np.float64) -> None:
    """Hold a value to be an array of finite numbers >= 0, of the shape of another one."""
    name = np.dtype(dtype).name
    array = value if isinstance(value, np.ndarray) else np.empty(0, object)
    require(isinstance(value, np.ndarray), f"expected shape {np.shape(other)}, got {_form(value)}")
    require(array.shape == np.shape(other),
            f"expected shape {np.shape(other)}, got {array.shape}")  # fmt: skip
    require(array.dtype == dtype, f"expected {name}, got {array.dtype}")
    _finite(array, 0.0)


def _finite(array: Numbers, least: float | None) -> Numbers:
    if array.size:
        # a NaN among them makes both ends NaN
        low, high = array.min(), array.max()
        require(np.isfinite(low) and np.isfinite(high), "holds NaN or infinity")
        require(least is None or low >= least, f"holds {low:g}, less than {least or 0:g}")
    return array


def _form(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__
