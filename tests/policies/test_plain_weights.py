"""Llama and Qwen2 without their modules: the log-probabilities of a plain forward pass, and the same samples."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_models import char_tokenizer, tiny_gpt2
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from actre.config import EnvConfig, ModelConfig, PromptConfig, SamplingConfig, data_folder
from actre.envs.alfworld import list_games
from actre.policies.cached import CachedModel
from actre.policies.hf import HFPolicy
from actre.policies.llama import attention, rows
from actre.policies.llama.runner import LlamaRunner
from actre.policies.models import add_lora, load
from actre.policies.runner import ModuleRunner
from actre.rollout import make_envs, rollout
from actre.types import ORDERS, ActreError

TINY = data_folder() / "tiny" / "neutral" / "config.json"
needs_tiny = pytest.mark.skipif(not TINY.exists(), reason=f"{TINY} is missing: actre pretrain-tiny makes it")
VOCABULARY = len(char_tokenizer())


def made(family: Any = "llama", *, adapter: bool = False, **changed: Any) -> Any:
    """A random model whose distributions are far from uniform; an adapter has effect."""
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "eos_token_id": None,
        "bos_token_id": None,
        **changed,
    }
    kinds: dict[str, Any] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen": (Qwen2Config, Qwen2ForCausalLM),
    }
    settings_of, model_of = kinds[family]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = model_of(settings_of(**config)).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    if not adapter:
        return model
    adapted = add_lora(model, ModelConfig(lora_rank=4), seed=0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    return adapted


def plain_logps(model: Any, prompt: Any, ids: Any) -> list[float]:
    """The textbook: one forward pass of one row, without cache or mask."""
    with torch.no_grad():
        logps = model(torch.tensor([[*prompt, *ids]])).logits[0].float().log_softmax(-1)
    return [logps[len(prompt) + i - 1, token].item() for i, token in enumerate(ids)]


def plays_by(policy: HFPolicy) -> type:
    return type(policy._cached.runner)


def turns(policy: HFPolicy, count: int, prompts: Any) -> list[Any]:
    """Replies of a few turns; between them rows grow, change places, end and branch, as episodes do."""
    said = []
    for turn in range(count):
        replies = policy.generate(prompts, max_new_tokens=7, temperature=1.0, stop="e", seed=turn)
        said += list(zip(prompts, replies, strict=True))
        grown = [(*p, *r.token_ids, *policy.encode(f" {turn} and")) for p, r in zip(prompts, replies, strict=True)]
        prompts = [grown[-1], *grown[1:-1], grown[1]] if turn % 2 else [*grown[2:], grown[1][: len(grown[1]) - 5]]
    return said


def prompts_of(policy: HFPolicy) -> list[tuple[int, ...]]:
    """Two groups that share a prompt, and some of their own, of different lengths."""
    texts = ["a long and winding beginning " * 3] * 3 + ["a mug is here, take it " * 2] * 4 + ["go", "hello world"]
    return [tuple(policy.encode(text)) for text in texts]


MODELS = {
    "one head of keys a query": {"num_key_value_heads": 4},
    "grouped heads": {},
    "one head of keys": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "qwen": {"family": "qwen"},
    "another head size": {"head_dim": 24},
    "another epsilon and base": {"rms_norm_eps": 0.1, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 1e4,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "yarn": {
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "adapter": {"adapter": True},
    "qwen with adapter": {"family": "qwen", "adapter": True},
}


@pytest.mark.parametrize("in_place", [False, True], ids=["copied", "in place"])
@pytest.mark.parametrize("name", MODELS)
def test_log_probabilities_are_those_of_the_models_own_forward_pass(name, in_place, monkeypatch):
    monkeypatch.setattr(rows, "WORTH_SHARING", 1)
    if in_place:
        monkeypatch.setattr("actre.policies.cached._MERGED_PARAMETERS", 0)
    model = made(**MODELS[name])
    policy = HFPolicy(model, char_tokenizer())
    prompts = prompts_of(policy)
    for prompt, reply in turns(policy, 2, prompts):
        assert np.allclose(reply.logps, plain_logps(model, prompt, reply.token_ids), atol=1e-4)
    assert plays_by(policy) is LlamaRunner
    candidates = [[[7, 8, 9], [7, 8, 10, 11], [20]], [[5]], [[6, 7, 8], [6]]]
    for _ in range(2):  # the second time from cached prefixes
        scored = policy.action_logprobs(prompts[2:5], candidates)
        for prompt, listed, scores in zip(prompts[2:5], candidates, scored, strict=True):
            assert np.allclose(scores, [sum(plain_logps(model, prompt, ids)) for ids in listed], atol=1e-4)


def _hooked() -> Any:
    model = made()
    model.model.layers[0].register_forward_hook(lambda module, inputs, output: output * 0.5)
    return model


def _dora() -> Any:
    return get_peft_model(
        made(), LoraConfig(r=4, use_dora=True, target_modules=["q_proj"], task_type="CAUSAL_LM")
    ).eval()


def _saved_head() -> Any:
    lora = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    return get_peft_model(made(), lora).eval()


def _replaced() -> Any:
    """A layer of another kind in the place of a linear one, as quantisation puts it there."""
    model = made()
    model.model.layers[0].mlp.down_proj = torch.nn.Sequential(model.model.layers[0].mlp.down_proj, torch.nn.Tanh())
    return model


UNSUPPORTED = {
    "another layer": _replaced,
    "another family": lambda: tiny_gpt2(VOCABULARY, positions=512),
    "another activation": lambda: made(hidden_act="gelu"),
    "angles that change with the length": lambda: made(
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    ),
    "a hook": _hooked,
    "a variant of LoRA": _dora,
    "a trained head": _saved_head,
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_any_other_model_runs_through_its_modules(name):
    model = UNSUPPORTED[name]()
    policy = HFPolicy(model, char_tokenizer())
    for prompt, reply in turns(policy, 1, prompts_of(policy)):
        assert np.allclose(reply.logps, plain_logps(model, prompt, reply.token_ids), atol=1e-4)
    assert plays_by(policy) is ModuleRunner


def test_a_hook_that_comes_later_is_noticed_and_one_that_goes_too():
    policy = HFPolicy(made(), char_tokenizer())
    before = policy.action_logprobs([(7, 8)], [[[9]]])[0]
    hook = policy.model.model.layers[0].register_forward_hook(lambda module, inputs, output: output * 0.5)
    assert abs(policy.action_logprobs([(7, 8)], [[[9]]])[0] - before) > 1e-3
    assert plays_by(policy) is ModuleRunner
    hook.remove()
    assert np.allclose(policy.action_logprobs([(7, 8)], [[[9]]])[0], before, atol=1e-6)
    assert plays_by(policy) is LlamaRunner


def test_a_disagreement_with_the_model_is_told_and_avoided(monkeypatch):
    read = CachedModel._load.__globals__["LlamaRunner"].load

    def wrong(self: Any, model: Any, *, small: bool) -> None:
        read(self, model, small=small)
        self._weights = self._weights._replace(head=self._weights.head._replace(weight=self._weights.head.weight * 1.1))

    monkeypatch.setattr(LlamaRunner, "load", wrong)
    policy = HFPolicy(made(), char_tokenizer())
    with pytest.warns(UserWarning, match="differ from the model's own"):
        (scores,) = policy.action_logprobs([(7, 8)], [[[9]]])
    assert np.allclose(scores, plain_logps(policy.model, (7, 8), [9]), atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.action_logprobs([(7, 8, 9)], [[[9]]])


def test_bfloat16_gives_the_modules_log_probabilities_to_its_digits():
    model = made(initializer_range=0.1).to(torch.bfloat16)
    ours, theirs = (HFPolicy(model, char_tokenizer(), plain_weights=plain) for plain in (True, False))
    prompts = prompts_of(ours)
    candidates = [[[7, 8], [9]]] * len(prompts)
    found = [np.concatenate(policy.action_logprobs(prompts, candidates)) for policy in (ours, theirs)]
    assert (plays_by(ours), plays_by(theirs)) == (LlamaRunner, ModuleRunner)
    assert np.allclose(*found, atol=0.1)


def test_a_larger_model_is_not_copied(monkeypatch):
    monkeypatch.setattr("actre.policies.cached._MERGED_PARAMETERS", 0)
    model = made(adapter=True)
    policy = HFPolicy(model, char_tokenizer())
    policy.action_logprobs([(7, 8)], [[[9]]])
    layer = policy._cached.runner._weights.layers[0]
    own = {p.data_ptr() for p in model.parameters()}
    assert {product.weight.data_ptr() for product in (*layer.qkv, layer.out, *layer.gate_up, layer.down)} <= own


@settings(max_examples=12)
@given(data=st.data())
@pytest.mark.parametrize("each", [1, 2])
def test_any_sequence_of_calls_gives_the_modules_replies(each, data):
    """Sequences that share beginnings of any length, prefixes stored from the first column that two of them share."""
    model = made(num_key_value_heads=4 // each)
    policies = [HFPolicy(model, char_tokenizer(), plain_weights=plain) for plain in (True, False)]
    drawn = st.lists(st.integers(5, 8), min_size=1, max_size=12)
    known: list[list[int]] = [[5, 6, 7, 8] * 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "WORTH_SHARING", 1)
        patch.setattr(attention, "_SCORES", data.draw(st.sampled_from([100, 1 << 20]), label="piece"))
        for turn in range(data.draw(st.integers(1, 4), label="turns")):
            count = data.draw(st.integers(1, 6), label="rows")
            prompts = []
            for _ in range(count):
                start = data.draw(st.sampled_from(known))
                prompts.append([*start[: data.draw(st.integers(0, len(start)))], *data.draw(drawn)])
            ours, theirs = (
                policy.generate(prompts, max_new_tokens=5, temperature=1.0, stop="e", seed=turn) for policy in policies
            )
            assert [r.token_ids for r in ours] == [r.token_ids for r in theirs]
            assert np.allclose([x for r in ours for x in r.logps], [x for r in theirs for x in r.logps], atol=1e-4)
            known = [[*p, *r.token_ids] for p, r in zip(prompts, ours, strict=True)]


def test_a_shared_beginning_is_stored_once(monkeypatch):
    monkeypatch.setattr(rows, "WORTH_SHARING", 1)
    policy = HFPolicy(made(), char_tokenizer())
    policy.generate([[7] * 40] * 6 + [[8, 9]], max_new_tokens=3, temperature=1.0, stop=None, seed=0)
    stored = policy._cached.runner._rows
    assert sorted(stored.shared.tolist()) == [0, *[40] * 6]
    assert len({g for g in stored.group.tolist() if g >= 0}) == 1


def test_an_interrupted_call_leaves_nothing_behind(monkeypatch):
    tokenizer = char_tokenizer()
    policy, fresh = (HFPolicy(made(), tokenizer) for _ in range(2))
    prompts = prompts_of(policy)
    asked = {"max_new_tokens": 6, "temperature": 1.0, "stop": None, "seed": 0}
    step, calls = LlamaRunner.step, itertools.count()

    def interrupted(self: Any, *arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(LlamaRunner, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        policy.generate(prompts, **asked)
    monkeypatch.undo()
    assert policy._cached.sequences == []
    assert policy.generate(prompts, **asked) == fresh.generate(prompts, **asked)


@needs_tiny
@pytest.mark.parametrize("history", ["growing", "windowed"])
@pytest.mark.parametrize("order", ORDERS)
def test_the_tiny_policy_plays_the_same_episodes_as_through_its_modules(order, history):
    loaded = load(ModelConfig(name="tiny"))
    model = add_lora(loaded.model, ModelConfig(), 0)
    played = []
    for plain in (True, False):
        policy = HFPolicy(model, loaded.tokenizer, plain_weights=plain)
        episodes = rollout(
            policy,
            make_envs(EnvConfig(), 4),
            list_games("small/train")[:2],
            renderer=policy.renderer(PromptConfig(history=history), order),
            sampling=SamplingConfig(max_reply_tokens=25),
            temperature=1.0,
            max_steps=3,
            seed=3,
            group_size=2,
        )
        played.append([(step.reply_ids, step.action) for episode in episodes for step in episode.steps])
        assert plays_by(policy) is (LlamaRunner if plain else ModuleRunner)
    assert played[0] == played[1]


@pytest.mark.parametrize("in_place", [False, True], ids=["copied", "in place"])
@pytest.mark.parametrize("name", ["grouped heads", "biases", "tied", "qwen with adapter"])
def test_products_in_bfloat16_round_the_layers_and_nothing_else(name, in_place, monkeypatch):
    if in_place:
        monkeypatch.setattr("actre.policies.cached._MERGED_PARAMETERS", 0)
    model = made(**{**MODELS[name], "initializer_range": 0.1})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    policy = HFPolicy(model, char_tokenizer(), products=torch.bfloat16)
    gaps = np.concatenate(
        [
            np.abs(np.subtract(reply.logps, plain_logps(model, prompt, reply.token_ids)))
            for prompt, reply in turns(policy, 2, prompts_of(policy))
        ]
    )
    assert plays_by(policy) is LlamaRunner
    assert 1e-5 < gaps.mean() < 0.02  # rounded, to three digits
    assert gaps.max() < 0.2
    weights = policy._cached.runner._weights
    for layer in weights.layers:
        products = (*layer.qkv, layer.out, *layer.gate_up, layer.down)
        assert {product.weight.dtype for product in products} == {torch.bfloat16}
    assert {weights.head.weight.dtype, weights.embedding.dtype, policy._cached.runner._rows.dtype} == {torch.float32}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_products_in_bfloat16_follow_the_weights():
    policy = HFPolicy(made(adapter=True), char_tokenizer(), products=torch.bfloat16)
    before = policy.action_logprobs([(7, 8)], [[[9]]])[0]
    with torch.no_grad():
        for key, parameter in policy.model.named_parameters():
            if "lora_B" in key:
                parameter.mul_(3.0)
    after = policy.action_logprobs([(7, 8)], [[[9]]])[0]
    assert abs(after - before) > 1e-2
    assert np.allclose(after, plain_logps(policy.model, (7, 8), [9]), atol=0.1)


@pytest.mark.parametrize("name", ["another family", "a hook"])
def test_products_in_bfloat16_need_plain_weights(name):
    with pytest.raises(ActreError, match=r"sampling\.products=bfloat16 needs the model's plain weights, and .*float32"):
        HFPolicy(UNSUPPORTED[name](), char_tokenizer(), products=torch.bfloat16)


def test_a_hook_that_comes_later_is_refused_with_products_in_bfloat16():
    policy = HFPolicy(made(), char_tokenizer(), products=torch.bfloat16)
    policy.model.model.layers[0].register_forward_hook(lambda module, inputs, output: output * 0.5)
    with pytest.raises(ActreError, match=r"a hook sees or changes"):
        policy.generate([[7, 8]], max_new_tokens=2, temperature=1.0, stop=None, seed=0)
