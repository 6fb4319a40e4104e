"""A mapping on inputs of any kind: what they teach, then written and calibrated arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells import device_of
from cimsim.engine.calibrated import CalibratedMapping
from cimsim.engine.prepare import prepare
from cimsim.engine.rounding import round_to_inputs
from cimsim.engine.samples import Samples, collect
from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    from torch import Tensor


class Learned(TypedDict):
    """What inputs teach, whatever the cells: see `learn`."""

    frames: Sequence[tuple[Tensor, ...]]
    samples: dict[str, Samples]
    integers: dict[str, NDArray[np.int32]] | None


def written(
    mapping: Mapping,
    inputs: Sequence[tuple[Tensor, ...]],
    seed: int,
    threads: int | None,
    report: Callable[[str, int, int], None],
    learned: Learned | None = None,
) -> tuple[CalibratedMapping, Learned]:
    """Write the arrays of any mapped network and calibrate them on some of its inputs.

    Parameters
    ----------
    mapping : Mapping
    inputs : sequence of tuple of torch.Tensor
        The network's inputs, sample by sample.
    seed : int
        Of the cells.
    threads : int or None
    report : callable
        ``report(stage, done, total)``.
    learned : dict, optional
        What an earlier call for the same mapping and inputs returned, to spare the time.

    Returns
    -------
    CalibratedMapping
    dict
        ``frames``, ``samples`` and ``integers``: the same for any cells.
    """
    chip = mapping.chip
    if learned is None:
        report("calibration inputs", 0, 1)
        learned = learn(mapping, inputs, threads)
        report("calibration inputs", 1, 1)
    report("programming", 0, sum(layer.layout.n_arrays for layer in mapping.layers))
    found = prepare(
        mapping, device_of(chip), inputs, seed, integers=learned["integers"],
        samples=learned["samples"], threads=threads, progress=report,
    )  # fmt: skip
    report("calibrating", 1, 1)
    return found, learned


def learn(mapping: Mapping, inputs: Sequence[tuple[Tensor, ...]], threads: int | None) -> Learned:
    """Return what inputs teach, whatever the cells: ``frames``, ``samples``, ``integers``.

    Parameters
    ----------
    mapping, inputs, threads
        See `written`.
    """
    samples = sampled(mapping, inputs)
    by_inputs = mapping.chip.weights.rounding == "inputs"
    integers = round_to_inputs(mapping, samples, threads) if by_inputs else None
    return {"frames": inputs, "samples": samples, "integers": integers}


def sampled(mapping: Mapping, inputs: Sequence[tuple[Tensor, ...]]) -> dict[str, Samples]:
    """Return what the float network gives each operation to read, by operation."""
    layouts = {name: layer.layout for name, layer in mapping.layer_of.items()}
    return collect(mapping.graph, mapping.chip, inputs, layouts)
