"""Arms differ in what their names say and in nothing else."""

from dataclasses import replace

import pytest

from actre.arms import ARMS, arm
from actre.config import PRESETS, RunConfig, StageConfig, preset
from actre.types import ActreError


def with_updates(config: RunConfig) -> RunConfig:
    return replace(config, optim=replace(config.optim, updates_per_batch=2))


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("settings", PRESETS)
def test_every_arm_has_the_same_budget_and_differs_in_stages_and_one_setting_at_most(name: str, settings: str) -> None:
    config = with_updates(preset(settings))
    made = arm(name, config)
    assert made.iterations == config.iterations
    assert tuple(stage.order for stage in made.stages) == ARMS[name].orders
    allowed = replace(config.optim, clip_high=made.optim.clip_high, entropy_coef=made.optim.entropy_coef)
    assert made == replace(config, stages=made.stages, optim=allowed)
    changed = (made.optim.clip_high != config.optim.clip_high) + (made.optim.entropy_coef != config.optim.entropy_coef)
    assert changed == (name in ("think_first_clip", "think_first_bonus"))


def test_actre_of_a_two_stage_preset_is_the_preset() -> None:
    assert arm("actre", preset("tiny")) == preset("tiny")
    first, second = arm("tfpi", preset("tiny")).stages
    assert (first.order, second) == ("no_think", preset("tiny").stages[1])
    assert first.iterations == preset("tiny").stages[0].iterations


@pytest.mark.parametrize(("whole", "first"), [(30, 10), (2, 1), (3, 1)])
def test_settings_with_one_stage_give_the_first_a_third(whole: int, first: int) -> None:
    config = replace(preset("tiny"), stages=(StageConfig("think_first", whole),))
    assert [stage.iterations for stage in arm("actre", config).stages] == [first, whole - first]


def test_what_would_be_another_arm_is_refused() -> None:
    with pytest.raises(ActreError, match="no arm 'actree'; there are: think_first"):
        arm("actree", preset("tiny"))
    with pytest.raises(ActreError, match="one update a batch"):
        arm("think_first_clip", preset("tiny"))
    with pytest.raises(ActreError, match="at least one iteration each"):
        arm("actre", replace(preset("tiny"), stages=(StageConfig("think_first", 1),)))


def test_think_first_hot_matches_act_firsts_entropy_and_changes_nothing_else() -> None:
    hot, plain = (arm(name, preset("tiny")) for name in ("think_first_hot", "think_first"))
    (stage,) = hot.stages
    assert stage.match == "act_first"
    assert replace(hot, stages=(replace(stage, match=None),)) == plain
