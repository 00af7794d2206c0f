"""On every kind of tokenizer: what is asked, taught and scored is what a model writes that learned whole texts."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_policy import TablePolicy
from tokenizers_at_hand import REAL, SMALL, real_tokenizer, small_tokenizer

from actre.config import PromptConfig, RunConfig, SamplingConfig
from actre.entropy.diagnose import Diagnosis, diagnose
from actre.entropy.probes import Probe
from actre.orders import NO_ACTION_NOTE, Renderer, chat_format
from actre.types import ORDERS, Observation, Step

HOUSE = ("go to shelf 1", "go to shelf 2", "take mug 1 from shelf 2", "open drawer 1", "look")
SHOP = ("search[<query>]", "click[buy now]", "click[back to search]")
THOUGHT = "need mug 1 . try shelf 2"
CONFIG = RunConfig(sampling=SamplingConfig(max_reply_tokens=64))


@pytest.fixture(scope="module", params=[*SMALL, *REAL])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param in SMALL:
        return small_tokenizer(request.param)
    shared: Path = request.getfixturevalue("shared")
    return real_tokenizer(request.param, shared, tmp_path_factory.getbasetemp())


def encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def whole(tokenizer: Any, said: list[str]) -> list[int]:
    """The ids of a conversation, put together as the template does and tokenised once."""
    chat = chat_format(tokenizer)
    text = chat.head
    for number, one in enumerate(said):
        text += one + (chat.to_user if number % 2 else chat.to_assistant)
    return encoder(tokenizer)(text)


def reply_text(order: str, action: str) -> str:
    thought, acted = f"<think>{THOUGHT}</think>", f"<action>{action}</action>"
    return {"think_first": thought + acted, "act_first": acted + thought, "no_think": acted}[order]


def seen(actions: tuple[str, ...], text: str) -> Observation:
    return Observation(text, "put a mug in shelf.", actions)


# --- pieces and the whole ---


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("world", "actions"), [("text", HOUSE), ("shop", ("search[red socks]", "click[buy now]"))])
def test_prompts_and_taught_replies_are_the_conversation_tokenised_whole(
    tokenizer: Any, order: Any, world: Any, actions: tuple[str, ...]
) -> None:
    observations = [seen(actions, text) for text in ("You see a shelf 1.", "On the shelf 1, you see nothing.", "x")]
    for wording, listed in product(("shared", "instructed"), (False, True)):
        config = PromptConfig(history="growing", wording=wording, list_admissible=listed, world=world)
        renderer = Renderer(encoder(tokenizer), chat_format(tokenizer), config, order, tokenizer.eos_token_id)
        steps: list[Step] = []
        said: list[str] = []
        for number, observation in enumerate(observations):
            prompt = renderer.prompt(steps, observation)
            answer = renderer._opening_text(observation) if not steps else answered(renderer, observation)
            action = actions[number % len(actions)]
            said += [answer, reply_text(order, action)]
            ids = tuple(renderer.reply_ids(THOUGHT, action))
            together = (*prompt, *ids)
            assert list(together) == whole(tokenizer, said)[: len(together)]
            steps.append(Step(observation, prompt, ids, (0.0,) * len(ids), "", THOUGHT, action, (), 0.0))
            assert whole(tokenizer, said)[: len(prompt)] == list(prompt)
            opened = tokenizer.decode(prompt[len(prompt) - renderer.opening_tokens :])
            assert opened.strip() == renderer.opening


def answered(renderer: Renderer, observation: Observation) -> str:
    return observation.text + renderer._admissible_text(observation)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("history", ["growing", "windowed"])
def test_prompts_of_fixed_states_are_the_conversation_tokenised_whole(tokenizer: Any, order: Any, history: Any) -> None:
    observations = [seen(HOUSE, text) for text in ("You see a shelf 1.", "You see a mug 1.", "Nothing happens.")]
    config = PromptConfig(history=history, window=2)
    renderer = Renderer(encoder(tokenizer), chat_format(tokenizer), config, order, tokenizer.eos_token_id)
    prompt = list(renderer.probe_prompt(observations, HOUSE[:2]))
    if history == "growing":
        bare = [f"<action>{action}</action>" for action in HOUSE[:2]]
        said = [renderer._opening_text(observations[0]), bare[0], observations[1].text, bare[1], observations[2].text]
    else:
        steps = [Step(o, (), (), (), "", None, a, (), 0.0) for o, a in zip(observations, HOUSE[:2], strict=False)]
        said = [renderer._windowed_text(steps, observations[-1])]
    assert prompt == whole(tokenizer, [*said, reply_text(order, HOUSE[0])])[: len(prompt)]


def test_a_reply_without_an_action_is_answered_by_the_note_tokenised_whole(tokenizer: Any) -> None:
    renderer = Renderer(encoder(tokenizer), chat_format(tokenizer), PromptConfig(), "no_think", tokenizer.eos_token_id)
    first, second = seen(HOUSE, "You see a shelf 1."), seen(HOUSE, "You see a mug 1.")
    prompt = renderer.prompt([], first)
    ids = tuple(renderer.continued("hm</action>"))
    after = renderer.prompt([Step(first, prompt, ids, (0.0,) * len(ids), "", None, None, (), 0.0)], second)
    said = [renderer._opening_text(first), "<action>hm</action>", NO_ACTION_NOTE, "<action>look</action>"]
    assert list(after) == whole(tokenizer, said)[: len(after)]


# --- exact and played ---


def probes(actions: tuple[str, ...], games: int = 8) -> list[Probe]:
    state = Observation("You see a shelf 1.", "put a mug in shelf.", actions)
    return [Probe(f"game {g}", "t", (state,), (), "expert", "early") for g in range(games)]


def replies(between: str, around: str, weights: dict[str, float], thoughts: tuple[str, ...]) -> dict[str, float]:
    """Both orders' replies; white space between the parts and around the action."""
    said: dict[str, float] = {}
    for (action, p), thought in product(weights.items(), thoughts):
        acted = f"<action>{around}{action}{around}</action>"
        said[f"<think>{thought}</think>{between}{acted}"] = p / len(thoughts)
        said[f"{acted}{between}<think>{thought}</think>"] = p / len(thoughts)
    return said


def found_on(
    tokenizer: Any, between: str = "", around: str = "", temperature: float = 1.0, **settings: Any
) -> Diagnosis:
    weights = {"go to shelf 1": 0.4, "go to shelf 2": 0.2, "take mug 1 from shelf 2": 0.2, "jump": 0.16, "open": 0.04}
    policy = TablePolicy(tokenizer, replies(between, around, weights, ("need mug", "try shelf 2 .")))
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, temperature=temperature))
    asked = {"thoughts": 8, "seed": 0, "check_replies": 16, **settings}
    return diagnose(policy, probes(HOUSE), config, **asked)


@pytest.mark.parametrize(("between", "around"), [("", ""), ("\n", ""), (" ", ""), ("\n\n", "\n"), ("", " ")])
def test_the_exact_probability_of_listed_actions_is_what_is_played(tokenizer: Any, between: str, around: str) -> None:
    found = found_on(tokenizer, between, around)
    # the forced tag ends a token, behind which a table of whole texts that joins a line break to it has nothing to say
    joined = around == "\n" and len(encoder(tokenizer)(">\n")) == len(encoder(tokenizer)(">"))
    for order in ("think_first",) if joined else ("act_first", "think_first", "no_think"):
        assert found.summary[f"other_{order}"].value == pytest.approx(0.2, abs=0.05)
    for one in found.self_check:  # over some 300 checks: 3.3 standard errors would come up by chance
        assert one.gap <= 4.5 * one.error + 1e-9, one.words
    p = np.array([0.4, 0.2, 0.2, 0, 0, 0.2])
    for state in found.states:
        assert joined or state.act_first_p == pytest.approx(p, abs=1e-6)
        # the table's thoughts say nothing of the action, so each state's mean over thoughts is exact too
        assert state.think_first_p == pytest.approx(p, abs=1e-6)


def test_the_tag_that_is_written_for_a_model_follows_what_its_thought_already_holds_of_it(tokenizer: Any) -> None:
    found = found_on(tokenizer, force_action_tag=True)
    assert found.summary["other_think_first"].value == pytest.approx(0.2, abs=1e-6)
    assert all(one.agrees for one in found.self_check)


def test_a_temperature_holds_for_both_sides(tokenizer: Any) -> None:
    found = found_on(tokenizer, temperature=0.6)
    assert all(one.agrees for one in found.self_check)
    assert found.summary["other_act_first"].value < 0.15


def test_searches_are_one_class_however_their_first_word_is_joined_to_the_bracket(tokenizer: Any) -> None:
    weights = {"search[red socks]": 0.3, "search[blue hat]": 0.3, "click[buy now]": 0.2, "jump": 0.2}
    policy = TablePolicy(tokenizer, replies("", "", weights, ("need socks",)))
    found = diagnose(policy, probes(SHOP), CONFIG, thoughts=16, seed=0, check_replies=24)
    for state in found.states:
        assert state.act_first_p == pytest.approx((0.6, 0.2, 0, 0.2), abs=1e-6)
        assert state.think_first_p == pytest.approx((0.6, 0.2, 0, 0.2), abs=1e-6)
    assert all(one.agrees for one in found.self_check)
    for order in ("act_first", "think_first"):
        assert found.summary[f"query_{order}"].value == pytest.approx(np.log(2), abs=0.1)


# --- a token that reaches past the tag, and what a diagnosis does where a link is broken ---


@pytest.fixture(scope="module")
def joining() -> Any:
    """A tokenizer that writes the end of a tag and the beginning of a word as one token, `>go`."""
    base = small_tokenizer("byte-level")
    made = base.__class__(
        tokenizer_object=base.backend_tokenizer.__class__.from_str(base.backend_tokenizer.to_str()),
        eos_token="<|end|>",
        pad_token="<|end|>",
    )
    made.chat_template = base.chat_template
    made.add_tokens([">go", "><"])
    return made


def test_where_a_sampled_token_reaches_past_the_tag_only_actions_that_begin_so_can_follow(joining: Any) -> None:
    found = found_on(joining)
    for state in found.states:
        assert state.think_first_p == pytest.approx((0.4, 0.2, 0.2, 0, 0, 0.2), abs=0.25)
    # whether the token is `>go` is drawn with the thought, so the mean varies with it, and is right on average
    assert found.summary["other_think_first"].value == pytest.approx(0.2, abs=0.1)
    assert found.summary["conditional"].value < found.summary["think_first_lower"].value - 0.3
    assert all(one.agrees for one in found.self_check if one.order == "think_first")


def broken(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo one of the things that make an exact probability that of what is played."""
    import actre.entropy.action_texts as texts
    import actre.entropy.scorer as scorer

    real = TablePolicy.action_logprobs
    if link == "thoughts end at their own tag and the action's is scored apart":
        monkeypatch.setattr(texts, "thought_stop", lambda **_: "</think>")
        monkeypatch.setattr(scorer, "thought_stop", lambda **_: "</think>")
        monkeypatch.setattr(scorer, "after_reply", lambda renderer, reply, **_: texts.Opened(reply.token_ids, ""))
        monkeypatch.setattr(
            Renderer, "continuation", lambda self, action, *_: self.candidates([action], after_thought=True)[0]
        )
    elif link == "a closing tag ends in one token":
        monkeypatch.setattr("table_policy.last_tokens", lambda *_: ())
    elif link == "what a token holds beyond the tag is forgotten":
        monkeypatch.setattr(scorer, "after_reply", lambda _, reply, **__: texts.Opened(reply.token_ids, ""))
    elif link == "white space around actions is not looked for":
        monkeypatch.setattr("actre.entropy.whole_replies.blanks_in", lambda _: (("", ""),))
    elif link == "scores are those of temperature 1":
        monkeypatch.setattr(TablePolicy, "action_logprobs", lambda self, p, c, **_: real(self, p, c))
    elif link == "scores stand in another order":
        reverse = lambda self, p, c, **kw: [one[::-1] for one in real(self, p, c, **kw)]  # noqa: E731
        monkeypatch.setattr(TablePolicy, "action_logprobs", reverse)
    elif link == "scores are another policy's":
        other = lambda self, p, c, **kw: real(TablePolicy(self.tokenizer, OTHER), p, c, **kw)  # noqa: E731
        monkeypatch.setattr(TablePolicy, "action_logprobs", other)
    else:
        assert link == "nothing"


OTHER = replies("", "", {"go to shelf 1": 0.05, "go to shelf 2": 0.05, "take mug 1 from shelf 2": 0.9}, ("need mug",))
LINKS = {
    "nothing": {},
    "thoughts end at their own tag and the action's is scored apart": {},
    "a closing tag ends in one token": {},
    "white space around actions is not looked for": {"around": "\n"},
    "scores are those of temperature 1": {"temperature": 0.3},
    "scores stand in another order": {},
    "scores are another policy's": {},
    "what a token holds beyond the tag is forgotten": {},
}


@pytest.mark.parametrize("link", LINKS)
def test_a_diagnosis_notices_each_broken_link_and_withholds_its_verdict(
    link: str, joining: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(link, monkeypatch)
    tokenizer = joining if "beyond the tag" in link else small_tokenizer("byte-level")
    found = found_on(tokenizer, check_replies=8, **LINKS[link])
    if link == "nothing":
        assert found.verdict != "withheld"
        return
    assert found.verdict == "withheld"
    assert found.listed is None or found.listed.verdict == "withheld"
    assert "No verdict" in found.words
    assert "whole replies" in found.words
    assert not all(one.agrees for one in found.self_check)
    again = Diagnosis.from_json(found.to_json())
    assert (again.verdict, again.words) == (found.verdict, found.words)


def test_without_whole_replies_nothing_is_checked() -> None:
    found = found_on(small_tokenizer("byte-level"), check_replies=0)
    assert (found.self_check, found.states[0].checks) == ((), None)


# --- a model that learned whole conversations ---


@pytest.mark.slow
@pytest.mark.parametrize("between", ["", "\n"])
@pytest.mark.parametrize("kind", ["byte-level", "never", "legacy"])
def test_a_model_trained_on_whole_conversations_plays_listed_actions_as_often_as_is_computed(
    kind: str, between: str
) -> None:
    import torch
    from tiny_models import tiny_llama

    from actre.policies.hf import HFPolicy

    torch.set_num_threads(1)
    tokenizer = small_tokenizer(kind)
    model = tiny_llama(len(tokenizer), hidden=64)
    policy = HFPolicy(model, tokenizer, reuse=False)
    weights = {"go to shelf 1": 0.5, "take mug 1 from shelf 2": 0.3, "jump": 0.2}
    said = replies(between, "", weights, ("need mug", "so"))
    state = probes(HOUSE)[0].state
    rows = []
    for order in ("think_first", "act_first"):
        renderer = policy.renderer(CONFIG.prompt, order)
        opening = renderer.opening
        for text in (text for text in said if text.startswith(opening)):
            rows.append((whole(tokenizer, [renderer._opening_text(state), text]), said[text]))
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (longest - len(row))] for row, _ in rows])
    labels = torch.tensor([[*row, *[-100] * (longest - len(row))] for row, _ in rows])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    chances = torch.tensor([weight for _, weight in rows])
    model.train()
    for _ in range(250):
        batch = torch.multinomial(chances, 16, replacement=True, generator=generator)
        model(input_ids=ids[batch], labels=labels[batch]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    found = diagnose(policy, probes(HOUSE), CONFIG, thoughts=8, seed=0, check_replies=64)
    listed = [one for one in found.self_check if one.what == "listed" and one.order != "no_think"]
    assert [one.agrees for one in found.self_check if one.order != "no_think"] == [True] * 4
    assert all(one.played > 0.2 for one in listed), "it has learned to write them"
