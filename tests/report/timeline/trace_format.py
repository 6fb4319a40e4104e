"""What the Trace Event Format asks of a file, checked on the file alone."""

import gzip
import json
from collections import defaultdict
from itertools import pairwise

PHASES = {"X", "M", "C", "s", "f"}


def load(path):
    """Return the JSON object of a gzipped trace, duplicate keys refused."""

    def once(pairs):
        assert len({key for key, _ in pairs}) == len(pairs), f"key twice: {pairs}"
        return dict(pairs)

    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file, object_pairs_hook=once)


def check(trace):
    """Raise AssertionError where a trace breaks the format; returns its events by phase."""
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events = defaultdict(list)
    for event in trace["traceEvents"]:
        assert {"name", "ph", "ts", "pid", "tid"} <= event.keys(), event
        assert event["ph"] in PHASES, event
        assert event["ts"] >= 0, event
        assert isinstance(event["ts"], int | float), event
        assert all(isinstance(event[key], int) for key in ("pid", "tid")), event
        events[event["ph"]].append(event)
    _names(events)
    tracks = _slices(events["X"])
    _flows(events, tracks)
    _counters(events["C"])
    return events


def _names(events):
    processes, threads = {}, {}
    for event in events["M"]:
        if event["name"] == "process_name":
            assert event["pid"] not in processes, event
            processes[event["pid"]] = event["args"]["name"]
        elif event["name"] == "thread_name":
            assert (event["pid"], event["tid"]) not in threads, event
            threads[event["pid"], event["tid"]] = event["args"]["name"]
        else:
            assert event["name"] in ("process_sort_index", "thread_sort_index"), event
            assert isinstance(event["args"]["sort_index"], int), event
    assert len(set(processes.values())) == len(processes)
    assert len({(pid, name) for (pid, _), name in threads.items()}) == len(threads)
    for event in (*events["X"], *events["s"], *events["f"]):
        assert (event["pid"], event["tid"]) in threads, event
    for phase in "XCsf":
        assert {event["pid"] for event in events[phase]} <= processes.keys()
    assert {pid for pid, _ in threads} <= processes.keys()


def _slices(slices):
    """Slices of a track follow each other; a viewer would drop one that overlaps its neighbour."""
    tracks = defaultdict(list)
    for event in slices:
        assert isinstance(event["dur"], float), event
        assert event["dur"] > 0, event
        assert event["args"]["cycles"] > 0, event
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"], event))
    for found in tracks.values():
        found.sort(key=lambda one: one[:2])
        for (_, end, first), (start, _, second) in pairwise(found):
            assert end <= start, (first, second)
    return tracks


def _flows(events, tracks):
    starts = {event["id"]: event for event in events["s"]}
    ends = {event["id"]: event for event in events["f"]}
    assert len(starts) == len(events["s"])
    assert len(ends) == len(events["f"])
    assert starts.keys() == ends.keys()
    for number, start in starts.items():
        end = ends[number]
        assert end["bp"] == "e", end
        assert (start["name"], start["cat"]) == (end["name"], end["cat"])
        assert start["ts"] < end["ts"], (start, end)
    for event in (*starts.values(), *ends.values()):
        inside = tracks[event["pid"], event["tid"]]
        assert any(start <= event["ts"] < stop for start, stop, _ in _near(inside, event["ts"]))


def _near(found, cycle):
    low, high = 0, len(found)
    while low < high:
        middle = (low + high) // 2
        if found[middle][0] <= cycle:
            low = middle + 1
        else:
            high = middle
    return found[max(0, low - 1) : low]


def _counters(counters):
    last = {}
    for event in counters:
        assert event["args"], event
        assert all(value >= 0 for value in event["args"].values()), event
        key = event["pid"], event["name"]
        assert last.get(key, -1) < event["ts"], event
        last[key] = event["ts"]
