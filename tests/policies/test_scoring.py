"""Scores of many candidates at once are those of one plain forward pass a candidate, but for float32's rounding."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import byte_tokenizer, tiny_llama, tiny_qwen

from actre.config import ModelConfig, PromptConfig, data_folder
from actre.config.presets import preset
from actre.entropy.probes import Probe, shipped_probes
from actre.policies.hf import HFPolicy
from actre.policies.models import load
from actre.policies.smollm2 import smollm2_folder
from actre.types import Spelling

TOLERANCE_NATS, ROUNDING = 1e-4, 4e-6
"""How far a score may lie from the textbook's: so many nats, and so much of its own size (float32 holds 7 digits)."""

UNICODE = ("öffne die Tür", "去 架子 1", "go to café 2", "go to café 1", "naïve 🙂", "🙂", "go to shelf 1", "go", "x")
TINY = data_folder() / "tiny" / "neutral" / "config.json"
needs_tiny = pytest.mark.skipif(not TINY.exists(), reason=f"{TINY} is missing: actre pretrain-tiny makes it")


def plain(policy: HFPolicy, prefix: Sequence[int], candidates: Sequence[Sequence[int]], temperature: float) -> Any:
    """(A,) the textbook: one forward pass of one row a candidate, without cache, mask or batch."""
    scores = []
    for candidate in candidates:
        with torch.inference_mode():
            logits = policy.model(torch.tensor([[*prefix, *candidate]])).logits[0].float() / temperature
        logps = torch.log_softmax(logits, dim=-1)
        *inside, last = candidate
        score = sum(logps[len(prefix) + i - 1, token].item() for i, token in enumerate(inside))
        ends = begin_alike(policy.tokenizer, last) if isinstance(candidate, Spelling) else [last]
        scores.append(score + logps[len(prefix) + len(inside) - 1, ends].logsumexp(dim=-1).item())
    return np.array(scores)


def begin_alike(tokenizer: Any, token: int) -> list[int]:
    """The tokens whose text begins with this one's, each decoded alone (as byte-level tokenizers can)."""
    text = tokenizer.decode([token])
    return [other for other in range(len(tokenizer)) if tokenizer.decode([other]).startswith(text)]


def check(policy: HFPolicy, prefixes: Any, candidates: Any, temperature: float = 1.0) -> None:
    """Several states in one call, each against the textbook."""
    assert policy.model.dtype == torch.float32
    scored = policy.action_logprobs(prefixes, candidates, temperature=temperature)
    for prefix, listed, scores in zip(prefixes, candidates, scored, strict=True):
        textbook = plain(policy, prefix, listed, temperature)
        allowed = TOLERANCE_NATS / min(temperature, 1.0) + ROUNDING * np.abs(textbook).max()  # logits are divided by it
        assert np.abs(scores - textbook).max() < allowed


@pytest.fixture(scope="module")
def tiny() -> HFPolicy:
    return HFPolicy(*load(ModelConfig(name="tiny")))


def ids(size: int, *, longest: int) -> Any:
    return st.lists(st.integers(0, size - 1), min_size=1, max_size=longest)


@needs_tiny
@settings(max_examples=30)
@given(data=st.data(), temperature=st.sampled_from([0.4, 1.0, 2.0]))
def test_random_states_of_the_tiny_policy_are_scored_as_by_plain_forwards(
    tiny: HFPolicy, data: st.DataObject, temperature: float
) -> None:
    size = len(tiny.tokenizer)
    states = data.draw(st.integers(1, 4), label="states")
    prefixes = [data.draw(ids(size, longest=120)) for _ in range(states)]
    candidates = []
    for _ in range(states):
        # a small alphabet, so that candidates begin alike, are one another's beginnings, or are a single token
        letters = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=3, unique=True))
        candidates.append(data.draw(st.lists(st.lists(st.sampled_from(letters), min_size=1, max_size=5), min_size=1)))
    check(tiny, prefixes, candidates, temperature)


@needs_tiny
def test_shipped_states_are_scored_as_by_plain_forwards_in_every_order(tiny: HFPolicy) -> None:
    probes = shipped_probes(preset("tiny"))[:6]
    for order in ("act_first", "no_think"):
        renderer = tiny.renderer(PromptConfig(), order)
        prefixes = [renderer.probe_prompt(p.observations, p.actions) for p in probes]
        check(tiny, prefixes, [renderer.candidates(p.state.admissible, after_thought=False) for p in probes])
    renderer = tiny.renderer(PromptConfig(), "think_first")
    thought = tiny.encode("need mug 1 . try shelf 2</think>")
    prefixes = [(*renderer.probe_prompt(p.observations, p.actions), *thought) for p in probes]
    check(tiny, prefixes, [renderer.candidates(p.state.admissible, after_thought=True) for p in probes], 0.7)


@needs_tiny
def test_words_the_tiny_policy_does_not_know_are_scored_exactly_too(tiny: HFPolicy) -> None:
    prefixes = [tiny.encode("you see a 架子 and a Tür . <action>")]
    check(tiny, prefixes, [[tiny.encode(text + "</action>") for text in UNICODE]])


@pytest.mark.parametrize("family", [tiny_llama, tiny_qwen])
def test_unicode_and_one_token_actions_are_scored_as_by_plain_forwards(family: Any) -> None:
    tokenizer = byte_tokenizer()
    policy = HFPolicy(family(len(tokenizer)), tokenizer)
    prefixes = [policy.encode(text) for text in ("a", "Über 架子 und 🙂: ", "go to café")]
    endings = [[policy.encode(text) for text in UNICODE[::step]] for step in (1, 2, 3)]
    assert min(map(len, endings[0])) == 1
    assert any(len(text) < len(policy.encode(text)) for text in UNICODE)  # characters of several tokens
    for temperature in (0.4, 1.0, 2.0):
        check(policy, prefixes, endings, temperature)


@pytest.fixture(scope="module")
def smollm2() -> HFPolicy:
    if not (smollm2_folder() / "config.json").exists():
        pytest.skip(f"{smollm2_folder()} holds no model: actre models get smollm2 fetches it")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return HFPolicy(*load(ModelConfig(name="smollm2")))


def smollm2_prompt(policy: HFPolicy, probe: Probe, order: Any) -> tuple[int, ...]:
    return policy.renderer(preset("smollm2").prompt, order).probe_prompt(probe.observations, probe.actions)


@pytest.mark.slow
def test_smollm2_scores_are_those_of_plain_forwards(smollm2: HFPolicy) -> None:
    probes = shipped_probes(preset("smollm2"))[:2]
    renderer = smollm2.renderer(preset("smollm2").prompt, "act_first")
    prefixes = [smollm2_prompt(smollm2, probe, "act_first") for probe in probes]
    listed = [renderer.candidates(probe.state.admissible, after_thought=False)[::4] for probe in probes]
    check(smollm2, prefixes, listed)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.4, 2.0])
def test_smollm2_scores_unicode_and_one_token_actions_exactly_after_random_prefixes(
    smollm2: HFPolicy, temperature: float
) -> None:
    rng = np.random.default_rng(0)
    prefixes = [rng.integers(len(smollm2.tokenizer), size=n).tolist() for n in (1, 40, 150)]
    listed = [smollm2.encode(text) for text in UNICODE]
    assert min(map(len, listed)) == 1
    check(
        smollm2, prefixes, [listed, listed[::2], [[*ids, *smollm2.encode("</action>")] for ids in listed]], temperature
    )
