"""A shop's open action in prompts, replies and diagnosis: one class outside, an entropy of its own inside."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from scripted_orders import ScriptedOrders

from actre.config import PromptConfig, RunConfig
from actre.config.presets import preset
from actre.entropy.diagnose import diagnose
from actre.entropy.probes import Probe, make_probes, panel_probes, probes_for
from actre.entropy.states import state_from_json
from actre.entropy.whole_replies import play_whole
from actre.orders import END_ACTION, Renderer, admits, open_verb
from actre.types import Observation, Reply

SEARCH = "search[<query>]"
LISTED = (SEARCH, "click[back to search]")
CONFIG = RunConfig()


@dataclass
class ScriptedShopper(ScriptedOrders):
    """Searches for one of n things act-first, and for what its thought names think-first.

    asked: limit, temperature and seed of each request for what to search for.
    """

    wishes: tuple[str, ...] = ("socks", "shoes", "hats", "rugs")
    asked: list[tuple[int, float, int]] = field(default_factory=list)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        stop: str | None,
        seed: int,
    ) -> list[Reply]:
        if not all(self.decode(prompt).endswith("<action>search") for prompt in prompts):
            return super().generate(
                prompts, max_new_tokens=max_new_tokens, temperature=temperature, stop=stop, seed=seed
            )
        self.asked.append((max_new_tokens, temperature, seed))
        rng = np.random.default_rng(seed)
        texts = []
        for prompt in map(self.decode, prompts):
            thought = prompt.rpartition("\nA:")[2].removeprefix("<think>").partition("</think>")[0]
            wish = thought if thought in self.wishes else self.wishes[rng.integers(len(self.wishes))]
            texts.append(f"[{wish}]{END_ACTION}")
        return [Reply(tuple(self.encode(text)), (0.0,) * len(text), text) for text in texts]

    def _logp(self, prefix: str, continuation: str) -> float:
        opened = continuation.endswith("search[")
        return super()._logp(prefix, continuation.removesuffix("search[") + SEARCH if opened else continuation)


def probes(listed: tuple[str, ...] = LISTED) -> list[Probe]:
    return [Probe(f"g{i}", "", (Observation("A shop.", "buy.", listed),), (), "expert", "early") for i in range(12)]


def shopper(think_search: float = 0.5) -> ScriptedShopper:
    after = {wish: (think_search, 1 - think_search) for wish in ("socks", "shoes")}
    return ScriptedShopper(LISTED, (0.5, 0.5), {"socks": 0.5, "shoes": 0.5}, after)


# --- orders ---


def test_an_open_action_admits_its_fillings_and_nothing_else() -> None:
    assert open_verb(SEARCH) == "search"
    assert [open_verb(action) for action in ("go to shelf 1", "click[<r> x]", "search[]", "search[red]")] == [None] * 4
    for action in ("search[red socks]", "search[ a ]", "search[x] now", "search[a]b]", SEARCH):
        assert admits(LISTED, action)
    for action in ("search[]", "search", "search red", "Search[x]", "go[x]", "search[a[b]", "click[buy now]"):
        assert not admits(LISTED, action)
    assert not admits(("click[buy now]",), "search[x]")
    assert admits(LISTED, "click[Back to Search]")
    assert not admits(("go to shelf 1",), "Go to shelf 1")


def test_replies_with_a_filled_search_are_admissible() -> None:
    renderer = shopper().renderer(PromptConfig(), "no_think")
    seen = Observation("", "", LISTED)
    assert renderer.parse("search[red socks]</action>", seen).flags == ()
    assert renderer.parse("click[buy now]</action>", seen).flags == ("inadmissible",)


def test_an_open_actions_candidate_is_what_all_its_fillings_begin_with() -> None:
    policy = shopper()
    for after_thought, opening in ((False, ""), (True, "<action>")):
        found = policy.renderer(PromptConfig(), "think_first").candidates(LISTED, after_thought=after_thought)
        assert [policy.decode(ids) for ids in found] == [
            f"{opening}search[",
            f"{opening}click[back to search]</action>",
        ]


def test_a_shops_prompt_says_how_to_act_and_does_not_repeat_the_task() -> None:
    policy = shopper()
    seen = Observation("WebShop [SEP] Instruction: [SEP] Find me socks [SEP] Search", "Find me socks", LISTED)

    def prompt(world: str, history: str) -> str:
        config = PromptConfig(world=world, history=history)  # type: ignore[arg-type]
        renderer: Renderer = policy.renderer(config, "think_first")
        return policy.decode(renderer.prompt([], seen))

    for history in ("growing", "windowed"):
        assert "search[words] and click[what is shown]" in prompt("shop", history)
        assert "text world" in prompt("text", history)
    assert prompt("shop", "growing").count("Find me socks") == 1
    assert "You are asked: Find me socks" in prompt("shop", "windowed")


# --- diagnosis ---


def test_search_is_one_class_and_what_is_searched_for_has_an_entropy_of_its_own() -> None:
    found = diagnose(shopper(), probes(), CONFIG, thoughts=64, seed=0)
    for state in found.states:
        assert state.actions == LISTED
        assert state.act_first_p == pytest.approx((0.5, 0.5, 0))
        assert state.act_first == pytest.approx(math.log(2))
    # four wishes act-first, two (one a thought) think-first
    assert found.summary["query_act_first"].value == pytest.approx(math.log(4), abs=0.03)
    assert found.summary["query_think_first"].value == pytest.approx(math.log(2), abs=0.03)


def test_thoughts_that_do_not_search_do_not_count_for_what_is_searched() -> None:
    policy = shopper()
    policy.after = {"socks": (1.0, 0.0), "shoes": (0.0, 1.0)}
    found = diagnose(policy, probes(), CONFIG, thoughts=32, seed=0)
    assert found.summary["query_think_first"].value == pytest.approx(0)


def test_where_nothing_is_open_or_never_taken_there_is_no_query_entropy() -> None:
    policy = shopper(think_search=0.0)
    policy.act_first = (0.0, 1.0)
    for state in diagnose(policy, probes(), CONFIG, thoughts=4, seed=0).states:
        assert (state.query_act_first, state.query_think_first) == (None, None)
    plain = ScriptedOrders(("a", "b"), (0.5, 0.5), {"hm": 1.0}, {"hm": (0.5, 0.5)})
    found = diagnose(plain, probes(("a", "b")), CONFIG, thoughts=4, seed=0)
    assert "query_act_first" not in found.summary
    assert plain.calls == 1  # nothing was sampled beyond the thoughts


def test_records_from_before_open_actions_are_still_read() -> None:
    state = diagnose(shopper(), probes(), CONFIG, thoughts=4, seed=0).states[0]
    record = asdict(state)
    assert state_from_json(record) == state
    del record["query_act_first"], record["query_think_first"]
    assert state_from_json(record) == replace(state, query_act_first=None, query_think_first=None)


def test_what_is_searched_for_is_sampled_by_the_diagnosis_own_settings_and_anew_in_each_batch() -> None:
    policy = shopper()
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, max_reply_tokens=37, temperature=1.5))
    diagnose(policy, probes(), config, thoughts=16, seed=0)  # 4 states a batch
    assert {(limit, temperature) for limit, temperature, _ in policy.asked} == {(37, 1.5)}
    seeds = [seed for *_, seed in policy.asked]
    assert len(seeds) == len(set(seeds)) == 3
    again = shopper()
    diagnose(again, probes(), config, thoughts=16, seed=1)
    assert not set(seeds) & {seed for *_, seed in again.asked}


# --- settings and probes ---


def test_every_preset_has_its_shop() -> None:
    tiny, large = preset("tiny", "webshop"), preset("qwen-7b", "webshop")
    assert (tiny.env.name, tiny.env.unseen, tiny.model.name) == ("webshop", "shop/unseen", "tiny/shopper")
    assert (large.env.unseen, large.env.max_steps) == ("official/paper-test", 15)
    assert tiny.prompt == replace(preset("tiny").prompt, world="shop")
    house = preset("qwen-7b")
    assert replace(large, env=house.env, prompt=house.prompt) == house


def test_probe_states_of_a_shop_come_from_the_rule_and_from_random_clicks() -> None:
    config = preset("tiny", "webshop")
    made = probes_for(replace(config, probe=replace(config.probe, states=16)))
    assert made == panel_probes("shop/unseen", 16, 0, name="webshop")
    assert len({probe.game for probe in made}) == 16
    assert {probe.source for probe in made} == {"expert", "random"}
    pages = {probe.state.admissible[0] for probe in made}
    assert {SEARCH, "click[back to search]"} <= pages
    for probe in made:
        assert all(
            admits(seen.admissible, action) for seen, action in zip(probe.observations, probe.actions, strict=False)
        )


def test_making_probes_is_the_same_on_an_environment_that_was_used() -> None:
    from actre.envs.webshop.panel_env import PanelEnv
    from actre.envs.webshop.panels import list_goals

    env, games = PanelEnv("shop/train"), list_goals("shop/train")
    first = make_probes(games, env, 6, 3, max_steps=15, name="webshop")
    assert make_probes(games, env, 6, 3, max_steps=15, name="webshop") == first


def test_whole_replies_have_room_for_a_query() -> None:
    class Written(ScriptedShopper):
        """Writes what it is asked to, cut at the limit, token by token (a character each)."""

        def generate(self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, **rest: Any) -> list[Reply]:  # type: ignore[override]
            text = f"search[a long query of many words]{END_ACTION}"[:max_new_tokens]
            return [Reply(tuple(self.encode(text)), (0.0,) * len(text), text)] * len(prompts)

    written = Written(LISTED, (0.5, 0.5), {"socks": 1.0}, {"socks": (0.5, 0.5)})
    settings = diagnose(shopper(), probes()[:6], CONFIG, thoughts=2, check_replies=0, seed=0).settings
    settings = replace(settings, check_replies=2)
    renderer = written.renderer(PromptConfig(), "act_first")
    played = play_whole(written, renderer, probes()[:3], settings, force_action_tag=False, seed=0)
    assert played.indices == ((0, 0),) * 3, "each reply searches, which is the first action of the list"
