"""One plug of each kind, outside of the package, at most 40 lines, through its contract test."""

import ast
import inspect
from pathlib import Path

import pytest

from cimsim import api, testing

HERE = Path(__file__).parent
MOST_LINES = 40
CONTRACTS = {
    "allocation": ("backwards:Backwards", testing.check_allocation, {}),
    "converter": ("subranging:Subranging", testing.check_converter, {}),
    "device": ("root_cell:RootCell", testing.check_device, {"parameters": {"sigma_program": 0.03}}),
    "estimator": (
        "walden:Walden", testing.check_estimator, {"section": "adc", "outside": {"adc.bits": 14}}
    ),
    "interconnect": ("ring:Ring", testing.check_interconnect, {}),
    "mapping": ("spread:Spread", testing.check_strategy, {}),
    "metric": ("flicker:Flicker", testing.check_metric, {}),
    "op cost": ("bitonic:BitonicSort", testing.check_op_cost, {"operation": "sort"}),
    "task": ("log_loss:LogLoss", testing.check_task, {}),
    "writer": ("sheet:Sheet", testing.check_writer, {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTRACTS)
def test_a_plug_keeps_its_contract_by_import_path(kind, plug, request):
    path, check, options = CONTRACTS[kind]
    plug(path)
    if kind == "op cost":
        options = {**options, "graph": request.getfixturevalue("sorts")}
    check(path, **options)


@pytest.mark.parametrize("kind", CONTRACTS)
def test_a_plug_is_short_and_asks_for_stable_names_only(kind):
    path = HERE / f"{CONTRACTS[kind][0].partition(':')[0]}.py"
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("cimsim"):
            assert node.module == "cimsim.api"
            assert {alias.name for alias in node.names} <= set(api.__all__)
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("cimsim") for alias in node.names)


def test_every_contract_test_is_called_here_and_documented():
    named = {name for name in testing.__all__ if name.startswith("check_")}
    assert {check.__name__ for _, check, _ in CONTRACTS.values()} == named
    pages = "".join(path.read_text() for path in (HERE.parents[1] / "docs").glob("*.md"))
    for name in named:
        assert inspect.getdoc(getattr(testing, name))
        assert f"{name}(" in pages, f"no page shows {name}"
