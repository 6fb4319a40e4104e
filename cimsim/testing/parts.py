"""Contracts of what a chip is made of: cells, converters, interconnects, costs, estimators."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells import build, device_of, model_of
from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.converters import AbstractConverter
from cimsim.chip.estimators import AbstractEstimator, estimator_of
from cimsim.chip.fields import fields
from cimsim.chip.interconnects import AbstractInterconnect, Hop, interconnect_of
from cimsim.chip.load import chip_hash, load_hw
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import CimsimError
from cimsim.graph.costs import AbstractOpCost
from cimsim.graph.ir import LayerGraph
from cimsim.testing.contract import (
    CHIP,
    accepted,
    chip_of,
    crashed,
    hold,
    numbers,
    outputs,
    path_of,
    refused,
    small_inputs,
    small_network,
    torch_of,
)

DAY_S = 86_400.0
Floats = NDArray[np.float64]


def check_device(
    kind: str | type[AbstractDevice],
    parameters: Mapping[str, object] | None = None,
    chip: str = CHIP,
) -> None:
    """Hold a cell model to `cimsim.api.AbstractDevice`.

    It is found by its import path, refuses unknown parameters, has a range of conductances, writes
    and reads finite conductances >= 0 of the shape that it is given, changes none of its arguments,
    gives the same cells for the same generator, and ages by itself or says that it cannot. Its text
    is part of the chip's hash.

    Parameters
    ----------
    kind : str or type
    parameters : mapping, optional
        What stands beside ``kind`` in a chip file.
    chip : str
        A chip file that the cell is put into.

    Raises
    ------
    ContractBrokenError
    """
    name, given = path_of(kind), dict(parameters or {})
    accepted(name, "device.kind", model_of, name)
    device = accepted(name, f"parameters {given}", build, name, given)
    refused(name, "an unknown parameter", build, name, given | {"no_such_parameter": 1})
    _check_range(name, device)
    targets = np.linspace(device.g_min_s, device.g_max_s, 1200).reshape(30, 40)
    written = _check_writing(name, device, targets)
    _check_reading(name, device, written)
    _check_ageing(name, device, written)
    made = {"device.kind": name, **{f"device.{key}": value for key, value in given.items()}}
    if device.max_bits is not None:
        made["weights.cell_bits"] = device.max_bits
    used = accepted(name, f"on {chip}", load_hw, chip, made)
    accepted(name, f"on {chip}", device_of, used)
    hold(chip_hash(used) != chip_hash(load_hw(chip)), name, "does not change the chip's hash")


def _check_range(name: str, device: AbstractDevice) -> None:
    hold(
        device.conduction in ("ohmic", "gate"), name,
        f"conduction: expected 'ohmic' or 'gate', got {device.conduction!r}",
    )  # fmt: skip
    low, high = device.g_min_s, device.g_max_s
    hold(
        math.isfinite(low) and math.isfinite(high) and 0 <= low < high, name,
        f"expected 0 <= g_min_s < g_max_s, got {low!r} and {high!r}",
    )  # fmt: skip
    bits = device.max_bits
    hold(
        bits is None or (isinstance(bits, int) and bits >= 1), name,
        f"max_bits: expected None or a whole number of at least 1, got {bits!r}",
    )  # fmt: skip


def _check_writing(name: str, device: AbstractDevice, targets: Floats) -> Floats:
    before = targets.copy()
    first = accepted(name, "program", device.program, targets, np.random.default_rng(7))
    written = numbers(name, "program", first, targets).copy()
    hold(np.array_equal(targets, before), name, "program changes the targets that it is given")
    again = accepted(name, "program", device.program, targets, np.random.default_rng(7))
    hold(
        np.array_equal(written, again), name,
        "program gives other cells for the same generator: draw from rng only, keep no state",
    )  # fmt: skip
    if device.is_exact:
        hold(
            np.allclose(written, targets, rtol=1e-12, atol=0), name,
            "is_exact says that cells take their target, program gives others",
        )  # fmt: skip
    return written


def _check_reading(name: str, device: AbstractDevice, written: Floats) -> None:
    before = written.copy()
    sigma = numbers(name, "read_sigma", accepted(name, "read_sigma", device.read_sigma, written),
                    written)  # fmt: skip
    hold(np.array_equal(written, before), name, "read_sigma changes the conductances it is given")
    hold(
        not (device.is_exact and sigma.any()), name,
        "is_exact says that cells never fluctuate, read_sigma is not 0",
    )  # fmt: skip


def _check_ageing(name: str, device: AbstractDevice, written: Floats) -> None:
    accepted(name, "time 0 s at 25 C", device.check_conditions, 0.0, REFERENCE_K)
    rng = np.random.default_rng
    fresh = accepted(name, "age", device.age, written, 0.0, REFERENCE_K, rng(3))
    hold(np.array_equal(fresh, written), name, "age changes cells at time 0 and 25 C")
    try:
        device.check_conditions(DAY_S, REFERENCE_K)
    except CimsimError as why:  # a model without drift says so
        hold(not crashed(why), name, f"check_conditions must refuse with a ConfigError, got {why}")
        return
    first, second = (
        numbers(name, "age", device.age(written, DAY_S, REFERENCE_K, rng(3)), written)
        for _ in range(2)
    )
    hold(np.array_equal(first, second), name, "age gives other cells for the same generator")


def check_estimator(
    kind: str | type[AbstractEstimator], section: str, chip: str = CHIP,
    outside: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """Hold an estimator to `cimsim.api.AbstractEstimator`.

    It says what it computes and where that is from, gives exactly the fields that it promises, each
    a finite number >= 0 in SI units, the same number for the same chip; a chip file that says
    ``auto package.module:Class`` has that number.

    Parameters
    ----------
    kind : str or type
    section : str
        Whose fields it gives: ``adc``, ``buffer`` ...
    chip : str
        A chip that its formula is valid for.
    outside : mapping, optional
        Overrides that take this chip out of what the formula is valid for, which it must refuse.

    Raises
    ------
    ContractBrokenError
    """
    name = path_of(kind)
    estimator = accepted(name, "estimator", estimator_of, name)
    for field in ("formula", "source"):
        text = getattr(estimator, field, None)
        hold(isinstance(text, str) and text.strip(), name, f"{field}: expected a text that says it")
    known = {path.partition(".")[2] for path in fields() if path.startswith(f"{section}.")}
    gives = tuple(estimator.gives)
    hold(bool(gives), name, f"gives: names no field; {section} has {', '.join(sorted(known))}")
    for field in gives:
        hold(field in known, name, f"gives: '{field}' is no field of {section}")
    plain = chip_of(chip)
    first, second = (
        accepted(name, "estimate", estimator.estimate, plain, section) for _ in range(2)
    )
    hold(set(first) == set(gives), name, f"estimate gives {sorted(first)}, promised {list(gives)}")
    hold(first == second, name, "estimate gives other numbers for the same chip")
    for field, value in first.items():
        hold(
            isinstance(value, int | float) and math.isfinite(value) and value >= 0, name,
            f"estimate: {section}.{field}: expected a finite number >= 0, got {value!r}",
        )  # fmt: skip
    auto = {f"{section}.{field}": f"auto {name}" for field in gives}
    accepted(name, "in a chip file", load_hw, chip, auto)
    if outside:
        refused(name, f"a chip with {dict(outside)}", load_hw, chip, {**outside, **auto})


def check_op_cost(
    kind: str | type[AbstractOpCost], graph: LayerGraph, operation: str, chip: str = CHIP
) -> None:
    """Hold the cost of an operation to `cimsim.api.AbstractOpCost`.

    For every such operation of the network it gives a finite number >= 0, the same each time; a
    chip that names it has cycles and energy, and counts the operation as modelled.

    Parameters
    ----------
    kind : str or type
    graph : LayerGraph
        A network with the operation.
    operation : str
        Its name, as ``op.op`` and the screen have it.
    chip : str

    Raises
    ------
    ContractBrokenError
    """
    import cimsim
    from cimsim.graph.costs import costed

    name = path_of(kind)
    there = [op for op in graph.digital_ops if op.op == operation]
    known = ", ".join(sorted({op.op for op in graph.digital_ops}))
    hold(bool(there), name, f"the network has no operation '{operation}'; it has {known}")
    used = accepted(name, f"on {chip}", load_hw, chip, {"vector.costs": {operation: name}})
    first, second = (accepted(name, f"vector.costs.{operation}", costed, graph, used)
                     for _ in range(2))  # fmt: skip
    for op in there:
        costs = first[op.name].ops_per_element, second[op.name].ops_per_element  # type: ignore[union-attr]
        hold(costs[0] == costs[1], name, f"'{op.name}': costs {costs[0]:g}, and then {costs[1]:g}")
    placed = accepted(name, f"on {chip}", cimsim.map_graph, graph, used)
    result = accepted(name, "cycles and energy", cimsim.simulate, placed, None)
    assert result.coverage is not None
    hold(
        not any(missing.op == operation for missing in result.coverage.missing), name,
        "the result says that the operation is not modelled",
    )  # fmt: skip
    hold(chip_hash(used) != chip_hash(load_hw(chip)), name, "does not change the chip's hash")


def check_interconnect(kind: str | type[AbstractInterconnect], chip: str = CHIP) -> None:
    """Hold an interconnect to `cimsim.api.AbstractInterconnect`.

    On chips of one tile and of many it has ways from every tile to every other and to several at
    once: links of the chip, none twice, each behind one that stands before it. Cycles grow with
    bytes; energy and area are finite and >= 0; a network on such a chip has cycles and energy, no
    fewer cycles than with an ideal interconnect, and the text of the class is part of the hash.

    Parameters
    ----------
    kind : str or type
    chip : str
        A chip file that it is put into.

    Raises
    ------
    ContractBrokenError
    """
    import cimsim

    name = path_of(kind)
    for tiles in (1, 2, 5, 12):
        many = accepted(name, f"on {chip}", load_hw, chip,
                        {"interconnect.kind": name, "tile.count": tiles})  # fmt: skip
        net = accepted(name, "interconnect.kind", interconnect_of, many)
        _check_numbers_of(name, net)
        if net.is_free:
            continue
        alone = [(source, (target,)) for source in range(tiles) for target in range(tiles)]
        several = [(source, tuple(range(source % 2, tiles, 2))) for source in range(tiles)]
        for source, targets in (*alone, *several):
            _check_way(name, net, source, targets, tiles)
    used = load_hw(chip, {"interconnect.kind": name})
    timed = []
    for one in (used, load_hw(chip, {"interconnect.kind": "ideal"})):
        placed = cimsim.map_graph(small_network(), one)
        timed.append(accepted(name, "cycles and energy", cimsim.simulate, placed, None).timing)
    hold(
        timed[0].latency_cycles >= timed[1].latency_cycles, name,
        "a frame takes fewer cycles than with an interconnect that moves everything at once",
    )  # fmt: skip
    hold(chip_hash(used) != chip_hash(load_hw(chip)), name, "does not change the chip's hash")


def _check_numbers_of(name: str, net: AbstractInterconnect) -> None:
    for field in ("is_free", "is_one_wire"):
        hold(isinstance(getattr(net, field), bool), name, f"{field}: expected True or False")
    before = 0
    for n_bytes in (1, 2, 63, 64, 65, 4096):
        cycles = accepted(name, "cycles", net.cycles, n_bytes)
        hold(
            isinstance(cycles, int) and cycles >= max(1, before), name,
            f"cycles({n_bytes}): expected a whole number >= {max(1, before)}, got {cycles!r}",
        )  # fmt: skip
        before = cycles
        delay = accepted(name, "delay", net.delay, n_bytes)
        hold(
            isinstance(delay, int) and delay >= 1, name,
            f"delay({n_bytes}): expected a whole number >= 1, got {delay!r}",
        )  # fmt: skip
    area = accepted(name, "area_m2", lambda: net.area_m2)
    hold(math.isfinite(area) and area >= 0, name, f"area_m2: expected >= 0, got {area!r}")


def _check_way(
    name: str, net: AbstractInterconnect, source: int, targets: tuple[int, ...], tiles: int
) -> None:
    what = f"way({source}, {targets}) of {tiles} tiles"
    hops = accepted(name, what, net.way, source, targets)
    hold(isinstance(hops, tuple) and all(isinstance(hop, Hop) for hop in hops), name,
         f"{what}: expected a tuple of Hop")  # fmt: skip
    hold(hops == net.way(source, targets), name, f"{what}: another way each time")
    links = [hop.link for hop in hops]
    hold(len(set(links)) == len(links), name, f"{what}: a link twice")
    numbers_of = 0 if net.is_one_wire else 2
    for place, hop in enumerate(hops):
        hold(
            len(hop.link) == numbers_of and all(isinstance(n, int) for n in hop.link), name,
            f"{what}: link: expected {numbers_of} whole numbers, got {hop.link!r}",
        )  # fmt: skip
        hold(-1 <= hop.after < place, name, f"{what}: hop {place} follows one that is not before")
        hold(all(0 <= tile < tiles for tile in hop.tiles), name, f"{what}: no tile {hop.tiles}")
        energy = accepted(name, "energy_j_b", net.energy_j_b, hop.link)
        hold(
            math.isfinite(energy) and energy >= 0, name,
            f"energy_j_b({hop.link}): expected a finite number >= 0, got {energy!r}",
        )  # fmt: skip
    lost = {*targets} - {source} - {tile for hop in hops for tile in hop.tiles}
    hold(not lost, name, f"{what}: tile {min(lost, default=-1)} is not reached")


def check_converter(kind: str | type[AbstractConverter], chip: str = CHIP) -> None:
    """Hold a column converter to `cimsim.api.AbstractConverter`.

    More bits never take fewer steps; time, energy and noise are finite and >= 0; its curves are
    drawn from the generator alone; a network on such a chip has frames, cycles and energy; with ten
    bits it is no less exact than with three; and the text of the class is part of the hash.

    Parameters
    ----------
    kind : str or type
    chip : str
        A chip file that it is put into.

    Raises
    ------
    ContractBrokenError
    """
    name = path_of(kind)
    used = accepted(name, f"on {chip}", load_hw, chip, {"adc.kind": name})
    made = accepted(name, "adc.kind", lambda: used.adc.converter)
    for field in ("is_exact", "takes_steps", "is_bent"):
        hold(isinstance(getattr(made, field), bool), name, f"{field}: expected True or False")
    before = 1.0
    for bits in range(1, 17):
        steps = accepted(name, "steps", made.steps, bits)
        hold(
            isinstance(steps, int | float) and math.isfinite(steps) and steps >= before, name,
            f"steps({bits}): expected a number >= {before:g}, got {steps!r}",
        )  # fmt: skip
        before = float(steps)
    for field, least in (("conversion_s", 1e-15), ("energy_j", 0.0), ("noise_lsb", 0.0)):
        value = accepted(name, field, getattr, made, field)
        hold(
            isinstance(value, int | float) and math.isfinite(value) and value >= least, name,
            f"{field}: expected a finite number >= {least:g}, got {value!r}",
        )  # fmt: skip
    _check_curves(name, made)
    if not made.is_exact:
        _check_exactness(name, chip)
    hold(chip_hash(used) != chip_hash(load_hw(chip)), name, "does not change the chip's hash")


def _check_curves(name: str, made: AbstractConverter) -> None:
    """Hold tables of errors to their shapes and to the generator."""
    if made.is_bent:
        first, second = (
            accepted(name, "curves", made.curves, 6, np.random.default_rng(5)) for _ in range(2)
        )
        _check_table(name, "curves", first, 2)
        hold(np.array_equal(first, second), name, "curves: others for the same generator")
        other = made.curves(6, np.random.default_rng(6))
        hold(first.shape == other.shape, name, "curves: another shape for another generator")
    curve = accepted(name, "noise_curve", made.noise_curve)
    if curve is not None:
        _check_table(name, "noise_curve", curve, 1)
        hold((curve >= 0).all(), name, "noise_curve: holds less than 0")


def _check_table(name: str, what: str, table: object, axes: int) -> None:
    shape = "[m, k]" if axes == 2 else "[k]"
    hold(
        isinstance(table, np.ndarray) and table.dtype == np.float32 and table.ndim == axes, name,
        f"{what}: expected float32 {shape}, got {type(table).__name__} "
        f"{getattr(table, 'dtype', '')}{list(getattr(table, 'shape', ()))}",
    )  # fmt: skip
    assert isinstance(table, np.ndarray)
    hold(table.shape[0] >= 1 and table.shape[-1] >= 2, name, f"{what}: fewer than two points")
    hold(np.isfinite(table).all(), name, f"{what}: holds NaN or infinity")


def _check_exactness(name: str, chip: str) -> None:
    """Run a network behind converters of few and of many bits, on cells without errors."""
    import cimsim

    graph, errors = small_network(), []
    inputs = [(torch_of(one),) for one in small_inputs(3)]
    for bits in (3, 10):
        changes = {"adc.kind": name, "adc.bits": bits, "device.kind": "ideal"}
        placed = accepted(name, f"with {bits} bits", cimsim.map_graph, graph,
                          load_hw(chip, changes))  # fmt: skip
        result = accepted(name, "cycles and energy", cimsim.simulate, placed, None)
        hold(result.timing.cycles_per_frame > 0, name, "a frame takes no cycle")
        got = accepted(name, f"a run with {bits} bits", outputs, placed, inputs)
        wanted = np.stack([graph.reference(*one)[0][0].numpy() for one in inputs])
        hold(np.isfinite(got).all(), name, f"a run with {bits} bits gives NaN or infinity")
        errors.append(float(np.mean((got - wanted) ** 2)))
    hold(
        errors[1] <= errors[0], name,
        f"ten bits are less exact than three: mean squared error {errors[1]:g} in place of "
        f"{errors[0]:g}",
    )  # fmt: skip
