"""Where samples come from: array files, folders of images, torch datasets, random tensors."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cimsim.boundary import outside
from cimsim.errors import InputError
from cimsim.graph.ir import InputOp, is_tensor
from cimsim.rng import key
from cimsim.tasks.shapes import InputShape

if TYPE_CHECKING:
    import torch

RANDOM = "random"
_BLOCK = 1 << 24  # bytes that are looked at in one go
_CHECKED = 1 << 30  # bytes of an .npy that are read for NaN before anything else
_LABELS = ("y", "labels", "label", "targets", "target")
NUMBERS = "buif"  # kinds of numpy: bool, unsigned, whole and floating-point numbers
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}


@dataclass(frozen=True, eq=False)
class Sample:
    """One question to a network.

    Attributes
    ----------
    inputs : tuple of array
        In the order of the network's arguments, with or without a batch axis of 1.
    label : int or None
        The right class, where one is known.
    """

    inputs: tuple[ArrayLike | torch.Tensor, ...]
    label: int | None = None


@runtime_checkable
class Items(Protocol):
    """What a torch dataset can do."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


class Source(Protocol):
    """Samples by number; nothing holds them all."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; may be empty."""
        ...

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def sample(self, index: int) -> Sample:
        """Return one."""
        ...


@dataclass(frozen=True, eq=False)
class RandomTensors:
    """Standard normal numbers, or whole numbers: for time, energy and SNR, never for accuracy.

    Attributes
    ----------
    shapes : tuple of InputShape
    count, seed : int
    """

    shapes: tuple[InputShape, ...]
    count: int
    seed: int = 0
    name: str = RANDOM
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> Sample:
        """Return sample ``index``, the same whatever was drawn before."""
        rng = np.random.default_rng(key(self.seed, "random inputs", str(index)) % 2**63)
        return Sample(tuple(shape.random(rng) for shape in self.shapes))


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays whose first axis counts samples: of an .npy, an .npz or in memory.

    Attributes
    ----------
    arrays : tuple of ndarray [N, ...]
        One for each input of the network.
    labels : ndarray [N] or None
    name : str
    names : tuple of str
        What messages call the arrays; ``input 0`` and so on by default.
    """

    arrays: tuple[NDArray[np.generic], ...]
    labels: NDArray[np.generic] | None = None
    name: str = "arrays"
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for called, array in zip(self._called, self.arrays, strict=True):
            if array.dtype.kind not in NUMBERS or not array.ndim:
                what = "numbers" if array.ndim else "an axis that counts samples"
                raise InputError(
                    f"{self.name}: {called}: expected {what}, got {array.dtype} {list(array.shape)}"
                )
        counts = {called: len(a) for called, a in zip(self._called, self.arrays, strict=True)}
        if self.labels is not None:
            counts["labels"] = len(self.labels)
        if not self.arrays or len(set(counts.values())) != 1 or not len(self.arrays[0]):
            listed = ", ".join(f"{what}: {n}" for what, n in counts.items())
            raise InputError(f"{self.name}: expected as many samples in each array, got {listed}")
        if self.labels is not None and (
            self.labels.ndim != 1 or not np.issubdtype(self.labels.dtype, np.integer)
        ):
            raise InputError(
                f"{self.name}: labels: expected whole numbers [N], got {self.labels.dtype} "
                f"{list(self.labels.shape)}"
            )

    @property
    def _called(self) -> tuple[str, ...]:
        return self.names or tuple(f"input {i}" for i in range(len(self.arrays)))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def sample(self, index: int) -> Sample:
        """Return sample ``index``.

        Raises
        ------
        InputError
            It holds NaN or infinity.
        """
        label = None if self.labels is None else int(self.labels[index])
        held = tuple(np.asarray(array[index]) for array in self.arrays)
        for called, values in zip(self._called, held, strict=True):
            _expect_finite(values, f"{self.name}: {called}, sample {index}")
        return Sample(held, label)

    def check(self) -> Arrays:
        """Look for NaN and infinity in all samples; return the same.

        Raises
        ------
        InputError
            Naming the array and the first sample.
        """
        for called, array in zip(self._called, self.arrays, strict=True):
            step = max(_BLOCK // max(array[:1].nbytes, 1), 1)
            for at in range(0, len(array), step if array.dtype.kind == "f" else len(array)):
                if _is_finite(array[at : at + step]):
                    continue
                for index in range(at, min(at + step, len(array))):
                    _expect_finite(array[index], f"{self.name}: {called}, sample {index}")
        return self

    @classmethod
    def load(cls, path: Path) -> Arrays:
        """Read an .npy (inputs alone) or an .npz (inputs by any name; labels as ``y``).

        Raises
        ------
        InputError
            Not readable, or not what a network can be asked.
        """
        _expect_kind(path)
        whole = f"'{path}'"
        if path.suffix == ".npy":
            with _reading(whole):
                # the file is read where samples are asked for, a large one only there
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            read = cls((array,), None, path.name, names=("array",))
            return read.check() if path.stat().st_size <= _CHECKED else read
        held: dict[str, NDArray[np.generic]] = {}
        # numpy leaves a file open that it cannot read
        with (
            _reading(whole), path.open("rb") as stream,
            np.load(stream, allow_pickle=False) as file,
        ):  # fmt: skip
            for name in file.files:
                with _reading(f"array '{name}' of {whole}"):
                    held[name] = file[name]
        for name, array in held.items():
            if not isinstance(array, np.ndarray):  # numpy hands over the bytes of other files
                raise InputError(f"--data: '{name}' of {whole} is no array; leave it out of it")
        labels = next((held.pop(name) for name in _LABELS if name in held), None)
        if not held:
            what = "no inputs, only labels" if labels is not None else "no array"
            raise InputError(f"--data: '{path}' holds {what}")
        called = tuple(f"array '{name}'" for name in held)
        return cls(tuple(held.values()), labels, path.name, names=called).check()


@dataclass(frozen=True, eq=False)
class Images:
    """A folder of images, or of one folder for each class, as torchvision's ``ImageFolder``.

    Attributes
    ----------
    files : tuple of Path
    labels : tuple of int
        Empty where there are no classes.
    classes : tuple of str
        Names of the folders, sorted.
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, index: int) -> Sample:
        """Return image ``index``, uint8 [C, H, W] with the channels that it has (grey or RGB)."""
        from PIL import Image, UnidentifiedImageError

        path = self.files[index]
        try:
            with Image.open(path) as image:
                if "16" in image.mode or image.mode in ("I", "F"):  # Pillow would clip them
                    raise InputError(
                        f"--data: the image '{path}' has samples of more than 8 bits "
                        f"({image.mode}); save it with 8 bits, or all of them as an .npz of floats"
                    )
                grey = image.mode in ("1", "L", "LA")
                pixels = np.asarray(image.convert("L" if grey else "RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"--data: cannot read the image '{path}': {error}") from None
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return Sample((planes,), self.labels[index] if self.labels else None)

    @classmethod
    def load(cls, folder: Path) -> Images:
        """List a folder.

        Raises
        ------
        InputError
            There are no images in it.
        """
        groups = [entry for entry in _entries(folder) if entry.is_dir()]
        images = [(path, n) for n, group in enumerate(groups) for path in _images(group)]
        if images:
            names = tuple(group.name for group in groups)
            return cls(
                tuple(p for p, _ in images), tuple(n for _, n in images), names, folder.name
            )  # fmt: skip
        files = tuple(_images(folder))
        if not files:
            raise InputError(
                f"--data: no images in '{folder}'; expected images, or a folder of them for each "
                f"class ({', '.join(sorted(_IMAGES))})"
            )
        return cls(files, (), (), folder.name)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A torch dataset: ``dataset[i]`` is an input, or inputs and then a label.

    Attributes
    ----------
    dataset : object with ``__len__`` and ``__getitem__``
    name : str
    """

    dataset: Items
    name: str = "dataset"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where the dataset has them."""
        return tuple(map(str, getattr(self.dataset, "classes", ())))

    def __len__(self) -> int:
        return len(self.dataset)

    def sample(self, index: int) -> Sample:
        """Return item ``index``; a whole number at its end is the label."""
        try:
            item = self.dataset[index]
        except Exception as error:  # the user's own code may raise anything
            raise InputError(
                f"{self.name}: item {index} failed with {type(error).__name__}: {error}"
            ) from error
        parts = tuple(item) if isinstance(item, tuple | list) else (item,)
        for part in parts:
            _expect_finite(part, f"{self.name}: item {index}")
        if len(parts) > 1 and np.ndim(parts[-1]) == 0:
            return Sample(parts[:-1], int(parts[-1]))
        return Sample(parts)

    @classmethod
    def load(cls, name: str) -> Dataset:
        """Build ``package.module:callable``; the callable is called without arguments.

        Raises
        ------
        InputError
            It is not there, cannot be built, or is no dataset.
        """
        made = outside.imported(name, f"--data {name}: cannot be built", InputError)
        try:
            ready = hasattr(made, "__getitem__") and not isinstance(made, type)
            made = made if ready else outside.called(made)
        except Exception as error:  # the user's own code may raise anything
            raise InputError(
                f"--data {name}: cannot be built: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, Items):
            raise InputError(
                f"--data {name}: expected a dataset with a length and items by number, got "
                f"{type(made).__name__}"
            )
        return cls(made, name)


def _is_finite(values: object) -> bool:
    if isinstance(values, np.ndarray | np.generic):
        return values.dtype.kind != "f" or bool(np.isfinite(values).all())
    if is_tensor(values) and values.is_floating_point():
        return bool(values.isfinite().all())
    return True


def _expect_finite(values: object, where: str) -> None:
    if not _is_finite(values):
        raise InputError(
            f"{where} holds NaN or infinity, which no network can be asked; leave such samples "
            "out, or put numbers there"
        )


_BEGINS = {".npy": (b"\x93NUMPY",), ".npz": (b"PK\x03\x04", b"PK\x05\x06")}


def _expect_kind(path: Path) -> None:
    """Refuse a file that is not what its name says; numpy takes it for a pickle."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"--data: cannot read '{path}': {error.strerror}") from None
    if head.startswith(_BEGINS[path.suffix]):
        return
    what = f"it begins with {head!r}" if head else "it is empty"
    what = "it is a pickle, which could run code" if head.startswith(b"\x80") else what
    how = "numpy.save" if path.suffix == ".npy" else "numpy.savez"
    raise InputError(
        f"--data: '{path}' is no {path.suffix} file ({what}); write it with {how}, or fetch it "
        "again"
    )


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Say of a file, or of an array of it, why it cannot be read."""
    try:
        yield
    except InputError:
        raise
    # zipfile raises RuntimeError for a password and NotImplementedError for a compression
    except (
        OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise InputError(
                f"--data: {what} holds Python objects, which could run code; save numbers of "
                "one shape, such as numpy.stack(list(array)) or array.astype('int64') of labels"
            ) from None
        raise InputError(
            f"--data: cannot read {what}: {str(error).partition(chr(10))[0]}; the file is "
            "damaged or cut short: fetch or write it again"
        ) from None


def source_of(text: str, shapes: Sequence[InputShape], count: int, seed: int) -> Source:
    """Find the samples that a user names.

    Parameters
    ----------
    text : str
        ``random``; an .npy or .npz file; a folder; or ``package.module:callable``.
    shapes : sequence of InputShape
        Of random tensors.
    count, seed : int
        Of random tensors.

    Raises
    ------
    InputError
        Nothing of the kind.
    """
    path = Path(text)
    if text == RANDOM:
        return RandomTensors(tuple(shapes), count, seed)
    if path.is_dir():
        return Images.load(path)
    if path.suffix in (".npy", ".npz") and path.is_file():
        return Arrays.load(path)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return Dataset.load(text)
    missing = "" if path.exists() else " (there is no such file)"
    raise InputError(
        f"--data: expected an .npy or .npz file, a folder of images, package.module:callable of a "
        f"torch dataset, or 'random', got '{text}'{missing}"
    )


def fitted(
    sample: Sample, inputs: Sequence[InputOp], normalize: Normalize | None, where: str
) -> tuple[torch.Tensor, ...]:
    """Return a sample as the network's inputs.

    A batch axis of 1 is added where it lacks; bytes become 0 .. 1 where the network takes float32.

    Raises
    ------
    InputError
        Number, shape or kind differ; the message says what the network takes.
    """
    if len(sample.inputs) != len(inputs):
        names = ", ".join(op.name for op in inputs)
        raise InputError(
            f"{where}: {len(sample.inputs)} inputs a sample, the network takes {len(inputs)} "
            f"({names})"
        )
    return tuple(
        _fit(value, op, normalize if i == 0 else None, where)
        for i, (value, op) in enumerate(zip(sample.inputs, inputs, strict=True))
    )


@dataclass(frozen=True, slots=True)
class Normalize:
    """``(x - mean) / std``, one number or one for each channel (the axis behind the batch)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Normalize:
        """Read ``0.49,0.48,0.45/0.25,0.24,0.26``.

        Raises
        ------
        InputError
            Not two lists of as many numbers, or a standard deviation of 0.
        """
        try:
            mean, std = (tuple(float(n) for n in part.split(",")) for part in text.split("/"))
        except ValueError:
            mean, std = (), ()
        if not mean or len(mean) != len(std) or min(std) <= 0:
            raise InputError(
                "--normalize: expected MEAN/STD, numbers for each channel, such as "
                f"0.49,0.48,0.45/0.25,0.24,0.26, got '{text}'"
            )
        return cls(mean, std)


def _entries(folder: Path) -> list[Path]:
    """List a folder by name, without hidden entries; a link to nothing is no missing class."""
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"--data: cannot read '{folder}': {error.strerror}") from None
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise InputError(
                f"--data: '{entry}' is a link that leads to nothing; mend it or take it away"
            )
    return entries


def _images(folder: Path) -> list[Path]:
    return [p for p in _entries(folder) if p.suffix.lower() in _IMAGES]


def _tensor(array: NDArray[np.generic], op: InputOp, where: str) -> torch.Tensor:
    import torch

    if array.dtype.kind not in NUMBERS:
        raise InputError(
            f"{where}: a sample holds {array.dtype}, the network takes {op.output.dtype} as "
            f"'{op.name}'"
        )
    return torch.from_numpy(array)


def _fit(
    value: ArrayLike | torch.Tensor, op: InputOp, normalize: Normalize | None, where: str
) -> torch.Tensor:
    import torch

    x = value if isinstance(value, torch.Tensor) else _tensor(np.array(value), op, where)
    shape, wanted = op.output.shape, getattr(torch, op.output.dtype)
    if tuple(x.shape) == shape[1:] and shape[0] == 1:
        x = x.unsqueeze(0)
    if tuple(x.shape) != shape:
        raise InputError(
            f"{where}: a sample has the shape {list(x.shape)}, the network takes {list(shape)} as "
            f"'{op.name}'; give such data, or trace it for this shape with --input-shape"
        )
    if wanted.is_floating_point and x.dtype == torch.uint8:
        x = x.to(wanted) / 255
    elif wanted.is_floating_point != x.dtype.is_floating_point:
        raise InputError(
            f"{where}: a sample is {x.dtype}, the network takes {wanted} as '{op.name}'; convert "
            "the data (bytes are taken as 0 .. 1)"
        )
    x = x.to(wanted)
    if not torch.isfinite(x).all():
        raise InputError(
            f"{where}: a sample holds NaN, infinity or a number too large for {wanted}, for "
            f"'{op.name}'; scale the data, or leave such samples out"
        )
    if normalize is None:
        return x.contiguous()
    if not wanted.is_floating_point or len(normalize.mean) not in (1, shape[1]):
        raise InputError(
            f"{where}: --normalize has {len(normalize.mean)} numbers, '{op.name}' has "
            f"{shape[1]} channels of {wanted}"
        )
    along = (1, -1, *(1,) * (len(shape) - 2))
    mean, std = (torch.tensor(n, dtype=wanted).reshape(along) for n in
                 (normalize.mean, normalize.std))  # fmt: skip
    return ((x - mean) / std).contiguous()
