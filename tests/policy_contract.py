"""What every policy promises (actre.policies.Policy), as one suite: subclass `PolicyContract` and give a `policy`."""

from typing import Any

import numpy as np
import pytest

from actre.config import PromptConfig
from actre.types import ORDERS, ActreError, Observation

SEEN = [
    Observation(f"You are at door {i}. {'It is dark. ' * i}", "reach door 2", ("go left", "go right", "look"))
    for i in range(4)
]


class PolicyContract:
    """The suite. A subclass has a fixture `policy`, fresh for each test, with `renderer(prompt, order)`."""

    @pytest.fixture
    def policy(self) -> Any:
        raise NotImplementedError

    def prompts(self, policy: Any, order: str = "no_think") -> list[tuple[int, ...]]:
        renderer = policy.renderer(PromptConfig(), order)
        return [renderer.prompt((), observation) for observation in SEEN]

    def ask(self, policy: Any, **changed: Any) -> list[Any]:
        asked = {"max_new_tokens": 32, "temperature": 1.0, "stop": "</action>", "seed": 0, **changed}
        return policy.generate(asked.pop("prompts", self.prompts(policy)), **asked)

    def test_text_comes_back_from_its_ids(self, policy):
        text = "<think>need mug 1 . try shelf 2</think><action>go to shelf 2</action>"
        assert policy.decode(policy.encode(text)) == text

    def test_there_is_one_reply_a_prompt_and_none_for_none(self, policy):
        assert len(self.ask(policy)) == len(SEEN)
        assert self.ask(policy, prompts=[]) == []
        assert policy.action_logprobs([], []) == []

    def test_the_same_seed_gives_the_same_replies_and_another_seed_others(self, policy):
        replies = [[reply.token_ids for reply in self.ask(policy, seed=seed)] for seed in range(3)]
        assert [reply.token_ids for reply in self.ask(policy, seed=0)] == replies[0]
        assert any(other != replies[0] for other in replies[1:])

    def test_equal_prompts_draw_independently(self, policy):
        prompt = self.prompts(policy)[0]
        assert len({reply.token_ids for reply in self.ask(policy, prompts=[prompt] * 20)}) > 1

    @pytest.mark.parametrize("order", ORDERS)
    def test_a_reply_ends_with_its_first_stop_or_is_truncated_at_the_limit(self, policy, order):
        stop = policy.renderer(PromptConfig(), order).stop
        for seed in range(2):
            for reply in self.ask(policy, prompts=self.prompts(policy, order), stop=stop, seed=seed):
                assert len(reply.logps) == len(reply.token_ids) <= 32
                assert stop not in reply.text[: -len(stop)]
                if reply.truncated:
                    assert len(reply.token_ids) == 32
                    assert stop not in reply.text
                else:
                    assert reply.text.endswith(stop) or policy.decode(reply.token_ids[-1:]) == "<|end|>"
                assert policy.decode(reply.token_ids).startswith(reply.text)

    def test_a_limit_of_one_token_is_kept(self, policy):
        assert all(len(reply.token_ids) == 1 for reply in self.ask(policy, max_new_tokens=1))

    @pytest.mark.parametrize("temperature", [1.0, 0.5])
    def test_the_log_probabilities_of_a_reply_sum_to_its_score_as_a_candidate(self, policy, temperature):
        prompts = self.prompts(policy)
        for prompt, reply in zip(prompts, self.ask(policy, temperature=temperature), strict=True):
            (scored,) = policy.action_logprobs([prompt], [[reply.token_ids]], temperature=temperature)
            assert scored[0] == pytest.approx(sum(reply.logps), abs=1e-3)

    def test_temperature_zero_needs_no_luck(self, policy):
        replies = [self.ask(policy, temperature=0.0, seed=seed) for seed in (0, 1)]
        assert replies[0] == replies[1]
        assert all(logp == 0 for reply in replies[0] for logp in reply.logps)

    def test_candidates_are_scored_as_float64_and_are_exclusive(self, policy):
        renderer = policy.renderer(PromptConfig(), "no_think")
        candidates = renderer.candidates(("go left", "go right", "look", "go"), after_thought=False)
        for scores in policy.action_logprobs(self.prompts(policy), [candidates] * len(SEEN)):
            assert scores.dtype == np.float64
            assert scores.shape == (4,)
            assert np.exp(scores).sum() <= 1 + 1e-6

    def test_scores_follow_their_prompt_and_candidate(self, policy):
        renderer = policy.renderer(PromptConfig(), "no_think")
        candidates = renderer.candidates(("go left", "go right", "look"), after_thought=False)
        prompts = self.prompts(policy)
        forth = policy.action_logprobs(prompts, [candidates, candidates[:1], [], candidates])
        back = policy.action_logprobs(prompts[::-1], [candidates[::-1], [], candidates[:1], candidates])
        assert [len(scores) for scores in forth] == [3, 1, 0, 3]
        assert np.allclose(forth[0], back[3], atol=1e-4)
        assert np.allclose(forth[3], back[0][::-1], atol=1e-4)

    def test_actions_are_scored_after_a_thought_too(self, policy):
        renderer = policy.renderer(PromptConfig(), "think_first")
        candidates = renderer.candidates(("go left", "look"), after_thought=True)
        prefix = [*self.prompts(policy, "think_first")[0], *policy.encode("any will do</think>")]
        (scores,) = policy.action_logprobs([prefix], [candidates])
        assert scores.shape == (2,)

    @pytest.mark.parametrize("changed", [{"prompts": [[]]}, {"temperature": -1.0}, {"max_new_tokens": 0}], ids=str)
    def test_what_cannot_be_generated_is_refused(self, policy, changed):
        with pytest.raises(ActreError):
            self.ask(policy, **changed)

    def test_what_cannot_be_scored_is_refused(self, policy):
        prompt, candidate = self.prompts(policy)[0], policy.encode("look</action>")
        with pytest.raises(ActreError):
            policy.action_logprobs([prompt], [[candidate]], temperature=0.0)
        with pytest.raises(ActreError):
            policy.action_logprobs([[]], [[candidate]])
        with pytest.raises(ActreError):
            policy.action_logprobs([prompt], [[[]]])
        with pytest.raises(ActreError):
            policy.action_logprobs([prompt], [])

    def test_what_it_cannot_hold_is_refused_with_both_numbers(self, policy):
        held = policy.max_context
        if held is None:
            pytest.skip("this policy has no positions to run out of")
        (token, *_) = policy.encode("look")
        with pytest.raises(ActreError, match=rf"prompt of {held - 3} tokens and 4 new ones are more than the {held} "):
            self.ask(policy, prompts=[[token] * (held - 3)], max_new_tokens=4)
        with pytest.raises(ActreError, match=rf"more than the {held} "):
            policy.action_logprobs([[token] * (held - 1)], [[[token] * 2]])

    def test_it_works_after_a_refusal(self, policy):
        before = self.ask(policy)
        with pytest.raises(ActreError):
            self.ask(policy, prompts=[self.prompts(policy)[0], []])
        after = self.ask(policy)
        assert [reply.token_ids for reply in after] == [reply.token_ids for reply in before]
