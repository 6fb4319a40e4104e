import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cimsim.chip.parts.array import Wires
from cimsim.crossbar import operator_cache
from cimsim.crossbar.operator_cache import cache_folder, cached
from cimsim.crossbar.wires import Resistances, crossbar_operator, wired

CODE = ("cimsim.crossbar.wires",)


class Solver:
    def __init__(self):
        self.calls = 0

    def __call__(self, g):
        self.calls += 1
        return g * 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "operators"


def array(seed=0, shape=(64, 80)):
    return np.random.default_rng(seed).random(shape)


def test_the_same_array_is_solved_once(folder):
    solver = Solver()
    first, second = (cached(solver, array(), (1.0, 2.0), CODE) for _ in range(2))
    assert solver.calls == 1
    np.testing.assert_array_equal(first, second)
    assert second.flags.writeable
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("change", ["cell", "parameter", "shape", "code"])
def test_anything_else_is_solved_anew(folder, change):
    solver, g, parameters, code = Solver(), array(), (1.0, 2.0), CODE
    cached(solver, g, parameters, code)
    if change == "cell":
        g[3, 4] = np.nextafter(g[3, 4], 1)
    elif change == "parameter":
        parameters = (1.0, np.nextafter(2.0, 3.0))
    elif change == "shape":
        g = g.reshape(80, 64)
    else:
        code = ("cimsim.kernels.wires",)
    np.testing.assert_array_equal(cached(solver, g, parameters, code), g * 2)
    assert solver.calls == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "longer"])
def test_a_damaged_file_is_solved_again_and_replaced(folder, damage, caplog):
    solver = Solver()
    cached(solver, array(), (), CODE)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    wrong = {"cut": whole[:-8], "flipped": flipped, "empty": b"", "longer": whole + b"12345678"}
    path.write_bytes(wrong[damage])
    np.testing.assert_array_equal(cached(solver, array(), (), CODE), array() * 2)
    assert solver.calls == 2
    assert "damaged" in caplog.text
    assert path.read_bytes() == whole


def test_off_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CIMSIM_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    solver = Solver()
    for _ in range(2):
        cached(solver, array(), (), CODE)
    assert solver.calls == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_the_folder_follows_the_desktop_standard(tmp_path, monkeypatch):
    monkeypatch.delenv("CIMSIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cimsim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "cimsim"


def test_small_arrays_are_not_kept(folder):
    cached(Solver(), array(shape=(8, 8)), (), CODE)
    assert not folder.exists()


def test_a_folder_that_takes_nothing_costs_only_time(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(cached(Solver(), array(), (), CODE), array() * 2)
    assert "not kept" in caplog.text


def test_files_unused_for_longest_go_first(folder, monkeypatch):
    g = [array(seed) for seed in range(4)]
    monkeypatch.setattr(operator_cache, "LIMIT_BYTES", 3 * (g[0].nbytes + 32))
    paths = []
    for index in range(3):
        cached(Solver(), g[index], (), CODE)
        (new,) = set(folder.iterdir()) - set(paths)
        paths.append(new)
        os.utime(new, (index + 1, index + 1))
    cached(Solver(), g[0], (), CODE)  # used again: now the newest
    cached(Solver(), g[3], (), CODE)
    left = set(folder.iterdir())
    assert paths[0] in left
    assert paths[1] not in left
    assert len(left) == 3


def test_what_killed_writers_left_is_cleared(folder):
    folder.mkdir(parents=True)
    old, fresh = folder / ".a.bin.1.tmp", folder / ".b.bin.2.tmp"
    for path in (old, fresh):
        path.write_text("half")
    os.utime(old, (1, 1))
    cached(Solver(), array(), (), CODE)
    assert not old.exists()
    assert fresh.exists()


def test_writers_in_threads_do_not_disturb_each_other(folder):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cached(Solver(), array(), (), CODE), range(32)))
    assert all(np.array_equal(one, array() * 2) for one in found)
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


def test_writers_in_processes_do_not_disturb_each_other(folder):
    program = (
        "import numpy as np\nfrom cimsim.crossbar.operator_cache import cached\n"
        "for s in range(5):\n"
        "    g = np.random.default_rng(s).random((128, 128))\n"
        "    for _ in range(5):\n"
        "        found = cached(lambda g: g * 2, g, (), ('cimsim.crossbar.wires',))\n"
        "        assert (found == g * 2).all()\n"
    )
    running = [subprocess.Popen([sys.executable, "-W", "error", "-c", program]) for _ in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert len(list(folder.iterdir())) == 5


def test_exact_operators_are_kept_with_the_very_bits(folder):
    g = array() * 1e-5
    wires = Wires.model_validate({"model": "exact", "r_bit": "3 ohm", "r_word": "2 ohm"})
    first, again = (wired(g, wires)[0] for _ in range(2))
    assert len(list(folder.iterdir())) == 1
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, crossbar_operator(g, Resistances(word=2.0, bit=3.0)))
