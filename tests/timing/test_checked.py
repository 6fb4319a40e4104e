"""The checked build of the event loop: it finds the same cycles, and what is corrupt it names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORRUPT = """
import json
from cimsim.mapping.mapping import map_graph
from cimsim.timing.loop import kernels
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.loop.schema import CHECKED, CorruptMemory
from cimsim.timing.loop.tables import initial_memory
from tests.timing.nets import Net, chip

assert CHECKED
net = Net(4, 12, 8)
net.conv(net.conv("x", 8, 3), 4, 3)
plan = make_plan(map_graph(net.graph(), chip()))

def told(corrupt):
    memory = initial_memory(plan, 2, "pipelined", False)
    corrupt(memory)
    try:
        kernels.run(memory.header)
    except CorruptMemory as error:
        return str(error)
    return "nothing"

def offset(memory):
    memory.queue.node[1] += 1

def outside(memory):
    memory.queue.pipe[1] = 10**9

def state(memory):
    memory.pipe.inner("stages")[0].reservations[:] = 3

def done(memory):
    memory.frame.left[:] = 1

def index(memory):
    first = memory.header.nodes[1].dependencies[0]
    memory.words[first.address + first.fields["rows"].offset + 1] = 2

print(json.dumps({one.__name__: told(one) for one in
                  (lambda memory: None, offset, outside, state, done, index)}))
"""


def checked(*command):
    """Run Python with the checked build; what it printed."""
    env = os.environ | {"CIMSIM_CHECKED": "1"}
    env.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def told():
    return json.loads(checked("-c", CORRUPT).splitlines()[-1])


def test_an_intact_memory_passes(told):
    assert told["<lambda>"] == "nothing"


def test_a_wrong_offset_is_found(told):
    assert told["offset"].startswith("Node.")
    assert "is none of this field" in told["offset"]
    assert told["outside"].startswith("Pipe.")
    assert "is outside of the memory" in told["outside"]


def test_a_wrong_state_is_found(told):
    """Reservations that nobody asked for, and a frame with more nodes done than there are."""
    assert told["state"].startswith("StageState.reservations")
    assert told["state"].endswith("(all_or_one_less)")
    assert told["done"].startswith("Frame.left")
    assert told["done"].endswith("(one_less)")


def test_an_index_outside_of_its_table_is_found(told):
    assert told["index"] == "Dependency.rows: index 2 is outside of the table"


def test_the_checked_build_finds_the_same_cycles():
    files = [str(HERE / name) for name in ("test_loads.py", "test_steady.py")]
    assert "passed" in checked("-m", "pytest", "-q", "-x", "-m", "not slow", *files)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_timing_tests_pass_in_the_checked_build():
    mine = f"--ignore={Path(__file__)}"
    assert "passed" in checked("-m", "pytest", "-q", "-x", "-m", "not slow", mine, str(HERE))
