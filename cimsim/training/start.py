"""The weights that a training run starts from: random, in closed form, a file or shipped ones."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from cimsim.errors import ConfigError, suggest
from cimsim.training import shrinkage, wiener
from cimsim.training.config import AUTO, CLOSED_FORM, RANDOM, TrainConfig
from cimsim.training.data import Dataset
from cimsim.zoo.lineage import Stage
from cimsim.zoo.weights import (
    Card,
    card_of,
    file_hash,
    fill,
    is_pruned,
    load_weights,
    named_card,
    read_state,
)

logger = logging.getLogger(__name__)


def check(config: TrainConfig) -> None:
    """Raise `ConfigError` for a start that is no name of one, no file and no shipped weights."""
    if config.resolved_start not in (RANDOM, *CLOSED_FORM):
        _weights(config.resolved_start)


def initialise(model: nn.Module, config: TrainConfig, dataset: Dataset) -> None:
    """Give the network, on the CPU, its start.

    Raises
    ------
    ConfigError
        For an unknown start, or one in closed form that is not for this network.
    WeightsError
        For a file that cannot be read or does not fit.
    """
    start = config.resolved_start
    if config.hw is not None and start in (RANDOM, *CLOSED_FORM):
        logger.warning(
            "train: with a chip in the loop batch norms keep the statistics that they start with; "
            "--init a trained float network"
        )
    if start == RANDOM:
        _calm_last_layer(model)
    elif start in CLOSED_FORM:
        logger.info("fitting the %s start", start)
        fill = wiener.start if start == "wiener" else shrinkage.start
        fill(model, dataset, sigma=config.validation_sigma, seed=config.seed)
    else:
        _load(model, _weights(start), config.seed)


def _load(model: nn.Module, source: Path | Card, seed: int) -> None:
    """Fill the network from a file; one that can grow takes a smaller relative's, too."""
    path = source.file if isinstance(source, Card) else source
    grown = getattr(model, "grown", None)
    if callable(grown) and path is not None and not is_pruned(path):
        bigger = grown(read_state(path), seed=seed)
        if bigger is not None:
            logger.info("the network grows from that of %s", path)
            fill(model, bigger, where=str(path))
            return
    load_weights(model, source)


def lineage(config: TrainConfig) -> tuple[Stage, ...]:
    """Return the stages behind the weights that a run starts from, oldest first.

    None for a start that was not trained. A weight file without a card gives one stage that says
    no more than the name of the file and its hash.

    Raises
    ------
    WeightsError
        For a card that cannot be read.
    """
    if config.resolved_start in (RANDOM, *CLOSED_FORM):
        return ()
    source = _weights(config.resolved_start)
    if isinstance(source, Card):
        return source.stages
    card = card_of(source)
    if card is not None:
        return card.stages
    return (Stage(f"weights of unknown training: {source.name}", sha256=file_hash(source)),)


def _weights(start: str) -> Path | Card:
    """Return the weight file of that path, or the shipped weights of that name."""
    if Path(start).is_file():
        return Path(start)
    card = named_card(start)
    if card is None:
        raise ConfigError(
            f"train: start: '{start}' is no weight file and no shipped weights"
            f"{suggest(start, (AUTO, *CLOSED_FORM, RANDOM))}"
        )
    return card


def _calm_last_layer(model: nn.Module) -> None:
    """Shrink the last convolution: a residual network then starts near the noisy frame."""
    last = [part for part in model.modules() if isinstance(part, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight *= 0.1
