"""Thoughts and states: mutual information by hand, at its ends, and with a policy whose thoughts are known."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actre.config import RunConfig, data_folder
from actre.config.presets import preset
from actre.entropy import retrieval as module
from actre.entropy.monitor import chosen, powers
from actre.entropy.probes import Probe
from actre.entropy.retrieval import measured, retrieval, spread
from actre.types import ActreError, Observation, Reply


def test_by_hand_two_states_that_share_one_of_two_thoughts() -> None:
    """State 0 writes x surely; state 1 writes x or y, each with 1/2. p(x) = 3/4, p(y) = 1/4.

    I = 1/2 log(1 / (3/4)) + 1/4 log((1/2) / (3/4)) + 1/4 log((1/2) / (1/4)) = 0.2158 nats.
    """
    x, y = [0.0, math.log(0.5)], [-1e9, math.log(0.5)]
    found = retrieval([[x, x], [x, y]])
    by_hand = 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * math.log(2)
    assert found.information.value == pytest.approx(by_hand)
    assert found.accuracy.value == 0.75
    assert found.chance == 0.5


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 99))
def test_thoughts_that_ignore_the_state_tell_nothing_and_are_found_by_chance(n: int, k: int, seed: int) -> None:
    template = np.random.default_rng(seed).normal(-20, 5, (n, k, 1))
    found = retrieval(np.repeat(template, n, axis=2))
    assert found.information.value == pytest.approx(0, abs=1e-9)
    assert found.accuracy.value == pytest.approx(found.chance)


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 99))
def test_information_is_at_most_log_n_which_thoughts_of_one_state_each_reach(n: int, k: int, seed: int) -> None:
    logps = np.random.default_rng(seed).normal(-20, 5, (n, k, n))
    assert retrieval(logps).information.value <= math.log(n) + 1e-9
    own = np.where(np.eye(n, dtype=bool)[:, None, :], 0.0, -1e6).repeat(k, axis=1)
    found = retrieval(own)
    assert found.information.value == pytest.approx(math.log(n))
    assert found.accuracy.value == 1.0


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 3)), np.zeros((2, 1, 3)), np.zeros((1, 1, 1)), np.full((2, 1, 2), np.nan)]
)
def test_other_shapes_and_nan_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="log-probabilities"):
        retrieval(wrong)


class Speaker:
    """In the state whose prompt ends in s it writes s once or twice, then 0; `stubborn` writes 7 in every state."""

    def __init__(self, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.scored: list[int] = []

    def renderer(self, prompt: Any, order: str) -> "Speaker":
        assert order == "think_first"
        return self

    def probe_prompt(self, observations: Sequence[Observation], actions: Sequence[str]) -> list[int]:
        return [9, int(observations[-1].text)]

    def _word(self, prompt: Sequence[int]) -> int:
        return 7 if self.stubborn else prompt[-1]

    def generate(self, prompts: Sequence[Sequence[int]], *, seed: int, **_: Any) -> list[Reply]:
        rng = np.random.default_rng(seed)
        replies = [(self._word(p),) * int(rng.integers(1, 3)) + (0,) for p in prompts]
        return [Reply(ids, (math.log(0.5),) * len(ids), "") for ids in replies]

    def action_logprobs(self, prefixes: Any, candidates: Any, *, temperature: float) -> list[np.ndarray]:
        self.scored.append(sum(map(len, candidates[0])))
        return [
            np.array([math.log(0.5) if c[0] == self._word(p) else -50.0 for c in own])
            for p, own in zip(prefixes, candidates, strict=True)
        ]


def probes(texts: Sequence[str]) -> list[Probe]:
    return [Probe(f"game {t}", "put", (Observation(t, "task", ("a",)),), (), "expert", "early") for t in texts]


def asked(**probe: int) -> RunConfig:
    config = RunConfig()
    return replace(config, probe=replace(config.probe, **probe))


def test_a_policy_whose_thought_names_the_state_is_told_from_one_with_a_template() -> None:
    states = probes(["1", "2", "3", "4"])
    responsive, template = (measured(Speaker(s), states, asked(), seed=0) for s in (False, True))  # type: ignore[arg-type]
    assert responsive.information.value == pytest.approx(math.log(4))
    assert responsive.accuracy.value == 1.0
    assert template.information.value == pytest.approx(0)
    assert template.accuracy.value == template.chance == 0.25


def test_equal_states_count_once_and_no_more_are_used_than_asked_for() -> None:
    found = measured(Speaker(), probes(["1", "2", "2", "1", "3"]), asked(retrieval_states=3), seed=0)  # type: ignore[arg-type]
    assert (found.states, found.thoughts) == (3, 4)
    with pytest.raises(ActreError, match="1 state"):
        measured(Speaker(), probes(["1", "1"]), asked(), seed=0)  # type: ignore[arg-type]


def test_thoughts_are_scored_in_parts_of_bounded_size_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    states = probes([str(i) for i in range(1, 7)])
    whole, parts = Speaker(), Speaker()
    first = measured(whole, states, asked(), seed=1)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "_TOKENS", 7)
    assert measured(parts, states, asked(), seed=1) == first  # type: ignore[arg-type]
    assert max(parts.scored) <= 7 < max(whole.scored)


def test_the_first_states_are_of_different_games() -> None:
    a, b, c = probes(["1", "2", "3"])
    again = replace(a, position="late")
    assert spread([a, again, b, c]) == [a, b, c, again]


def test_a_panel_of_n_games_is_spread_over_the_panel() -> None:
    assert chosen(list("abcdefgh"), 4) == ["a", "c", "e", "g"]
    assert chosen(["a"], 4) == ["a"]
    assert [powers(n) for n in (1, 4, 7)] == [[1], [1, 2, 4], [1, 2, 4]]


needs_tiny = pytest.mark.skipif(
    not (data_folder() / "tiny" / "neutral" / "config.json").exists(), reason="the tiny policy is not here"
)


@needs_tiny
def test_what_shows_a_collapse_is_measured_without_changing_the_entropies() -> None:
    from actre.adapters import load_policy
    from actre.entropy.diagnose import training_measure

    plain = preset("tiny")
    alone = {"states": 2, "thoughts": 2, "retrieval_states": 0, "panel_games": 0}
    more = {**alone, "retrieval_states": 2, "retrieval_thoughts": 2, "panel_games": 2, "panel_episodes": 2}
    policy = load_policy(plain)
    lines = []
    for probe in (alone, more):
        lines.append(training_measure(replace(plain, probe=replace(plain.probe, **probe)))(policy, 3, 0))
        policy.reset()
    without, with_all = lines
    assert {name: with_all[name] for name in without} == without
    assert json.loads(json.dumps(with_all, allow_nan=False)) == with_all
    assert with_all["retrieval_chance"] == 0.5
    assert with_all["thought_state_information"]["value"] <= math.log(2) + 1e-9
    assert [one["order"] for one in with_all["orders"]] == ["think_first", "act_first", "no_think"]
    for one in with_all["orders"]:
        assert (one["games"], one["episodes"], list(one["pass_at"])) == (2, 2, ["1", "2"])
        assert one["pass_at"]["1"] == one["success"]
        assert one["pass_at"]["1"]["value"] <= one["pass_at"]["2"]["value"]
        assert 0 <= one["admissible"] <= 1 <= one["distinct_trajectories"] <= 2


@needs_tiny
def test_a_thoughts_likelihood_in_its_own_state_is_what_it_was_sampled_with() -> None:
    from actre.adapters import load_policy
    from actre.entropy.probes import probes_for

    config = preset("tiny")
    config = replace(config, probe=replace(config.probe, states=3))
    policy = load_policy(config)
    renderer = policy.renderer(config.prompt, "think_first")
    prompts = [tuple(renderer.probe_prompt(p.observations, p.actions)) for p in probes_for(config)]
    replies = policy.generate(prompts, max_new_tokens=20, temperature=1.0, stop="<action>", seed=0)
    scored = policy.action_logprobs(prompts, [[reply.token_ids] for reply in replies], temperature=1.0)
    assert [float(one[0]) for one in scored] == pytest.approx([sum(reply.logps) for reply in replies], abs=1e-3)
