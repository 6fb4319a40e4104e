"""Round the weights of a mapping to integers by the inputs of its calibration frames.

How a matrix is rounded: `cimsim.crossbar.rounding`.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.encode import encode_weights
from cimsim.crossbar.rounding import round_matrix
from cimsim.engine.samples import Samples
from cimsim.engine.workers import workers
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.mapping import Mapping, PlacedLayer

MIN_WINDOWS = 32  # fewer say nothing about correlations

Integers = dict[str, NDArray[np.int32]]


def round_to_inputs(
    mapping: Mapping, samples: MappingABC[str, Samples], threads: int | None = None
) -> Integers:
    """Choose the integers of every programmed matrix by its inputs on the calibration frames.

    Parameters
    ----------
    mapping : Mapping
    samples : mapping of str to Samples
        By operation, from `cimsim.engine.samples.collect`.
    threads : int, optional
        All cores by default; does not change a bit of the result.

    Returns
    -------
    dict of str to int32 [groups, rows, cols]
        By layer name; layers with fewer than `MIN_WINDOWS` sampled windows are left out and are
        rounded to nearest.
    """
    # one BLAS thread each: many small solves only wait for each other on more
    with workers(threads) as (pool, _):
        found = pool.map(lambda layer: _round_layer(mapping, layer, samples), mapping.layers)
        pairs = zip(mapping.layers, found, strict=True)
        return {layer.name: q for layer, q in pairs if q is not None}


def _round_layer(
    mapping: Mapping, layer: PlacedLayer, samples: MappingABC[str, Samples]
) -> NDArray[np.int32] | None:
    spec, op = mapping.chip.weights, mapping.graph[layer.ops[0]]
    if not isinstance(op, MatrixOp):
        raise SimulationError(f"layer '{layer.name}': '{op.name}' has no matrix")
    x = np.concatenate([part for name in layer.ops for part in samples[name].vectors])
    if len(x) < MIN_WINDOWS:
        return None
    _, scales = encode_weights(op.weight, spec.q_max, spec.scale, op.weight_ends)
    steps = scales.reshape(op.groups, op.group_cols)
    inputs = x.reshape(len(x), op.groups, op.group_rows)
    groups = range(op.groups)
    return np.stack(
        [round_matrix(op.weight[g] / steps[g], inputs[:, g], spec.q_max) for g in groups]
    )
