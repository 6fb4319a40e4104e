"""Contract tests for plugs of one's own: one function for each kind, to call from one's own tests.

Each takes the class (or its import path), asks of it what cimsim will ask, and raises
`ContractBrokenError`, an `AssertionError`, which says what does not hold. None needs pytest::

    from cimsim.testing import check_device
    from mycells import RootCell

    def test_root_cell():
        check_device(RootCell, {"g_max": "25 uS"})
"""

from cimsim.testing.answers import check_metric, check_task, check_writer
from cimsim.testing.contract import ContractBrokenError
from cimsim.testing.parts import (
    check_converter,
    check_device,
    check_estimator,
    check_interconnect,
    check_op_cost,
)
from cimsim.testing.places import check_allocation, check_strategy

__all__ = [
    "ContractBrokenError",
    "check_allocation",
    "check_converter",
    "check_device",
    "check_estimator",
    "check_interconnect",
    "check_metric",
    "check_op_cost",
    "check_strategy",
    "check_task",
    "check_writer",
]
