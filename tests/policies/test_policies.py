"""Policies: the contract for each, and what the transformers policy adds: reuse, exact scores, stops, adapters."""

import gc
import math
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from policy_contract import SEEN, PolicyContract
from tiny_models import char_tokenizer, tiny_gpt2, tiny_llama, tiny_qwen

from actre.config import ModelConfig, PromptConfig
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora
from actre.policies.scripted import ScriptedPolicy, Table, uniform
from actre.types import ActreError

TABLE = Table(
    {"left is near": 0.25, "any will do": 0.75},
    {"left is near": {"go left": 1.0}, "any will do": {"go left": 0.4, "go right": 0.4, "look": 0.1}},
)


class TestLlama(PolicyContract):
    @pytest.fixture
    def policy(self):
        tokenizer = char_tokenizer()
        return HFPolicy(tiny_llama(len(tokenizer)), tokenizer)


class TestQwenWithTagsOfSeveralTokens(PolicyContract):
    @pytest.fixture
    def policy(self):
        tokenizer = char_tokenizer(tags_are_tokens=False)
        return HFPolicy(tiny_qwen(len(tokenizer)), tokenizer)


class TestLlamaWithAdapter(PolicyContract):
    @pytest.fixture
    def policy(self):
        tokenizer = char_tokenizer()
        return HFPolicy(_with_adapter(tiny_llama(len(tokenizer))), tokenizer)


class TestLearnedPositions(PolicyContract):
    @pytest.fixture
    def policy(self):
        tokenizer = char_tokenizer()
        return HFPolicy(tiny_gpt2(len(tokenizer), positions=600), tokenizer)


class TestScripted(PolicyContract):
    @pytest.fixture
    def policy(self):
        return ScriptedPolicy(lambda prompt: TABLE)


class TestScriptedOfLimitedContext(PolicyContract):
    @pytest.fixture
    def policy(self):
        return ScriptedPolicy(lambda prompt: TABLE, max_context=200)


@pytest.mark.parametrize("plain_weights", [True, False])
def test_a_reset_frees_the_cache_at_once_and_not_when_the_collector_comes_by(plain_weights):
    tokenizer = char_tokenizer()
    policy = HFPolicy(tiny_llama(len(tokenizer)), tokenizer, plain_weights=plain_weights)
    policy.generate([tokenizer.encode("go")], max_new_tokens=2, temperature=1.0, stop=None, seed=0)
    runner = policy._cached.runner
    kept = weakref.ref(runner._rows.own[0] if plain_weights else runner.cache.layers[0].keys)
    del runner
    gc.disable()
    try:
        policy.reset()
        assert kept() is None
    finally:
        gc.enable()


def _with_adapter(model, size: float = 0.05):
    adapted = add_lora(model, ModelConfig(lora_rank=4), seed=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return adapted


def _plain_logps(model, prompt, ids, temperature=1.0):
    """The textbook: one forward pass of one row, without cache or mask."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0].float() / temperature
    logps = torch.log_softmax(logits, dim=-1)
    return [logps[len(prompt) + i - 1, token].item() for i, token in enumerate(ids)]


def _texts(policy, *texts):
    return [tuple(policy.encode(text)) for text in texts]


@pytest.fixture(params=["llama", "qwen", "adapter"])
def model(request):
    size = len(char_tokenizer())
    if request.param == "qwen":
        return tiny_qwen(size)
    return tiny_llama(size) if request.param == "llama" else _with_adapter(tiny_llama(size))


def test_sampled_log_probabilities_are_those_of_a_plain_forward_pass(model):
    policy = HFPolicy(model, char_tokenizer())
    prompts = _texts(policy, "a", "hello world", "a mug is here, take it", "hello world")
    replies = policy.generate(prompts, max_new_tokens=40, temperature=0.7, stop="</action>", seed=3)
    assert len({len(reply.token_ids) for reply in replies}) > 1  # rows ended at different times
    for prompt, reply in zip(prompts, replies, strict=True):
        assert np.allclose(reply.logps, _plain_logps(model, prompt, reply.token_ids, 0.7), atol=1e-4)


def test_scores_are_those_of_a_plain_forward_pass_a_candidate(model):
    policy = HFPolicy(model, char_tokenizer())
    prompts = _texts(policy, "a", "hello world", "a mug is here, take it", "hello world")
    lists = [("go to x", "go to y", "take mug 1", "go", "x"), ("go", "go", "o"), ("x",), ("take mug", "take")]
    candidates = [[policy.encode(text + "</action>") for text in listed] for listed in lists]
    for _ in range(2):  # the second time from cached prefixes
        scored = policy.action_logprobs(prompts, candidates, temperature=0.7)
        for prompt, listed, scores in zip(prompts, candidates, scored, strict=True):
            plain = [sum(_plain_logps(model, prompt, ids, 0.7)) for ids in listed]
            assert np.abs(scores - plain).max() < 1e-4


def test_scores_do_not_depend_on_how_the_batch_is_cut(monkeypatch):
    tokenizer = char_tokenizer()
    prompts = _texts(HFPolicy(tiny_llama(len(tokenizer)), tokenizer), "a", "hello world", "a mug", "b")
    candidates = [[[7, 8, 9], [7, 8, 10, 11], [20]]] * 4
    whole = HFPolicy(tiny_llama(len(tokenizer)), tokenizer).action_logprobs(prompts, candidates)
    monkeypatch.setattr("actre.policies.cached.BLOCK_TOKENS", 5)
    monkeypatch.setattr("actre.policies.scoring.BLOCK_TOKENS", 5)
    cut = HFPolicy(tiny_llama(len(tokenizer)), tokenizer).action_logprobs(prompts, candidates)
    assert np.allclose(whole, cut, atol=1e-5)


def test_a_token_is_drawn_as_often_as_its_probability_says():
    tokenizer = char_tokenizer()
    policy = HFPolicy(tiny_llama(len(tokenizer)), tokenizer)
    prompt = policy.encode("hello")
    n = 4000
    drawn = policy.generate([prompt] * n, max_new_tokens=1, temperature=1.0, stop=None, seed=1)
    counts = Counter(reply.token_ids[0] for reply in drawn)
    (scores,) = policy.action_logprobs([prompt], [[[token] for token in range(len(tokenizer))]])
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)
    for token, p in enumerate(np.exp(scores)):
        assert abs(counts[token] - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1


def test_reused_prefixes_change_no_reply_and_save_most_of_the_work():
    tokenizer = char_tokenizer()
    kept, fresh = (HFPolicy(tiny_qwen(len(tokenizer)), tokenizer, reuse=reuse) for reuse in (True, False))
    prompts = _texts(kept, "a long and winding beginning " * 5, "hello", "a mug is here", "hello")
    for turn in range(4):
        asked = {"max_new_tokens": 12, "temperature": 1.0, "stop": "</action>", "seed": turn}
        replies = kept.generate(prompts, **asked)
        plain = fresh.generate(prompts, **asked)
        assert [r.token_ids for r in replies] == [r.token_ids for r in plain]
        assert np.allclose(sum((r.logps for r in replies), ()), sum((r.logps for r in plain), ()), atol=1e-4)
        grown = [(*p, *r.token_ids, *kept.encode(" next")) for p, r in zip(prompts, replies, strict=True)]
        # rows change places, one ends, one is branched
        prompts = [grown[2], grown[0], grown[1], grown[0]] if turn % 2 == 0 else [*grown[::-1], grown[0]]
    assert kept.computed_tokens < fresh.computed_tokens / 3


def test_a_branch_and_a_changed_ending_reuse_the_common_beginning():
    tokenizer = char_tokenizer()
    policy = HFPolicy(tiny_llama(len(tokenizer)), tokenizer)
    shared = policy.encode("the same long beginning of a prompt ")
    policy.action_logprobs([[*shared, 20, 21]], [[[5]]])
    before = policy.computed_tokens
    policy.action_logprobs([[*shared, 30]], [[[5]]])
    assert policy.computed_tokens == before + 1


@pytest.mark.parametrize("fused", [True, False])  # a fused optimizer does not move the version counters
def test_a_changed_weight_is_noticed(fused):
    tokenizer = char_tokenizer()
    model = _with_adapter(tiny_llama(len(tokenizer)))
    policy = HFPolicy(model, tokenizer)
    prompts, candidates = _texts(policy, "hello world"), [[[7, 8], [9]]]
    before = policy.action_logprobs(prompts, candidates)[0]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05, fused=fused)
    model(torch.tensor(prompts)).logits.sum().backward()
    optimizer.step()
    after = policy.action_logprobs(prompts, candidates)[0]
    assert np.abs(after - before).max() > 1e-2
    assert np.allclose(after[1], _plain_logps(model, prompts[0], [9])[0], atol=1e-4)


def test_a_weight_changed_behind_autograd_is_noticed():
    tokenizer = char_tokenizer()
    model = tiny_llama(len(tokenizer))
    policy = HFPolicy(model, tokenizer)
    before = policy.action_logprobs([(7, 8, 9)], [[[7]]])[0]
    model.lm_head.weight.data[7, 0] += 1.0
    assert policy.action_logprobs([(7, 8, 9)], [[[7]]])[0] != before


def test_a_switched_off_adapter_is_noticed():
    tokenizer = char_tokenizer()
    base = HFPolicy(tiny_llama(len(tokenizer)), tokenizer)
    policy = HFPolicy(_with_adapter(tiny_llama(len(tokenizer))), tokenizer)
    prompts, candidates = _texts(policy, "hello world"), [[[7, 8], [9]]]
    on = policy.action_logprobs(prompts, candidates)[0]
    with policy.model.disable_adapter():
        off = policy.action_logprobs(prompts, candidates)[0]
    assert np.allclose(off, base.action_logprobs(prompts, candidates)[0], atol=1e-5)
    assert np.abs(on - off).max() > 1e-2
    assert np.allclose(policy.action_logprobs(prompts, candidates)[0], on, atol=1e-6)


def test_an_adapter_is_merged_or_not_with_the_same_result(monkeypatch):
    tokenizer = char_tokenizer()
    prompts, candidates = [(7, 8, 9)], [[[7, 8], [9]]]
    merged = HFPolicy(_with_adapter(tiny_llama(len(tokenizer))), tokenizer).action_logprobs(prompts, candidates)
    monkeypatch.setattr("actre.policies.cached._MERGED_PARAMETERS", 0)
    apart = HFPolicy(_with_adapter(tiny_llama(len(tokenizer))), tokenizer).action_logprobs(prompts, candidates)
    assert np.allclose(merged, apart, atol=1e-5)


def test_the_model_is_left_as_it_was_found():
    tokenizer = char_tokenizer()
    model = _with_adapter(tiny_llama(len(tokenizer))).train()
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    HFPolicy(model, tokenizer).generate([[5, 6]], max_new_tokens=3, temperature=1.0, stop=None, seed=0)
    assert model.training
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    model(torch.tensor([[5, 6]])).logits.sum().backward()  # no inference tensor was left in it


def test_the_global_random_state_is_neither_read_nor_moved():
    tokenizer = char_tokenizer()
    policy = HFPolicy(tiny_llama(len(tokenizer)), tokenizer)
    asked = {"max_new_tokens": 8, "temperature": 1.0, "stop": None, "seed": 4}
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = policy.generate([[5, 6]], **asked)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    policy.reset()
    assert policy.generate([[5, 6]], **asked) == first


def test_the_end_of_turn_token_ends_a_reply_and_is_not_in_its_text():
    tokenizer = char_tokenizer()
    policy = HFPolicy(tiny_llama(len(tokenizer)), tokenizer)
    end = tokenizer.eos_token_id
    replies = policy.generate([[5, 6]] * 300, max_new_tokens=30, temperature=1.0, stop=None, seed=0)
    ended = [reply for reply in replies if not reply.truncated]
    assert ended
    for reply in ended:
        assert reply.token_ids[-1] == end
        assert end not in reply.token_ids[:-1]
        assert "<|end|>" not in reply.text


def _repeating(tokenizer, text: str):
    """A model that writes the characters of `text` round and round: each follows the one before it."""
    model = tiny_qwen(len(tokenizer), seed=0)
    ids = tokenizer.encode(text)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedded = model.model.embed_tokens.weight
        embedded /= embedded.norm(dim=1, keepdim=True)
        model.lm_head.weight.zero_()
        model.lm_head.weight[[*ids[1:], ids[0]]] = embedded[ids]
    return model


def test_a_stop_of_several_tokens_ends_a_reply_at_its_last_token_and_only_where_it_is_whole():
    tokenizer = char_tokenizer(tags_are_tokens=False)
    policy = HFPolicy(_repeating(tokenizer, "</action>"), tokenizer)
    assert len(policy.encode("</action>")) == 9
    asked = {"temperature": 0.0, "stop": "</action>", "seed": 0}
    replies = policy.generate(_texts(policy, "look>", "<", "</act"), max_new_tokens=30, **asked)
    # an end of the stop string, as after a prompt that holds its beginning, is no stop
    assert [r.text for r in replies] == ["</action>", "/action></action>", "ion></action>"]
    assert not any(r.truncated for r in replies)
    (short,) = policy.generate(_texts(policy, "look>"), max_new_tokens=8, **asked)
    assert (short.text, short.truncated) == ("</action", True)


def test_a_free_reply_parses_without_extra_text():
    policy = ScriptedPolicy(lambda prompt: TABLE)
    renderer = policy.renderer(PromptConfig(tags="free"), "think_first")
    prompt = renderer.prompt((), SEEN[0])
    (reply,) = policy.generate([prompt], max_new_tokens=60, temperature=0.0, stop=renderer.stop, seed=0)
    assert renderer.parse(reply.text, SEEN[0]).flags == ()


def test_a_model_whose_attention_takes_no_mask_is_refused():
    model = tiny_llama(50)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ActreError, match="sdpa"):
        HFPolicy(model, char_tokenizer())


def test_a_scripted_policy_plays_its_table():
    policy = ScriptedPolicy(lambda prompt: TABLE)
    renderer = policy.renderer(PromptConfig(), "think_first")
    prompt = renderer.prompt((), SEEN[0])
    n = 4000
    replies = policy.generate([prompt] * n, max_new_tokens=60, temperature=1.0, stop="</action>", seed=0)
    counts = Counter(renderer.parse(reply.text, SEEN[0]).action for reply in replies)
    exact = {**TABLE.marginal(), None: 1 - sum(TABLE.marginal().values())}
    assert exact["go left"] == pytest.approx(0.55)
    for action, p in exact.items():
        assert abs(counts[action] - n * p) <= 5 * math.sqrt(n * p * (1 - p))


def test_a_scripted_policys_orders_have_the_same_marginal_and_known_conditionals():
    policy = ScriptedPolicy(lambda prompt: TABLE)
    actions = ("go left", "go right", "look")
    acting = policy.renderer(PromptConfig(), "act_first")
    (marginal,) = policy.action_logprobs(
        [acting.prompt((), SEEN[0])], [acting.candidates(actions, after_thought=False)]
    )
    assert np.exp(marginal) == pytest.approx([0.55, 0.3, 0.075])
    thinking = policy.renderer(PromptConfig(), "think_first")
    prefix = [*thinking.prompt((), SEEN[0]), *policy.encode("left is near</think>")]
    (given,) = policy.action_logprobs([prefix], [thinking.candidates(actions, after_thought=True)])
    assert list(np.exp(given)) == [1.0, 0.0, 0.0]


def test_a_scripted_distribution_at_another_temperature_is_the_power_law():
    policy = ScriptedPolicy(lambda prompt: uniform(["a", "b"]))
    skewed = ScriptedPolicy(lambda prompt: Table({"t": 1.0}, {"t": {"a": 0.8, "b": 0.2}}))
    prompt = policy.encode("x<action>")
    candidates = [[policy.encode("a</action>"), policy.encode("b</action>")]]
    assert np.exp(policy.action_logprobs([prompt], candidates, temperature=3.0)[0]) == pytest.approx([0.5, 0.5])
    prompt = skewed.encode("x<action>")
    candidates = [[skewed.encode("a</action>"), skewed.encode("b</action>")]]
    hot = np.exp(skewed.action_logprobs([prompt], candidates, temperature=2.0)[0])
    assert hot == pytest.approx([2 / 3, 1 / 3])  # sqrt(0.8) : sqrt(0.2) = 2 : 1
