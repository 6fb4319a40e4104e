from __future__ import annotations

import pytest

from cimsim.training.config import TrainConfig
from cimsim.training.schedule import NORM_SHARE, learning_rate, parameter_groups
from cimsim.zoo import registry


def config(path, **changes):
    values = {"model": "dncnn", "data": path, "out": path, "steps": 100, "warmup_steps": 10}
    return TrainConfig(**(values | changes))


def test_learning_rate_warms_up_and_falls_to_a_hundredth(tmp_path):
    plan = config(tmp_path, lr=1.0)
    assert learning_rate(plan, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(plan, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(plan, 50, 0.5) == pytest.approx(0.505)
    assert learning_rate(plan, 99, 1.0) == pytest.approx(0.01)


def test_groups_hold_each_parameter_once_with_its_share():
    model = registry.build("cimnet", stride=4)
    groups = parameter_groups(model, lr_fan_in=90)
    listed = [id(part) for group in groups for part in group["params"]]
    assert sorted(listed) == sorted(id(part) for part in model.parameters())
    share = {id(part): group["share"] for group in groups for part in group["params"]}
    block = model.block1
    assert share[id(block.smooth_in.fc.weight)] == pytest.approx(90 / 360)
    assert share[id(block.encode[0].weight)] == 1
    assert share[id(block.encode[1].weight)] == NORM_SHARE


def test_the_papers_rate_falls_at_half_and_at_three_fifths(tmp_path):
    plan = config(tmp_path, lr=1e-3, warmup_steps=0, schedule="steps")
    rates = [learning_rate(plan, 5, fraction) for fraction in (0.0, 0.49, 0.5, 0.59, 0.6, 1.0)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-6, 1e-6])
