"""Read an ONNX file: limits, opset, external data, one message for whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from cimsim.boundary import memory
from cimsim.boundary.limits import MODEL, shown
from cimsim.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

OLDEST, NEWEST = 13, 22
_AXES = 16  # of a tensor


@dataclass(frozen=True)
class Input:
    """One input of the network.

    Attributes
    ----------
    name : str
    shape : tuple of int or str
        A name (the file's own, or one that is made of the input's) where the size is open.
    whole : bool
        Whether it holds whole numbers.
    logical : bool
        Whether it holds truth values, which are given as whole numbers.
    below : int
        Whole numbers are smaller: rows of the table that they look up, else 2.
    """

    name: str
    shape: tuple[int | str, ...]
    whole: bool
    logical: bool
    below: int


@dataclass(frozen=True)
class Model:
    """What a file holds.

    Attributes
    ----------
    name : str
        For messages.
    graph : onnx.GraphProto
        Without functions; they are written out.
    opset : int
    inputs : tuple of Input
    constants : dict of str to ndarray
        The stored tensors.
    """

    name: str
    graph: GraphProto
    opset: int
    inputs: tuple[Input, ...]
    constants: dict[str, NDArray[np.generic]]


def read(path: Path) -> Model:
    """Read and check a file.

    Parameters
    ----------
    path : Path
        External data are looked for in its folder.

    Raises
    ------
    InputError
        No such file, no ONNX, broken, of another opset, external data missing, or too large.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            f"--model {path}: reading ONNX needs the package onnx: pip install 'cimsim[onnx]'"
        ) from None
    if not path.is_file():
        raise InputError(f"--model: no such file '{path}'")
    size = path.stat().st_size
    if size > MODEL.n_bytes:
        raise InputError(
            f"--model {path}: {size:,} bytes, an ONNX file has at most {MODEL.n_bytes:,}; keep the "
            "weights beside it, as external data"
        )
    memory.check(3.0 * size, f"--model {path}", "take a smaller network", InputError)
    model = _parsed(path, onnx)
    opset = _opset(path, model)
    graph = model.graph
    _check_nodes(path, graph)
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = array_of(tensor, path)
    if graph.sparse_initializer:
        raise InputError(f"--model {path}: sparse tensors are not read; store them as dense ones")
    inputs = tuple(_input(path, graph, given) for given in graph.input
                   if given.name not in constants)  # fmt: skip
    if not inputs or not graph.output:
        raise InputError(f"--model {path}: a network without inputs or outputs")
    return Model(path.stem, graph, opset, inputs, constants)


def array_of(tensor: TensorProto, path: Path) -> NDArray[np.generic]:
    """Return the values of a stored tensor.

    Raises
    ------
    InputError
        Sizes and bytes do not fit, an unknown kind, or external data that are not there.
    """
    import onnx
    from onnx import numpy_helper

    what = f"--model {path}: tensor {shown(tensor.name)}"
    if len(tensor.dims) > _AXES or any(n < 0 for n in tensor.dims):
        raise InputError(f"{what}: sizes {shown(list(tensor.dims))}")
    count = 1
    for n in tensor.dims:
        count *= int(n)
    memory.check(4.0 * count, what, "take a smaller network", InputError)
    held = onnx.TensorProto()
    held.CopyFrom(tensor)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        held.raw_data = _external(tensor, path, what)
        held.data_location = onnx.TensorProto.DEFAULT
        del held.external_data[:]
    kinds = onnx.TensorProto
    if held.data_type in (kinds.STRING, kinds.UNDEFINED, kinds.COMPLEX64, kinds.COMPLEX128):
        raise InputError(f"{what}: values of kind {_kind(held.data_type)} are not read")
    # each value takes at least half a byte of the file, or one number of a list
    stored = 2 * len(held.raw_data) + 2 * held.ByteSize()
    if count > stored:
        raise InputError(f"{what}: sizes {list(tensor.dims)} ask for more than is stored")
    try:
        array: NDArray[np.generic] = numpy_helper.to_array(held)
    except Exception as error:  # what a damaged tensor makes of numpy
        raise InputError(f"{what}: cannot be read: {_line(error)}") from error
    if array.shape != tuple(tensor.dims):
        raise InputError(f"{what}: {array.shape} values stored for sizes {list(tensor.dims)}")
    return array if array.flags.writeable else array.copy()


def graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs inside of a node: the branches of an ``If``."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _parsed(path: Path, onnx: ModuleType) -> ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:
        raise InputError(
            f"--model '{path}' cannot be read as an ONNX network: {_line(error)}; write it with "
            "torch.onnx.export or onnx.save"
        ) from error
    if not model.graph.node:
        raise InputError(f"--model '{path}' is no ONNX network: it holds no node")
    if model.functions:
        from onnx import inliner

        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:
            raise InputError(
                f"--model '{path}': its functions cannot be written out: {_line(error)}"
            ) from error
    found: ModelProto = model
    return found


def _opset(path: Path, model: ModelProto) -> int:
    found = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(found) != 1:
        raise InputError(f"--model {path}: expected one opset of ONNX's own operators, got {found}")
    if not OLDEST <= found[0] <= NEWEST:
        raise InputError(
            f"--model {path}: opset {found[0]}; {OLDEST} to {NEWEST} are read. Export it again "
            f"with opset_version={NEWEST if found[0] > NEWEST else 17}, or convert it with "
            "onnx.version_converter.convert_version"
        )
    return int(found[0])


def _check_nodes(path: Path, graph: GraphProto) -> None:
    """Refuse too many nodes, graphs inside graphs inside graphs, and names that are no text."""
    stack, count = [(graph, 0)], 0
    while stack:
        one, depth = stack.pop()
        count += len(one.node)
        if depth > MODEL.depth or count > MODEL.nodes:
            raise InputError(
                f"--model {path}: more than {MODEL.nodes:,} nodes, or graphs more than "
                f"{MODEL.depth} deep inside each other"
            )
        stack += [(inner, depth + 1) for node in one.node for inner in graphs_of(node)]


def _input(path: Path, graph: GraphProto, given: ValueInfoProto) -> Input:
    from onnx import TensorProto as kinds

    what = f"--model {path}: input {shown(given.name)}"
    if not given.type.HasField("tensor_type"):
        raise InputError(f"{what}: is no tensor (a list, a map or an optional value)")
    kind = given.type.tensor_type.elem_type
    whole = kind in (kinds.INT64, kinds.INT32, kinds.INT16, kinds.INT8, kinds.UINT8, kinds.BOOL)
    if not whole and kind not in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16):
        raise InputError(f"{what}: holds {_kind(kind)}; numbers or whole numbers are read")
    if not given.type.tensor_type.HasField("shape"):
        raise InputError(f"{what}: has no shape, not even how many axes; export it with shapes")
    axes = given.type.tensor_type.shape.dim
    if len(axes) > _AXES:
        raise InputError(f"{what}: {len(axes)} axes")
    shape: list[int | str] = []
    for i, axis in enumerate(axes):
        open_ = axis.WhichOneof("value") != "dim_value" or axis.dim_value < 0
        shape.append((axis.dim_param or f"{given.name}_axis_{i}") if open_ else int(axis.dim_value))
        if shape[-1] == 0:
            raise InputError(f"{what}: axis {i} has no element")
    return Input(given.name, tuple(shape), whole, kind == kinds.BOOL, _below(graph, given.name))


def _below(graph: GraphProto, name: str) -> int:
    """Return how many rows the table has that an input of whole numbers looks up."""
    rows = {tensor.name: int(tensor.dims[0]) for tensor in graph.initializer if tensor.dims}
    found = [rows[node.input[0]] for node in graph.node
             if node.op_type == "Gather" and list(node.input[1:]) == [name]
             and node.input[0] in rows]  # fmt: skip
    return max(min(found, default=2), 1)


def _external(tensor: TensorProto, path: Path, what: str) -> bytes:
    """Read the bytes of a tensor that lie in another file of the same folder."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    place = told.get("location", "")
    folder = path.parent.resolve()
    try:
        file = (folder / place).resolve()
        inside = bool(place) and file.is_relative_to(folder)
        start, length = int(told.get("offset") or 0), int(told.get("length") or -1)
    except (ValueError, OSError):
        inside, start, length = False, 0, 0
        file = folder
    if not inside:
        raise InputError(
            f"{what}: external data at {shown(place)}; they must be a file in the network's folder"
        )
    if not file.is_file():
        raise InputError(f"{what}: its external data {shown(place)} are missing in {folder}")
    size = file.stat().st_size
    length = size - start if length < 0 else length
    if start < 0 or length < 0 or start + length > size:
        raise InputError(
            f"{what}: its external data end at byte {start + length}, {shown(place)} has {size}"
        )
    memory.check(2.0 * length, what, "take a smaller network", InputError)
    with file.open("rb") as source:
        source.seek(start)
        return source.read(length)


def _kind(number: int) -> str:
    import onnx

    try:
        return str(onnx.TensorProto.DataType.Name(number)).lower()
    except ValueError:
        return f"number {number}"


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
