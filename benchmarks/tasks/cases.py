"""Which network on which chip, what was published of it, and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.cifar.data import Images, split
from benchmarks.cifar.data import load as load_cifar
from cimsim.tasks.keywords import keywords
from cimsim.tasks.questions import Classification, Task
from cimsim.tasks.sources import Arrays


@dataclass(frozen=True)
class Published:
    """Accuracies in percent as they were published.

    Attributes
    ----------
    software, chip : float or None
        None: not found.
    source : str
    """

    software: float | None
    chip: float | None
    source: str


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes
    ----------
    row, network, chip, data : str
        ``data`` is ``digits`` or ``cifar``.
    published : Published
    assumed : str
    per_second : float or None
        Samples a second that energy is charged at; None: back to back.
    changes : tuple of (str, int)
        Of the chip file.
    """

    row: str
    network: str
    chip: str
    data: str
    published: Published
    assumed: str
    per_second: float | None = None
    changes: tuple[tuple[str, int], ...] = ()

    @property
    def hardware(self) -> str:
        """Chip and changes, as tables name them."""
        return ", ".join((self.chip, *(f"{name}={value}" for name, value in self.changes)))

    @property
    def is_verified(self) -> bool:
        """Whether both published figures were seen in print."""
        return self.published.software is not None and self.published.chip is not None

    def task(self, folder: Path, samples: int | None) -> Task:
        """Return the question, on test data, calibrated on training data."""
        if self.data == "digits":
            return keywords(folder, samples)
        images, labels = load_cifar(folder, "test")
        known, right = load_cifar(folder, "train")
        learn, _ = split(right)
        return Classification(
            source=_arrays(images, labels, "CIFAR-10 test, JPEG copies"), samples=samples,
            calibration_source=_arrays(known[learn[:64]], right[learn[:64]], "CIFAR-10 train"),
        )  # fmt: skip


def _arrays(images: Images, labels: Images, name: str) -> Arrays:
    return Arrays((images.transpose(0, 3, 1, 2),), labels.astype("int64"), name)


_BAI = (
    "accuracy not published; SoC with 40 words 0.5 mA, with 100 words 0.7 mA, both at 400 Mop/s: "
    "Bai, TCAD 2024, Tab. IV; 0.9 and 1.26 mW at an assumed 1.8 V"
)
_WORDS = (
    "other words and other networks than the vendor's; the processor never sleeps; cepstra are "
    "computed elsewhere and cost nothing"
)
_RESNET20 = Published(
    87.53, 85.7,
    "chip: Wan, Nature 608, 2022, abstract; software: authors' repository "
    "weierwan/Neurram_48core, inference_simulation.ipynb (87.82 after tuning on the chip)",
)  # fmt: skip
_UNLIKE = (
    "trained for a fraction of the authors' 200 epochs, with noise of 0.10 of the largest weight "
    "(theirs 0.20, then 0.10); an image of 3 bits (theirs 4); no tuning of layers on the chip; "
    "cells 1 s after programming; JPEG copies"
)
CASES = (
    Case("A1", "dscnn", "wtm2101", "digits", Published(None, None, _BAI), _WORDS, 1.0),
    Case("A2", "keyword-lstm", "wtm2101", "digits", Published(None, None, _BAI), _WORDS, 1.0),
    Case(
        "A3", "resnet20", "neurram130nm", "cifar", _RESNET20,
        f"weights rounded to 4 bits, as the chip file has them (theirs continuous); {_UNLIKE}",
    ),
    Case(
        "A3b", "resnet20", "neurram130nm", "cifar", _RESNET20,
        "added after A3 was seen: weights of 8 bits stand for theirs, which are continuous; "
        f"{_UNLIKE}",
        changes=(("weights.bits", 8),),
    ),
    Case(
        "A4", "resnet9", "pcm64core14nm", "cifar",
        Published(
            None, 92.81,
            "chip: Le Gallo, Nature Electronics 6, 2023, as quoted by creati.ai and "
            "techfrom10.com, Jan 2026; that it is a ResNet-9 is from memory †",
        ),
        "† widths, training and software accuracy of the published network unknown: the losses "
        "cannot be compared; cells 20 s after programming; JPEG copies",
    ),
)  # fmt: skip


def case(row: str) -> Case:
    """Return a case by its row."""
    return next(one for one in CASES if one.row == row)
