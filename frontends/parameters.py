"""Constants of an exported network: one object per parameter, and names for sets of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.errors import GraphError

Weights = tuple[NDArray[np.float32], NDArray[np.float32] | None]


class Parameters:
    """Interns constant tensors, so that identity of objects means identity of parameters.

    Parameters and buffers are the same if they share storage; computed constants (a weight norm, a
    transposed weight) are the same if they hold equal numbers.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Tensor] = {}
        self._labels: dict[int, str] = {}
        self._owned: dict[int, Tensor] = {}
        self._ends: dict[int, tuple[NDArray[np.float64], int]] = {}
        self._alive: list[Tensor] = []

    def parameter(self, label: str, tensor: Tensor) -> Tensor:
        """Return the one object for a parameter or buffer called ``label``."""
        tensor = dense(tensor)
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        return self._intern(key if tensor.numel() else label, label, tensor)

    def computed(self, label: str, tensor: Tensor) -> Tensor:
        """Return the one object for a constant that ``label`` computes."""
        if id(tensor) in self._labels:
            return tensor
        tensor = dense(tensor)
        # a copy: a vector may lie with gaps, and then has no view as bytes
        flat = tensor.cpu().flatten().clone(memory_format=torch.contiguous_format)
        digest = hashlib.sha256(flat.view(torch.uint8).numpy().data)
        key = (digest.hexdigest(), tuple(tensor.shape), tensor.dtype)
        return self._intern(key, label, tensor)

    def label(self, tensor: Tensor) -> str:
        """Return the qualified name of an interned tensor."""
        return self._labels.get(id(tensor), "constant")

    def coded(self, tensor: Tensor, ends: NDArray[np.float64], axis: int) -> None:
        """Note the largest magnitudes of the codes that a constant is made of, along an axis."""
        self._ends[id(tensor)] = ends, axis

    def ends(self, tensor: Tensor) -> tuple[NDArray[np.float64], int] | None:
        """Return what `coded` noted."""
        return self._ends.get(id(tensor))

    def own(self, tensor: Tensor) -> Tensor:
        """Return the one copy of an interned tensor that later training does not change."""
        if id(tensor) not in self._owned:
            self._alive.append(tensor)
            self._owned[id(tensor)] = tensor.detach().cpu().clone()
        return self._owned[id(tensor)]

    def _intern(self, key: Hashable, label: str, tensor: Tensor) -> Tensor:
        kept = self._known.setdefault(key, tensor)
        self._labels.setdefault(id(kept), label)
        return kept


def dense(tensor: Tensor) -> Tensor:
    """Return a constant with all of its zeros: arrays hold every cell, and torch's operators."""
    tensor = tensor.detach()
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


class WeightSets:
    """Names sets of weights and keeps one pair of arrays for each."""

    def __init__(self) -> None:
        self._ids: dict[Hashable, str] = {}
        self._arrays: dict[str, Weights] = {}

    def known(self, key: Hashable) -> tuple[str, Weights] | None:
        """Return id and arrays stored under ``key``."""
        name = self._ids.get(key)
        return None if name is None else (name, self._arrays[name])

    def add(self, key: Hashable, name: str, weights: Weights) -> str:
        """Store ``weights`` and return an id that starts with ``name``."""
        if key in self._ids:
            raise GraphError(f"weights '{name}' are stored twice")
        unique, k = name, 2
        while unique in self._arrays:
            unique, k = f"{name}~{k}", k + 1
        self._ids[key], self._arrays[unique] = unique, weights
        return unique
