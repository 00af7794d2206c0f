"""Rollouts: what is sent and recorded, groups and waves, failures that cost one episode, branches."""

from dataclasses import replace

import pytest
from fake_env import CorridorEnv
from tiny_models import char_tokenizer, tiny_llama

from actre.config import EnvConfig, PromptConfig, SamplingConfig
from actre.orders import NO_ACTION_NOTE
from actre.policies.hf import HFPolicy
from actre.policies.scripted import ScriptedPolicy, Table
from actre.rollout import BranchPoint, branch, make_envs, must_be_whole, rollout
from actre.types import ActreError, Observation, Trajectory, trajectory_from_json, trajectory_to_json

INADMISSIBLE = ("inadmissible",)


def _saying(*actions: str, thought: str = "hm") -> ScriptedPolicy:
    """Always the first action; several: each alike."""
    return ScriptedPolicy(lambda prompt: Table({thought: 1.0}, {thought: {a: 1 / len(actions) for a in actions}}))


def _play(policy, envs, games, *, order="think_first", prompt=None, **changed) -> list[Trajectory]:
    asked = {
        "renderer": policy.renderer(prompt or PromptConfig(), order),
        "sampling": SamplingConfig(max_reply_tokens=40),
        "temperature": 1.0,
        "max_steps": 5,
        "seed": 0,
        **changed,
    }
    return rollout(policy, envs, games, **asked)


def _envs(n: int, **settings) -> list[CorridorEnv]:
    return [CorridorEnv(**settings) for _ in range(n)]


def test_games_come_back_in_order_with_their_groups_together():
    played = _play(_saying("go right"), _envs(4), ["3", "1", "2"], group_size=2)
    assert [t.game for t in played] == ["3", "3", "1", "1", "2", "2"]
    assert [t.group for t in played] == [0, 0, 1, 1, 2, 2]
    assert [len(t.steps) for t in played] == [3, 3, 1, 1, 2, 2]
    assert all(t.won and not t.truncated and t.env_return == 1.0 for t in played)
    assert len({t.seed for t in played}) == 6


def test_what_is_recorded_is_what_was_seen_sent_and_answered():
    (env,) = _envs(1)
    (played,) = _play(_saying("go right"), [env], ["2"])
    assert env.sent == ["go right", "go right"] == [step.action for step in played.steps]
    assert [step.observation.text for step in played.steps][1] == "You are at door 1."
    assert played.final.text == "You are at door 2."
    assert [step.reward for step in played.steps] == [0.0, 1.0]
    assert played.steps[0].thought == "hm"
    assert played.steps[0].flags == ()
    assert played.task_type == "walk"
    assert played.order == "think_first"
    assert trajectory_from_json(trajectory_to_json(played)) == played


def test_no_two_draws_of_a_rollout_share_a_seed(monkeypatch):
    """Waves and turns: with one seed twice the same replies would be drawn again, as if they were new."""
    policy, seeds = _saying("look"), []
    generate = policy.generate
    monkeypatch.setattr(policy, "generate", lambda *a, **asked: seeds.append(asked["seed"]) or generate(*a, **asked))
    _play(policy, _envs(2), ["3", "3", "3"], max_steps=3)
    assert len(seeds) == len(set(seeds)) == 6
    before = set(seeds)
    _play(policy, _envs(2), ["3", "3", "3"], max_steps=3, seed=1)
    assert not before & set(seeds[6:])


def test_a_growing_history_only_ever_grows():
    policy = _saying("go right")
    (played,) = _play(policy, _envs(1), ["3"])
    for earlier, later in zip(played.steps, played.steps[1:], strict=False):
        so_far = earlier.prompt_ids + earlier.reply_ids
        assert later.prompt_ids[: len(so_far)] == so_far


def test_an_episode_without_end_is_cut_after_max_steps_and_counts_as_truncated():
    (played,) = _play(_saying("look"), _envs(1), ["3"], max_steps=4)
    assert len(played.steps) == 4
    assert played.truncated
    assert not played.won


def test_what_ended_by_itself_at_its_limit_is_not_called_truncated():
    class Strict(CorridorEnv):
        def step(self, action):
            text, reward, terminated, _, info = super().step(action)
            return text, reward, terminated, True, info

    (played,) = _play(_saying("go right"), [Strict()], ["1"])
    assert played.won
    assert not played.truncated


def test_the_environments_own_limit_truncates_too():
    (played,) = _play(_saying("look"), _envs(1, limit=2), ["3"], max_steps=4)
    assert len(played.steps) == 2
    assert played.truncated


def test_a_reply_without_action_sends_nothing_and_says_so_in_the_next_prompt():
    policy = ScriptedPolicy(lambda prompt: Table({"hm": 1.0}, {"hm": {}}))
    (env,) = _envs(1)
    (played,) = _play(policy, [env], ["1"], max_steps=3)
    assert env.sent == []
    assert len(played.steps) == 3
    assert played.truncated
    assert all(step.action is None and "no_action" in step.flags for step in played.steps)
    assert played.final == played.steps[0].observation
    assert NO_ACTION_NOTE in policy.decode(played.steps[1].prompt_ids)


def test_an_inadmissible_action_is_sent_as_it_is_and_flagged():
    (env,) = _envs(1)
    (played,) = _play(_saying("fly"), [env], ["1"], max_steps=1)
    assert env.sent == ["fly"]
    assert played.steps[0].flags == ("inadmissible",)
    assert played.final.text == "Nothing happens."


def test_a_failing_environment_costs_its_episode_and_no_other():
    policy = _saying("fail", "go right")
    played = _play(policy, _envs(8), ["1"] * 8, prompt=PromptConfig())
    failed = [t for t in played if "env_error" in t.meta]
    assert failed
    assert len(failed) < 8
    for trajectory in failed:
        assert trajectory.steps[-1].flags[-1] == "env_error"
        assert "fell in" in trajectory.meta["env_error"]
        assert trajectory.truncated
    assert all(t.won for t in played if t not in failed)


def test_a_damaged_game_costs_its_episodes_and_no_other():
    played = _play(_saying("go right"), _envs(3), ["1", "broken", "2"])
    assert [len(t.steps) for t in played] == [1, 0, 2]
    assert played[1].meta == {"env_error": "this game is damaged"}
    assert played[1].truncated


def test_a_run_in_which_no_episode_starts_is_an_error():
    with pytest.raises(ActreError, match="none of the 2 episodes could be started: this game is damaged"):
        _play(_saying("go right"), _envs(2), ["broken", "broken"])


def test_a_programming_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        _play(_saying("bug"), _envs(1), ["1"])


def test_a_prompt_that_grew_too_long_cuts_its_episode():
    policy = _saying("look")
    (whole,) = _play(policy, _envs(1), ["3"])
    limit = len(whole.steps[2].prompt_ids)
    sampling = SamplingConfig(max_reply_tokens=40, max_prompt_tokens=limit)
    (cut,) = _play(policy, _envs(1), ["3"], sampling=sampling)
    assert len(cut.steps) == 3
    assert cut.truncated
    assert cut.meta == {"cut": "prompt"}


def test_progress_counts_every_episode_once():
    told: list[int] = []
    _play(_saying("go right", "look"), _envs(3), ["1", "2", "broken", "1", "2"], progress=told.append)
    assert sum(told) == 5
    assert all(n > 0 for n in told)


def test_no_environment_is_refused_and_no_game_is_nothing():
    with pytest.raises(ActreError, match="no environment"):
        _play(_saying("look"), [], ["1"])
    assert _play(_saying("look"), _envs(1), []) == []


@pytest.mark.parametrize("prompt", [PromptConfig(), PromptConfig(history="windowed", tags="free")], ids=str)
@pytest.mark.parametrize("order", ["think_first", "act_first", "no_think"])
def test_a_model_plays_the_same_episodes_with_and_without_reuse(order, prompt):
    tokenizer = char_tokenizer()
    kept, fresh = (HFPolicy(tiny_llama(len(tokenizer)), tokenizer, reuse=reuse) for reuse in (True, False))
    settings = {"order": order, "prompt": prompt, "group_size": 2, "max_steps": 3, "seed": 5}
    sampling = SamplingConfig(max_reply_tokens=12)
    with_reuse = _play(kept, _envs(4), ["1", "2"], sampling=sampling, **settings)
    without = _play(fresh, _envs(4), ["1", "2"], sampling=sampling, **settings)
    for a, b in zip(with_reuse, without, strict=True):
        assert [s.reply_ids for s in a.steps] == [s.reply_ids for s in b.steps]
        assert a.final == b.final
    assert kept.computed_tokens < fresh.computed_tokens


def test_branches_continue_from_the_same_state_and_differ():
    policy = _saying("go right", "go left", "look")
    (env,) = _envs(1)
    walker = replace(_saying("go right"), words=policy.words)
    (begun,) = _play(walker, [env], ["3"], order="no_think", max_steps=1)
    point = BranchPoint(env.snapshot(), begun.steps, begun.final, "walk")
    renderer = policy.renderer(PromptConfig(), "no_think")
    played = branch(
        policy,
        env,
        point,
        8,
        renderer=renderer,
        sampling=SamplingConfig(),
        temperature=1.0,
        max_steps=6,
        seed=0,
        game="3",
    )
    assert len(played) == 8
    assert len({tuple(step.action for step in t.steps) for t in played}) > 1
    assert {(t.task_type, t.group) for t in played} == {("walk", 0)}
    assert begun.group is None, "played once, it is compared with nothing"
    for trajectory in played:
        assert trajectory.steps[0] == begun.steps[0]
        at = 1
        for step in trajectory.steps[1:]:  # each continuation kept its own state
            assert step.observation.text == f"You are at door {at}."
            at += {"go right": 1, "go left": -1, "look": 0}[step.action]
        assert trajectory.won == (at == 3)
        assert len(trajectory.steps) <= 6


def test_make_envs_makes_separate_alfworld_environments():
    envs = make_envs(EnvConfig(max_steps=7), 2)
    assert len({id(env) for env in envs}) == 2
    assert all(env.unwrapped.max_steps == 7 for env in envs)


def test_a_policy_goes_shopping():
    """The same on the shipped shop: an open action is filled, a purchase ends the episode."""
    from actre.envs.worlds import list_games

    env = EnvConfig("webshop", "shop/train", max_steps=4)
    games = list_games("webshop", "shop/unseen")[:2]
    envs = make_envs(env, 4)
    assert len({id(one.unwrapped.catalogue) for one in envs}) == 1
    played = _play(_saying("search[socks]", "click[buy now]"), envs, games, group_size=2, max_steps=4)
    assert [t.game for t in played] == [games[0], games[0], games[1], games[1]]
    for trajectory in played:
        assert trajectory.truncated  # a purchase needs a product page, which this policy never opens
        assert trajectory.env == "WebshopEnv"
        assert trajectory.steps[0].observation.task in trajectory.steps[0].observation.text
        said = {(step.action, step.flags) for step in trajectory.steps}
        assert said <= {("search[socks]", ()), ("search[socks]", INADMISSIBLE), ("click[buy now]", INADMISSIBLE)}
    # a search is listed where there is a search bar, and works everywhere
    assert {step.flags for t in played for step in t.steps if step.action == "search[socks]"} == {(), INADMISSIBLE}


def test_a_shops_state_can_be_continued_in_several_ways():
    env = make_envs(EnvConfig("webshop", "shop/train"), 1)[0]
    _, info = env.reset(seed=1)
    text, *_, info = env.step(f"search[{info['task']}]")
    seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
    opened = [action for action in seen.admissible if len(action) == len("click[b000000000]")]
    policy = _saying(*opened[:2])
    found = branch(
        policy,
        env,
        BranchPoint(env.unwrapped.snapshot(), (), seen),
        6,
        renderer=policy.renderer(PromptConfig(), "no_think"),
        sampling=SamplingConfig(max_reply_tokens=40),
        temperature=1.0,
        max_steps=1,
        seed=0,
    )
    assert {t.steps[0].action for t in found} == set(opened[:2])
    assert all(t.final.admissible != seen.admissible for t in found)


def test_a_policy_plays_real_games():
    """End to end on the shipped games: text, admissible actions and rewards flow through."""
    from actre.envs.alfworld import list_games

    games = list_games("small/train")[:2]
    policy = _saying("look", "inventory")
    played = _play(policy, make_envs(EnvConfig(max_steps=3), 4), games, group_size=2, max_steps=3)
    assert [t.game for t in played] == [games[0], games[0], games[1], games[1]]
    for trajectory in played:
        assert trajectory.truncated
        assert all(step.flags == () for step in trajectory.steps)
        assert "Your task is to" in trajectory.steps[0].observation.text


def test_a_failed_environment_is_no_lost_game_for_a_measurement() -> None:
    played = _play(_saying("east"), _envs(1), ["1", "2"])
    must_be_whole(played)
    failed = replace(played[1], meta={"env_error": "no display"})
    with pytest.raises(ActreError, match=r"2 could not be played to its end \(no display\)"):
        must_be_whole([played[0], failed])
