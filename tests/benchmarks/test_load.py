"""The load rig: its parts see what they are to see; the scenarios themselves are slow."""

import signal
import time

import pytest

from benchmarks.load import starved
from benchmarks.load.__main__ import SCENARIOS
from benchmarks.load.support import Outcome, Process, called, commands, leftovers, workplace


def test_an_outcome_tells_what_is_wrong():
    assert Outcome(143, "terminated; no result was written", 1, 1).fault((143, 0)) == ""
    assert "code 1" in Outcome(1, "no", 1, 1).fault((0,))
    assert "traceback" in Outcome(143, "Traceback (most recent call last):\nX: y", 1, 1).fault(
        (143,)
    )


def test_temporary_names_are_found(tmp_path):
    folder = workplace(tmp_path, "a")
    (tmp_path / "a-tmp").mkdir()
    assert leftovers(folder) == []
    (folder / ".o.cimsim-new-1-2").mkdir()
    (folder / ".t.json.1.tmp").touch()
    (tmp_path / "a-tmp" / "x").touch()
    assert sorted(leftovers(folder)) == [".o.cimsim-new-1-2", ".t.json.1.tmp", "TMPDIR/x"]


def test_half_files_are_found(tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    whole.write_bytes(b"x" * 5000)
    half.write_bytes(b"x" * 2500)
    assert starved._is_whole(whole, whole)
    assert not starved._is_whole(half, whole)
    assert not starved._is_whole(half, tmp_path / "none")


@pytest.mark.slow
def test_a_process_is_ended_by_a_signal_and_measured(tmp_path):
    process = Process(workplace(tmp_path, "a"), commands()["program"])
    process.ready()
    time.sleep(0.2)
    process.send(signal.SIGTERM)
    end = process.end()
    assert end.fault((143, 0)) == ""
    assert end.peak_mb > 5
    assert called(tmp_path / "a", ["hw", "nobody"]).code == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_amiss(tmp_path, name):
    found = list(SCENARIOS[name](tmp_path))
    assert found
    assert all(finding.tried for finding in found)
    assert [fault for finding in found for fault in finding.faults] == []
