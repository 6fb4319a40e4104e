"""Results of stages by their key, on disk: what was worked out once is not worked out again.

The store lies in ``studies/`` of the folder that `cimsim.crossbar.operator_cache.cache_folder`
names (environment variable ``CIMSIM_CACHE``). An entry is a JSON file and, where it has arrays, a
safetensors file beside it, both named by the key. Files appear whole or not at all, arrays before
the JSON that names their SHA-256; an entry whose hash does not fit is removed and made anew.

An SQLite index knows size and last use of each entry. Finding an entry never needs it: an index
that is locked, damaged or missing costs nothing but its knowledge of what was used last, and it is
rebuilt from the files. So any number of processes may share a store, on a network file system, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import ConfigError
from cimsim.files import replacing
from cimsim.units import parse_quantity

log = logging.getLogger(__name__)
T = TypeVar("T")

LIMIT_BYTES = 8 * 2**30
ROOM = 0.9  # of the limit, to which entries are removed once it is passed
_FLUSH = 64  # uses that are told to the index at once
_WAIT_S = 5.0  # for another process that writes the index
_ABANDONED_S = 3600.0
_INDEX = "index.sqlite"
_TABLE = (
    "create table if not exists entry (key text primary key, stage text, size integer, used real)"
)
_VALUES = "into entry values (?, ?, ?, ?)"

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a stage gave: plain data, and arrays by name."""

    data: object
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Use:
    """What the entries of one stage take."""

    stage: str
    entries: int
    n_bytes: int


class Store:
    """Entries by key in a folder.

    Parameters
    ----------
    folder : Path
        Made when the first entry is kept.
    limit_bytes : int
        Beyond it the entries go that were not used for the longest time.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._uses: dict[str, tuple[str, int, float]] = {}
        self._lock, self._wait_s = threading.Lock(), _WAIT_S

    @classmethod
    def usual(cls) -> Store | None:
        """Return the user's store; None if ``CIMSIM_CACHE`` is ``off``.

        Raises
        ------
        ConfigError
            A limit in ``CIMSIM_CACHE_LIMIT`` that is no size.
        """
        from cimsim.crossbar.operator_cache import cache_folder

        folder, limit = cache_folder(), os.environ.get("CIMSIM_CACHE_LIMIT")
        if folder is None:
            return None
        try:
            n_bytes = int(parse_quantity(limit, "B")) if limit else LIMIT_BYTES
        except ValueError as error:
            raise ConfigError(f"CIMSIM_CACHE_LIMIT: {error}") from None
        return cls(folder / "studies", n_bytes)

    def get(self, key: str) -> Entry | None:
        """Return an entry; None if there is none, or none that is whole."""
        path = self._json(key)
        try:
            text = path.read_bytes()
        except OSError:
            return None
        try:
            head, _, body = text.partition(b"\n")
            header = json.loads(head)
            if header["sha256"] != hashlib.sha256(body).hexdigest():
                raise ValueError("its content has another SHA-256")
            arrays, size = self._arrays(key, header["arrays"])
            data = json.loads(body)
        except (ValueError, KeyError, TypeError, OSError) as error:
            log.warning("%s is damaged (%s); it is made anew", path, error)
            self._remove(key)
            return None
        self._used(key, str(header.get("stage", "")), len(text) + size)
        return Entry(data, arrays)

    def put(
        self,
        key: str,
        stage: str,
        data: object,
        arrays: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> None:
        """Keep an entry; a disk that takes no more costs the time to make it again only."""
        from safetensors.numpy import save

        body = json.dumps(data, allow_nan=True).encode()
        packed = save({n: np.ascontiguousarray(a) for n, a in arrays.items()}) if arrays else None
        header = {
            "stage": stage, "sha256": hashlib.sha256(body).hexdigest(),
            "arrays": None if packed is None else hashlib.sha256(packed).hexdigest(),
        }  # fmt: skip
        text = json.dumps(header).encode() + b"\n" + body
        try:
            self._write(key, text, packed)
        except OSError as error:
            log.warning("result not kept: %s", error)
            return
        self._used(key, stage, len(text) + len(packed or b""))

    def has(self, key: str) -> bool:
        """Whether there is an entry, whole or not."""
        return self._json(key).is_file()

    def files(self, key: str) -> tuple[bytes, bytes | None] | None:
        """Return an entry as it lies on disk, JSON and arrays, for another store to `take`."""
        try:
            text = self._json(key).read_bytes()
            wanted = json.loads(text.partition(b"\n")[0])["arrays"]
            return text, None if wanted is None else self._tensors(key).read_bytes()
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def take(self, key: str, text: bytes, arrays: bytes | None) -> None:
        """Keep an entry as another store has it; `get` checks it by its hash."""
        try:
            self._write(key, text, arrays)
        except OSError as error:
            log.warning("result not kept: %s", error)

    def _write(self, key: str, text: bytes, arrays: bytes | None) -> None:
        """Write an entry, arrays before the JSON that names their SHA-256."""
        with self._lock:  # scratch names are unique to a process, not to its threads
            self._json(key).parent.mkdir(parents=True, exist_ok=True)
            if arrays is not None:
                with replacing(self._tensors(key)) as scratch:
                    scratch.write_bytes(arrays)
            with replacing(self._json(key)) as scratch:
                scratch.write_bytes(text)

    def uses(self) -> list[Use]:
        """Return what is kept, by stage."""
        self.flush()
        if not self.folder.is_dir():
            return []
        text = "select stage, count(*), sum(size) from entry group by stage order by stage"
        rows: list[tuple[str, int, int]] = self._ask(
            lambda index: index.execute(text).fetchall(), []
        )
        return [Use(str(stage), int(n), int(size)) for stage, n, size in rows]

    def clear(self) -> int:
        """Remove all entries; return how many there were."""
        with self._lock:
            self._uses.clear()
        entries = list(self._files())
        for key, _, _ in entries:
            self._remove(key)
        for path in (self.folder / _INDEX, self.folder / f"{_INDEX}-journal"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return len(entries)

    def flush(self) -> None:
        """Tell the index what was used, and remove what is beyond the limit."""
        with self._lock:
            uses, self._uses = self._uses, {}
        if not uses or not self.folder.is_dir():
            return
        rows = [(key, *what) for key, what in uses.items()]

        def tell(index: sqlite3.Connection) -> None:
            index.executemany(
                f"insert {_VALUES} on conflict(key) do update set "
                "size = excluded.size, used = max(used, excluded.used)", rows,
            )  # fmt: skip
            index.commit()
            self._prune(index)

        self._ask(tell, None)

    def _prune(self, index: sqlite3.Connection) -> None:
        total = int(index.execute("select total(size) from entry").fetchone()[0])
        if total <= self.limit_bytes:
            return
        gone = []
        for key, size in index.execute("select key, size from entry order by used"):
            if total <= ROOM * self.limit_bytes:
                break
            self._remove(key)
            gone.append((key,))
            total -= size
        index.executemany("delete from entry where key = ?", gone)
        index.commit()
        for scratch in self.folder.glob("*/.*.tmp"):  # of writers that were killed
            with contextlib.suppress(OSError):
                if time.time() - scratch.stat().st_mtime > _ABANDONED_S:
                    scratch.unlink()

    def _ask(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do something with the index; where it cannot be had now, only its notes are lost."""
        path = self.folder / _INDEX
        connection = None
        try:
            known = path.exists()
            connection = sqlite3.connect(path, timeout=self._wait_s)
            connection.execute("pragma synchronous = off")  # it can be rebuilt from the files
            connection.execute(_TABLE)
            if not known:
                connection.executemany(f"insert or ignore {_VALUES}", self._all())
                connection.commit()
            return work(connection)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # in use, or no room for it
                log.info("index of %s: %s", self.folder, error)
            else:
                log.warning("index of %s is damaged (%s); it is rebuilt", self.folder, error)
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        finally:
            if connection is not None:
                connection.close()
        return otherwise

    def _all(self) -> Iterator[tuple[str, str, int, float]]:
        for key, size, used in self._files():
            try:
                with self._json(key).open("rb") as file:
                    stage = str(json.loads(file.readline())["stage"])
            except (OSError, ValueError, KeyError, TypeError):
                stage = ""
            yield key, stage, size, used

    def _files(self) -> Iterator[tuple[str, int, float]]:
        for path in self.folder.glob("??/*.json"):
            try:
                status = path.stat()
                size = status.st_size
                with contextlib.suppress(FileNotFoundError):
                    size += self._tensors(path.stem).stat().st_size
            except OSError:
                continue  # another process removed it
            yield path.stem, size, status.st_mtime

    def _used(self, key: str, stage: str, size: int) -> None:
        with self._lock:
            self._uses[key] = (stage, size, time.time())
            full = len(self._uses) >= _FLUSH
        if full:
            self.flush()

    def _arrays(self, key: str, wanted: str | None) -> tuple[Arrays, int]:
        from safetensors.numpy import load

        if wanted is None:
            return {}, 0
        content = self._tensors(key).read_bytes()
        if hashlib.sha256(content).hexdigest() != wanted:
            raise ValueError("its arrays have another SHA-256")
        # the engine's memory is its own, aligned and in C order
        return {name: np.array(value) for name, value in load(content).items()}, len(content)

    def _remove(self, key: str) -> None:
        for path in (self._json(key), self._tensors(key)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _json(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _tensors(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"
