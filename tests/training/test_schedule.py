from __future__ import annotations

import pytest

from cimsim.errors import ConfigError
from cimsim.training.config import TrainConfig
from cimsim.training.schedule import (
    NORM_SHARE,
    freeze,
    learning_rate,
    parameter_groups,
    rest_norms,
)
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


def shares(model, **options):
    groups = parameter_groups(model, lr_fan_in=90, **options)
    return {id(part): group["share"] for group in groups for part in group["params"]}


def test_rates_multiply_the_shares_of_the_names_they_fit():
    model = registry.build("cimnet", stride=4)
    plain = shares(model)
    faster = shares(model, rates={"block1.up1.*": 4.0, "block1.up1.norm.*": 2.5})
    for name, parameter in model.named_parameters():
        factor = 1.0
        if name.startswith("block1.up1."):
            factor = 10.0 if ".norm." in name else 4.0
        assert faster[id(parameter)] == pytest.approx(factor * plain[id(parameter)]), name


def test_frozen_parameters_and_their_norms_rest():
    model = registry.build("cimnet", stride=4)
    freeze(model, ["block1.down1.*", "block1.smooth_*"])
    frozen = {name for name, part in model.named_parameters() if not part.requires_grad}
    assert frozen == {
        name for name, _ in model.named_parameters() if "down1" in name or "smooth_" in name
    }
    model.train()
    rest_norms(model, everywhere=False)
    assert not model.block1.down1.norm.training
    assert model.block1.up1.norm.training
    rest_norms(model, everywhere=True)
    assert not model.block1.up1.norm.training


@pytest.mark.parametrize("field", ["rates", "freeze"])
def test_a_pattern_that_fits_nothing_is_named_with_some_that_do(field):
    model = registry.build("cimnet", stride=4)
    use = {
        "rates": lambda name: parameter_groups(model, 90, {name: 2.0}),
        "freeze": lambda name: freeze(model, [name]),
    }[field]
    message = rf"train: {field}: 'block1.dwn1.\*' fits no .*block1.down1.\*"
    with pytest.raises(ConfigError, match=message):
        use("block1.dwn1.*")


def test_nothing_left_to_learn_is_refused():
    with pytest.raises(ConfigError, match="freeze: nothing is left to learn"):
        freeze(registry.build("cimnet", stride=4), ["*"])
