"""What a task finds out: one number for the float network, one for each programmed chip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of quality.

    Attributes
    ----------
    name : str
        ``top1``, ``snr``.
    unit, meaning : str
    chip : tuple of float
        By programming; the first is the chip that is reported.
    reference : float or None
        Of the float network; None where the float network is what the chip is compared with.
    interval : (float, float) or None
        5 .. 95 % of the mean over programmings, or, of a single chip, what the number of samples
        leaves open.
    interval_of : str
        ``programmings``, ``samples``, ``frames``, ``retention`` or empty.
    noisy : float or None
        Of the noisy frames that were denoised.
    each : tuple of float
        Of each frame or sample on the chip that is reported; empty where they are not kept.
    """

    name: str
    unit: str
    meaning: str
    chip: tuple[float, ...]
    reference: float | None = None
    interval: tuple[float, float] | None = None
    interval_of: str = ""
    noisy: float | None = None
    each: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over the programmings."""
        return sum(self.chip) / len(self.chip)

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> Measure:
        """Return what `dataclasses.asdict` and JSON made."""
        values = dict(data)
        for name in ("chip", "interval", "each"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]
