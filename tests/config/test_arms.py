"""Arms differ in what their names say and in nothing else."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from actre.config import PromptConfig, RunConfig, StageConfig, config_from_dict, overrides
from actre.config.arms import ARMS, arm, name_of
from actre.config.presets import PRESETS, preset
from actre.orders import Renderer
from actre.orders import prompts as orders
from actre.orders.chat import ChatFormat
from actre.training.rows import trajectory_rows
from actre.training.stages import plan
from actre.types import ActreError, Observation, Step, Trajectory
from actre.view.names import arm_name

CHAT = ChatFormat("[", "]", "|")


def with_updates(config: RunConfig) -> RunConfig:
    return replace(config, optim=replace(config.optim, updates_per_batch=2))


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("settings", PRESETS)
def test_every_arm_has_the_same_budget_and_differs_in_stages_and_one_setting_at_most(name: str, settings: str) -> None:
    config = with_updates(preset(settings))
    made = arm(name, config)
    assert made.iterations == config.iterations
    assert tuple(stage.order for stage in made.stages) == ARMS[name].orders
    hot = {stage.match_every > 0 for stage in made.stages}
    assert hot == {name == "think_first_hot"}
    allowed = replace(config.optim, clip_high=made.optim.clip_high, entropy_coef=made.optim.entropy_coef)
    assert made == replace(config, stages=made.stages, optim=allowed)
    changed = (made.optim.clip_high != config.optim.clip_high) + (made.optim.entropy_coef != config.optim.entropy_coef)
    assert changed == (name in ("think_first_clip", "think_first_bonus"))


@pytest.mark.parametrize("name", ["mixed_orders", "actre_shuffled"])
def test_actres_rivals_are_actre_but_for_one_setting_of_its_stages(name: str) -> None:
    made, actre = arm(name, preset("tiny")), arm("actre", preset("tiny"))
    if name == "mixed_orders":
        back = [replace(stage, other_order=None) for stage in made.stages]
        assert [(stage.order, stage.other_order) for stage in made.stages] == [
            ("act_first", "think_first"),
            ("think_first", "act_first"),
        ]
    else:
        back = [replace(stage, rationale="own") for stage in made.stages]
        assert [stage.rationale for stage in made.stages] == ["shuffled", "own"]
    assert replace(made, stages=tuple(back)) == actre


def test_every_tenth_group_is_in_the_other_order_over_the_whole_stage() -> None:
    config = arm("mixed_orders", preset("tiny"))  # 6 groups an iteration
    games = [f"g{i}" for i in range(9)]
    first = config.stages[0].iterations
    orders = [order for i in range(1, first + 1) for order in plan(config, games, i).orders]
    assert [i for i, order in enumerate(orders) if order == "think_first"] == list(range(9, 6 * first, 10))
    assert plan(config, games, first + 1).orders.count("act_first") in (0, 1)
    assert plan(arm("actre", preset("tiny")), games, 1).orders == ()


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
    with pytest.raises(ActreError, match="unknown arm 'actree'; the arms are: think_first"):
        arm("actree", preset("tiny"))
    with pytest.raises(ActreError, match="one update per batch"):
        arm("think_first_clip", preset("tiny"))
    with pytest.raises(ActreError, match="at least one iteration each"):
        arm("actre", replace(preset("tiny"), stages=(StageConfig("think_first", 1),)))


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("settings", PRESETS)
def test_an_arms_settings_say_its_name(name: str, settings: str) -> None:
    assert name_of(arm(name, with_updates(preset(settings)))) == name


def test_an_earlier_stage_without_thoughts_is_a_no_think_stage() -> None:
    raw = asdict(preset("tiny"))
    raw["stages"] = [{**stage, "thoughts": stage["order"] != "act_first"} for stage in raw["stages"]]
    skipped = config_from_dict(raw)
    assert plan(skipped, ["game"], 1).order == "no_think"
    assert name_of(skipped) == "tfpi"
    assert name_of(replace(skipped, stages=skipped.stages[:1])) == "no_think"


def test_every_arm_has_a_label_of_its_own_which_pages_show() -> None:
    assert [arm_name(name) for name in ARMS] == [one.label for one in ARMS.values()]
    assert len({one.label for one in ARMS.values()}) == len(ARMS)
    assert arm_name("my_own") == "my own"


@pytest.mark.parametrize(("thoughts_in_history", "thoughts_trained"), [(False, False), (True, False), (False, True)])
def test_with_both_switches_off_act_first_is_no_think_but_for_its_words(
    thoughts_in_history: bool, thoughts_trained: bool
) -> None:
    """What separates actre from tfpi: the words and the tag, the rationale's gradient, and its place in the history."""
    prompt = PromptConfig(history_thoughts=thoughts_in_history, wording="instructed")
    seen = [Observation(f"You are in room {i}.", "find the key", ("look",)) for i in range(2)]
    later, trained = {}, {}
    for order in ("act_first", "no_think"):
        renderer = Renderer(lambda text: [ord(c) for c in text], CHAT, prompt, order, end_id=ord("$"))
        reply = tuple(renderer.reply_ids("because it is there", "look"))
        step = Step(
            seen[0], renderer.prompt([], seen[0]), reply, (0.0,) * len(reply), text(reply), "because", "look", (), 0.0
        )
        later[order] = text(renderer.prompt([step], seen[1])).replace(orders._REPLY[order], "")
        played = Trajectory("e", "g", "t", order, 0, (step,), seen[1], False, False)
        rows = trajectory_rows(played, 0, masked_thoughts=None if thoughts_trained else text)
        trained[order] = text([t for row in rows for t, on in zip(row.ids, row.mask, strict=True) if on])
    assert (later["act_first"] == later["no_think"]) == (not thoughts_in_history)
    assert (trained["act_first"] == trained["no_think"]) == (not thoughts_trained)


def text(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


@pytest.mark.parametrize(
    ("name", "from_arm"),
    [("think_first", "think_first_hot"), ("think_first", "think_first_bonus")],
)
def test_settings_of_one_arm_are_not_silently_made_another(name: str, from_arm: str) -> None:
    with pytest.raises(ActreError, match=f"with these settings {name} would be"):
        arm(name, arm(from_arm, preset("tiny")))


def test_a_stage_without_thoughts_does_not_pass_as_actre() -> None:
    with pytest.warns(FutureWarning, match="no_think:ITERATIONS"):
        stages = overrides.stages("act_first:5:thoughts=false,think_first:5")
    assert [stage.order for stage in stages] == ["no_think", "think_first"]
    assert name_of(replace(preset("tiny"), stages=stages)) == "tfpi"
