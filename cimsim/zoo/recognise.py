"""Tell from the tensors of a weight file which network it was made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from cimsim.zoo.registry import MODELS, ModelInfo, build, flag

Shapes = Mapping[str, tuple[int, ...]]
SKIPPED = "num_batches_tracked"  # counts training batches; inference never reads it


def recognise(shapes: Shapes) -> str | None:
    """Return the options that select the network with these tensors, on the command line.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Name and shape of each tensor, without the counters of batch norms.

    Returns
    -------
    str or None
        Such as ``--model fastdvdnet --width 16``; None when no network of the zoo has them.
    """
    found = identify(shapes)
    if found is None:
        return None
    name, options = found
    return " ".join((f"--model {name}", *_chosen(MODELS[name], options)))


def identify(shapes: Shapes) -> tuple[str, dict[str, int | str]] | None:
    """Return name and options of the network with these tensors, None when there is none.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        As in `recognise`.
    """
    for name, entry in MODELS.items():
        for options in _candidates(entry, shapes):
            if _shapes(name, options) == shapes:
                return name, options
    return None


def _chosen(entry: ModelInfo, options: Mapping[str, int | str]) -> Iterator[str]:
    for key, value in options.items():
        if entry.options[key].is_named(value):
            yield flag(key, value)


def _candidates(entry: ModelInfo, shapes: Shapes) -> Iterator[dict[str, int | str]]:
    """Every combination of options that the tensors may have been made with."""
    values = []
    for spec in entry.options.values():
        found = tuple(spec.allowed)
        if spec.sized_by is not None:
            end, divisor = spec.sized_by
            first = [shape[0] // divisor for key, shape in shapes.items() if key.endswith(end)]
            found = tuple(value for value in first[:1] if value in spec.allowed)
        values.append(found)
    for combination in product(*values):
        yield dict(zip(entry.options, combination, strict=True))


def _shapes(name: str, options: Mapping[str, int | str]) -> dict[str, tuple[int, ...]]:
    import torch

    with torch.device("meta"):  # shapes only: no memory, no random numbers
        model = build(name, **options)
    return {
        key: tuple(value.shape) for key, value in model.state_dict().items() if SKIPPED not in key
    }
