"""One network through all stages, each measured: built, traced, compared, mapped, timed, executed.

``python -m benchmarks.foreign.stages NAME`` prints a JSON line after each stage, so that a stage
that fails, or is ended for its time or memory, leaves those before it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.foreign.networks import NETWORKS
from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.frontends.torch_export import trace
from cimsim.graph.coverage import coverage
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph
from cimsim.graph.reference import apply_digital, apply_matrix
from cimsim.mapping.mapping import map_graph
from cimsim.session.loading import load_network
from cimsim.tasks.shapes import InputShape
from cimsim.timing.simulate import simulate

if TYPE_CHECKING:
    from torch import Tensor

CHIP = "eflash40nm"
# no noise and nothing lost in converters; as many tiles as it takes
EXACT: dict[str, Any] = {
    "device.sigma_program": 0, "device.sigma_read": 0, "adc.kind": "ideal", "tile.count": 20000,
    "calibration.column_gain": False, "calibration.column_offset": False,
    "inputs.percentile": 100, "weights.bits": 12, "inputs.bits": 14, "weights.scale": "layer",
    "weights.rounding": "nearest", "matmul.lanes": 64, "matmul.energy": "auto",
}  # fmt: skip
EQUAL = 1e-4  # of the largest output: float32 in another order
BITS = ((12, 14), (15, 16))  # of weights and inputs, one pair after the other
CLOSE = 0.05  # of the outputs' size: rounding errors, through a hundred layers


def main(name: str) -> None:
    """Take one network through all stages."""
    foreign = next(one for one in NETWORKS if one.name == name)
    torch.manual_seed(0)
    network = load_network(foreign.name, foreign.options, "random")
    asked = InputShape.parse(foreign.shape)
    inputs = tuple(_drawn(asked, asked.shape) for _ in range(foreign.inputs))
    _settle(network.module, inputs)
    with _stage("traced"):
        graph = trace(network.module, inputs, name)
    with _stage("equal") as told:
        told["error"] = _compared(network.module, graph, inputs)
        told["free"] = _free_operations(graph, inputs)
    chip = load_hw(CHIP, EXACT)
    found = coverage(graph, chip)
    lacks = [f"{m.op} ({m.macs:,} MACs)" for m in (*found.missing, *found.borrowed)]
    _tell(
        "covered", macs=found.macs, total=found.macs_on_arrays + found.macs_digital
        + found.macs_missing, on_arrays=found.macs_on_arrays, weights=found.weights,
        moved=found.moved, missing=lacks,
    )  # fmt: skip
    with _stage("mapped") as told:
        mapping = map_graph(graph, chip)
        told["arrays"] = mapping.arrays_used
    with _stage("timed") as told:
        told["cycles"] = simulate(mapping).interval
    with _stage("executed") as told:
        told["deviation"], told["bits"] = _executed(graph, inputs)


def _drawn(asked: InputShape, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal numbers, or whole ones where the network takes such."""
    return torch.randn(shape) if asked.below is None else torch.randint(0, asked.below, shape)


def _settle(module: Any, inputs: tuple[Tensor, ...]) -> None:
    """Give a random network activations of ordinary size, as a trained one has them.

    Each BatchNorm takes the statistics of one small batch; layers that start at zero (scales of
    residual branches) would hide what lies behind them and get values.
    """
    batch = tuple(torch.randn(4, *x.shape[1:]) for x in inputs)
    norms = [one for one in module.modules() if isinstance(one, _BatchNorm)]
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() and float(parameter.abs().max()) < 1e-3:
                parameter.fill_(0.5) if parameter.dim() > 1 else parameter.normal_(0, 0.1)
        for one in norms:
            one.momentum = 1.0
            one.train()
        if norms:
            module(*batch)
    module.eval()


def _compared(module: Any, graph: LayerGraph, inputs: tuple[Tensor, ...]) -> float:
    """Return the largest deviation of the layer graph from torch, over the largest output."""
    with torch.no_grad():
        want = _tensors(module(*inputs))
    got = graph.reference(*inputs)
    assert len(got) == len(want), f"{len(got)} outputs, torch has {len(want)}"
    worst = 0.0
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape, f"{list(one.shape)}, torch has {list(other.shape)}"
        size = float(other.abs().max())
        assert 0 < size < float("inf"), "the network's output is 0 or infinite"
        worst = max(worst, float((one - other).abs().max()) / size)
    assert worst <= EQUAL, f"deviates from torch by {worst:.2g} of the largest output"
    return worst


def _free_operations(graph: LayerGraph, inputs: tuple[Tensor, ...]) -> list[str]:
    """Return operations at no cost that do anything but move values, which nobody may have.

    Each value that a free operation gives must be one that it got (or a constant of its own, or
    zero, as padding is). Other outputs of an operation whose first one is charged are passed over.
    """
    values: dict[str, Tensor] = {}
    arguments, found = iter(inputs), []
    with torch.no_grad():
        for op in graph:
            if isinstance(op, InputOp):
                values[op.name] = next(arguments)
            elif not isinstance(op, DigitalOp):
                values[op.name] = apply_matrix(op, values[op.inputs[0]])
            else:
                values[op.name] = apply_digital(op, values)
                free = op.ops_per_element == 0 and not getattr(op.target, "index", 0)
                known = [values[n].reshape(-1) for n in op.inputs] + _held((op.args, op.kwargs))
                if free and known and not _only_moves(values[op.name], known):
                    found.append(f"{op.op} ({op.source or op.name})")
    assert not found, f"free and no mere move: {', '.join(found[:5])}"
    return sorted({op.op for op in graph.digital_ops if op.ops_per_element == 0})


def _only_moves(out: Tensor, known: list[Tensor]) -> bool:
    of = torch.cat([torch.zeros(1), *(one.to(torch.float32) for one in known)])
    return bool(torch.isin(out.reshape(-1).to(torch.float32), of).all())


def _held(value: Any) -> list[Tensor]:
    """Return constants among nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value.reshape(-1)]
    if isinstance(value, float | int) and not isinstance(value, bool):
        return [torch.tensor([float(value)])]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _held(item)] if isinstance(value, list | tuple) else []


def _executed(graph: LayerGraph, inputs: tuple[Tensor, ...]) -> tuple[float, tuple[int, int]]:
    """Return the RMS error of an exact chip's outputs over their RMS, and its bits.

    Roundings add up through a deep network; where they come to more than `CLOSE`, finer codes must
    make the error small.
    """
    want = graph.reference(*inputs)
    for bits in BITS:
        chip = load_hw(CHIP, {**EXACT, "weights.bits": bits[0], "inputs.bits": bits[1]})
        ready = prepare(map_graph(graph, chip), device_of(chip), [inputs], 0)
        got = execute(ready, inputs, 0, 0).outputs
        worst = max(
            float((one - other).square().mean().sqrt() / other.square().mean().sqrt())
            for one, other in zip(got, want, strict=True)
        )
        if worst <= CLOSE:
            return worst, bits
    raise AssertionError(f"deviates from the float network by {worst:.2g} of its outputs")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [t for item in items if item is not None for t in _tensors(item)]


def declare_operators() -> None:
    """Declare torchvision's compiled operators where its build does not fit the installed torch.

    Importing it fails otherwise. No network here calls them (boxes alone need them), and a call
    would fail.
    """
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    if torch.version.cuda is None:
        for name in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):
                torch.library.define(f"torchvision::{name}", signature)


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _stage(name: str) -> Iterator[dict[str, Any]]:
    told: dict[str, Any] = {}
    begun = time.perf_counter()
    try:
        yield told
    except Exception as error:
        _tell(name, failed=_text(error))
        raise SystemExit(0) from error
    _tell(name, seconds=round(time.perf_counter() - begun, 2), **told)


def _tell(stage: str, **values: Any) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    _TOLD[-1].write(json.dumps({"stage": stage, **values, "peak_mib": peak}) + "\n")
    _TOLD[-1].flush()


_TOLD: list[IO[str]] = [sys.stdout]


def run(name: str, told: Path) -> None:
    """Take one network through all stages, in a process of its own, and tell a file of it."""
    with told.open("w") as file:
        _TOLD.append(file)
        try:
            main(name)
        except Exception as error:  # noqa: BLE001 - told, the process ends
            _tell("built", failed=_text(error))


declare_operators()

if __name__ == "__main__":
    main(sys.argv[1])
