"""A whole run by its key: the files of its folder, kept, and written again when nothing changed.

The key of a run holds those of the stages below it and what its command and its pictures add: all
options, the contents of the files that they name, all that is told of the chip, the cards of
weights, the shipped chips that weights are compared with, the commands' own source. It is known
before a network is built or a frame is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from cimsim.boundary import json_text
from cimsim.chip.load import dump, shipped
from cimsim.chip.spec import Chip
from cimsim.studies.chain import content_of, is_own_code, told_of
from cimsim.studies.graphs import weights_content
from cimsim.studies.keys import Stage, file_digest, source_of, values_of, versions
from cimsim.studies.points import Network
from cimsim.studies.store import Store

if TYPE_CHECKING:
    from cimsim.session.result import Result

RUN = Stage("run", reads=("*",))
RESULT = "result.json"
_MADE_ANEW = ("manifest.json",)
_DRAWN_WITH = ("matplotlib", "pillow", "pydantic")
_BYTES_PER_S = 5e7  # as in `cimsim.studies.chain`: more are computed sooner than read


@dataclass(frozen=True)
class Asked:
    """What a command asks for, apart from its options as such.

    Attributes
    ----------
    network : Network
    chip : Chip
    hw : str
        As it was given.
    mapping, allocation : str
    seed : int
        Of random weights.
    clips : sequence of Path
        Clips and patterns of frames.
    files : sequence of Path
        Others, such as a programmed chip.
    """

    network: Network
    chip: Chip
    hw: str
    mapping: str
    allocation: str
    seed: int
    clips: Sequence[Path] = ()
    files: Sequence[Path] = ()

    @property
    def is_known(self) -> bool:
        """Whether a key can be had without running code of the user's, which may change."""
        from cimsim.session.loading import is_own

        return not is_own(self.network.model) and not is_own_code(self.mapping, self.allocation)

    def key(self, command: Mapping[str, object], **more: object) -> str:
        """Return the key.

        Parameters
        ----------
        command : mapping
            See `cimsim.cli.verify.command_of`.
        **more
            Plain data that a result or its files depend on, too.

        Raises
        ------
        CimsimError
            A file that is not there.
        """
        from cimsim.mapping.files import is_file
        from cimsim.zoo.weights import folder

        given, chip = self.network.weights, self.chip
        files = [
            *self.files,
            *(Path(one) for one in (given, self.hw) if one and Path(one).exists()),
        ]
        if given is not None:
            files += [card for card in [Path(given).with_suffix(".json")] if card.is_file()]
        if is_file(self.mapping):
            files.append(Path(self.mapping))
        content = {
            "weights": weights_content(self.network, chip.name, self.seed),
            "cards": [[card.name, file_digest(card)] for card in sorted(folder().glob("*.json"))],
            "chips": json_text.digest(shipped()),
            "clips": [content_of(str(clip)) for clip in self.clips],
            "files": [[file.name, file_digest(file)] for file in files],
        }  # fmt: skip
        return RUN.key(
            (), values_of(chip), told=told_of(chip), dump=dump(chip), content=content,
            command=dict(command), commands=source_of("cli"), drawn=versions(_DRAWN_WITH),
            more=more,
        )  # fmt: skip


class Whole:
    """One run and its place in the store.

    Parameters
    ----------
    store : Store or None
        None: nothing is looked up or kept.
    key : str
    """

    def __init__(self, store: Store | None, key: str) -> None:
        self._store, self.key = store, key
        self._began = process_time()

    @classmethod
    def of(
        cls, asked: Asked, command: Mapping[str, object] | None, cached: bool, **more: object
    ) -> Whole:
        """Return the place of a run; one that is neither found nor kept where that may be wrong."""
        store = Store.usual() if cached and command is not None and asked.is_known else None
        return cls(store, "" if store is None else asked.key(command or {}, **more))

    def written(self, folder: Path, *, unique: bool) -> tuple[Result, Path] | None:
        """Write the files of an earlier run of the same key and return its result, or None.

        Parameters
        ----------
        folder : Path
        unique : bool
            As `cimsim.report.run.folder.write` has it.
        """
        from cimsim.report.run.folder import write_files
        from cimsim.session.result import Result

        entry = None if self._store is None else self._store.get(self.key)
        if entry is None or self._store is None:
            return None
        files = {name: array.tobytes() for name, array in entry.arrays.items()}
        if RESULT not in files:
            return None
        result = Result.from_json(files[RESULT].decode(), "the kept run")
        self._store.flush()
        return result, write_files(files, folder, unique=unique)

    def keep(self, folder: Path, *, whole: bool) -> None:
        """Keep the files of a run's folder.

        Parameters
        ----------
        folder : Path
        whole : bool
            Whether the run came to its end.
        """
        if self._store is None or not whole:
            return
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = {path.relative_to(folder).as_posix(): path for path in paths}
        names = {name: path for name, path in names.items() if name not in _MADE_ANEW}
        took_s = process_time() - self._began
        if sum(path.stat().st_size for path in names.values()) > took_s * _BYTES_PER_S:
            return
        files = {name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in names.items()}
        self._store.put(self.key, RUN.name, sorted(files), files)
        self._store.flush()
