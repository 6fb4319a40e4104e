"""A network from an ONNX file as a module of torch."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from cimsim.errors import InputError
from cimsim.frontends.onnx.codes import read_back, rounding
from cimsim.frontends.onnx.file import Input, Model, read
from cimsim.frontends.onnx.fusions import FUSIONS
from cimsim.frontends.onnx.operators import OPERATORS
from cimsim.frontends.onnx.program import Program, Step, Value

_ODD = re.compile(r"[^A-Za-z0-9_\[\]#-]+")


def load_onnx(path: str | Path) -> OnnxNetwork:
    """Read an ONNX file.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        See `cimsim.frontends.onnx.file.read`.
    """
    path = Path(path)
    return OnnxNetwork(read(path), path)


class OnnxNetwork(nn.Module):
    """What an ONNX file holds; its parameters are the file's stored tensors.

    Parameters
    ----------
    model : Model
    path : Path

    Attributes
    ----------
    name : str
    n_frames, frame_channels : int
        How many frames a first input of maps may hold, of how many channels.
    takes_noise_map : bool
        Whether a second input is a map of one channel.
    """

    def __init__(self, model: Model, path: Path) -> None:
        super().__init__()
        self.name = model.name
        channels = _channels(model.inputs[0])
        self.frame_channels = 1 if channels % 3 else 3
        self.n_frames = max(channels // self.frame_channels, 1)
        self.takes_noise_map = len(model.inputs) == 2 and _channels(model.inputs[1]) == 1
        self._model, self._path = model, path
        self._ready: dict[tuple[object, ...], FixedNetwork] = {}

    def state_dict(self, *_: object, **__: object) -> dict[str, Tensor]:  # type: ignore[override]
        """Return the file's stored numbers by name."""
        return {
            name: torch.from_numpy(array)
            for name, array in self._model.constants.items()
            if array.dtype.kind in "fiub"
        }

    @property
    def shapes(self) -> tuple[str, ...]:
        """What the network takes, as ``--input-shape`` says it; an open first axis is 1.

        Raises
        ------
        InputError
            Another size is open.
        """
        found = []
        for given in self._model.inputs:
            sizes = [1 if not i and isinstance(n, str) else n for i, n in enumerate(given.shape)]
            if any(isinstance(n, str) for n in sizes):
                raise InputError(
                    f"{self.name}: input '{given.name}' has the shape "
                    f"{'x'.join(map(str, given.shape))}, in which sizes are open; fix them: "
                    f"--input-shape, such as {'x'.join(str(n) if isinstance(n, int) else '64' for n in sizes)}"  # noqa: E501
                )
            found.append("x".join(map(str, sizes)) + (f":int{given.below}" if given.whole else ""))
        return tuple(found)

    def fixed_for(self, inputs: tuple[Tensor, ...]) -> FixedNetwork:
        """Return the network for inputs of these shapes.

        Raises
        ------
        InputError
            The file asks for others.
        GraphError
            An operator that is not supported, or that cannot be applied to these shapes.
        """
        self._check(inputs)
        key = tuple(tuple(x.shape) for x in inputs)
        if key not in self._ready:
            program = Program(self._model, list(key), OPERATORS, FUSIONS, rounding, self._path)
            self._ready = {key: FixedNetwork(program).eval()}
        return self._ready[key]

    def forward(self, *inputs: Tensor) -> object:
        """Run the network in float32."""
        return self.fixed_for(inputs)(*inputs)

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        wanted = self._model.inputs
        if len(inputs) != len(wanted):
            names = ", ".join(f"{one.name} {'x'.join(map(str, one.shape))}" for one in wanted)
            raise InputError(
                f"{self.name}: takes {len(wanted)} inputs ({names}), got {len(inputs)}; give as "
                "many --input-shape, or arrays in --data"
            )
        sizes: dict[str, int] = {}
        for given, x in zip(wanted, inputs, strict=True):
            told = "x".join(map(str, given.shape)) or "a single number"
            kind = "whole numbers (:int10)" if given.whole else "numbers"
            fits = x.dim() == len(given.shape) and x.is_floating_point() != given.whole
            for size, n in zip(given.shape, x.shape, strict=False):
                known = sizes.setdefault(size, n) if isinstance(size, str) else size
                fits &= known == n
            if not fits:
                got = "x".join(map(str, x.shape))
                raise InputError(
                    f"{self.name}: input '{given.name}' is {told} of {kind}, got {got} of "
                    f"{str(x.dtype).removeprefix('torch.')}; --input-shape says another"
                )


class FixedNetwork(nn.Module):
    """The calls of a program; one module for each node, named as in the file."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.name = program.model.name
        self._inputs, self._outputs = program.inputs, program.outputs
        self._logical = [given.logical for given in program.model.inputs]
        self._steps: list[tuple[Step, OnnxStep]] = []
        self._held: dict[Value, tuple[tuple[nn.Module, str], ...]] = {}
        for step in program.steps:
            module = OnnxStep(step)
            place, name = self._place(step.name)
            place.add_module(name, module)
            self._steps.append((step, module))
        for step in program.steps:
            for value in step.call.values:
                self._hold(value)
        for value in self._outputs:
            self._hold(value)

    def forward(self, *inputs: Tensor) -> object:
        """Run the calls."""
        values: dict[Value, Tensor] = {}
        for value, logical, x in zip(self._inputs, self._logical, inputs, strict=True):
            values[value] = x != 0 if logical else x
        for step, module in self._steps:
            made = module(*(self._tensor(value, values) for value in step.call.values))
            values.update(zip(step.outputs, made, strict=False))
        found = tuple(self._tensor(value, values) for value in self._outputs)
        return found[0] if len(found) == 1 else found

    def _tensor(self, value: Value | None, values: dict[Value, Tensor]) -> Tensor | None:
        if value is None:
            return None
        if value.const is None:
            return values[value]
        held = [getattr(place, name) for place, name in self._held[value]]
        if len(held) == 1:
            tensor: Tensor = held[0]
            return tensor
        return read_back(value, dict(zip(("codes", "scale", "zero_point"), held, strict=True)))

    def _hold(self, value: Value | None) -> None:
        if value is None or value.const is None or value in self._held:
            return
        if value.codes is None or value.codes.source.const is None:
            self._held[value] = (self._buffer(value.name, value.const),)
            return
        codes, name = value.codes, value.name
        stored = codes.source.const
        assert stored is not None
        parts = {f"{name}.codes": stored, f"{name}.scale": codes.scale,
                 f"{name}.zero_point": codes.zero_point}  # fmt: skip
        self._held[value] = tuple(self._buffer(key, part) for key, part in parts.items())

    def _buffer(self, name: str, tensor: Tensor) -> tuple[nn.Module, str]:
        place, last = self._place(name)
        place.register_buffer(last, tensor)
        return place, last

    def _place(self, name: str) -> tuple[nn.Module, str]:
        """Return the module in which something stands, and its name there."""
        pieces = [_ODD.sub("_", piece) for piece in re.split(r"[./]+", name.strip("./"))]
        pieces = [piece for piece in pieces if piece] or ["unnamed"]
        place: nn.Module = self
        for piece in pieces[:-1]:
            inner = place._modules.get(piece)
            if inner is None:
                piece = _free(place, piece)
                inner = nn.Module()
                place.add_module(piece, inner)
            place = inner
        return place, _free(place, pieces[-1])


class OnnxStep(nn.Module):
    """One call."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._function = step.call.function

    def forward(self, *values: Tensor | None) -> tuple[Tensor, ...]:
        """Run it; a call of one result gives a tuple of one."""
        made = self._function(*values)
        return tuple(made) if isinstance(made, tuple | list) else (made,)


def _channels(given: Input) -> int:
    """Return the channels of an input [B, C, H, W], else 3."""
    sizes = given.shape
    return sizes[1] if len(sizes) == 4 and isinstance(sizes[1], int) else 3


def _free(place: nn.Module, name: str) -> str:
    free, k = name, 2
    while hasattr(place, free):
        free, k = f"{name}_{k}", k + 1
    return free
