"""Compliance counts replies that can be read: in the order that was asked for, or in either where none was."""

from collections.abc import Sequence

import pytest
from tiny_models import char_tokenizer

from actre.config import PromptConfig, RunConfig, SamplingConfig, StageConfig
from actre.config.presets import preset
from actre.entropy.probes import Probe
from actre.organisms.compliance import (
    ENOUGH,
    Condition,
    free_share,
    in_training,
    measure,
    needs_warm_start,
    table,
)
from actre.organisms.warmstart_rows import prompts_of
from actre.types import Observation, Reply

STATE = Observation("a room", "find it", ("go north", "look"))
PROBES = [Probe(f"game {i}", "", (STATE,), (), "expert", "early") for i in range(4)]
THINK = "<think>so</think><action>go north</action>"
ACT = "<action>go north</action><think>so</think>"


class Says:
    """A policy that gives the same replies whatever it is asked."""

    def __init__(self, *texts: str, truncated: bool = False) -> None:
        self.texts, self.truncated = texts, truncated
        self.renderer = prompts_of(char_tokenizer())
        self.stops: list[str | None] = []
        self.prompts: list[str] = []

    def generate(self, prompts: Sequence[Sequence[int]], *, stop: str | None, **_: object) -> list[Reply]:
        self.stops.append(stop)
        self.prompts += [char_tokenizer().decode(list(prompt)) for prompt in prompts]
        return [Reply((), (), self.texts[i % len(self.texts)], self.truncated) for i in range(len(prompts))]


def well_formed(policy: Says, *condition: object) -> int:
    (one,) = measure(policy, PROBES, PromptConfig(), SamplingConfig(), 0, [Condition(*condition)])
    return one.well_formed


@pytest.mark.parametrize(
    ("text", "order", "right"),
    [(THINK, "think_first", 4), (THINK, "act_first", 0), (ACT, "act_first", 4), (ACT, "think_first", 0)],
)
def test_an_instructed_order_must_be_kept(text, order, right):
    policy = Says(text)
    assert well_formed(policy, "instructed", "free", order) == right
    assert policy.stops == [None]


@pytest.mark.parametrize("text", [THINK, ACT])
def test_where_one_wording_serves_both_orders_either_will_do(text):
    assert well_formed(Says(text), "shared", "free", None) == 4


def test_a_forced_tag_is_not_asked_for_again():
    assert well_formed(Says(THINK.removeprefix("<think>")), "shared", "first", "think_first") == 4
    assert well_formed(Says(THINK), "shared", "first", "think_first") == 0


def test_a_reply_that_never_ends_is_a_fault():
    assert well_formed(Says(THINK, truncated=True), "shared", "free", None) == 0


def test_listed_actions_and_faults_are_counted_over_all_states():
    policy = Says(THINK, "<think>so</think><action>fly</action>", "hello")
    (one,) = measure(policy, PROBES, PromptConfig(), SamplingConfig(), 0, [Condition("shared", "free", None)])
    assert (one.states, one.well_formed, one.admissible) == (4, 3, 2)
    assert one.flags["inadmissible"] == 1
    assert one.flags["no_action"] == 1
    assert one.low < one.well_formed / one.states < one.high


def test_the_table_has_a_row_a_condition_and_both_columns():
    before = measure(Says("hello"), PROBES, PromptConfig(), SamplingConfig(), 0)
    after = measure(Says(THINK), PROBES, PromptConfig(), SamplingConfig(), 0)
    shown = table(before, after)
    assert len(shown.splitlines()) == 2 + len(before)
    assert "0% (0% to 49%) | **100% (51% to 100%)**" in shown
    assert free_share(before) == (0, 16)


def test_a_warm_start_is_needed_if_any_order_that_training_asks_for_is_mostly_malformed():
    conditions = in_training(RunConfig())
    assert [(one.tags, one.order) for one in conditions] == [("first", "think_first"), ("first", "act_first")]
    alone = in_training(RunConfig(stages=(StageConfig("no_think", 3),)))
    assert [one.order for one in alone] == ["think_first", "no_think"], "evaluations are think-first"
    assert {one.wording for one in in_training(preset("qwen-0.5b-16gb"))} == {"instructed"}
    think, act = (text.partition(">")[2] for text in (THINK, ACT))
    told = {}
    for texts in ((think,), (act,), (think, think, think, "no tags"), ("no tags",)):
        one = measure(
            Says(*texts), PROBES, PromptConfig(), SamplingConfig(), 0, [Condition("shared", "first", "think_first")]
        )
        told[texts] = needs_warm_start(one)
    assert list(told.values()) == [False, True, True, True]
    good = measure(
        Says(think), PROBES, PromptConfig(), SamplingConfig(), 0, [Condition("shared", "first", "think_first")]
    )
    assert not needs_warm_start([*good, good[0]._replace(states=10, well_formed=int(10 * ENOUGH))])
    assert needs_warm_start([*good, good[0]._replace(states=10, well_formed=int(10 * ENOUGH) - 1)])


@pytest.mark.parametrize(("history", "seen"), [("growing", False), ("windowed", True)])
def test_a_growing_history_without_thoughts_is_not_put_before_a_policy_that_writes_them(history, seen):
    later = Probe("g", "", (STATE, Observation("a hall", "find it", ("wait",))), ("go north",), "expert", "late")
    policy = Says(THINK)
    asked = [Condition("shared", "first", "think_first")]
    prompt = PromptConfig(history=history, list_admissible=True)
    (one,) = measure(policy, [later], prompt, SamplingConfig(), 0, asked)
    assert ("a hall" in policy.prompts[0]) == seen
    assert one.admissible == (not seen)  # "go north" is admissible in the first state alone
