"""What the zoo raises; a ``ValueError``, so that it reads well without the rest of cimsim."""

from __future__ import annotations


class ZooError(ValueError):
    """A network or one of its options is unknown or cannot be built."""


class WeightsError(ZooError):
    """A weight file or its card is damaged or does not belong to the network."""
