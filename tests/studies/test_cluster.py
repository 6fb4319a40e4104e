"""A study on the workers of dask: the bits of one process, entries by key, and workers that die."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.errors import CimsimError, ConfigError, InputError
from cimsim.studies import engine
from cimsim.studies.store import Store
from cimsim.studies.study import Study

distributed = pytest.importorskip("distributed")
from cimsim.studies import cluster  # noqa: E402 - after the package that it needs

QUICK = {"networks": "cimnet", "frames": 0, "size": "64x64"}


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cluster", "cloud"], "expected local, ssh, slurm"),
        (["--cluster", "ssh"], "--hosts a,b,c"),
        (["--cluster", "local", "--hosts", "a"], "--cluster ssh"),
        (["--hosts", "a"], "--cluster ssh"),
        (["--scheduler", "tcp://127.0.0.1:1", "--cluster", "local"], "--cluster"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "--workers"),
        (["--scheduler", "nonsense://x"], "nonsense"),
        (["--scheduler", "host"], "expected an address such as tcp://host:8786, got 'host'"),
        (["--scheduler", "http://host:8786"], "expected an address"),
    ],
)
@pytest.mark.parametrize("command", [["sweep"], ["search", "--objective", "energy"]])
def test_options_that_cannot_be_are_one_message(command, options, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, [*command, "--set", "adc.bits=4..6", *options])
    assert isinstance(found.exception, CimsimError), found.output
    assert told in str(found.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", ["host:8786", "tcp://10.0.0.7:8786", "tls://host.example.org:1", "tcp://[::1]:8786"]
)
def test_addresses_of_schedulers_reach_dask(monkeypatch, address):
    asked = []

    def refuse(given, **_):
        asked.append(given)
        raise OSError("nobody there")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(InputError, match="nobody there"):
        cluster.connected(address)
    assert asked == [address]


def test_a_scheduler_that_does_not_answer_is_one_message(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_S", 0.3)
    address = f"tcp://127.0.0.1:{closed_port()}"
    with pytest.raises(InputError, match="no scheduler of dask answers") as caught:
        cluster.connected(address)
    assert address in str(caught.value)


def test_without_the_package_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"cimsim\[cluster\]"):
        cluster.connected("tcp://127.0.0.1:1")


def test_entries_pass_from_store_to_store_and_damaged_ones_do_not(tmp_path):
    import numpy as np

    one, other = Store(tmp_path / "a"), Store(tmp_path / "b")
    one.put("ab12", "measure", {"x": 1}, {"y": np.arange(5.0)})
    one.put("cd34", "time", [1, 2])
    for key in ("ab12", "cd34"):
        other.take(key, *one.files(key))
        assert other.get(key).data == one.get(key).data
    assert (other.get("ab12").arrays["y"] == np.arange(5.0)).all()
    assert one.files("ef56") is None
    assert not one.has("ef56")
    text, arrays = one.files("ab12")
    other.take("ab12", text, arrays[:-1] + b"!")
    assert other.get("ab12") is None  # its hash tells
    assert not other.has("ab12")


def test_a_worker_with_other_files_is_found_out(monkeypatch):
    """What a worker would give is compared by key before its numbers are taken."""
    monkeypatch.setattr(cluster, "_prepare", lambda: None)
    monkeypatch.setattr(cluster, "_worker", lambda: type("W", (), {"address": "tcp://w:1"}))
    (point,) = Study(**QUICK).plan.points()
    row = cluster.work(point.to_data(), "another key", False)
    assert "tcp://w:1" in row["error"]
    assert row["numbers"] == {}
    good = cluster.work(point.to_data(), engine.row_of(point, False)["key"], False)
    assert good["error"] is None


def test_a_job_of_slurm_has_one_process_and_one_thread():
    pytest.importorskip("dask_jobqueue")
    made = cluster.slurm(0)
    try:
        script = made.job_script()
    finally:
        made.close()
    assert "#SBATCH --cpus-per-task=1" in script
    assert "--nthreads 1" in script
    with pytest.raises(ConfigError, match="--hosts"):
        cluster.started("slurm", 2, ["a"])


def own_stores(folder, n):
    """Start workers, each with a store of its own."""
    crew = cluster.started("local", n)
    addresses = crew._workers()

    def move(dask_worker, where):
        _, _, port = dask_worker.address.rpartition(":")
        place = f"{where}/{port}"
        os.environ["CIMSIM_CACHE"] = place
        engine._held.store, engine._held.knows_store = None, False
        cluster._prepare(dask_worker)
        return place

    return crew, addresses, crew._client.run(move, where=str(folder))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_four_workers_one_killed_give_the_rows_of_one_process(tmp_path, monkeypatch):
    """Real processes; the second study needs what only the others' stores have."""
    monkeypatch.setenv("CIMSIM_CACHE", "off")
    given = {"networks": "cimnet", "frames": 1, "size": "32x32", "set": {"adc.bits": "5..8"},
             "seeds": 3}  # fmt: skip
    study = Study(**given)
    alone = study.run(workers=1, cached=False)
    crew, _, _ = own_stores(tmp_path, 4)
    pids = crew._client.run(os.getpid)
    rows, victim = [], threading.Event()

    def progress(_, done, total):
        rows.append(done)
        if done == 3 and not victim.is_set():
            victim.set()
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    outcome = study.run(tmp_path / "s", crew=crew, progress=progress)
    assert victim.is_set()
    assert [row["error"] for row in outcome.rows] == [None] * 12
    assert outcome.rows == alone.rows


@pytest.mark.slow
def test_workers_fetch_what_they_lack_by_key(tmp_path):
    crew, addresses, places = own_stores(tmp_path, 2)
    try:
        (point,) = Study(**QUICK).plan.points()
        key = engine.row_of(point, False)["key"]
        client, data = crew._client, point.to_data()
        first = client.submit(cluster.work, data, key, True, workers=[addresses[0]], pure=False)
        assert first.result()["error"] is None
        made = client.run(lambda: dict(engine.memory().made), workers=[addresses[0]])
        assert made[addresses[0]]["energise"] == 1
        second = client.submit(cluster.work, data, key, True, workers=[addresses[1]], pure=False)
        assert second.result() == first.result()
        made = client.run(lambda: dict(engine.memory().made), workers=[addresses[1]])
        assert made[addresses[1]] == {}
        assert Store(tmp_path / places[addresses[1]] / "studies").has(key)
    finally:
        crew.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_point_that_kills_its_workers_costs_itself_alone(monkeypatch, tmp_path):
    (tmp_path / "killer.py").write_text(
        "import os, torch\nif os.environ['KILLS'] != str(os.getpid()):\n    os._exit(9)\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 3, 1)\n"
        "    def forward(self, x):\n        return self.conv(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("KILLS", str(os.getpid()))
    crew = cluster.started("local", 2)
    networks = ["cimnet", {"model": "killer:Net"}]
    outcome = Study(**QUICK | {"networks": networks, "set": {"adc.count": [4, 5]}}).run(
        crew=crew, cached=False
    )
    died = [row for row in outcome.rows if row["error"]]
    assert len(outcome.rows) == 4
    assert {row["settings"]["network"] for row in died} == {"killer:Net"}
    assert all("workers died" in row["error"] for row in died), died
    assert len(died) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_scheduler_that_is_killed_ends_with_one_message(tmp_path):
    """A scheduler and a worker of the user's own; rows that came are kept."""
    address = f"tcp://127.0.0.1:{closed_port()}"
    port = address.rpartition(":")[2]
    python = [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port,
                 "--no-dashboard", "--no-jupyter"]  # fmt: skip
    worker = [*python, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
              "--no-dashboard", "--death-timeout", "60"]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    begun = [subprocess.Popen(command, **quiet) for command in (scheduler, worker)]
    try:
        crew = None
        for _ in range(60):  # until the two have come up
            try:
                crew = cluster.connected(address)
                break
            except InputError:
                time.sleep(1.0)
        assert crew is not None
        study, rows = Study(**QUICK, set={"adc.count": "1..200"}), []

        def progress(_, done, total):
            rows.append(done)
            if done == 3:
                begun[0].kill()

        with pytest.raises(InputError, match="goes on"):
            study.run(tmp_path / "s", crew=crew, cached=False, progress=progress)
        assert 3 <= len(engine.kept_rows(tmp_path / "s")) < 200
    finally:
        for one in begun:
            one.kill()
            one.wait()
