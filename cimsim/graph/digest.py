"""Hashes of what a network computes: matrices, operations between them, constants, wiring.

Own layers count through their graph: whatever Python code wrote it, the same operations with the
same arguments have the same hash. Operators that somebody registered with torch hide their code
from the graph; they count with the file it stands in. Names of matrices count, as random streams
are named by them; those of other nodes do not, nor do titles and source lines.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref
from cimsim.graph.own_operators import code_of, is_operator

_EXACT = 2**53


def operations_hash(graph: LayerGraph) -> str:
    """Return the SHA-256 of what is between the matrices: operations, arguments, shapes, wiring."""
    digest = hashlib.sha256()
    number = {op.name: str(place) for place, op in enumerate(graph)}
    for op in graph:
        inputs = [number[name] for name in op.inputs]
        digest.update(f"\n{inputs} {op.output.shape} {op.output.dtype}".encode())
        if isinstance(op, DigitalOp):
            digest.update(f" {_target(op.target)}".encode())
            for part in code_of(op.target) if is_operator(op.target) else ():
                digest.update(part)
            _add(digest, op.args, number)
            for name, value in sorted(op.kwargs.items()):
                digest.update(f" {name}=".encode())
                _add(digest, value, number)
        elif isinstance(op, MatrixOp):
            digest.update(f" {op.name} {op.window} {op.out_block} {op.layout} {op.signed}".encode())
            if op.rounding is not None:
                digest.update(f" {op.rounding}".encode())
        else:
            assert isinstance(op, InputOp)
    digest.update(repr([number[name] for name in graph.outputs]).encode())
    return digest.hexdigest()


def weights_hash(graph: LayerGraph) -> str:
    """Return the SHA-256 of all matrices and biases."""
    digest = hashlib.sha256()
    for op in graph.matrix_ops:
        digest.update(op.name.encode())
        for part in (op.weight, op.bias, *(() if op.weight_ends is None else (op.weight_ends,))):
            held = np.zeros(0, np.float32) if part is None else np.ascontiguousarray(part)
            digest.update(f" {held.shape} ".encode())
            digest.update(held.tobytes())
    return digest.hexdigest()


def _target(target: object) -> str:
    """Name an operator: torch's by its schema, a function by where it stands."""
    if is_operator(target):
        return str(target)
    place = getattr(target, "__module__", ""), getattr(target, "__qualname__", "")
    return ".".join(place) if all(place) else str(target)


def _add(digest: hashlib._Hash, value: object, number: dict[str, str]) -> None:
    """Add an argument; tensors by their values, nested ones part by part, 5.0 as 5."""
    import torch

    if isinstance(value, torch.Tensor):
        held = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f" {held.dtype} {tuple(held.shape)} ".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().data if held.numel() else b"")
    elif isinstance(value, np.ndarray):
        digest.update(f" {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Ref):
        digest.update(f" node {number[value.name]}".encode())
    elif isinstance(value, list | tuple):
        digest.update(b" (")
        for part in value:
            _add(digest, part, number)
        digest.update(b")")
    elif isinstance(value, dict):
        for name, part in sorted(value.items()):
            digest.update(f" {name}=".encode())
            _add(digest, part, number)
    elif (
        isinstance(value, float)
        and value.is_integer()
        and abs(value) < _EXACT
        and (
            value or math.copysign(1, value) > 0  # -0.0 is another number than 0
        )
    ):
        digest.update(f" {int(value)}".encode())
    else:
        digest.update(f" {value!r}".encode())
