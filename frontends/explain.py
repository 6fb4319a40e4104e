"""Where a node or an error comes from, in the user's words: module path and source line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

import torch
from torch import nn
from torch.fx import Node

_TORCH = str(Path(torch.__file__).parent)
_ONNX = "cimsim.frontends.onnx."
_OWN = str(Path(__file__).parent)
_AO_PACKED = (
    "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.quantization.fake_quant",
    "torch.ao.quantization.observer",
)  # fmt: skip
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)')

_BRANCHES = (
    "the network branches on the values of a tensor; use torch.where or decide outside of forward()"
)
_HINTS = {"DataDependent": _BRANCHES, "data-dependent": _BRANCHES, "data dependent": _BRANCHES}
_DEFAULT_HINT = (
    "does the model run with {shapes}? (on the command line: --input-shape, for cimsim sweep "
    "--arg input_shape=)"
)


def module_path(node: Node) -> tuple[str, bool]:
    """Return the innermost module's path and whether it is a layer of torch.nn or ONNX itself."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", False
    path, kind = list(stack.values())[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return str(path), kind.startswith(("torch.nn.", _ONNX))


def packed_module(model: nn.Module) -> str | None:
    """Return the first module that torch.ao packed, or that counts its values as it runs."""
    for path, module in model.named_modules():
        place = type(module).__module__
        if place.startswith(_AO_PACKED):
            return f"module '{path or '(root)'}' ({type(module).__name__})"
    return None


def source_of(node: Node) -> str:
    """Return ``module.path (folder/file.py:12)``: module and innermost line of the user's code."""
    path = module_path(node)[0] or "forward"
    line = _user_line(node.meta.get("stack_trace") or "")
    return f"{path} ({line[0]})" if line else path


def explain_failure(
    model: nn.Module, name: str, error: BaseException, inputs: tuple[torch.Tensor, ...] = ()
) -> str:
    """Return one message for a failed export: what, where, and a hint.

    Parameters
    ----------
    model : torch.nn.Module
        The module that was exported.
    name : str
        Its name in messages.
    error : BaseException
        What torch raised.
    inputs : tuple of torch.Tensor
        What it was called with.
    """
    text = str(error).strip()
    what = text.splitlines()[0] if text else "no message"
    line = _user_line(text)
    found = _failing_module(model, error.__traceback__)
    place = ""
    if found is not None:
        path, kind, frame = found
        place = f" in module '{path or '(root)'}' ({kind})"
        line = line or (frame, "")
    if line:
        place += f" at {line[0]}" + (f": `{line[1]}`" if line[1] else "")
    key = f"{type(error).__name__} {text}"
    hint = next((hint for mark, hint in _HINTS.items() if mark in key), _DEFAULT_HINT)
    shapes = " and ".join(f"{list(x.shape)} ({_kind(x)})" for x in inputs) or "these shapes"
    hint = hint.format(shapes=f"an input {shapes}" if inputs else shapes)
    return f"{name}: torch.export failed{place}: {type(error).__name__}: {what}; hint: {hint}"


def _kind(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def is_foreign_file(name: str) -> bool:
    """Tell whether a source file is neither torch's nor of this room."""
    return not name.startswith((_TORCH, _OWN))


def _user_line(trace: str) -> tuple[str, str] | None:
    """Return ("folder/file.py:12", source text) of the innermost frame outside of torch."""
    frames = [m for m in _FRAME.finditer(trace) if is_foreign_file(m[1])]
    if not frames:
        return None
    return _place(frames[-1][1], int(frames[-1][2])), frames[-1][3].strip()


def _place(file: str, line: int) -> str:
    return f"{'/'.join(Path(file).parts[-2:])}:{line}"


def _failing_module(model: nn.Module, trace: TracebackType | None) -> tuple[str, str, str] | None:
    """Return path, class and line of the innermost module of ``model`` on the traceback."""
    paths = {id(module): path for path, module in model.named_modules()}
    found = None
    for frame, line in _frames(trace):
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in paths:
            place = _place(frame.f_code.co_filename, line)
            found = paths[id(owner)], type(owner).__name__, place
    return found


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
