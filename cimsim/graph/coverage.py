"""Which share of a network has time and energy: its MACs, its weights, the values that it moves.

A matrix on arrays is modelled. So is a digital operation that has a cost rule: the vector unit is
charged for it, and for products of computed values (attention) the chip's matmul unit. Of a chip
that has none the vector unit is charged, two operations for a product: a guess about a chip that
was not built for it, so these MACs do not count as modelled. Operations without a cost rule run,
in no time and at no energy; here they are named. Operations that only give values other places
(reshape, slice, concatenation) are addresses: their values are charged where they are stored and
read, so they count nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cimsim.chip.spec import Chip
from cimsim.errors import InputError
from cimsim.graph.costs import costed
from cimsim.graph.ir import DigitalOp, LayerGraph, Ref, TensorSpec, nested_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

LEAST = 0.95  # of the MACs; with less no command gives headline numbers unasked
_SHOWN = 5
UNIT = "--set matmul.lanes=64 --set matmul.energy=auto"


@dataclass(frozen=True, slots=True)
class Missing:
    """An operation without time and energy.

    Attributes
    ----------
    name, op, source : str
        Node, operator, module and line.
    macs, weights, values : int
        What it multiplies, holds and stores, per sample.
    """

    name: str
    op: str
    source: str
    macs: int
    weights: int
    values: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a network is modelled, per sample.

    Attributes
    ----------
    macs_on_arrays, macs_digital, macs_missing : int
        Multiply-accumulates on arrays, of computed values with each other on a digital unit, and
        those that are not modelled.
    weights_modelled, weights_missing : int
        Constants of matrices (each copy once) and of digital operations.
    values_modelled, values_missing : int
        Values that operations store.
    missing : tuple of Missing
        Operations without a cost rule.
    borrowed : tuple of Missing
        Products of computed values that the vector unit does because the chip has no matmul unit.
    """

    macs_on_arrays: int
    macs_digital: int
    macs_missing: int
    weights_modelled: int
    weights_missing: int
    values_modelled: int
    values_missing: int
    missing: tuple[Missing, ...] = ()
    borrowed: tuple[Missing, ...] = ()

    @property
    def macs(self) -> float:
        """Share of the multiply-accumulates that has time and energy, 0 .. 1."""
        return _share(self.macs_on_arrays + self.macs_digital, self.macs_missing)

    @property
    def weights(self) -> float:
        """Share of the weights, 0 .. 1."""
        return _share(self.weights_modelled, self.weights_missing)

    @property
    def moved(self) -> float:
        """Share of the bytes that operations store, 0 .. 1."""
        return _share(self.values_modelled, self.values_missing)

    @property
    def complete(self) -> bool:
        """Whether every operation has a cost."""
        return not self.missing

    def lines(self) -> list[str]:
        """Say it in words, one line or two."""
        total = self.macs_on_arrays + self.macs_digital + self.macs_missing
        where = f"{_percent(self.macs_on_arrays, total)} on arrays"
        if self.macs_digital:
            where += f", {_percent(self.macs_digital, total)} on digital units"
        sentences = [
            f"modelled: {_of(self.macs)} of the MACs ({where}), {_of(self.weights)} of the "
            f"weights, {_of(self.moved)} of the bytes moved"
        ]
        if self.missing:
            sentences.append(f"not modelled, no time and no energy: {_named(self.missing)}")
        if self.borrowed:
            sentences.append(
                f"not modelled, the chip has no matmul unit: {_named(self.borrowed)}; charged as "
                f"two operations of the vector unit for each MAC ({UNIT} gives the chip one)"
            )
        return sentences

    def named(self) -> str:
        """List what is not modelled, the largest first."""
        return _named((*self.missing, *self.borrowed))

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON: the shares, the counts and what is missing."""
        shares = {"macs": self.macs, "weights": self.weights, "moved": self.moved}
        return {"modelled": shares} | asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Coverage:
        """Return what `to_dict` made."""
        held: dict[str, Any] = {name: one for name, one in data.items() if name != "modelled"}
        for name in ("missing", "borrowed"):
            held[name] = tuple(Missing(**one) for one in held.get(name, ()))
        return cls(**held)


def coverage(graph: LayerGraph, chip: Chip | None = None) -> Coverage:
    """Count what of a network is modelled.

    MACs of operations without a cost rule are those that torch's own counter of operations finds
    in them (`torch.utils.flop_counter`); what it does not know has none.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip, optional
        What it runs on; without that, one that has units for all that has a cost rule. Operations
        that it gives a cost of its own (``vector.costs``) are modelled.
    """
    graph = graph if chip is None else costed(graph, chip)
    macs = {"digital": 0, "missing": 0}
    held = {"modelled": _weights_on_arrays(graph), "missing": 0}
    values = {"modelled": sum(graph.per_sample(op.name) for op in graph.matrix_ops), "missing": 0}
    missing: list[Missing] = []
    borrowed: list[Missing] = []
    lacks_unit = chip is not None and chip.matmul is None
    met: set[int] = set()
    for op in graph.digital_ops:
        lost = op.ops_per_element is None
        # a tensor of one number is a number
        several = (t for t in nested_tensors((op.args, op.kwargs)) if t.numel() > 1)
        constants = [t for t in several if id(t) not in met]
        met |= {id(t) for t in constants}
        mine = sum(t.numel() for t in constants)
        stored = 0 if op.ops_per_element == 0 else graph.per_sample(op.name)
        products = _products(graph, op) if lost else _own_products(graph, op)
        borrows = products > 0 and not lost and lacks_unit
        macs["missing" if lost or borrows else "digital"] += products
        held["missing" if lost else "modelled"] += mine
        values["missing" if lost else "modelled"] += stored
        if lost:
            missing.append(Missing(op.name, op.op, op.source, products, mine, stored))
        elif borrows:
            borrowed.append(Missing(op.name, op.op, op.source, products, 0, 0))
    on_arrays = sum(op.windows * op.n_weights for op in graph.matrix_ops)
    return Coverage(
        on_arrays, macs["digital"], macs["missing"], held["modelled"], held["missing"],
        values["modelled"], values["missing"], tuple(missing), tuple(borrowed),
    )  # fmt: skip


def check(graph: LayerGraph, partial: bool, chip: Chip | None = None) -> Coverage:
    """Return the coverage; refuse a network of which too little is modelled.

    Parameters
    ----------
    graph : LayerGraph
    partial : bool
        Whether the user asked for numbers all the same.
    chip : Chip, optional
        See `coverage`.

    Raises
    ------
    InputError
        Less than 95 % of the MACs have time and energy; the message names the others.
    """
    covered = coverage(graph, chip)
    if covered.macs >= LEAST or partial:
        return covered
    ways = []
    if covered.borrowed:
        ways.append(f"give the chip a matmul unit ({UNIT})")
    if covered.missing:
        ways.append(
            "write these with layers that have weights (convolution, linear, recurrent, einsum "
            "with a constant), or give them a cost (--set vector.costs.NAME=4)"
        )
    raise InputError(
        f"{graph.name}: {_of(covered.macs)} of its MACs have time and energy, so cycles, energy "
        f"and frames per second would be those of that part alone. Not modelled: "
        f"{covered.named()}. To go on, {', or '.join(ways)}, or ask for the numbers of the part "
        "with --partial"
    )


def _named(operations: tuple[Missing, ...]) -> str:
    order = sorted(operations, key=lambda m: (m.macs, m.weights, m.values), reverse=True)
    texts = [f"{m.op} ({m.source or m.name}{_macs(m)})" for m in order[:_SHOWN]]
    more = len(order) - _SHOWN
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def _weights_on_arrays(graph: LayerGraph) -> int:
    sizes = {op.weights_id or op.name: op.n_weights + _size(op.bias) for op in graph.matrix_ops}
    return sum(sizes.values())


def _size(bias: NDArray[np.float32] | None) -> int:
    return 0 if bias is None else int(bias.size)


def _own_products(graph: LayerGraph, op: DigitalOp) -> int:
    """Products of computed values of a digital operation, per sample, rounded up."""
    whole = op.macs_per_element * math.prod(op.output.shape)
    return math.ceil(whole / graph.batch - 1e-6)


def _products(graph: LayerGraph, op: DigitalOp) -> int:
    """Multiply-accumulates of a digital operation per sample, as torch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if op.target is None:
        return 0
    for device in ("meta", "cpu"):

        def of(value: object, device: str = device) -> object:
            if isinstance(value, Ref):
                return _blank(graph[value.name].output, device)
            if isinstance(value, torch.Tensor):
                return value.to(device)
            if isinstance(value, tuple | list):
                return type(value)(of(item) for item in value)
            return {k: of(v) for k, v in value.items()} if isinstance(value, dict) else value

        try:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                named = {name: of(value) for name, value in op.kwargs.items()}
                op.target(*map(of, op.args), **named)
            return -(-int(counter.get_total_flops()) // 2 // graph.batch)
        except Exception:  # noqa: BLE001 - some operators have no meta kernel
            continue
    return 0


def _blank(spec: TensorSpec, device: str) -> Tensor:
    import torch

    return torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device=device)


def _share(modelled: int, missing: int) -> float:
    return modelled / (modelled + missing) if modelled + missing else 1.0


def _percent(part: int, total: int) -> str:
    return _of(part / total if total else 1.0)


def _of(share: float) -> str:
    """Percent with two digits that never rounds up to everything."""
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    return f"{min(100 * share, 99.9):.3g} %"


def _macs(missing: Missing) -> str:
    return f", {missing.macs:,} MACs" if missing.macs else ""
