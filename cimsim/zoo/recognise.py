"""Tell from the tensors of a weight file which network it was made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product

from cimsim.zoo.errors import ZooError
from cimsim.zoo.registry import MODELS, ModelInfo, Option, build, flag

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
    network = identify(shapes)
    if network is None:
        return None
    name, options = network
    return " ".join((f"--model {name}", *_chosen(MODELS[name], options)))


def identify(shapes: Shapes) -> tuple[str, dict[str, int | str]] | None:
    """Return name and options of the network with these tensors, None when there is none.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        As for `recognise`; counters of batch norms do not matter.
    """
    wanted = {key: shape for key, shape in shapes.items() if SKIPPED not in key}
    for name, entry in MODELS.items():
        for options in _candidates(entry, wanted):
            try:
                own_shapes = shapes_of(name, options)
            except ZooError:  # options that do not go together
                continue
            if own_shapes == wanted:
                return name, options
    return None


def _chosen(entry: ModelInfo, options: Mapping[str, int | str]) -> Iterator[str]:
    for key, value in options.items():
        if entry.options[key].is_chosen(value, options):
            yield flag(key, value)


def _candidates(entry: ModelInfo, shapes: Shapes) -> Iterator[dict[str, int | str]]:
    """Yield combinations of options that the tensors may have been made with.

    Options that only weight files of variants name in their suffix are changed one at a time.
    """
    values = {key: _values(spec, shapes) for key, spec in entry.options.items()}
    variants = [key for key, spec in entry.options.items() if spec.suffix and not spec.told_by]
    plain = {key: (entry.options[key].default,) for key in variants}
    changed = [{key: values[key][1:]} for key in variants]
    for one in ({}, *changed):
        chosen = values | plain | one
        for combination in product(*chosen.values()):
            yield dict(zip(chosen, combination, strict=True))


def _values(spec: Option, shapes: Shapes) -> tuple[int | str, ...]:
    """Return the values that an option may have had, its default first."""
    if spec.told_by is None:
        return tuple(sorted(spec.allowed, key=lambda value: value != spec.default))
    told = spec.told_by(shapes)
    return (told,) if told in spec.allowed else ()


def shapes_of(name: str, options: Mapping[str, int | str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors, without the counters of batch norms."""
    return dict(_shapes_of(name, tuple(sorted(options.items()))))


@lru_cache(maxsize=1024)  # as many as the zoo has; a file that fits none is held against all
def _shapes_of(
    name: str, options: tuple[tuple[str, int | str], ...]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    import torch

    with torch.device("meta"):  # shapes only: no memory, no random numbers
        model = build(name, **dict(options))
    return tuple(
        (key, tuple(value.shape)) for key, value in model.state_dict().items() if SKIPPED not in key
    )
