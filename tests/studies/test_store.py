"""The store: whole or not there, for any number of processes, within its limit."""

import multiprocessing
import sqlite3

import numpy as np
import pytest

from cimsim.errors import ConfigError
from cimsim.studies.store import Store

KEY, OTHER = "ab" + "0" * 62, "cd" + "1" * 62
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([2**62], np.int64)}


def test_what_is_put_comes_back(tmp_path):
    store = Store(tmp_path / "new")
    assert store.get(KEY) is None
    store.put(KEY, "time", {"x": [1, 2.5, None]})
    store.put(OTHER, "program", {}, ARRAYS)
    again = Store(tmp_path / "new")
    assert again.get(KEY).data == {"x": [1, 2.5, None]}
    found = again.get(OTHER).arrays
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_entries_count_as_missing_and_are_made_anew(tmp_path, suffix, damage):
    store = Store(tmp_path)
    store.put(KEY, "program", {"plan": "x" * 50}, ARRAYS)
    path = tmp_path / KEY[:2] / f"{KEY}{suffix}"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[-3] ^= 1
        path.write_bytes(content)
    assert store.get(KEY) is None
    store.put(KEY, "program", {"plan": "x" * 50}, ARRAYS)
    assert (store.get(KEY).arrays["a"] == ARRAYS["a"]).all()


def test_beyond_the_limit_the_entries_go_that_were_not_used_for_longest(tmp_path):
    store = Store(tmp_path, limit_bytes=40_000)
    keys = [f"{n:02x}" + "0" * 62 for n in range(10)]
    for key in keys:
        store.put(key, "execute", {}, {"x": np.zeros(1250, np.float32)})
        store.flush()
        assert store.get(keys[0]) is not None  # used all the time
    store.flush()
    there = [key for key in keys if store.get(key) is not None]
    assert keys[0] in there
    assert keys[-1] in there
    assert keys[1] not in there
    assert sum(use.n_bytes for use in store.uses()) <= 40_000
    assert not list(tmp_path.glob("*/.*.tmp"))


@pytest.mark.parametrize("index", ["gone", "damaged", "locked"])
def test_the_index_is_never_needed_to_find_anything(tmp_path, index):
    store = Store(tmp_path)
    store.put(KEY, "time", [1])
    assert [(use.stage, use.entries) for use in store.uses()] == [("time", 1)]
    path, held = tmp_path / "index.sqlite", None
    if index == "gone":
        path.unlink()
    elif index == "damaged":
        path.write_bytes(b"no database at all, but long enough to look like something" * 9)
    else:
        held = sqlite3.connect(path)
        held.execute("begin exclusive")
    again = Store(tmp_path)
    again._wait_s = 0.05
    assert again.get(KEY).data == [1]
    again.put(OTHER, "map", [2])
    again.flush()
    if held is not None:
        held.rollback()
        held.close()
    assert again.get(OTHER).data == [2]
    again.uses()  # a damaged index is removed here
    assert {use.stage for use in Store(tmp_path).uses()} >= {"time"}


def test_clear_removes_everything(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, "time", [1])
    store.put(OTHER, "program", {}, ARRAYS)
    assert store.clear() == 2
    assert store.get(KEY) is None
    assert store.uses() == []


def _hammer(folder, seed):
    rng, store = np.random.default_rng(seed), Store(folder, limit_bytes=60_000)
    wrong = 0
    for _ in range(150):
        n = int(rng.integers(12))
        key = f"{n:02x}" + "e" * 62
        entry = store.get(key)
        if entry is None:
            store.put(key, "execute", n, {"x": np.full(1500, n, np.float32)})
        else:
            wrong += entry.data != n or bool((entry.arrays["x"] != n).any())
    store.flush()
    return wrong


def test_many_processes_share_a_store(tmp_path):
    """All read, write and remove the same entries; nobody ever sees a wrong one."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.starmap(_hammer, [(tmp_path, seed) for seed in range(4)]) == [0] * 4
    assert not list(tmp_path.glob("*/.*.tmp"))


def test_the_usual_store_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path))
    monkeypatch.setenv("CIMSIM_CACHE_LIMIT", "3 MiB")
    store = Store.usual()
    assert store.folder == tmp_path / "studies"
    assert store.limit_bytes == 3 << 20
    monkeypatch.setenv("CIMSIM_CACHE_LIMIT", "much")
    with pytest.raises(ConfigError, match="CIMSIM_CACHE_LIMIT"):
        Store.usual()
    monkeypatch.setenv("CIMSIM_CACHE", "off")
    assert Store.usual() is None
