"""A calibrated chip as named arrays and plain data, and back, bit for bit.

Every field of the dataclasses in `KINDS` is kept, so one that is added later is kept, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.limits import shown
from cimsim.chip.cells.base import AbstractDevice
from cimsim.crossbar.adc import AdcRange
from cimsim.crossbar.encode import InputCode
from cimsim.crossbar.nonlinear import WiredCells
from cimsim.crossbar.programmed import ProgrammedArray
from cimsim.engine.calibrated import CalibratedMapping, CalibratedOp
from cimsim.engine.program import PlacedArray, ProgrammedLayer, ProgrammedMapping
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.mapping import Mapping, PlacedLayer

KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ProgrammedLayer,
        PlacedArray,
        ProgrammedArray,
        WiredCells,
        CalibratedOp,
        InputCode,
        AdcRange,
    )
}

_MOST = 1e30  # of a number: products of a few stay in float64
Arrays = dict[str, NDArray[np.generic]]
Kept = MappingABC[str, NDArray[np.generic]]  # arrays by their place
Plan = MappingABC[str, object]  # what JSON holds, as `pack` made it or as a file gave it
Part = TypeVar("Part")


def pack(calibrated: CalibratedMapping) -> tuple[Arrays, dict[str, object]]:
    """Take a chip apart.

    Returns
    -------
    arrays : dict of str to ndarray
        By their place, such as ``layers/inc.conv1/arrays/0/written/difference``; memory is shared
        where it is contiguous.
    plan : dict
        What JSON can hold: all other values, and where the arrays belong.
    """
    layers, ops = pack_layers(calibrated.programmed.layers), pack_ops(calibrated.ops)
    return layers[0] | ops[0], layers[1] | ops[1]


def pack_layers(layers: MappingABC[str, ProgrammedLayer]) -> tuple[Arrays, dict[str, object]]:
    """Take written layers apart; see `pack`."""
    return _packed_by_name("layers", layers)


def pack_ops(ops: MappingABC[str, CalibratedOp]) -> tuple[Arrays, dict[str, object]]:
    """Take calibrated operations apart; see `pack`."""
    return _packed_by_name("ops", ops)


def _packed_by_name(what: str, values: MappingABC[str, object]) -> tuple[Arrays, dict[str, object]]:
    arrays: Arrays = {}
    plan = {name: _packed(value, f"{what}/{name}", arrays) for name, value in values.items()}
    return arrays, {what: plan}


def unpack(
    mapping: Mapping,
    device: AbstractDevice,
    arrays: Kept,
    plan: Plan,
) -> CalibratedMapping:
    """Put a chip together again.

    Parameters
    ----------
    mapping : Mapping
        Equal to the one that was programmed.
    device : AbstractDevice
        `cimsim.chip.cells.device_of` its chip.
    arrays, plan
        From `pack`.

    Raises
    ------
    SimulationError
        When they are not what this mapping needs.
    """
    layers = unpack_layers(mapping, arrays, plan)
    ops = unpack_ops(mapping, arrays, plan)
    return CalibratedMapping(ProgrammedMapping(mapping, device, layers), ops)


def unpack_layers(mapping: Mapping, arrays: Kept, plan: Plan) -> dict[str, ProgrammedLayer]:
    """Put written layers together again; see `unpack`."""
    with _refused():
        layers = _unpacked_by_name(plan["layers"], arrays, ProgrammedLayer)
        for placed in mapping.layers:
            _check_layer(placed, mapping, layers[placed.name])
    return layers


def unpack_ops(mapping: Mapping, arrays: Kept, plan: Plan) -> dict[str, CalibratedOp]:
    """Put calibrated operations together again; see `unpack`."""
    with _refused():
        ops = _unpacked_by_name(plan["ops"], arrays, CalibratedOp)
        for placed in mapping.layers:
            _check_ops(placed, mapping, ops)
    return ops


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError) as error:
        raise SimulationError(f"the parts do not make up a chip: {error!r}") from error


def _packed(value: object, place: str, arrays: Arrays) -> object:
    if isinstance(value, np.ndarray):
        if value.size == 0:
            return {"empty": list(value.shape), "dtype": value.dtype.name}
        arrays[place] = np.ascontiguousarray(value)
        return {"array": place}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_packed(part, f"{place}/{number}", arrays) for number, part in enumerate(value)]
    name = type(value).__name__
    if KINDS.get(name) is type(value) and is_dataclass(value):
        held = {
            entry.name: _packed(getattr(value, entry.name), f"{place}/{entry.name}", arrays)
            for entry in fields(value)
        }
        return {"kind": name, "fields": held}
    raise SimulationError(f"{place}: a {name} cannot be kept; add it to cimsim.engine.saved.KINDS")


def _unpacked_by_name(values: object, arrays: Kept, kind: type[Part]) -> dict[str, Part]:
    if not isinstance(values, dict):
        raise TypeError(f"expected parts by name, got {shown(values)}")
    found: dict[str, Part] = {}
    for name, value in values.items():
        part = _unpacked(value, arrays)
        if not isinstance(part, kind):
            raise TypeError(f"'{name}': expected {kind.__name__}, got {shown(value)}")
        found[name] = part
    return found


def _unpacked(value: object, arrays: Kept) -> object:
    if isinstance(value, list):
        return tuple(_unpacked(part, arrays) for part in value)
    if not isinstance(value, dict):
        return value
    if "empty" in value:
        return np.empty(tuple(value["empty"]), np.dtype(value["dtype"]))
    if "array" in value:
        return arrays[value["array"]]
    held = {name: _unpacked(part, arrays) for name, part in value["fields"].items()}
    kind = KINDS[value["kind"]]
    for name, hint in _hints(kind).items():
        if name in held and not _fits(held[name], hint):
            raise TypeError(f"{value['kind']}.{name}: expected {hint}, got {shown(held[name])}")
    made = kind(**held)
    if isinstance(made, InputCode):
        _require(made.scale > 0 and 1 <= made.bits <= 16, "InputCode")
        _require(0 <= made.zero_point <= made.top, "InputCode.zero_point")
    if isinstance(made, AdcRange):
        _require(made.lsb > 0 and (made.top is None or 0 <= made.top < 2**32), "AdcRange")
    return made


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"{what}: out of range")


def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _fits(value: object, hint: object) -> bool:
    """Whether a value has the type that a field declares; numbers are finite."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1] is Ellipsis:
            return all(_fits(part, inner[0]) for part in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is np.ndarray:
        wanted = get_args(inner[1])[0]
        if not isinstance(value, np.ndarray) or value.dtype != np.dtype(wanted):
            return False
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**40
    return isinstance(value, hint) if isinstance(hint, type) else True


def _check_layer(placed: PlacedLayer, mapping: Mapping, layer: ProgrammedLayer) -> None:
    """Refuse parts of other sizes: compiled code does not look where an index leads."""
    layout = placed.layout
    op = mapping.graph[placed.ops[0]]
    if not isinstance(op, MatrixOp):
        raise TypeError(f"'{op.name}' has no matrix")
    rows, cols = layout.patch.n_inputs * layout.lines_per_row, op.n_cols
    outputs = layout.windows_per_activation * cols
    slices = mapping.chip.weights.slices
    fits = [layer.weight.shape == op.weight.shape, layer.scales.shape == (cols,)]
    fits += [len(layer.arrays) == layout.n_arrays, layer.n_outputs == outputs]
    for array in layer.arrays:
        written, n = array.written, array.written.n_rows
        held = (n, slices * len(array.col_target))
        fits += [
            written.slices == slices == len(written.factors), written.difference.shape == held,
            written.read_variance is None or written.read_variance.shape == held,
            array.row_source.shape == (n,) == written.row_conductance_s.shape,
            array.adc_gain.shape == array.adc_offset.shape == held[1:],
            _within(array.row_source, rows), _within(array.col_target, outputs),
            _fits_wires(written.wired, held),
        ]  # fmt: skip
    if not all(fits):
        raise ValueError(f"layer '{placed.name}' has other sizes")


def _check_ops(placed: PlacedLayer, mapping: Mapping, ops: MappingABC[str, CalibratedOp]) -> None:
    layout = placed.layout
    for name in placed.ops:
        op, used = mapping.graph[name], ops[name]
        if not isinstance(op, MatrixOp):
            raise TypeError(f"'{name}' has no matrix")
        outputs = (layout.windows_per_activation * op.n_cols,)
        if not used.gain.shape == used.offset.shape == outputs or (
            len(used.ranges) != layout.n_arrays
        ):
            raise ValueError(f"operation '{name}' has other sizes")


def _fits_wires(wired: WiredCells | None, held: tuple[int, int]) -> bool:
    if wired is None:
        return True
    rows, lines = wired.g_s.shape
    ends = (wired.plus, wired.minus)
    return rows == held[0] and all(e.shape == held[1:] and _within(e, lines) for e in ends)


def _within(index: NDArray[np.int64], end: int) -> bool:
    return index.dtype == np.int64 and bool(((index >= 0) & (index < end)).all())
