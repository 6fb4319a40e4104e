"""cimsim and other simulators on the same integers; each returns sums or None."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.crosscheck import in_time
from benchmarks.crosscheck.cases import COLS, G_MAX_S, ROWS, Case, Floats

SONOS_S = 16e-6
Side = Callable[[Case, Floats, Floats, int], Floats | None]


def cimsim_sums(case: Case, weights: Floats, inputs: Floats, seed: int) -> Floats | None:
    """Return the sums of cimsim's engine: mapped, written, calibrated, executed."""
    import torch

    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.engine.execute import execute
    from cimsim.engine.prepare import prepare
    from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window

    n = len(inputs)
    op = MatrixOp(
        "fc", ("x",), TensorSpec((1, n, ROWS)), TensorSpec((1, n, COLS)),
        weights[None].astype(np.float32), None, Window(), (COLS, 1, 1), "last", "linear",
    )  # fmt: skip
    graph = LayerGraph("layer", [InputOp("x", TensorSpec((1, n, ROWS))), op], ["fc"])
    with tempfile.TemporaryDirectory() as folder:
        chip = cimsim.load_hw("eflash40nm", _chip(case, Path(folder)))
        mapping = cimsim.map_graph(graph, chip)
        x = torch.from_numpy(inputs.astype(np.float32))[None]
        ready = prepare(mapping, device_of(chip), [(x,)], seed)
        done = execute(ready, (x,), 0, seed)
    return np.asarray(done.outputs[0]).reshape(n, COLS).astype(np.float64)


def _chip(case: Case, folder: Path) -> dict[str, object]:
    device: dict[str, object] = {"kind": "sonos40", "read_scale": 0}
    if case.days is None:
        path, sigma = folder / "cells.csv", case.programming * G_MAX_S * 1e6
        top = G_MAX_S * 1e6
        path.write_text(
            f"target [uS], mean [uS], sigma [uS]\n0, 0, {sigma!r}\n{top!r}, {top!r}, {sigma!r}\n"
        )
        device = {"kind": "table", "file": str(path), "sigma_read": case.reading}
    bits = case.adc_bits or 24
    return {
        "device": device, "array.rows": ROWS, "array.cols": COLS, "weights.scale": "layer",
        "weights.rounding": "nearest", "inputs.percentile": 100, "adc.range": "calibrated",
        "adc.percentile": 100,
        "adc.bits": bits, "calibration.column_gain": False, "calibration.column_offset": False,
        "conditions.time": f"{case.days or 0} d",
    }  # fmt: skip


def crosssim(path: Path) -> Side:
    """Return CrossSim of a checkout."""
    sys.path.insert(0, str(path))
    from simulator import AnalogCore, CrossSimParameters  # type: ignore[import-not-found]
    from simulator.parameters.xbar_parameters import (  # type: ignore[import-not-found]
        ADCRangeLimits,
    )

    def sums(case: Case, weights: Floats, inputs: Floats, seed: int) -> Floats | None:
        np.random.seed(seed)  # noqa: NPY002 - it draws from numpy's global stream
        p = CrossSimParameters()
        device = p.xbar.device
        device.infinite_on_off_ratio = True
        # it would cut off readings below 0 S, too, which a differential read does not
        device.clip_conductance = case.programming > 0 and case.reading == 0
        device.Rmin, device.Vread = 1 / SONOS_S, 0.1
        p.core.mapping.inputs.mvm.min, p.core.mapping.inputs.mvm.max = -255.0, 255.0
        p.core.mapping.inputs.mvm.clipping = True
        if case.programming:
            device.programming_error.enable = True
            device.programming_error.model = "NormalIndependentDevice"
            device.programming_error.magnitude = case.programming
        if case.reading:
            device.read_noise.enable = True
            device.read_noise.model = "NormalIndependentDevice"
            device.read_noise.magnitude = case.reading
        if case.days is not None:
            device.programming_error.enable, device.programming_error.model = True, "SONOS"
            device.drift_error.enable = case.days > 0
            device.drift_error.model = "SONOS" if case.days else "IdealDevice"
            device.time = case.days
        if case.adc_bits:
            p.xbar.adc.mvm.model = "QuantizerADC"
            p.xbar.adc.mvm.bits = case.adc_bits
            p.xbar.adc.mvm.adc_range_option = ADCRangeLimits.CALIBRATED
            ends = (inputs @ weights).min(), (inputs @ weights).max()
            p.xbar.adc.mvm.calibrated_range = [end / (255 * np.abs(weights).max()) for end in ends]
        core = AnalogCore(weights.T.astype(float), params=p)
        return np.array([core @ x.astype(float) for x in inputs])

    return sums


def lightning() -> Side | None:
    """Return aihwkit-lightning, where it is installed."""
    if importlib.util.find_spec("aihwkit_lightning") is None:
        return None
    import torch
    from aihwkit_lightning.nn import AnalogLinear  # type: ignore[import-not-found]
    from aihwkit_lightning.simulator.configs import (  # type: ignore[import-not-found]
        TorchInferenceRPUConfig,
        WeightNoiseInjectionType,
    )

    def sums(case: Case, weights: Floats, inputs: Floats, seed: int) -> Floats | None:
        if case.reading or case.adc_bits or case.days is not None:
            return None  # it has no read noise of cells and no converters of a fixed range
        torch.manual_seed(seed)
        config = TorchInferenceRPUConfig()
        if case.programming:
            config.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL
            # both cells of a pair; that of the erased one is cut off at 0 S
            config.modifier.std_dev = case.programming * (1.5 - 1 / (2 * np.pi)) ** 0.5
        layer = AnalogLinear(ROWS, COLS, bias=False, rpu_config=config)
        layer.set_weights(torch.from_numpy(weights.T.astype(np.float32)))
        layer.train()  # it draws errors of weights in training alone
        with torch.no_grad():
            found = layer(torch.from_numpy(inputs.astype(np.float32)))
        return found.numpy().astype(np.float64)

    return sums


def sides(path: Path | None) -> dict[str, Side]:
    """Return everybody who is there: cimsim, single cells in time, and other simulators."""
    found: dict[str, Side] = {"cimsim": cimsim_sums, "single cells in time": in_time.run}
    if path is not None:
        found["CrossSim"] = crosssim(path)
    other = lightning()
    return found | ({"aihwkit-lightning": other} if other else {})
