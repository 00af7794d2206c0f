"""A diagnosis finds what is true of policies whose entropies are known in closed form, and can be
interrupted.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_orders import ScriptedOrders, probes

from actre.cli.diagnose import described
from actre.config import PromptConfig, RunConfig, SamplingConfig
from actre.entropy import estimators as e
from actre.entropy.diagnose import (
    PARTS,
    PSEUDO_THOUGHTS,
    Diagnosis,
    diagnose,
    entropy_record,
    load_diagnosis,
    parts,
    save_diagnosis,
)
from actre.types import ActreError, Observation, Reply

ACTIONS = ("left", "right", "up", "down")
CONFIG = RunConfig()
DECISIVE = {
    f"go {a}": tuple(0.94 if a == b else 0.02 for b in ACTIONS) for a in ACTIONS
}  # each thought settles the action; together they settle nothing


@dataclass
class Recording(ScriptedOrders):
    """Keeps the limit and the seed of each request for thoughts."""

    asked: list[tuple[int, int]] = field(default_factory=list)

    def generate(self, prompts: Sequence[Sequence[int]], **settings: Any) -> list[Reply]:
        self.asked.append((settings["max_new_tokens"], settings["seed"]))
        return super().generate(prompts, **settings)


def neutral() -> ScriptedOrders:
    """The same marginal in both orders; after a thought hardly anything is open."""
    return ScriptedOrders(ACTIONS, (0.25,) * 4, {t: 0.25 for t in DECISIVE}, DECISIVE)


def narrow() -> ScriptedOrders:
    """Act-first tries everything; think-first has one habit."""
    thoughts = {"go left": 0.97, "go up": 0.03}
    return ScriptedOrders(ACTIONS, (0.25,) * 4, thoughts, DECISIVE)


def test_act_first_is_exact_and_keeps_what_lies_outside_the_list() -> None:
    policy = ScriptedOrders(ACTIONS, (0.4, 0.3, 0.1, 0.0), {"hm": 1.0}, {"hm": (0.2, 0.2, 0.2, 0.2)})
    found = diagnose(policy, probes(ACTIONS), CONFIG, thoughts=4, seed=0)
    state = found.states[0]
    assert state.act_first_p == pytest.approx((0.4, 0.3, 0.1, 0.0, 0.2))
    assert state.think_first_p == pytest.approx((0.2,) * 5)
    assert state.act_first == pytest.approx(e.entropy([0.4, 0.3, 0.1, 0.2]))
    assert (state.lower, state.conditional) == pytest.approx((math.log(5), math.log(5)))
    assert state.information == pytest.approx(0, abs=1e-12)
    assert found.summary["other_act_first"].value == pytest.approx(0.2)
    assert state.js == pytest.approx(e.js(state.act_first_p, state.think_first_p))
    assert state.kl_think_act is None  # "down" is impossible act-first
    assert state.kl_act_think == pytest.approx(e.kl(state.act_first_p, state.think_first_p))


def test_the_bracket_and_the_decomposition_find_the_known_truth() -> None:
    policy = neutral()
    found = diagnose(policy, probes(ACTIONS, games=30), CONFIG, thoughts=16, seed=0)
    truth, conditional = e.entropy(policy.marginal), e.entropy((0.94, 0.02, 0.02, 0.02))
    s = found.summary
    assert s["think_first_lower"].value < truth < s["think_first_upper"].value
    assert s["conditional"].value == pytest.approx(conditional, abs=1e-9)
    for state in found.states:
        assert state.lower == pytest.approx(state.conditional + state.information, abs=1e-12)
    assert s["act_first"] == pytest.approx((math.log(4),) * 3)


def test_a_neutral_policy_with_decisive_thoughts_is_not_called_narrowed_though_the_naive_look_says_so() -> None:
    found = diagnose(neutral(), probes(ACTIONS, games=24), CONFIG, thoughts=8, seed=0)
    assert found.summary["act_first"].value - found.summary["conditional"].value > 1  # the trap
    assert found.verdict in ("inconclusive", "equivalent")
    more = diagnose(neutral(), probes(ACTIONS, games=24), CONFIG, thoughts=128, seed=0)
    assert more.verdict == "equivalent"


def test_a_policy_of_one_habit_is_narrowed_and_its_mirror_widened() -> None:
    assert diagnose(narrow(), probes(ACTIONS), CONFIG, thoughts=16, seed=0).verdict == "narrowed"
    mirror = ScriptedOrders(ACTIONS, (0.97, 0.01, 0.01, 0.01), {t: 0.25 for t in DECISIVE}, DECISIVE)
    found = diagnose(mirror, probes(ACTIONS), CONFIG, thoughts=16, seed=0)
    assert found.verdict == "widened"
    assert "widens" in found.words


def test_equal_n_draws_as_many_actions_in_each_order() -> None:
    found = diagnose(neutral(), probes(ACTIONS, games=60), CONFIG, thoughts=8, seed=0)
    act, think = found.summary["equal_n_act_first"], found.summary["equal_n_think_first"]
    # the same true marginal but for 0.02s, the same count, the same estimator: the same bias
    assert act.value == pytest.approx(think.value, abs=0.12)
    plugin = diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=2, seed=0, count_method="plugin")
    assert plugin.summary["equal_n_act_first"].high <= math.log(2) + 1e-12


def test_each_state_draws_its_equal_n_actions_for_itself() -> None:
    found = diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=8, seed=0)
    assert {state.act_first_p for state in found.states} == {found.states[0].act_first_p}
    assert len({state.equal_n_act_first for state in found.states}) > 1


def test_equal_n_among_the_listed_draws_as_many_actions_as_thoughts_that_ended() -> None:
    policy = ScriptedOrders(ACTIONS, (0.25,) * 4, {"hm": 0.5, "...": 0.5}, {"hm": (0.25,) * 4})
    found = diagnose(policy, probes(ACTIONS, games=40), CONFIG, thoughts=4, seed=0, count_method="plugin")
    listed = [state.listed for state in found.states if state.listed]
    assert {one.thoughts for one in listed} == {2, 3, 4}
    for thoughts in (2, 3, 4):
        here = [one for one in listed if one.thoughts == thoughts]
        # N draws show at most N actions, and some states show that many in either order
        for drawn in ([x.equal_n_act_first for x in here], [x.equal_n_think_first for x in here]):
            assert max(drawn) <= math.log(thoughts) + 1e-12
        assert max(x.equal_n_act_first for x in here) > math.log(thoughts - 1)


def test_an_action_seen_after_one_thought_alone_leaves_the_bracket_finite() -> None:
    after = {"go left": (1.0, 0, 0, 0), "go up": (0, 0, 1.0, 0)}
    policy = ScriptedOrders(ACTIONS, (0.25,) * 4, {t: 0.5 for t in after}, after)
    found = diagnose(policy, probes(ACTIONS), CONFIG, thoughts=2, seed=0)
    torn = [state for state in found.states if len(set(state.thoughts)) == 2]
    assert torn
    for state in torn:  # to the other thought an action's own share is the uniform one's alone
        assert state.upper == pytest.approx(-math.log(PSEUDO_THOUGHTS / 5 / (1 + PSEUDO_THOUGHTS)))
        assert state.listed is not None
        assert state.listed.upper == pytest.approx(-math.log(PSEUDO_THOUGHTS / 4 / (1 + PSEUDO_THOUGHTS)))


def test_no_think_is_measured_exactly_in_its_own_words_and_apart_from_act_first() -> None:
    policy = neutral()
    policy.no_think = (0.7, 0.1, 0.0, 0.1)
    found = diagnose(policy, probes(ACTIONS), CONFIG, thoughts=2, seed=0)
    for state in found.states:
        assert state.no_think_p == pytest.approx((0.7, 0.1, 0.0, 0.1, 0.1))
        assert state.act_first_p == pytest.approx((0.25,) * 4 + (0.0,), abs=1e-9)
    assert found.summary["no_think"].value == pytest.approx(e.entropy([0.7, 0.1, 0.1, 0.1]))
    assert found.summary["other_no_think"].value == pytest.approx(0.1)
    # it takes no part in the verdict
    assert found.contraction == diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=2, seed=0).contraction


def test_among_the_listed_actions_what_lies_outside_and_unfinished_thoughts_play_no_part() -> None:
    policy = ScriptedOrders(ACTIONS, (0.4, 0.3, 0.1, 0.0), {"hm": 0.5, "...": 0.5}, {"hm": (0.2,) * 4})
    found = diagnose(policy, probes(ACTIONS), CONFIG, thoughts=16, seed=0)
    for state in found.states:
        assert state.listed is not None
        assert state.listed.thoughts == 16 - state.unfinished
        assert state.listed.act_first == pytest.approx(e.entropy([0.5, 0.375, 0.125]))
        assert state.listed.lower == pytest.approx(math.log(4))
        assert state.listed.upper == pytest.approx(math.log(4))
        assert state.act_first > state.listed.act_first  # the main measure keeps what lies outside
    assert found.listed is not None
    assert found.listed.difference.lower == pytest.approx(e.entropy([0.5, 0.375, 0.125]) - math.log(4))
    assert found.listed.verdict == "widened"
    assert found.summary["listed_upper"].value == pytest.approx(math.log(4))
    assert Diagnosis.from_json(found.to_json()) == found
    # an action that is impossible after every thought leaves nothing to choose among
    mute = ScriptedOrders(ACTIONS, (0.25,) * 4, {"...": 1.0}, {})
    silent = diagnose(mute, probes(ACTIONS), CONFIG, thoughts=4, seed=0)
    assert silent.listed is None
    assert {state.listed for state in silent.states} == {None}


def test_parts_hold_their_own_states_and_an_interval_where_there_are_games() -> None:
    early = probes(ACTIONS, games=6)
    late = [replace(p, position="late", source="random", game=f"late {i % 2}") for i, p in enumerate(early)]
    lone = replace(early[0], position="late", source="policy", game="lone", task_type="alone")
    found = diagnose(narrow(), [*early, *late, lone], CONFIG, thoughts=4, seed=0)
    by = {name: {part.name: part for part in parts(found.states, name)} for name in PARTS}
    assert {name: part.states for name, part in by["position"].items()} == {"early": 6, "late": 7}
    assert {name: part.games for name, part in by["source"].items()} == {"expert": 6, "random": 2, "policy": 1}
    alone = by["task_type"]["alone"]
    assert math.isnan(alone.act_first.low)
    assert alone.difference_upper.value == pytest.approx(alone.act_first.value - alone.think_first_lower.value)
    whole = by["source"]["expert"]
    states = [s for s in found.states if s.source == "expert"]
    assert whole.think_first_lower.value == pytest.approx(np.mean([s.lower for s in states]))
    assert whole.difference_lower.value == pytest.approx(np.mean([s.act_first - s.upper for s in states]))
    assert whole.difference_lower.low <= whole.difference_lower.value <= whole.difference_lower.high
    record = found.to_json()["parts"]["task_type"]
    assert json.loads(json.dumps(record, allow_nan=False))[0]["name"] == "alone"


def test_both_orders_see_one_prompt_without_thoughts_but_for_the_opening_tag() -> None:
    policy = neutral()
    diagnose(policy, probes(ACTIONS), replace(CONFIG, prompt=PromptConfig(tags="free")), thoughts=2, seed=0)
    assert len({p.rpartition("<")[0] for p in policy.prompts}) == 1
    assert {p.rpartition("<")[2] for p in policy.prompts} == {"think>", "action>"}
    assert all("<action>north</action>" in p for p in policy.prompts)
    assert all(f"go {a}" not in p for p in policy.prompts for a in ACTIONS)
    instructed = neutral()
    found = diagnose(instructed, probes(ACTIONS), CONFIG, thoughts=2, seed=0, wording="instructed")
    assert found.settings.wording == "instructed"
    assert len({p.rpartition("<")[0] for p in instructed.prompts}) == 2


def test_one_temperature_serves_sampling_and_scoring() -> None:
    policy = neutral()
    config = replace(CONFIG, sampling=SamplingConfig(temperature=0.7))
    found = diagnose(policy, probes(ACTIONS), config, thoughts=2, seed=0)
    assert policy.temperatures == {0.7}
    assert found.settings.temperature == 0.7


def test_a_thought_that_never_closes_counts_as_other_and_is_not_dropped() -> None:
    policy = ScriptedOrders(
        ACTIONS, (0.25,) * 4, {"go left": 0.5, "...": 0.25, "end": 0.25}, {"go left": (1.0, 0, 0, 0)}
    )
    found = diagnose(policy, probes(ACTIONS, games=40), CONFIG, thoughts=16, seed=0)
    for state in found.states:
        assert state.think_first_p[-1] == pytest.approx(state.unfinished / 16)
        assert math.isfinite(state.upper)
    assert found.summary["unfinished"].value == pytest.approx(0.5, abs=0.06)
    assert found.summary["other_think_first"].value == pytest.approx(found.summary["unfinished"].value)


def test_forcing_the_action_tag_lets_a_policy_without_tags_be_measured() -> None:
    after = {**DECISIVE, "...": (0.7, 0.1, 0.1, 0.1), "end": (0.1, 0.7, 0.1, 0.1)}
    policy = ScriptedOrders(ACTIONS, (0.25,) * 4, {"go left": 0.4, "...": 0.3, "end": 0.3}, after, tagless=True)
    plain = diagnose(policy, probes(ACTIONS), CONFIG, thoughts=32, seed=0)
    assert plain.summary["other_think_first"].value == 1.0
    assert plain.summary["think_first_lower"].value == 0.0
    forced = diagnose(policy, probes(ACTIONS, games=20), CONFIG, thoughts=32, seed=0, force_action_tag=True)
    assert forced.summary["other_think_first"].value == pytest.approx(0.0, abs=1e-9)
    assert forced.summary["unfinished"].value == pytest.approx(0.6, abs=0.1)
    truth = e.entropy(policy.marginal[:-1])
    assert forced.summary["think_first_lower"].low < truth < forced.summary["think_first_upper"].high


def test_token_entropies_are_means_a_token_of_something_else() -> None:
    found = diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=4, seed=0)
    state = found.states[0]
    thought_tokens = np.mean([len(t) + len("</think>") for t in state.thoughts])
    assert state.token_thought == pytest.approx(math.log(4) / thought_tokens)
    action_tokens = np.mean([len(a) + len("</action>") for a in ACTIONS])
    assert state.token_action_act_first == pytest.approx(math.log(4) / action_tokens)
    open_still = ScriptedOrders(ACTIONS, (0.25,) * 4, {"hm": 1.0}, {"hm": (0.25,) * 4})  # as uncertain after a thought
    state = diagnose(open_still, probes(ACTIONS), CONFIG, thoughts=2, seed=0).states[0]
    assert state.token_action_think_first == pytest.approx(math.log(4) / action_tokens)
    unclosed = ScriptedOrders(ACTIONS, (0.25,) * 4, {"...": 1.0}, {})
    assert diagnose(unclosed, probes(ACTIONS), CONFIG, thoughts=2, seed=0).states[0].token_action_think_first is None


def test_a_token_of_an_action_counts_as_often_as_the_action_is_taken() -> None:
    p = (0.7, 0.1, 0.1, 0.1)
    policy = ScriptedOrders(ACTIONS, p, {t: 0.25 for t in DECISIVE}, DECISIVE)
    state = diagnose(policy, probes(ACTIONS), CONFIG, thoughts=2, seed=0).states[0]
    tokens = 0.7 * len("left") + 0.1 * len("rightupdown") + len("</action>")
    assert state.token_action_act_first == pytest.approx(e.entropy(p) / tokens)


def test_an_action_listed_twice_is_one_outcome() -> None:
    twice = [
        replace(p, observations=(*p.observations[:-1], replace(p.state, admissible=ACTIONS + ACTIONS[:1])))
        for p in probes(ACTIONS)
    ]
    assert diagnose(neutral(), twice, CONFIG, thoughts=2, seed=0).states[0].actions == ACTIONS


# --- seeds, files, interruption ---


def test_the_same_seed_gives_the_same_diagnosis_and_another_seed_other_thoughts() -> None:
    one, two, other = (diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=4, seed=s) for s in (0, 0, 1))
    assert one == two
    assert [s.thoughts for s in one.states] != [s.thoughts for s in other.states]


def test_each_batch_draws_thoughts_of_its_own_and_no_longer_than_the_settings_say() -> None:
    policy = Recording(ACTIONS, (0.25,) * 4, {t: 0.25 for t in DECISIVE}, DECISIVE)
    config = replace(CONFIG, sampling=SamplingConfig(max_reply_tokens=37))
    found = diagnose(policy, probes(ACTIONS, games=12), config, thoughts=16, seed=0, check_replies=0)
    assert policy.calls == len(policy.asked) == 3
    assert {limit for limit, _ in policy.asked} == {found.settings.max_thought_tokens} == {37}
    assert len({seed for _, seed in policy.asked}) == 3


def test_an_interrupted_diagnosis_goes_on_and_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    states = probes(ACTIONS, games=10, each=2)
    whole = diagnose(neutral(), states, CONFIG, thoughts=16, seed=0, out=tmp_path / "whole.jsonl")
    policy = neutral()
    policy.fail_after = 2
    out = tmp_path / "part.jsonl"
    with pytest.raises(KeyboardInterrupt):
        diagnose(policy, states, CONFIG, thoughts=16, seed=0, out=out)
    lines = out.read_text().splitlines()
    assert len(lines) == 1 + 8  # settings, and two batches of four states
    out.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])  # a torn last line
    told: list[int] = []
    again = neutral()
    assert diagnose(again, states, CONFIG, thoughts=16, seed=0, out=out, progress=told.append) == whole
    assert again.calls == 4  # the torn batch and the three missing ones
    assert told[0] == 7
    assert sum(told) == len(states)
    assert sorted(out.read_text().splitlines()) == sorted((tmp_path / "whole.jsonl").read_text().splitlines())


def test_a_stopped_diagnosis_says_what_it_holds_and_goes_on(tmp_path: Path) -> None:
    states = probes(ACTIONS, games=10, each=2)
    whole = diagnose(neutral(), states, CONFIG, thoughts=16, seed=0)
    out = tmp_path / "d.jsonl"
    asked: list[bool] = []

    def stop_third() -> bool:
        asked.append(len(asked) == 2)
        return asked[-1]

    part = diagnose(neutral(), states, CONFIG, thoughts=16, seed=0, out=out, stop=stop_third)
    assert not part.complete
    assert part.states == whole.states[:8]
    assert (part.settings.states, part.to_json()["states_done"]) == (20, 8)
    assert Diagnosis.from_json(part.to_json()) == part
    with pytest.raises(ActreError, match="too few for a result"):
        diagnose(neutral(), states, CONFIG, thoughts=16, seed=0, stop=lambda: True)
    assert diagnose(neutral(), states, CONFIG, thoughts=16, seed=0, out=out, stop=lambda: False) == whole
    assert whole.complete


def test_a_file_from_before_a_setting_or_column_was_added_is_continued(tmp_path: Path) -> None:
    out = tmp_path / "d.jsonl"
    whole = diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=16, seed=0, out=out)
    header, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    del header["settings"]["adapter"]
    for line in lines:
        del line["no_think"], line["no_think_p"]
    out.write_text("".join(json.dumps(line) + "\n" for line in [header, *lines[:8]]))
    found = diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=16, seed=0, out=out)
    assert [s.no_think is None for s in found.states] == [True] * 8 + [False] * 4
    assert found.contraction == whole.contraction
    with pytest.raises(ActreError, match=r"other settings \(adapter\)"):
        diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=16, seed=0, out=out, adapter="a")


def test_a_file_of_other_settings_or_weights_is_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "d.jsonl"
    diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=4, seed=0, out=out)
    with pytest.raises(ActreError, match=r"other settings \(thoughts\)"):
        diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=5, seed=0, out=out)
    with pytest.raises(ActreError, match=r"other settings \(probes, states\)"):
        diagnose(neutral(), probes(ACTIONS, games=13), CONFIG, thoughts=4, seed=0, out=out)
    changed = neutral()
    changed.act_first = (0.4, 0.2, 0.2, 0.2)
    with pytest.raises(ActreError, match="a policy with other weights"):
        diagnose(changed, probes(ACTIONS), CONFIG, thoughts=4, seed=0, out=out)
    changed = neutral()
    changed.no_think = (0.4, 0.2, 0.2, 0.2)
    with pytest.raises(ActreError, match="a policy with other weights"):
        diagnose(changed, probes(ACTIONS), CONFIG, thoughts=4, seed=0, out=out)


def test_the_same_weights_are_known_again_where_few_replies_have_blanks(tmp_path: Path) -> None:
    """Each batch is scored with the blanks of its own replies; 8 % of the actions here stand on a line of their own."""

    class OnLines(ScriptedOrders):
        def _acted(self, p: Sequence[float], rng: np.random.Generator) -> str:
            text = super()._acted(p, rng)
            return "\n" + text.replace("</", "\n</") if rng.random() < 0.08 else text

        def _logp(self, prefix: str, continuation: str) -> float:
            lines = continuation.startswith("\n")
            return super()._logp(prefix, continuation.replace("\n", "")) + math.log(0.08 if lines else 0.92)

    def policy() -> ScriptedOrders:
        return OnLines(ACTIONS, (0.4, 0.3, 0.2, 0.1), neutral().thoughts, neutral().after)

    states = probes(ACTIONS)
    seen = 0
    for seed in range(6):
        out = tmp_path / f"{seed}.jsonl"
        asked = iter((False, False, True))
        diagnose(policy(), states, CONFIG, thoughts=16, seed=seed, out=out, stop=lambda asked=asked: next(asked))
        whole = diagnose(policy(), states, CONFIG, thoughts=16, seed=seed, out=out)
        blanks = {one.checks["act_first"].blanks for one in whole.states if one.checks}
        seen += len(blanks) > 1
    assert seen  # batches that differ


def test_other_weights_show_where_the_policy_is_least_certain_and_not_in_the_first_state(tmp_path: Path) -> None:
    """In a shop's first state only a search is admissible, and every policy searches."""

    class SureInTheHall(ScriptedOrders):
        def _logp(self, prefix: str, continuation: str) -> float:
            if "A hall." in prefix:
                return ScriptedOrders(ACTIONS, (1.0, 0.0, 0.0, 0.0), self.thoughts, self.after)._logp(
                    prefix, continuation
                )
            return super()._logp(prefix, continuation)

    def policy(act_first: Sequence[float]) -> ScriptedOrders:
        return SureInTheHall(ACTIONS, act_first, neutral().thoughts, neutral().after)

    first, *others = probes(ACTIONS)
    hall = replace(first, observations=(first.observations[0], Observation("A hall.", "leave.", ACTIONS)))
    out = tmp_path / "d.jsonl"
    diagnose(policy((0.25, 0.25, 0.25, 0.25)), [hall, *others], CONFIG, thoughts=4, seed=0, out=out)
    with pytest.raises(ActreError, match="a policy with other weights"):
        diagnose(policy((0.4, 0.2, 0.2, 0.2)), [hall, *others], CONFIG, thoughts=4, seed=0, out=out)


def test_a_diagnosis_comes_back_from_json_without_losing_anything(tmp_path: Path) -> None:
    found = diagnose(narrow(), probes(ACTIONS), CONFIG, thoughts=8, seed=3)
    save_diagnosis(tmp_path / "d" / "diagnosis.json", found)
    assert load_diagnosis(tmp_path / "d" / "diagnosis.json") == found
    save_diagnosis(tmp_path / "d.json.gz", found)
    assert load_diagnosis(tmp_path / "d.json.gz") == found
    (tmp_path / "torn.json.gz").write_bytes((tmp_path / "d.json.gz").read_bytes()[:100])
    with pytest.raises(ActreError, match="damaged"):
        load_diagnosis(tmp_path / "torn.json.gz")
    record = json.loads((tmp_path / "d" / "diagnosis.json").read_text())
    assert record["verdict"] == found.verdict
    assert record["settings"]["pseudo_thoughts"] == PSEUDO_THOUGHTS
    for broken in ({}, {**record, "schema": 99}, {**record, "settings": {}}, {**record, "states": [{}]}):
        with pytest.raises(ActreError, match="diagnose"):
            Diagnosis.from_json(broken)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ActreError, match="damaged"):
        load_diagnosis(tmp_path / "bad.json")
    with pytest.raises(ActreError, match="does not exist"):
        load_diagnosis(tmp_path / "none.json")


def test_an_entropy_line_is_plain_json_with_the_agreed_fields() -> None:
    line = entropy_record(diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=4, seed=0))
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert (line["states"], line["k"]) == (12, 4)
    for name in ("act_first", "think_first_lower", "think_first_upper", "conditional", "information"):
        assert set(line[name]) == {"value", "low", "high"}
    assert line["verdict"] in ("narrowed", "widened", "equivalent", "inconclusive")


def test_too_little_to_measure_is_refused_at_once() -> None:
    with pytest.raises(ActreError, match="at least 2"):
        diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=1, seed=0)
    with pytest.raises(ActreError, match="2 games"):
        diagnose(neutral(), probes(ACTIONS, games=1, each=5), CONFIG, thoughts=4, seed=0)


def test_the_terminal_warns_where_most_lies_outside_the_list() -> None:
    off = ScriptedOrders(ACTIONS, (0.01,) * 4, {"hm": 1.0}, {"hm": (0.25,) * 4})
    assert "--force-action-tag" in described(diagnose(off, probes(ACTIONS), CONFIG, thoughts=2, seed=0))
    said = described(diagnose(off, probes(ACTIONS), CONFIG, thoughts=2, seed=0, force_action_tag=True))
    assert "outside the listed actions. That counts as one outcome" in said
    assert "--force-action-tag" not in said
    assert "Warning" not in described(diagnose(neutral(), probes(ACTIONS), CONFIG, thoughts=2, seed=0))
