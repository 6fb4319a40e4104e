"""Train a network with the chip in the loop: every matrix computes as it would on the arrays.

A step draws a fresh chip: weights are rounded, written with the device model's error, driven by
quantised inputs and read through noisy converters, row tile by row tile. Gradients pass straight
through what has none (`cimsim.training.straight_through`). Everything is read from the `Chip`.
`cimsim.training.analog` lists what is simpler here than in the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from cimsim.chip.cells import build
from cimsim.chip.fields import fields
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError, SimulationError, suggest
from cimsim.training.analog import AnalogLayer, Written
from cimsim.training.cells import Cells
from cimsim.training.folding import matrix_layers
from cimsim.training.recurrent import Unrolled, halves

Forward = Callable[..., object]
Product = Callable[[Tensor], Tensor]
_UNKNOWN = (_ConvNd, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


class ChipInTheLoop:
    """Lets a network compute as on a chip while a ``with`` block runs.

    Batch norms are folded by their running statistics, as on the chip, in training mode too: inside
    `applied` those statistics neither matter batch by batch nor change, while scale and shift go on
    learning. Parameters stay the clean float ones and the module tree stays as it is; only the
    ``forward`` of matrices and batch norms is replaced for the time.

    Parameters
    ----------
    model : nn.Module
        Of `nn.Conv2d` and `nn.Linear` matrices, each with or without an `nn.BatchNorm2d` behind it,
        and `nn.LSTM` of one layer and one direction.
    chip : Chip

    Raises
    ------
    ConfigError
        For a layer or a chip that cannot be trained for; the message names layer and field.
    """

    def __init__(self, model: nn.Module, chip: Chip) -> None:
        _check(model, chip)
        self.model, self.chip = model, chip
        cells = Cells.of(chip)
        self.layers = [
            AnalogLayer(name, matrix, norm, chip, cells)
            for name, matrix, norm in matrix_layers(model)
        ]
        # LSTM -> the layers of its inputs and of its state
        self.recurrent: dict[nn.LSTM, tuple[AnalogLayer, AnalogLayer]] = {}
        for name, part in model.named_modules():
            if isinstance(part, nn.LSTM):
                made = [AnalogLayer(n, m, None, chip, cells) for n, m in halves(name, part)]
                self.recurrent[part] = made[0], made[1]
                self.layers += made
        if not self.layers:
            raise ConfigError("hardware-aware training: the network has no Conv2d and no Linear")

    @torch.no_grad()
    def calibrate(self, *inputs: Tensor) -> None:
        """Fix the ranges of inputs and converters on a batch, anew with every call.

        The float network runs in eval mode. Call it every few dozen steps, with another batch each
        time: weights move, and a chip in use works on other scenes than those that it was
        calibrated on. Ranges averaged over many batches hide that.

        Parameters
        ----------
        *inputs : Tensor
            What the network takes: frames and their noise map, images, cepstra.

        Raises
        ------
        ConfigError
            A batch norm that does not follow its matrix directly.
        SimulationError
            Activations that are not finite.
        """
        self._run(inputs)
        for layer in self.layers:
            layer.measure()

    @contextmanager
    def applied(self, seed: int) -> Iterator[None]:
        """Let the network compute as on one chip, whose errors are drawn from ``seed``.

        Within one block all calls see the same cells; read noise is new for each.

        Raises
        ------
        SimulationError
            When `calibrate` was not called before.
        """
        for layer in self.layers:
            if not layer.ranges.state:
                raise SimulationError(
                    f"hardware-aware training: layer '{layer.name}' has no ranges; call calibrate "
                    "with a batch first"
                )
        forwards: dict[nn.Module, Forward] = {
            part: _frozen(part) for part in self.model.modules() if isinstance(part, _BatchNorm)
        }
        products: dict[nn.Module, Product] = {
            layer.matrix: _Chip(layer, seed) for layer in self.layers
        }
        forwards |= products
        forwards |= {layer.norm: _unchanged for layer in self.layers if layer.norm is not None}
        for lstm, (of_input, of_state) in self.recurrent.items():
            forwards[lstm] = Unrolled(lstm, products[of_input.matrix], products[of_state.matrix])
        with _replaced(forwards):
            yield

    def state_dict(self) -> dict[str, Tensor]:
        """Return all ranges, by ``<layer>/<field>``: with the weights, all that a resume needs."""
        return {
            f"{layer.name}/{name}": value
            for layer in self.layers
            for name, value in layer.ranges.state.items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` returned for the same network and chip.

        Raises
        ------
        ConfigError
            When a layer is missing, unknown, or was cut for other arrays.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for path, value in state.items():
            name, _, field = path.rpartition("/")
            parts.setdefault(name, {})[field] = value
        known = [layer.name for layer in self.layers]
        for name in parts:
            if name not in known:
                raise ConfigError(f"saved ranges: layer '{name}' is unknown{suggest(name, known)}")
        # a chip that was never calibrated has nothing to load
        for layer in self.layers if parts else ():
            layer.ranges.load(parts.get(layer.name, {}), layer.device)

    def _run(self, inputs: tuple[Tensor, ...]) -> None:
        """Run the float network and collect every matrix's inputs."""
        last: dict[nn.Module, Tensor] = {}

        def watch(layer: AnalogLayer) -> Product:
            plain = layer.matrix.forward

            def forward(x: Tensor) -> Tensor:
                last[layer.matrix] = plain(x)
                layer.samples.add(x, layer.shape)
                return last[layer.matrix]

            return forward

        def follow(layer: AnalogLayer, norm: nn.BatchNorm2d) -> Forward:
            plain = norm.forward

            def forward(x: Tensor) -> Tensor:
                if last.get(layer.matrix) is not x:
                    raise ConfigError(
                        f"hardware-aware training: the batch norm after layer '{layer.name}' does "
                        "not take that layer's output; it cannot be folded into it"
                    )
                return plain(x)

            return forward

        products: dict[nn.Module, Product] = {layer.matrix: watch(layer) for layer in self.layers}
        forwards: dict[nn.Module, Forward] = {**products}
        for layer in self.layers:
            if layer.norm is not None:
                forwards[layer.norm] = follow(layer, layer.norm)
        for lstm, (of_input, of_state) in self.recurrent.items():
            forwards[lstm] = Unrolled(lstm, products[of_input.matrix], products[of_state.matrix])
        with (
            _evaluating(self.model), _replaced(forwards),
            torch.autocast(inputs[0].device.type, enabled=False),
        ):  # fmt: skip
            try:
                self.model(*inputs)
            except BaseException:
                for layer in self.layers:
                    layer.samples.clear()
                raise


class _Chip:
    """The forward of one matrix on one chip: written when it is first used."""

    def __init__(self, layer: AnalogLayer, seed: int) -> None:
        self.layer, self.seed, self.uses = layer, seed, 0
        self.written: dict[bool, Written] = {}

    def __call__(self, x: Tensor) -> Tensor:
        # what was written without gradients cannot serve a pass with them
        mode = torch.is_grad_enabled()
        if mode not in self.written:
            self.written[mode] = self.layer.write(self.seed)
        self.uses += 1
        return self.layer.read(x, self.written[mode], self.seed, self.uses)


def _unchanged(x: Tensor) -> Tensor:
    """Stand in for a batch norm that was folded."""
    return x


def _frozen(norm: _BatchNorm) -> Forward:
    """Return a batch norm's forward by its running statistics."""

    def forward(x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )

    return forward


@contextmanager
def _replaced(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Give modules another forward for the time, whatever happens."""
    with ExitStack() as stack:
        for module, forward in forwards.items():
            held = module.__dict__.get("forward")
            stack.callback(_restore, module, held)
            module.__dict__["forward"] = forward
        yield


def _restore(module: nn.Module, held: Forward | None) -> None:
    if held is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = held


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for the time; each part gets its own mode back."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _check_choices(chip: Chip) -> None:
    """Refuse what training has no model of; each field says itself which values those are."""
    for path, field in fields().items():
        known, got = field.fact.trained if field.fact else (), field.value(chip)
        if not known or got in known or not _takes_effect(chip, path):
            continue
        section = path.partition(".")[0]
        if section in ("conditions", "faults"):
            raise ConfigError(
                f"{section}: hardware-aware training draws sound cells right after programming; "
                "train without this section and simulate with it"
            )
        raise ConfigError(
            f"{path}: hardware-aware training knows {' and '.join(map(str, known))} only, got "
            f"{got}. Train with --set {path}={known[-1]} and simulate on the chip as it is"
        )
    converter = chip.adc.converter
    if converter.is_bent or converter.noise_curve() is not None:
        raise ConfigError(
            "adc.kind: hardware-aware training knows converters without curves only, got "
            f"{chip.adc.kind}. Train with --set adc.kind=sar and simulate on the chip as it is"
        )


def _takes_effect(chip: Chip, path: str) -> bool:
    """Whether a choice does anything: wires without resistance do not."""
    return path != "wires.model" or not chip.wires.are_ideal


def _check(model: nn.Module, chip: Chip) -> None:
    """Refuse what cannot be modelled."""
    _check_choices(chip)
    if chip.pulses > 1:
        raise ConfigError(
            f"dac.bits: hardware-aware training applies inputs in one pulse; with {chip.dac.bits} "
            f"of {chip.inputs.bits} bits they take {chip.pulses}. Train with --set "
            f"dac.bits={chip.inputs.bits} and simulate on the chip as it is"
        )
    if chip.weights.slices > 1:
        raise ConfigError(
            f"weights.cell_bits: hardware-aware training keeps a weight in one pair of cells; with "
            f"{chip.weights.slice_bits} of {chip.weights.bits - 1} bits a cell it takes "
            f"{chip.weights.slices}. Train with --set weights.cell_bits={chip.weights.bits - 1} "
            "and simulate on the chip as it is"
        )
    nonlinearity = build(chip.device.kind, chip.device.parameters).nonlinearity
    if nonlinearity > 2:
        raise ConfigError(
            f"device.nonlinearity: hardware-aware training knows linear cells only, got "
            f"{nonlinearity:g}. Train with --set device.nonlinearity=2 and simulate on the chip as "
            "it is"
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.padding_mode != "zeros":
                raise ConfigError(
                    f"hardware-aware training: layer '{name}': padding_mode: expected zeros, got "
                    f"{module.padding_mode}; pad in a step of its own"
                )
        elif isinstance(module, _UNKNOWN) and not isinstance(module, nn.LSTM):
            raise ConfigError(
                f"hardware-aware training: layer '{name}': {type(module).__name__} cannot be "
                "modelled; known: Conv2d, Linear, LSTM"
            )
        elif isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ConfigError(
                f"hardware-aware training: batch norm '{name}': track_running_stats: expected "
                "True; a chip folds running statistics"
            )
