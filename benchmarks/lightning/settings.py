"""What a setting of aihwkit-lightning means on a chip: one layer, one setting at a time.

Each setting alone is switched on there and, translated, here. Both sides read the same numbers
through the same input range; the error is that of the outputs, standard deviation over that of the
exact ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from aihwkit_lightning.nn import AnalogLinear  # type: ignore[import-not-found]
from aihwkit_lightning.simulator.configs import (  # type: ignore[import-not-found]
    TorchInferenceRPUConfig,
    WeightNoiseInjectionType,
)
from torch import Tensor

import cimsim
from cimsim.chip.cells import device_of
from cimsim.engine.calibrated import CalibratedMapping
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.graph.ir import LayerGraph
from cimsim.stats import mean_interval

ROWS, COLS, WINDOWS = 256, 64, 400
RANGE = 3.0  # the learned range of the layer's inputs, which are standard normal
STEPS, BOUND = 254, 12.0  # 8 bits; the bound that the package's examples have
NOISE = 0.03  # of the largest weight, or of it times the input range
# a chip without errors but those of a row; weights so fine that they count as exact
EXACT: dict[str, Any] = {
    "device.sigma_program": 0, "device.sigma_read": 0, "device.g_min": "0 S",
    "device.program_shape": "uniform", "adc.kind": "ideal", "weights.bits": 12,
    "weights.scale": "layer", "weights.rounding": "nearest", "inputs.bits": 8,
    "calibration.column_gain": False, "calibration.column_offset": False,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A setting on both sides.

    Attributes
    ----------
    there, here : str
        As a user writes it.
    errors : (list of float, list of float)
        There and here, one for each draw.
    note : str
        What is the same, and what is not.
    """

    there: str
    here: str
    errors: tuple[list[float], list[float]]
    note: str

    def cells(self) -> list[str]:
        """Return the row of a table."""
        return [self.there, self.here, *(_told(found) for found in self.errors), self.note]


class Layer:
    """One layer on both sides.

    Parameters
    ----------
    seeds : int
        Chips, and forward passes there.
    """

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds
        rng = torch.Generator().manual_seed(0)
        self.weight = torch.randn(COLS, ROWS, generator=rng) / ROWS**0.5
        self.x = torch.randn(WINDOWS, ROWS, generator=rng)

    def there(self, **fields: float) -> AnalogLinear:
        """Return the layer with some settings of its configuration, ranges as learned."""
        config = TorchInferenceRPUConfig()
        config.pre_post.input_range.enable = True
        config.pre_post.input_range.init_from_data = 0
        for name, value in fields.items():
            setattr(config.modifier if name == "std_dev" else config.forward, name, value)
        if "std_dev" in fields:
            config.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL
        layer = AnalogLinear(ROWS, COLS, bias=False, rpu_config=config)
        layer.set_weights(self.weight.clone())
        layer.input_range.data.fill_(RANGE)
        return layer

    def given(self, layer: AnalogLinear, seed: int, training: bool) -> Tensor:
        """Return what a layer gives there; it draws noise in training alone."""
        torch.manual_seed(seed)
        layer.train(training)
        with torch.no_grad():
            found: Tensor = layer(self.x.clone())
        return found

    @cached_property
    def exact(self) -> Tensor:
        """Outputs without any rounding."""
        return self.x @ self.weight.T

    @cached_property
    def rounded(self) -> Tensor:
        """Outputs with nothing but the rounding of inputs, which each further row has as well."""
        return self.given(self.there(inp_res=STEPS), 0, training=False)

    @cached_property
    def graph(self) -> LayerGraph:
        """The layer as it comes in here."""
        return cimsim.trace(self.there(inp_res=STEPS).eval(), (self.x[None],), name="layer")

    def chip(self, fields: dict[str, Any], seed: int) -> CalibratedMapping:
        """Return a chip that is ready, calibrated on the very inputs."""
        chip = cimsim.load_hw("eflash40nm", EXACT | fields)
        mapping = cimsim.map_graph(self.graph, chip)
        return prepare(mapping, device_of(chip), [(self.x[None],)], seed)

    def on_chip(self, fields: dict[str, Any], seed: int) -> Tensor:
        """Return what a chip gives."""
        done = execute(self.chip(fields, seed), (self.x[None],), 0, seed)
        return torch.as_tensor(np.asarray(done.outputs[0]))[0]

    def row(
        self, there: str, here: str, note: str, layer: AnalogLinear | None,
        fields: dict[str, Any], *, against: Tensor | None = None,
    ) -> Row:  # fmt: skip
        """Measure one row; a layer of None has nothing like it."""
        want = self.rounded if against is None else against
        found: tuple[list[float], list[float]] = ([], [])
        draws = layer is not None and bool(
            layer.rpu_config.modifier.std_dev or layer.rpu_config.forward.out_noise
        )
        for seed in range(self.seeds):
            if layer is not None and (draws or not seed):
                found[0].append(_error(self.given(layer, seed, draws), want))
            if not seed or any("sigma" in name or "noise" in name for name in fields):
                found[1].append(_error(self.on_chip(fields, seed), want))
        return Row(there, here, found, note)

    def converter(self, bits: int) -> tuple[float, dict[str, Any]]:
        """Return a converter's step in units of input range times largest weight, and its fields.

        The range is that of all sums of the calibration.
        """
        fields = {"adc.kind": "sar", "adc.bits": bits, "adc.percentile": 100}
        ready, name = self.chip(fields, 0), self.graph.matrix_ops[0].name
        units = ready.programmed.layer_of(name).scales.max() * ready.ops[name].code.scale
        step = max(r.lsb for r in ready.ops[name].ranges) * float(units)
        return step / (RANGE * float(self.weight.abs().max())), fields


def measured(seeds: int) -> list[Row]:
    """Return all rows."""
    layer = Layer(seeds)
    step, eight = layer.converter(8)
    fine, sixteen = layer.converter(16)
    bound = step * STEPS / 2
    read = layer.row(
        "–", "device.sigma_read: 0.79 %",
        "noise of cells, which grows with the inputs and their offset: here as large as "
        "out_noise: {:.3f}",
        None, {"device.sigma_read": 0.0079},
    )  # fmt: skip
    unit = RANGE * float(layer.weight.abs().max()) / float(layer.rounded.std())
    equal = float(np.mean(read.errors[1])) / unit
    sigma = {"device.sigma_program": NOISE}
    raw = layer.row("", "", "", None, sigma).errors[1]
    return [
        layer.row(
            f"inp_res: {STEPS}", "inputs.bits: 8, ends from the learned range",
            "the same code, rounded and clipped alike",
            layer.there(inp_res=STEPS), {}, against=layer.exact,
        ),
        layer.row(
            f"std_dev: {NOISE}",
            f"device.sigma_program: {100 * NOISE:g} %, program_shape: uniform, "
            "calibration.column_offset: true",
            "there drawn anew in each forward pass of the training and 0 afterwards; here once, "
            "when the chip is written, and it stays. An erased cell cannot go below 0 S, which "
            "makes the errors of pairs smaller. Signed inputs ride on an offset here, whose "
            "product with the errors is the same for all inputs: without the correction "
            f"{np.mean(raw):.4f}",
            layer.there(inp_res=STEPS, std_dev=NOISE),
            sigma | {"calibration.column_offset": True},
        ),
        layer.row(
            f"out_res: {STEPS}, out_bound: {BOUND:g}", "adc.bits: 8, adc.range: calibrated",
            "there the ends are a multiple of input range and largest weight, alike for all "
            f"networks; here they come from calibration, a bound of {bound:.1f} on this layer",
            layer.there(inp_res=STEPS, out_res=STEPS, out_bound=BOUND), eight,
        ),
        layer.row(
            f"out_res: {STEPS}, out_bound: {bound:.2f}", "adc.bits: 8, adc.range: calibrated",
            "the same step", layer.there(inp_res=STEPS, out_res=STEPS, out_bound=bound), eight,
        ),
        layer.row(
            f"out_noise: {NOISE}", f"adc.noise_lsb: {NOISE / fine:.0f} (16 bits)",
            "the same, once steps are converted; there in training alone",
            layer.there(inp_res=STEPS, out_noise=NOISE), sixteen | {"adc.noise_lsb": NOISE / fine},
        ),
        Row(read.there, read.here, read.errors, read.note.format(equal)),
        layer.row(
            "–", "weights.bits: 8", "there weights stay floating point unless they are quantised "
            "in training, and such layers keep their own arithmetic here",
            None, {"weights.bits": 8},
        ),
    ]  # fmt: skip


def _error(got: Tensor, want: Tensor) -> float:
    return float((got - want).std() / want.std())


def _told(values: list[float]) -> str:
    if not values:
        return "–"
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.4f}"
    low, high = mean_interval(values)
    return f"{mean:.4f} ± {(high - low) / 2:.1g}"
