"""What all contract tests share: how they fail, how a class is named, what they run on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingABC
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.errors import CimsimError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    import torch

P = ParamSpec("P")
T = TypeVar("T")
CHIP = "eflash40nm"


class ContractBrokenError(AssertionError):
    """A plug does not keep its contract; the message says which part of it."""


def hold(condition: object, plug: str, rule: str) -> None:
    """Raise unless a rule of the contract holds.

    Raises
    ------
    ContractBrokenError
    """
    if not condition:
        raise ContractBrokenError(f"{plug}: {rule}")


def path_of(plug: str | type) -> str:
    """Return the import path of a class, under which chip files and options name it.

    Raises
    ------
    ContractBrokenError
        It cannot be imported under that path: defined inside of a function, or in ``__main__``.
    """
    if isinstance(plug, str):
        return plug
    module = sys.modules.get(plug.__module__)
    hold(
        getattr(module, plug.__qualname__, None) is plug, plug.__qualname__,
        f"cannot be imported as {plug.__module__}:{plug.__qualname__}; a chip file or an option "
        "names it so: put it at the top of a module",
    )  # fmt: skip
    return f"{plug.__module__}:{plug.__qualname__}"


def accepted(
    plug: str, what: str, of: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Return what a call gives that must not be refused.

    Raises
    ------
    ContractBrokenError
        It was refused, or the plug's own code failed.
    """
    try:
        return of(*arguments, **options)
    except ContractBrokenError:
        raise
    except Exception as why:  # the plug's own code may raise anything
        raise ContractBrokenError(f"{plug}: {what}: {type(why).__name__}: {why}") from why


def refused(
    plug: str, what: str, of: Callable[P, object], *arguments: P.args, **options: P.kwargs
) -> None:
    """Require a call to be refused with a `CimsimError`.

    Raises
    ------
    ContractBrokenError
        It was accepted, or failed otherwise.
    """
    try:
        of(*arguments, **options)
    except Exception as why:  # the plug's own code may raise anything
        if isinstance(why, CimsimError) and not crashed(why):
            return
        raise ContractBrokenError(
            f"{plug}: {what} must be refused with a CimsimError that says why, got "
            f"{type(why).__name__}: {why}"
        ) from why
    raise ContractBrokenError(f"{plug}: {what} must be refused with a CimsimError, was accepted")


def crashed(error: CimsimError) -> bool:
    """Whether what was told is that the plug's own code failed, not what it refuses."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, CimsimError)


def numbers(plug: str, what: str, values: object, like: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return an array of finite numbers >= 0 of the shape of another.

    Raises
    ------
    ContractBrokenError
    """
    array = np.asarray(values)
    hold(array.shape == like.shape, plug, f"{what}: expected shape {like.shape}, got {array.shape}")
    hold(array.dtype == np.float64, plug, f"{what}: expected float64, got {array.dtype}")
    hold(np.isfinite(array).all(), plug, f"{what}: holds NaN or infinity")
    hold((array >= 0).all(), plug, f"{what}: holds {array.min():g}, less than 0")
    return array


def chip_of(chip: str | Chip, overrides: MappingABC[str, object] | None = None) -> Chip:
    """Return a chip by name, changed, or as it is."""
    from cimsim.chip.load import load_hw

    return load_hw(chip, overrides) if isinstance(chip, str) else chip


def small_network(rows: int = 40, classes: int = 5) -> LayerGraph:
    """Return a convolution, a grouped one and a linear layer with activations between them."""
    import torch
    from torch import nn

    import cimsim

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, groups=2),
            nn.ReLU(), nn.Flatten(), nn.Linear(16 * 9, rows), nn.ReLU(), nn.Linear(rows, classes),
        ).eval()  # fmt: skip
    graph: LayerGraph = cimsim.trace(net, (torch.zeros(1, 3, 8, 8),))
    return graph


def small_inputs(count: int) -> NDArray[np.float32]:
    """Return samples of `small_network`, [count, 3, 8, 8]."""
    return np.random.default_rng(2).uniform(size=(count, 3, 8, 8)).astype(np.float32)


def torch_of(sample: NDArray[np.float32]) -> torch.Tensor:
    """Return a sample as the network's input, with a batch axis of 1."""
    import torch

    return torch.from_numpy(sample[None])


def outputs(placed: Mapping, inputs: Sequence[tuple[torch.Tensor, ...]]) -> NDArray[np.float32]:
    """Return what a chip answers to some inputs, on which it is calibrated, too: [n, classes]."""
    from cimsim.engine.execute import execute
    from cimsim.engine.written import written

    calibrated, _ = written(placed, inputs, 0, None, lambda stage, done, total: None)
    return np.stack([
        execute(calibrated, one, number, 0).outputs[0][0].numpy()
        for number, one in enumerate(inputs)
    ])  # fmt: skip
