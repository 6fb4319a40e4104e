"""Engine, cycles and energy follow placements: none of them may know a strategy's name."""

import ast
from pathlib import Path

import pytest

from cimsim.mapping.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
# the default of commands and of what places a network for them
COMMANDS = {"im2col"}


@pytest.mark.parametrize(
    "path",
    sorted(
        p for p in (ROOT / "cimsim").rglob("*.py") if "mapping" not in p.relative_to(ROOT).parts
    ),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_strategy_name_outside_of_the_mapping_room(path):
    found = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in STRATEGIES
    }
    allowed = "cli" in path.parts or path.name in ("by_name.py", "endurance.py")
    assert found <= (COMMANDS if allowed else set()), path
