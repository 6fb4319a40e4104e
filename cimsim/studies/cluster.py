"""Points of a study on a cluster, through ``dask.distributed``.

A point goes to one worker process at a time. Points that share dear stages mostly go to the same
worker, one after another; what a worker lacks of earlier stages it fetches by key from another
worker's store. Before a point is sent its key is worked out here, so that a worker with other
files, another version of this program or of the numeric libraries is found out: its numbers are not
taken.

A worker that dies costs the point that it worked on a second try on another one. The scheduler does
that, and its setting ``distributed.scheduler.allowed-failures`` says how many tries: 1 more in the
clusters that are started here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Protocol

from cimsim.boundary.limits import shown
from cimsim.errors import CimsimError, ConfigError, InputError
from cimsim.studies import engine
from cimsim.studies.engine import Done
from cimsim.studies.points import Point, Row
from cimsim.studies.store import Entry, Store

KINDS = ("local", "ssh", "slurm")
ANSWER_S = 10.0  # that a scheduler has to answer in
START_S = 300.0  # that a first worker has to come up in
_MEMORY = "4GB"  # of a Slurm job where the user's configuration says nothing
_ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?(\[[0-9a-fA-F:.%\w]+\]|[^\s/:\[\]]+):\d{1,5}")
_HAS, _ENTRY = "cimsim_has", "cimsim_entry"

_one_at_a_time = threading.Lock()


class Closing(Protocol):
    """What is closed in the end."""

    def close(self) -> object:
        """Close it."""
        ...


class Future(Protocol):
    """The point that a worker was given; see ``distributed.Future``."""

    status: str

    def exception(self) -> BaseException | None:
        """Return why there is no result."""
        ...

    def result(self) -> Row:
        """Return the row."""
        ...


class Client(Closing, Protocol):
    """What is asked of a scheduler; see ``distributed.Client``."""

    loop: object

    def scheduler_info(self, *, n_workers: int) -> Mapping[str, Mapping[str, object]]:
        """Return what the scheduler says of its workers."""
        ...

    def wait_for_workers(self, n_workers: int, *, timeout: float) -> None:
        """Wait until there are workers."""
        ...

    def submit(self, function: Callable[..., Row], /, *arguments: object, pure: bool) -> Future:
        """Give a worker something to do."""
        ...

    def run(self, function: Callable[..., None]) -> object:
        """Call a function in every worker."""
        ...

    def cancel(self, futures: Sequence[Future], *, force: bool) -> object:
        """Take back what was given."""
        ...


class Scheduler(Protocol):
    """The scheduler as a worker has it."""

    def broadcast(
        self, *, msg: Mapping[str, str], on_error: str
    ) -> Awaitable[Mapping[str, object]]:
        """Ask all workers."""
        ...


class Worker(Protocol):
    """A worker; see ``distributed.Worker``."""

    address: str
    loop: object
    scheduler: Scheduler
    handlers: dict[str, Callable[..., object]]

    def rpc(self, address: str) -> object:
        """Return another worker, to be asked for what its handlers give."""
        ...


class Cluster:
    """Workers of a scheduler.

    Parameters
    ----------
    client : distributed.Client
    owned : list
        What is closed in the end, beside the client.
    """

    def __init__(self, client: Client, owned: Sequence[Closing] = ()) -> None:
        self._client, self._owned = client, list(owned)
        self._waiting: list[list[Point]] = []
        self._at: dict[str, list[Point]] = {}  # worker -> points that it is to take next

    @property
    def size(self) -> int:
        """Worker processes there are now."""
        return max(1, len(self._workers()))

    def _workers(self) -> list[str]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"])

    def compute(self, points: Sequence[Point], cached: bool, done: Done) -> None:
        """Work points out; see `cimsim.studies.engine.Crew.compute`.

        Raises
        ------
        InputError
            The scheduler went away.
        """
        distributed = _distributed()
        left, keys = self._unknown(points, cached, done)
        self._waiting = list(reversed(engine.batches(left, self.size)))
        self._at = {}
        running: dict[Future, tuple[Point, str]] = {}
        suspects: list[Point] = []
        finished = distributed.as_completed(loop=self._client.loop)
        try:
            while True:
                for future, point, worker in self._submit(running, keys, cached):
                    running[future] = point, worker
                    finished.add(future)
                if not running:
                    if not (self._waiting or any(self._at.values())):
                        break
                    self._client.wait_for_workers(1, timeout=START_S)  # all have gone
                    continue
                future = next(finished)
                point, _ = running.pop(future)
                if future.status == "error" and _killed(future.exception()):
                    suspects.append(point)  # or what ran beside it: alone it tells
                else:
                    done(self._row(future, point, keys[engine.identity(point)], cached))
            for point in suspects:
                key = keys[engine.identity(point)]
                future = self._client.submit(work, point.to_data(), key, cached, pure=False)
                done(self._row(future, point, key, cached))
        except (OSError, distributed.CancelledError, TimeoutError) as error:
            raise InputError(
                f"cluster: the scheduler went away ({type(error).__name__}); rows that came are "
                "kept, and the same command with the same --out goes on"
            ) from None
        finally:
            with contextlib.suppress(Exception):  # a scheduler that has gone, too
                self._client.cancel(list(running), force=True)

    def _unknown(
        self, points: Sequence[Point], cached: bool, done: Done
    ) -> tuple[list[Point], dict[str, str]]:
        """Return points that this store does not have, and the keys that they must come with."""
        from cimsim.studies.chain import Chain

        left, keys, memory = [], {}, engine.memory()
        store = engine.store() if cached else None
        for point in points:
            try:
                key = Chain(point, memory).key
            except CimsimError as error:
                done(engine.failed(point, str(error)))
                continue
            if store is not None and store.get(key) is not None:
                done(engine.row_of(point, cached))
                continue
            keys[engine.identity(point)] = key
            left.append(point)
        return left, keys

    def _submit(
        self, running: dict[Future, tuple[Point, str]], keys: dict[str, str], cached: bool
    ) -> list[tuple[Future, Point, str]]:
        """Give every idle worker a point."""
        workers, sent = self._workers(), []
        for gone in self._at.keys() - set(workers):
            left = self._at.pop(gone)
            self._waiting += [left] if left else []
        busy = {worker for _, worker in running.values()}
        for worker in workers:
            if worker in busy:  # a point that waits behind one that kills would be blamed, too
                continue
            if not self._at.get(worker):
                most = max(self._at.values(), key=len, default=[])
                if not (self._waiting or most):
                    continue
                # what is left at the end goes round
                self._at[worker] = self._waiting.pop() if self._waiting else [most.pop()]
            point = self._at[worker].pop(0)
            key = keys[engine.identity(point)]
            # tied to a worker, it would wait for ever once all workers of its time have died; the
            # scheduler gives it to an idle one, which mostly is the one that it is meant for
            future = self._client.submit(work, point.to_data(), key, cached, pure=False)
            sent.append((future, point, worker))
        return sent

    def _row(self, future: Future, point: Point, key: str, cached: bool) -> Row:
        error = future.exception()
        if error is not None:
            if _killed(error):
                return engine.failed(point, "its workers died, as they do without memory")
            return engine.failed(point, f"on its worker: {type(error).__name__}: {error}")
        row: Row = future.result()
        store = engine.known_store()
        if cached and store is not None and row["error"] is None:
            kept = {name: row[name] for name in ("numbers", "doubts", "network", "frame")}
            store.put(key, "energise", kept)
        return row

    def close(self) -> None:
        """Let the workers go, and end those that were started for this study."""
        store = engine.known_store()
        if store is not None:
            store.flush()
        for one in (self._client, *self._owned):
            with contextlib.suppress(Exception):
                one.close()


def _killed(error: BaseException) -> bool:
    return type(error).__name__ == "KilledWorker"


def work(data: Mapping[str, object], key: str, cached: bool) -> Row:
    """Work a point out in a worker.

    Parameters
    ----------
    data : dict
        As `Point.to_data` gives it.
    key : str
        Of its numbers, as the asking machine has it.
    cached : bool
        Whether the worker's store, and those of its neighbours, are read and written.
    """
    with _one_at_a_time:  # also in a worker of several threads: memory and kernels are of one
        _prepare()
        point = Point.from_data(data)
        row = engine.row_of(point, cached)
        engine._flush()
    if row["error"] is None and row["key"] != key:
        return engine.failed(
            point, f"worker {_worker().address} would give other numbers: its files, its version "
            "of cimsim or of numpy, torch and numba are others than here",
        )  # fmt: skip
    return row


def _worker() -> Worker:
    worker: Worker = _distributed().get_worker()
    return worker


def _prepare(dask_worker: Worker | None = None) -> None:
    """Make a worker ready: one thread, and a store that asks its neighbours."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    worker = _worker() if dask_worker is None else dask_worker
    worker.handlers.setdefault(_HAS, _has)
    worker.handlers.setdefault(_ENTRY, _entry)
    if not isinstance(engine.known_store(), Neighbourly):
        import torch

        torch.set_num_threads(1)
        usual = Store.usual()
        engine.set_store(None if usual is None else Neighbourly(usual.folder, usual.limit_bytes))


class Neighbourly(Store):
    """A worker's store; what it lacks it fetches from another worker that has it."""

    def get(self, key: str) -> Entry | None:
        """Return an entry; None if no worker has one that is whole."""
        entry = super().get(key)
        if entry is not None:
            return entry
        try:
            worker = _worker()
            files = _distributed().utils.sync(worker.loop, self._fetched, worker, key)
        except Exception as error:  # noqa: BLE001 - a neighbour that fails costs the time to make it
            logging.getLogger(__name__).info("nothing fetched: %s", error)
            return None
        if files is None:
            return None
        self.take(key, *files)
        return super().get(key)

    @staticmethod
    async def _fetched(worker: Worker, key: str) -> tuple[bytes, bytes | None] | None:
        have = await worker.scheduler.broadcast(msg={"op": _HAS, "key": key}, on_error="ignore")
        for address, has in have.items():
            if has is True and address != worker.address:
                entry = await getattr(worker.rpc(address), _ENTRY)(key=key)
                if entry:
                    return entry["json"], entry["arrays"]
        return None


async def _has(key: str) -> bool:
    store = engine.known_store()
    return store is not None and store.has(key)


async def _entry(key: str) -> dict[str, bytes | None]:
    store = engine.known_store()
    files = None if store is None else store.files(key)
    return {} if files is None else {"json": files[0], "arrays": files[1]}


def connected(address: str) -> Cluster:
    """Return the workers of a scheduler that runs already.

    Raises
    ------
    InputError
        No address, it does not answer, or has no workers.
    """
    distributed = _distributed()
    if _ADDRESS.fullmatch(address) is None:  # dask would leave a half-made client behind
        raise InputError(
            f"--scheduler: expected an address such as tcp://host:8786, got {shown(address)}"
        )
    try:
        client = distributed.Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"--scheduler {address}: no scheduler of dask answers there within {ANSWER_S:.0f} s "
            f"({_first_line(error)}); start one with: dask scheduler"
        ) from None
    return _ready(client, [], f"--scheduler {address}")


def started(kind: str, workers: int, hosts: Sequence[str] = ()) -> Cluster:
    """Start workers, and return them.

    Parameters
    ----------
    kind : {"local", "ssh", "slurm"}
        Processes of this machine; of ``hosts``, the first of which has the scheduler, too; jobs of
        Slurm, as the user's ``~/.config/dask/jobqueue.yaml`` describes them.
    workers : int
        Processes; on each host with ``ssh``.
    hosts : sequence of str

    Raises
    ------
    CimsimError
        They cannot be started.
    """
    if kind not in KINDS:
        raise ConfigError(f"--cluster: expected {', '.join(KINDS)}, got '{kind}'")
    if (kind == "ssh") != bool(hosts):
        raise ConfigError("--hosts: goes with --cluster ssh, which needs it: --hosts a,b,c")
    distributed, dask = _distributed(), import_module("dask")
    makers: dict[str, Callable[[], Closing]] = {
        "local": lambda: distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0",
            memory_limit=0, silence_logs=logging.CRITICAL,
        ),
        "ssh": lambda: distributed.SSHCluster(
            [hosts[0], *hosts], worker_options={"nthreads": 1, "n_workers": workers},
            remote_python=sys.executable,
        ),
        "slurm": lambda: slurm(workers),
    }  # fmt: skip
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        try:
            cluster = makers[kind]()
            client = distributed.Client(cluster, set_as_default=False)
        except CimsimError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a batch system says
            raise InputError(f"--cluster {kind}: cannot be started: {_first_line(error)}") from None
    return _ready(client, [cluster], f"--cluster {kind}")


def slurm(workers: int) -> Closing:
    """Return a ``dask_jobqueue.SLURMCluster``: a process and a thread for each job.

    Raises
    ------
    InputError
        No ``dask-jobqueue``.
    """
    try:
        jobqueue, dask = import_module("dask_jobqueue"), import_module("dask")
    except ImportError:
        raise InputError("--cluster slurm: needs pip install 'cimsim[cluster]'") from None
    memory = dask.config.get("jobqueue.slurm.memory", None) or _MEMORY
    cluster = jobqueue.SLURMCluster(
        cores=1, processes=1, memory=memory, scheduler_options={"dashboard_address": ":0"}
    )
    cluster.scale(workers)
    made: Closing = cluster
    return made


def _ready(client: Client, owned: list[Closing], what: str) -> Cluster:
    try:
        client.wait_for_workers(1, timeout=START_S if owned else ANSWER_S)
        client.run(_prepare)
    except Exception as error:  # noqa: BLE001 - a worker without this program may say anything
        Cluster(client, owned).close()
        none = isinstance(error, TimeoutError)
        why = "it has no workers" if none else f"its workers fail: {_first_line(error)}"
        raise InputError(
            f"{what}: {why}; start them with: dask worker ADDRESS --nthreads 1"
        ) from None
    return Cluster(client, owned)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _distributed() -> ModuleType:
    try:
        return import_module("distributed")
    except ImportError:
        raise InputError(
            "cluster: needs dask.distributed (pip install 'cimsim[cluster]'); without it --workers "
            "uses the cores of this machine"
        ) from None
