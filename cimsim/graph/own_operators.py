"""The code behind operators that somebody registered with torch: their name alone says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CellType, CodeType
from typing import TYPE_CHECKING, Protocol, TypeGuard

if TYPE_CHECKING:
    from torch._ops import OpOverload

_OF_TORCH = frozenset({"aten", "prims", "prim", "quantized", "quantized_decomposed", "cimsim"})
_PLACE = re.compile(r"registered at (.+?\.py):\d+")


def code_of(operator: OpOverload[..., object]) -> Iterator[bytes]:
    """Yield what stands for the code of an operator; nothing of torch's own and cimsim's.

    That is the whole Python file that each of its functions stands in, and what the functions hold
    beside their code: values of the function around them, and defaults. Where there is no file
    (an interactive session) it is the compiled code. What other modules do that they call is not
    seen, nor is an operator of a compiled library, which counts by its name.

    Parameters
    ----------
    operator : torch.ops overload
    """
    import torch
    from torch._library.custom_ops import OPDEFS

    if operator.namespace in _OF_TORCH:
        return
    name = str(operator._schema.name)
    definition = OPDEFS.get(name)
    if definition is not None:
        functions = [definition._init_fn, *definition._backend_fns.values()]
        for function in dict.fromkeys(functions):
            yield from _function(function)
        return
    torch_itself = str(Path(torch.__file__).parent)
    for place in dict.fromkeys(_PLACE.findall(torch._C._dispatch_dump(name))):
        if not place.startswith(torch_itself):
            yield _content(place)


class _Coded(Protocol):
    """A function of Python."""

    __code__: CodeType
    __defaults__: tuple[object, ...] | None
    __closure__: tuple[CellType, ...] | None


def is_operator(target: object) -> TypeGuard[OpOverload[..., object]]:
    """Whether what computes an operation is registered with torch."""
    return hasattr(target, "_schema")


def _has_code(function: object) -> TypeGuard[_Coded]:
    return getattr(function, "__code__", None) is not None


def _function(function: object) -> Iterator[bytes]:
    function = getattr(function, "__wrapped__", function)
    if not _has_code(function):  # a callable object: its class tells
        yield repr(type(function)).encode()
        function = type(function).__call__
    if not _has_code(function):
        return
    code = function.__code__
    yield _content(code.co_filename) or repr(_compiled(code)).encode()
    yield str(code.co_name).encode()
    yield repr(function.__defaults__).encode()
    yield repr([_held(cell) for cell in function.__closure__ or ()]).encode()


def _held(cell: CellType) -> object:
    try:
        value = cell.cell_contents
    except ValueError:  # not filled yet
        return None
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value.tolist() if hasattr(value, "tolist") else value


def _compiled(code: CodeType) -> tuple[object, ...]:
    constants = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, constants, code.co_names


@cache
def _content(place: str) -> bytes:
    path = Path(place)
    return path.read_bytes() if path.is_file() else b""
