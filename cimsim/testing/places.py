"""Contracts of what puts a network on a chip: strategies and allocations."""

from __future__ import annotations

import numpy as np

from cimsim.chip.spec import Chip
from cimsim.mapping.allocation import Allocation, requests_of
from cimsim.mapping.custom import checked_layout, find_strategy
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.strategies import Im2col, Strategy
from cimsim.placing.by_name import map_graph, resolve
from cimsim.testing.contract import (
    CHIP,
    accepted,
    chip_of,
    hold,
    outputs,
    path_of,
    refused,
    small_inputs,
    small_network,
    torch_of,
)

EXACT = {
    "device.kind": "ideal", "adc.kind": "ideal", "adc.range": "full", "inputs.bits": 8,
}  # fmt: skip


def check_strategy(how: str | type | Strategy, chip: str | Chip = CHIP) -> None:
    """Hold a strategy to `cimsim.mapping.strategies.Strategy`.

    Its layouts are legal for a convolution, a grouped one and linear layers, also on arrays that
    are smaller than a matrix; the same matrix gives the same layout; frames, cycles and energy come
    out of the mapping; and on a chip without errors the network computes what it does with
    ``im2col``.

    Parameters
    ----------
    how : str, type or Strategy
    chip : str or Chip
        Of a chip by name, cells, converters and sizes are varied.

    Raises
    ------
    ContractBrokenError
    """
    name = path_of(how) if isinstance(how, str | type) else type(how).__qualname__
    strategy = accepted(name, "mapping", find_strategy, name if isinstance(how, type) else how)
    graph = small_network()
    small = {"array.rows": 64, "array.cols": 64, "adc.count": 16, "tile.count": 400}
    for chips in [chip_of(chip), *([chip_of(chip, small)] if isinstance(chip, str) else [])]:
        for op in graph.matrix_ops:
            first, second = (
                accepted(name, f"layer '{op.name}'", checked_layout, strategy, op, chips)
                for _ in range(2)
            )
            hold(first == second, name, f"layer '{op.name}': another layout for the same matrix")
        placed = accepted(name, f"on {chips.name}", map_graph, graph, chips, strategy)
        _check_timed(name, placed)
    if isinstance(chip, str):
        exact, inputs = chip_of(chip, EXACT), [(torch_of(one),) for one in small_inputs(3)]
        got, wanted = (
            outputs(accepted(name, "on an exact chip", map_graph, graph, exact, one), inputs)
            for one in (strategy, Im2col())
        )
        hold(
            np.allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max()), name,
            "on a chip without errors the outputs differ from those of im2col by "
            f"{np.abs(got - wanted).max():g}",
        )  # fmt: skip


def check_allocation(where: str | type | Allocation, chip: str | Chip = CHIP) -> None:
    """Hold an allocation to `cimsim.mapping.allocation.Allocation`.

    It gives every matrix arrays of the chip, in the order of the requests and the same twice over;
    frames, cycles and energy come out of the mapping; a chip without room is refused.

    Parameters
    ----------
    where : str, type or Allocation
    chip : str or Chip

    Raises
    ------
    ContractBrokenError
    """
    name = path_of(where) if isinstance(where, str | type) else type(where).__qualname__
    allocation = accepted(name, "allocation", resolve, name if isinstance(where, type) else where)
    graph, hardware = small_network(), chip_of(chip)
    strategy = Im2col()
    layouts = {op.name: strategy.place(op, hardware) for op in graph.matrix_ops}
    requests = requests_of(graph, layouts)
    first, second = (
        accepted(name, "allocate", allocation.allocate, graph, requests, hardware) for _ in range(2)
    )
    hold(
        [layer.name for layer in first] == [request.name for request in requests], name,
        "allocate must return a PlacedLayer for each request, in their order",
    )  # fmt: skip
    hold(first == second, name, "allocate gives other places for the same requests")
    placed = accepted(name, f"on {hardware.name}", map_graph, graph, hardware, strategy, allocation)
    _check_timed(name, placed)
    if isinstance(chip, str):
        full = chip_of(chip, {"tile.count": 1, "array.rows": 16, "array.cols": 16, "adc.count": 16})
        refused(name, "a chip without room", map_graph, graph, full, strategy, allocation)


def _check_timed(name: str, placed: Mapping) -> None:
    """Hold cycles and energy of a mapping to be there."""
    import cimsim

    result = accepted(name, "cycles and energy", cimsim.simulate, placed, None)
    hold(result.timing.cycles_per_frame > 0, name, "a frame takes no cycle")
    hold(result.energy.total_j > 0, name, "a frame takes no energy")
