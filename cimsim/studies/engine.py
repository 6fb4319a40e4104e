"""Points of a study in processes of this machine, one thread each; killed studies go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from cimsim.boundary import json_text
from cimsim.errors import CimsimError, ConfigError, InputError
from cimsim.studies.keys import declared
from cimsim.studies.points import Point, Row
from cimsim.studies.stages import STAGES

if TYPE_CHECKING:
    from cimsim.studies.chain import Memory
    from cimsim.studies.store import Store

POINTS = "points.jsonl"
_BATCH = 8  # points that a process takes at once
_TOLD = {"id", "key", "settings", "numbers", "doubts", "network", "frame", "error"}  # of a row
Done = Callable[[Row], None]


def identity(point: Point) -> str:
    """Return the SHA-256 of how a point is described, without what a study calls its settings."""
    data = point.to_data()
    data.pop("settings")
    return json_text.digest(data)


def still_holds(row: Row, point: Point) -> bool:
    """Whether a kept row is what the point would give now: files may have changed, the program too.

    Nothing is worked out for it, but that networks of one's own are exported.
    """
    from cimsim.studies.chain import Chain

    if row["error"] is not None:
        return False
    try:
        return bool(Chain(point, memory()).key == row["key"])
    except Exception:  # noqa: BLE001 - whatever it is, the point itself will say it
        return False


def kept_rows(folder: Path) -> dict[str, Row]:
    """Return the rows that a study wrote before, by identity; damaged lines do not count."""
    path = folder / POINTS
    rows: dict[str, Row] = {}
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and row.keys() >= _TOLD and isinstance(row["id"], str):
            rows[row["id"]] = cast(Row, row)
    return rows


class Crew(Protocol):
    """What works points out: this process, processes of this machine, a cluster."""

    @property
    def size(self) -> int:
        """How many points it works out at once."""
        ...

    def compute(self, points: Sequence[Point], cached: bool, done: Done) -> None:
        """Work points out; ``done`` is called with the row of each, in no promised order.

        Parameters
        ----------
        points : sequence of Point
        cached : bool
            Whether the store is read and written.
        done : callable
            Called in this process.
        """
        ...

    def close(self) -> None:
        """End what was begun for it."""
        ...


class Here:
    """The process that asks."""

    size = 1

    def compute(self, points: Sequence[Point], cached: bool, done: Done) -> None:
        """Work points out one after another; see `Crew.compute`."""
        for batch in batches(points, 1):
            for point in batch:
                done(row_of(point, cached))
        _flush()

    def close(self) -> None:
        """Nothing was begun."""


class Processes:
    """Processes of this machine, one thread each; they stay until `close`.

    Parameters
    ----------
    workers : int
    """

    def __init__(self, workers: int) -> None:
        self.size = workers
        self._pool: ProcessPoolExecutor | None = None

    def compute(self, points: Sequence[Point], cached: bool, done: Done) -> None:
        """Work points out; a process that dies costs its point a second try."""
        waiting = batches(points, self.size)
        while waiting:
            suspects, waiting = self._round(waiting, cached, min(self.size, len(waiting)), done)
            for point in suspects:  # one of them has killed its process: each alone tells which
                again, _ = self._round([[point]], cached, 1, done)
                if again:
                    done(failed(point, "its process died twice, as one does without memory"))

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _round(
        self, batches: list[list[Point]], cached: bool, workers: int, done: Done
    ) -> tuple[list[Point], list[list[Point]]]:
        """Run batches until they are done, or until a process dies.

        Returns
        -------
        list of Point
            Those that were running then.
        list of list of Point
            Batches that had not begun.
        """
        if self._pool is None:
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.size, context, _begin, (dict(os.environ),))
        running: dict[Future[list[Row]], list[Point]] = {}
        waiting = list(reversed(batches))
        try:
            while running or waiting:
                while waiting and len(running) < workers:
                    batch = waiting[-1]
                    data = [point.to_data() for point in batch]
                    running[self._pool.submit(_batch, data, cached)] = batch
                    waiting.pop()
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    rows = future.result()
                    running.pop(future)
                    for row in rows:
                        done(row)
        except BrokenProcessPool:
            self.close()
            suspects = [point for batch in running.values() for point in batch]
            return suspects, list(reversed(waiting))
        except BaseException:
            self.close()
            raise
        return [], []


def crew(workers: int) -> Crew:
    """Return this process, or several ones of this machine."""
    return Here() if workers == 1 else Processes(workers)


def _begin(environment: dict[str, str]) -> None:
    """Prepare a process: one thread, and Ctrl-C is the parent's affair."""
    import signal

    os.environ.update(environment)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)


def _batch(data: list[dict[str, object]], cached: bool) -> list[Row]:
    rows = [row_of(Point.from_data(one), cached) for one in data]
    _flush()
    return rows


@dataclass
class _Held:
    """What the points of one process share: results in memory, and the store once it is known."""

    memory: Memory | None = None
    store: Store | None = None
    knows_store: bool = False


_held = _Held()


def memory() -> Memory:
    """Return the results that stay in the memory of this process."""
    from cimsim.studies.chain import Memory

    if _held.memory is None:
        _held.memory = Memory()
    return _held.memory


def store() -> Store | None:
    """Return the store of this process: the user's, unless another one was set."""
    from cimsim.studies.store import Store

    if not _held.knows_store:
        set_store(Store.usual())
    return _held.store


def known_store() -> Store | None:
    """Return the store if this process has used one."""
    return _held.store


def set_store(store: Store | None) -> None:
    """Let the points of this process use another store, or none."""
    _held.store, _held.knows_store = store, True


def _flush() -> None:
    if _held.store is not None:
        _held.store.flush()


def row_of(point: Point, cached: bool = True) -> Row:
    """Return the numbers of a point, or why it has none."""
    from cimsim.engine.workers import one_torch_thread
    from cimsim.studies.chain import Chain

    held, kept = memory(), store()
    try:
        with one_torch_thread():
            chain = Chain(point, held, kept if cached else None)
            row = chain.row
            key = chain.key
    except CimsimError as error:
        return failed(point, str(error))
    except Exception as error:  # noqa: BLE001 - one odd point must not end the others
        return failed(point, f"{type(error).__name__}: {error}")
    return {
        "id": identity(point), "key": key, "settings": dict(point.settings),
        "numbers": row["numbers"], "doubts": row["doubts"], "network": row["network"],
        "frame": row["frame"], "error": None,
    }  # fmt: skip


def failed(point: Point, why: str) -> Row:
    """Return the row of a point that has no numbers."""
    return {
        "id": identity(point), "key": None, "settings": dict(point.settings), "numbers": {},
        "doubts": [], "network": None, "frame": None, "error": why,
    }  # fmt: skip


def batches(points: Sequence[Point], workers: int) -> list[list[Point]]:
    """Put points together that share dear stages, so that one process does them once."""
    dear = (*STAGES["map"].reads, *STAGES["program"].reads)
    fits = STAGES["calibrate"].reads

    def shared(point: Point) -> tuple[str, ...]:
        written = [pair for pair in point.overrides if declared(pair[0], dear)]
        read = [pair for pair in point.overrides if declared(pair[0], fits)]
        first = (point.network, point.frames.size, point.hw, point.mapping, point.allocation)
        return (repr(first), repr(written), repr(point.seeds), repr(read), repr(point.frames))

    ordered = sorted(points, key=shared)
    size = max(1, min(_BATCH, len(ordered) // (2 * workers)))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


class Log:
    """Rows of a study on disk, one line each, appended as they come."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / POINTS

    def __enter__(self) -> Log:
        try:
            self._mend()
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Keep a row; a kill afterwards does not take it away."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def _mend(self) -> None:
        """End a line that a kill has torn."""
        if self._path.is_file():
            content = self._path.read_bytes()
            if content and not content.endswith(b"\n"):
                self._path.write_bytes(content + b"\n")


def check_workers(workers: int | None) -> int:
    """Return a number of processes.

    Raises
    ------
    ConfigError
        Not at least 1.
    """
    if workers is None:
        from cimsim.engine.workers import cores

        return cores()
    if not 1 <= workers <= 4096:
        raise ConfigError(f"--workers: expected 1 .. 4096, got {workers}")
    return workers


def merged(rows: Iterator[Row] | Sequence[Row], points: Sequence[Point]) -> list[Row]:
    """Return the rows of points in their order, with the settings of this study."""
    by_id = {row["id"]: row for row in rows}
    rows_in_order = []
    for point in points:
        row = by_id.get(identity(point))
        if row is not None:
            rows_in_order.append(row | {"settings": dict(point.settings)})
    return rows_in_order
