"""CIFAR-10 from the archives of JPEG copies.

python -m benchmarks.cifar.data --data cifar10 --out out/cifar10

writes ``train.npz`` and ``test.npz`` there, as `cimsim run --data` takes them: images
uint8 [N, 3, 32, 32] and labels ``y``.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from cimsim.errors import InputError
from cimsim.rng import key

HELD_OUT = 5000  # of the training images
Images = NDArray[np.uint8]


def load(folder: Path, part: str) -> tuple[Images, Images]:
    """Read ``part`` (``train`` or ``test``).

    Returns
    -------
    images : uint8 [N, 32, 32, 3]
    labels : uint8 [N]
        Classes in alphabetical order.

    Raises
    ------
    InputError
        Neither ``part.npz`` nor ``part.tar.xz`` is in the folder.
    """
    ready = folder / f"{part}.npz"
    if ready.is_file():
        with np.load(ready) as file:
            return np.ascontiguousarray(file["x"].transpose(0, 2, 3, 1)), file["y"]
    packed = folder / f"{part}.tar.xz"
    if not packed.is_file():
        raise InputError(f"--data: neither {ready.name} nor {packed.name} is in '{folder}'")
    return _read(packed)


def split(labels: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of images to learn from and of those that are held out."""
    order = np.random.default_rng(key("cifar", "held out") % 2**63).permutation(len(labels))
    return order[HELD_OUT:], order[:HELD_OUT]


def _read(path: Path) -> tuple[Images, Images]:
    from PIL import Image

    images, names = [], []
    with tarfile.open(path, "r:xz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
                names.append(member.name.split("/")[1])
    classes = sorted(set(names))
    return np.stack(images), np.array([classes.index(name) for name in names], np.uint8)


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="With train.tar.xz, test.tar.xz.")],
    out: Annotated[Path, typer.Option(metavar="DIR")],
) -> None:
    """Write both parts as arrays."""
    out.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        images, labels = load(data, part)
        np.savez(out / f"{part}.npz", x=images.transpose(0, 3, 1, 2), y=labels.astype(np.int64))


if __name__ == "__main__":
    typer.run(main)
