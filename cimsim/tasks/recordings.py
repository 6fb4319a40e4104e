"""Spoken digits as samples of a task: those that are shipped, a folder, or the packed data set.

The Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0) calls
its files ``{digit}_{speaker}_{index}.wav``; by its own split indices 0 to 4 are for tests, all
others for training.
"""

from __future__ import annotations

import io
import re
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.outside import first_line
from cimsim.errors import InputError
from cimsim.tasks.cepstra import RATE, cepstra
from cimsim.tasks.sources import Sample

EMBEDDED = "digits.zip"
TESTS = 5  # recordings of a digit and a speaker that are for tests
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True, eq=False)
class Recording:
    """One spoken digit.

    Attributes
    ----------
    samples : float32 [n]
        -1 .. 1 at `RATE`.
    digit, index : int
    speaker : str
    """

    samples: NDArray[np.float32]
    digit: int
    speaker: str
    index: int


@dataclass(frozen=True, eq=False)
class Spoken:
    """Recordings as a source of cepstra [1, frames, coefficients].

    Attributes
    ----------
    recordings : tuple of Recording
    name : str
    """

    recordings: tuple[Recording, ...]
    name: str
    classes: tuple[str, ...] = WORDS

    def __len__(self) -> int:
        return len(self.recordings)

    def sample(self, index: int) -> Sample:
        """Return recording ``index``."""
        recording = self.recordings[index]
        return Sample((cepstra(recording.samples)[None],), recording.digit)


def load(place: str | Path | None) -> tuple[Spoken, Spoken]:
    """Read recordings; return those for tests and those for training, which calibrate the chip.

    Parameters
    ----------
    place : str, Path or None
        A folder with the recordings or with ``recordings`` or ``recordings.tar.xz`` in it, or that
        archive; None: those that are shipped.

    Raises
    ------
    InputError
        There are none, or a file is none.
    """
    where = "shipped recordings" if place is None else str(place)
    recordings = [_recording(name, held, where) for name, held in _files(place)]
    recordings.sort(key=lambda r: (r.digit, r.speaker, r.index))
    tests = tuple(r for r in recordings if r.index < TESTS)
    others = tuple(r for r in recordings if r.index >= TESTS)
    if not tests:
        raise InputError(
            f"--data: no test recordings in '{where}'; expected files DIGIT_SPEAKER_INDEX.wav, "
            f"those with an index below {TESTS} for tests"
        )
    return Spoken(tests, "spoken digits"), Spoken(others, "spoken digits for training")


def _files(place: str | Path | None) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each recording."""
    if place is None:
        packed = resources.files("cimsim.tasks").joinpath(EMBEDDED).read_bytes()
        with zipfile.ZipFile(io.BytesIO(packed)) as held:
            for name in held.namelist():
                if _NAME.fullmatch(name):
                    yield name, held.read(name)
        return
    path = Path(place)
    inner = path / "recordings"
    folder, archive = inner if inner.is_dir() else path, path / "recordings.tar.xz"
    archive = path if path.is_file() else archive
    try:
        if archive.is_file() and not any(folder.glob("*.wav")):
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = member.name.rpartition("/")[2]
                    file = tar.extractfile(member) if _NAME.fullmatch(name) else None
                    if file is not None:
                        yield name, file.read()
        else:
            for file_path in sorted(folder.glob("*.wav")):
                if _NAME.fullmatch(file_path.name):
                    yield file_path.name, file_path.read_bytes()
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"--data: cannot read '{place}': {first_line(error)}") from None


def _recording(name: str, held: bytes, where: str) -> Recording:
    try:
        with wave.open(io.BytesIO(held)) as file:
            kind = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InputError(f"--data: '{name}' of '{where}' is no WAV file: {error}") from None
    if kind != (RATE, 1, 2):
        raise InputError(
            f"--data: '{name}' of '{where}': expected {RATE} Hz, one channel, 16 bit, got "
            f"{kind[0]} Hz, {kind[1]} channels, {8 * kind[2]} bit"
        )
    digit, speaker, index = _NAME.fullmatch(name).groups()  # type: ignore[union-attr]
    samples = np.frombuffer(data, "<i2").astype(np.float32) * np.float32(1 / 32768)
    return Recording(samples, int(digit), speaker, int(index))
