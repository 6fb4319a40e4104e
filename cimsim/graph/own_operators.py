"""The code behind operators that somebody registered with torch: their name alone says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_OF_TORCH = frozenset({"aten", "prims", "prim", "quantized", "quantized_decomposed", "cimsim"})
_PLACE = re.compile(r"registered at (.+?\.py):\d+")


def code_of(operator: Any) -> Iterator[bytes]:
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


def _function(function: Any) -> Iterator[bytes]:
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None:  # a callable object: its class tells
        yield repr(type(function)).encode()
        function = type(function).__call__
        code = getattr(function, "__code__", None)
    if code is None:
        return
    yield _content(code.co_filename) or repr(_compiled(code)).encode()
    yield str(code.co_name).encode()
    yield repr(function.__defaults__).encode()
    yield repr([_held(cell) for cell in function.__closure__ or ()]).encode()


def _held(cell: Any) -> Any:
    try:
        value = cell.cell_contents
    except ValueError:  # not filled yet
        return None
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value.tolist() if hasattr(value, "tolist") else value


def _compiled(code: Any) -> tuple[Any, ...]:
    constants = [_compiled(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return code.co_code, constants, code.co_names


@cache
def _content(place: str) -> bytes:
    path = Path(place)
    return path.read_bytes() if path.is_file() else b""
