"""The inspector without a browser: what it sends is what was recorded, what it answers is exact, text stays text."""

import gzip
import json
import math
import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_env import CorridorEnv
from fake_run import trajectory
from small_world import CONFIG, HOSTILE, played, policy

from actre.entropy.episode_states import Edit, State, annotate, history, state_at, token_texts
from actre.policies.scripted import ScriptedPolicy
from actre.types import ActreError, Trajectory, trajectory_from_json, trajectory_to_json
from actre.view import Inspector
from actre.view.inspector import data
from actre.view.inspector.live import Live
from actre.view.inspector.tree import tree


def live(one: ScriptedPolicy, episodes: list[Trajectory], **more: Any) -> Live:
    return Live(data.entries(episodes), {"policy": one}, CONFIG, env=CorridorEnv(limit=8), **more)


def test_the_distributions_in_both_orders_are_those_of_the_policys_tables() -> None:
    one = policy()
    episodes = played(one)
    (scores,) = live(one, episodes, thoughts=400).answer(
        {"kind": "scores", "episode": 0, "steps": [1], "checkpoint": "policy"}
    )
    assert episodes[0].steps[1].observation.admissible == ("go left", "go right", "look")
    assert scores["act_first"]["p"] == pytest.approx([0.2, 0.4, 0.2])
    assert scores["act_first"]["other"] == pytest.approx(0.2)
    exact = -sum(p * math.log(p) for p in (0.2, 0.4, 0.2, 0.2))
    assert scores["act_first"]["entropy"] == pytest.approx(exact, abs=1e-5)
    assert scores["think_first"]["p"] == pytest.approx([0.125, 0.75, 0.0625], abs=0.05)
    assert scores["think_first"]["lower"] <= scores["think_first"]["upper"]
    after = {"right": [0, 1, 0], "left": [0.5, 0, 0.25]}[str(episodes[0].steps[1].thought)]
    assert scores["after"]["p"] == pytest.approx(after)
    assert 0 < scores["js"] < math.log(2)


def test_a_state_scores_the_same_alone_and_with_others() -> None:
    one = policy()
    server = live(one, played(one))
    ask = {"kind": "scores", "episode": 0, "checkpoint": "policy"}
    together = server.answer({**ask, "steps": [0, 1, 2]})
    assert [server.answer({**ask, "steps": [i]})[0] for i in range(3)] == together


def test_an_episodes_history_is_rebuilt_token_for_token() -> None:
    one = policy()
    for order in ("think_first", "act_first", "no_think"):
        for episode in played(one, order):
            steps = history(one, one.renderer(CONFIG.prompt, order), State(episode.steps, episode.final, episode.order))
            assert [(s.prompt_ids, s.reply_ids) for s in steps] == [(s.prompt_ids, s.reply_ids) for s in episode.steps]


def test_another_policys_episode_is_resteps_from_its_words() -> None:
    theirs, ours = policy(), policy()
    ours.encode("words of its own, that shift every id")
    episode = played(theirs)[0]
    steps = history(
        ours, ours.renderer(CONFIG.prompt, "think_first"), State(episode.steps, episode.final, episode.order)
    )
    assert [ours.decode(s.reply_ids) for s in steps] == [s.reply_text for s in episode.steps]
    assert ours.decode(steps[-1].prompt_ids) == theirs.decode(episode.steps[-1].prompt_ids)


def test_history_is_steps_with_its_edits() -> None:
    one = policy()
    episode = played(one)[0]
    renderer = one.renderer(CONFIG.prompt, "think_first")
    edits = {0: Edit(thought="a zebra"), 1: Edit(thought=""), 2: Edit(keep=False)}
    steps = history(one, renderer, State(episode.steps[:3], episode.steps[2].observation, "think_first", edits=edits))
    text = one.decode(renderer.prompt(steps, episode.steps[2].observation))
    assert f"<think>a zebra</think><action>{episode.steps[0].action}</action>" in text
    assert f"<|assistant|><action>{episode.steps[1].action}</action>" in text
    assert len(steps) == 2
    assert text.endswith("<think>")


def test_what_if_scores_the_thought_that_is_asked_about() -> None:
    one = policy()
    server = live(one, played(one))
    ask = {"kind": "whatif", "episode": 0, "step": 0, "checkpoint": "policy", "edits": []}
    left = server.answer({**ask, "thought": "left"})["scores"]["after"]
    right = server.answer({**ask, "thought": "right"})["scores"]["after"]
    assert left["p"] == pytest.approx([0.5, 0, 0.25])
    assert left["other"] == pytest.approx(0.25)
    assert right["p"] == pytest.approx([0, 1, 0])


def test_branches_play_on_from_the_state_and_become_episodes() -> None:
    one = policy()
    episodes = played(one)[:1]
    server = live(one, episodes)
    answer = server.answer({"kind": "branch", "episode": 0, "step": 2, "checkpoint": "policy", "n": 5})
    made = [entry.trajectory for entry in server.entries[1:]]
    assert [row["id"] for row in answer["episodes"]] == [1, 2, 3, 4, 5]
    assert answer["tree"]["n"] == len(made) == 5
    assert answer["tree"]["won"] == sum(t.won for t in made)
    for t in made:
        assert [s.action for s in t.steps[:2]] == [s.action for s in episodes[0].steps[:2]]
        assert len(t.steps) > 2
    assert server.answer({"kind": "episode", "episode": 5})["id"] == 5


def test_branches_from_another_step_or_asked_for_again_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    one = policy()
    server = live(one, played(one)[:1])
    generate, asked = one.generate, []

    def recorded(*args: Any, **settings: Any) -> Any:
        asked.append(settings["seed"])
        return generate(*args, **settings)

    monkeypatch.setattr(one, "generate", recorded)

    def seeds(step: int, **more: Any) -> tuple[int, ...]:
        asked.clear()
        server.answer({"kind": "branch", "episode": 0, "step": step, "checkpoint": "policy", "n": 2, **more})
        return tuple(asked)

    first = seeds(0)
    assert first == seeds(0) == seeds(0, again=0)
    others = [seeds(1), seeds(2), seeds(0, again=1), seeds(0, again=2)]
    assert len({first[0], *(other[0] for other in others)}) == 5


def test_a_game_that_plays_otherwise_than_recorded_is_refused_in_words() -> None:
    one = policy()
    episode = played(one)[0]
    other = replace(episode, game="6")
    with pytest.raises(ActreError, match=r"differs from the recorded episode at step 1"):
        live(one, [other]).answer({"kind": "branch", "episode": 0, "step": 2, "checkpoint": "policy", "n": 2})


def test_a_tree_counts_what_was_done_and_how_it_ended() -> None:
    base = trajectory("g", "t", "no_think", True, 0).steps[0]

    def ending(actions: str, won: bool) -> Trajectory:
        steps = tuple(replace(base, action=a) for a in actions)
        return replace(trajectory("g", "t", "no_think", won, 0), steps=steps, won=won)

    grown = tree([ending("xab", True), ending("xac", False), ending("xd", False)], 1, first=7)
    assert (grown["n"], grown["won"], grown["actions"]) == (3, 1, [])
    assert [(c["actions"], c["n"], c["won"]) for c in grown["children"]] == [(["a"], 2, 1), (["d"], 1, 0)]
    assert grown["children"][0]["children"][0]["ends"] == [{"id": 7, "won": True}]


def test_a_node_counts_the_wins_of_all_that_passes_through_it_and_of_nothing_else() -> None:
    base = trajectory("g", "t", "no_think", True, 0).steps[0]

    def ending(actions: str, won: bool) -> Trajectory:
        steps = tuple(replace(base, action=a) for a in actions)
        return replace(trajectory("g", "t", "no_think", won, 0), steps=steps, won=won)

    # who lost comes first: a node's wins are its own members', not those of the first so many
    lost, won = ("bx", "by", "a"), ("ax", "ay", "az", "b")
    grown = tree([ending(text, False) for text in lost] + [ending(text, True) for text in won], 0)
    assert (grown["n"], grown["won"]) == (7, 4)
    assert {c["actions"][0]: (c["n"], c["won"]) for c in grown["children"]} == {"a": (4, 3), "b": (3, 1)}


def test_tokens_together_are_the_reply() -> None:
    one = policy()
    step = played(one)[0].steps[0]
    texts = token_texts(one, step)
    assert texts is not None
    assert "".join(texts) == step.reply_text
    assert len(texts) == len(step.reply_logps)
    assert token_texts(policy(), step) is None  # another tokenizer's ids


def test_an_annotated_episode_shows_without_its_policy_and_after_a_round_trip() -> None:
    one = policy()
    episodes = annotate(played(one), one, config=CONFIG, thoughts=4)
    back = [trajectory_from_json(json.loads(json.dumps(trajectory_to_json(t)))) for t in episodes]
    shown = data.episode(0, data.entries(back)[0])
    assert all(step["scores"]["act_first"]["p"] == pytest.approx([0.2, 0.4, 0.2]) for step in shown["steps"])
    assert all("".join(step["tokens"]) == step["reply"] for step in shown["steps"])
    assert shown["act_entropy"] == pytest.approx(1.3322, abs=1e-3)
    html = Inspector(back).static()
    assert "anything else" in html
    assert "1.33 nats" in html


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"kind": "scores", "episode": 0, "steps": [0]}, "no policy"),
        ({"kind": "episode", "episode": 99}, "there is no episode 99"),
        ({"kind": "episode", "episode": True}, "there is no episode True"),
        ({"kind": "dance"}, "unknown kind of request"),
        ({"kind": "whatif", "episode": 0, "step": 0, "edits": [{"step": 3}], "thought": None}, "there is no step 3"),
    ],
)
def test_what_cannot_be_answered_comes_back_in_words(request_: dict[str, Any], words: str) -> None:
    answer = Inspector([trajectory("g", "t", "think_first", True, 0)]).answer({"id": "x", **request_})
    assert answer["re"] == "x"
    assert words in answer["error"]


def test_a_bug_in_the_kernel_is_an_answer_too() -> None:
    one = policy()
    one.act_first = lambda text: 1 / 0  # type: ignore[assignment,return-value]
    widget = Inspector(played(policy()), one, config=CONFIG)
    answer = widget.answer({"id": 1, "kind": "scores", "episode": 0, "steps": [0], "checkpoint": "policy"})
    assert "ZeroDivisionError" in answer["error"]


def test_hostile_text_is_text_in_the_fallback_and_can_travel() -> None:
    one = trajectory("g", HOSTILE, "think_first", False, 0, hostile=HOSTILE)
    widget = Inspector({HOSTILE: [replace(one, game=HOSTILE, meta={"env_error": HOSTILE})]})
    html = widget.static()
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("</style>") == 1
    for text in (html, json.dumps(widget._index, ensure_ascii=False), gzip.decompress(widget._packed).decode()):
        text.encode()  # no lone surrogate is left
        assert not re.search("[\u202e\ud800\x00]", text)


def test_the_fallback_carries_every_step_of_the_first_episode_and_stays_small() -> None:
    many = [trajectory(f"g{i}", "t", "think_first", i % 2 == 0, i) for i in range(300)]
    bundle = Inspector(many)._repr_mimebundle_()
    html = bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert all(step.observation.text.splitlines()[-1] in html for step in many[0].steps)
    assert len(html) < 400_000
    assert "src=" not in html
    assert "http" not in html


def test_nan_and_infinity_travel_as_null() -> None:
    one = trajectory("g", "t", "think_first", True, 0)
    steps = tuple(replace(step, reply_logps=(-math.inf, math.nan)) for step in one.steps)
    widget = Inspector([replace(one, steps=steps)])
    assert json.loads(gzip.decompress(widget._packed))["steps"][0]["logps"] == [None, None]
    assert widget._index[0]["surprise"] is None
    assert data.clean({"a": np.float64("nan")}) == {"a": None}


def test_episodes_beyond_the_limit_are_sent_when_they_are_asked_for() -> None:
    found = data.entries([trajectory(f"g{i}", "t", "think_first", True, i) for i in range(9)])
    packed, count = data.pack(found, limit=1000)
    assert 0 < count < 9
    assert len(gzip.decompress(packed).splitlines()) == count


def test_200_episodes_of_50_steps_are_packed_in_under_2_seconds() -> None:
    base = trajectory("g", "t", "think_first", False, 0)
    steps = tuple(replace(base.steps[i % 20], reply_logps=(-0.1,) * 20) for i in range(50))
    many = [replace(base, game=f"g{i}", steps=steps) for i in range(200)]
    start = time.process_time()
    widget = Inspector(many)
    widget.static()
    assert time.process_time() - start < 2
    assert len(widget._packed) < data.PACK_LIMIT


def test_no_episode_at_all_is_refused() -> None:
    with pytest.raises(ActreError, match="no episode to show"):
        Inspector([])


def test_an_episode_that_never_started_still_shows() -> None:
    one = replace(trajectory("g", "t", "think_first", False, 0), steps=(), meta={"env_error": "broken"})
    assert "broken" in Inspector([one]).static()


def test_the_page_parses_no_text_as_html_and_loads_nothing() -> None:
    script, style = str(Inspector._esm), str(Inspector._css)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "srcdoc"):
        assert way not in script
    addresses = set(re.findall(r"https?://[^\s\"'`]+", script + style))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert "@import" not in style
    assert "url(" not in style


def test_a_recorded_state_is_scored_after_the_ids_that_were_sampled() -> None:
    one = policy()
    episode = played(one)[0]
    state = state_at(episode, 0)
    assert state.thought == episode.steps[0].thought
    assert state_at(played(one, "act_first")[0], 0).thought is None
