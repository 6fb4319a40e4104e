"""Exported networks, kept: as plain data and arrays, of torch's own operators alone.

Exporting loads a compiler of torch's, which takes longer than everything else about a small
network. What is kept is read back to the same operations, arguments and bits, or not kept at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError, InputError
from cimsim.graph.ir import (
    DigitalOp,
    InputOp,
    LayerGraph,
    MatrixOp,
    Op,
    Ref,
    Rounding,
    TensorSpec,
    Window,
)
from cimsim.studies.keys import Stage, file_digest
from cimsim.studies.points import Network
from cimsim.studies.stages import STAGES
from cimsim.studies.store import Arrays, Store

if TYPE_CHECKING:
    from torch import Tensor

    from cimsim.chip.spec import Chip

_PLAIN = (type(None), bool, int, float, str)
_ARRAYS = ("weight", "bias", "weight_ends")
_NAMESPACE = "aten"
Data = dict[str, object]


class Foreign(CimsimError):
    """A graph holds something that is not kept."""


class KeptGraph:
    """One exported network and its place in the store.

    Parameters
    ----------
    store : Store or None
        None: it is exported.
    key : str
    """

    def __init__(self, store: Store | None, key: str) -> None:
        self._store, self._key = store, key

    @classmethod
    def of(
        cls, network: Network, size: tuple[int, int], chip: Chip, seed: int, cached: bool
    ) -> KeptGraph:
        """Return the place of a network of the zoo; those of the user's are always exported.

        Parameters
        ----------
        network : Network
        size : (int, int)
            Height and width of the frames.
        chip : Chip
            For which there may be weights of its own.
        seed : int
            Of random weights.
        cached : bool
        """
        from cimsim.session.loading import is_own

        store = Store.usual() if cached and not is_own(network.model) else None
        return cls(store, "" if store is None else export_key(network, size, chip.name, seed))

    def graph(self, export: Callable[[], LayerGraph]) -> LayerGraph:
        """Return the network as it was kept, or export and keep it."""
        entry = None if self._store is None else self._store.get(self._key)
        if entry is not None:
            try:
                return unpacked(entry.data, entry.arrays)
            except (Foreign, KeyError, TypeError, ValueError, AttributeError):
                pass  # of another version of torch or of this program: it is made anew
        graph = export()
        if self._store is not None:
            try:
                data, arrays = packed(graph)
            except Foreign:
                return graph
            if packed(unpacked(data, arrays))[0] == data:
                self._store.put(self._key, "export", data, arrays)
                self._store.flush()
        return graph


def export_key(network: Network, size: tuple[int, int], chip: str, seed: int) -> str:
    """Return the key of a network of the zoo by its names and the content of its weights."""
    stage: Stage = STAGES["export"]
    weights = weights_content(network, chip, seed)
    return stage.key((), network=asdict(network), weights=weights, size=list(size))


def weights_content(network: Network, chip: str, seed: int) -> object:
    """Return what identifies the weights of a network of the zoo.

    Parameters
    ----------
    network : Network
    chip : str
        Name of the chip, for which there may be weights of its own.
    seed : int
        Of random weights.

    Raises
    ------
    InputError
        The zoo has no such network, option or weights.
    """
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.weights import find_card, named_card

    given = network.weights
    if given == "random":
        return {"random": seed}
    try:
        if given is None:
            card = find_card(network.model, dict(network.options), chip)
        else:
            card = None if Path(given).exists() else named_card(given)
        path = card.file if card is not None else None if given is None else Path(given)
    except ZooError as error:
        raise InputError(str(error)) from None
    return None if path is None or not path.exists() else file_digest(path)


def packed(graph: LayerGraph) -> tuple[Data, Arrays]:
    """Return a graph as plain data and arrays.

    Raises
    ------
    Foreign
        An operator that is not torch's own, or an argument of an unusual kind.
    """
    arrays: Arrays = {}
    ops = [_packed_op(op, arrays) for op in graph]
    return {"name": graph.name, "ops": ops, "outputs": list(graph.outputs),
            "batch": graph._batch}, arrays  # fmt: skip


def unpacked(data: object, arrays: Arrays) -> LayerGraph:
    """Return what `packed` was given."""
    if not isinstance(data, dict):
        raise TypeError("no graph")
    ops = [_unpacked_op(one, arrays) for one in data["ops"]]
    return LayerGraph(data["name"], ops, data["outputs"], data["batch"])


def _packed_op(op: Op, arrays: Arrays) -> Data:
    data: Data = {"kind": type(op).__name__, "name": op.name, "inputs": list(op.inputs),
                   "output": [list(op.output.shape), op.output.dtype]}  # fmt: skip
    if isinstance(op, MatrixOp):
        rounding = None if op.rounding is None else asdict(op.rounding)
        held = {name: _array(getattr(op, name), arrays) for name in _ARRAYS}
        return data | held | {
            "input": [list(op.input.shape), op.input.dtype], "window": _window(op.window),
            "out_block": list(op.out_block), "layout": op.layout, "of": op.kind,
            "weights_id": op.weights_id, "source": op.source, "signed": op.signed,
            "rounding": rounding,
        }  # fmt: skip
    if isinstance(op, DigitalOp):
        return data | {
            "op": op.op, "target": _name(op.target), "args": _value(op.args, arrays),
            "kwargs": _value(op.kwargs, arrays), "locality": op.locality,
            "ops_per_element": op.ops_per_element, "source": op.source,
            "window": None if op.window is None else _window(op.window),
            "macs_per_element": op.macs_per_element,
        }  # fmt: skip
    return data


def _unpacked_op(data: object, arrays: Arrays) -> Op:
    if not isinstance(data, dict):
        raise TypeError("no operation")
    name, inputs, output = data["name"], tuple(data["inputs"]), _spec(*data["output"])
    if data["kind"] == "InputOp":
        return InputOp(name, output, inputs)
    if data["kind"] == "MatrixOp":
        held: dict[str, Any] = {
            one: None if data[one] is None else _read(data[one], arrays) for one in _ARRAYS
        }
        rounding = None if data["rounding"] is None else Rounding(**data["rounding"])
        channels, height, width = data["out_block"]
        return MatrixOp(
            name, inputs, _spec(*data["input"]), output, window=_opened(*data["window"]),
            out_block=(channels, height, width), layout=data["layout"], kind=data["of"],
            weights_id=data["weights_id"], source=data["source"], signed=data["signed"],
            rounding=rounding, **held,
        )  # fmt: skip
    window = None if data["window"] is None else _opened(*data["window"])
    args, kwargs = (_opened_value(data[part], arrays) for part in ("args", "kwargs"))
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise TypeError("no arguments")
    return DigitalOp(
        name, inputs, output, data["op"], _operator(data["target"]), args, kwargs,
        data["locality"], data["ops_per_element"], window, data["source"],
        data["macs_per_element"],
    )  # fmt: skip


def _spec(shape: Sequence[int], dtype: str) -> TensorSpec:
    return TensorSpec(tuple(shape), dtype)


def _window(window: Window) -> list[list[int]]:
    return [list(part) for part in (window.kernel, window.stride, window.padding, window.dilation)]


def _opened(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Window:
    top, bottom, left, right = padding
    return Window(_pair(kernel), _pair(stride), (top, bottom, left, right), _pair(dilation))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    vertical, horizontal = numbers
    return vertical, horizontal


def _name(target: Callable[..., Tensor] | None) -> str:
    """Return the name of an operator of torch's own."""
    name = str(target)
    if getattr(target, "namespace", "") != _NAMESPACE or _operator(name) is not target:
        raise Foreign(f"operator {name}")
    return name


def _operator(name: str) -> Callable[..., Tensor]:
    import torch

    namespace, packet, overload = name.split(".")
    operator: Callable[..., Tensor] = getattr(
        getattr(getattr(torch.ops, namespace), packet), overload
    )
    return operator


def _array(value: object, arrays: Arrays) -> Data | None:
    """Put an array among the others; how it lies in memory may decide its products' last bits."""
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or not value.flags.c_contiguous:
        raise Foreign("an array that is not in C order")
    arrays[str(len(arrays))] = value
    return {"array": str(len(arrays) - 1), "shape": list(value.shape)}


def _read(data: object, arrays: Arrays) -> NDArray[np.generic]:
    if not isinstance(data, dict):
        raise TypeError("no array")
    return arrays[data["array"]].reshape(data["shape"])


def _value(value: object, arrays: Arrays) -> object:
    """Return an argument as plain data."""
    import torch

    if type(value) in _PLAIN:
        return value
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_value(part, arrays) for part in value]}
    if type(value) is dict:
        return {"dict": [[name, _value(part, arrays)] for name, part in value.items()]}
    if isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.is_contiguous():
        try:
            return {"tensor": _array(value.detach().numpy(), arrays)}
        except TypeError:
            raise Foreign(f"tensor of {value.dtype}") from None
    for kind in ("dtype", "layout", "memory_format"):
        if isinstance(value, getattr(torch, kind)):
            return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    raise Foreign(f"argument {value!r}")


def _opened_value(data: object, arrays: Arrays) -> object:
    import torch

    if not isinstance(data, dict):
        return data
    ((kind, held),) = data.items()
    if kind == "ref":
        return Ref(held)
    if kind in ("list", "tuple"):
        parts = [_opened_value(part, arrays) for part in held]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict":
        return {name: _opened_value(part, arrays) for name, part in held}
    if kind == "tensor":
        return torch.from_numpy(_read(held, arrays))
    return torch.device(held) if kind == "device" else getattr(torch, held)
