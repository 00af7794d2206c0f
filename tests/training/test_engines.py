"""Engines for training: the adapter gets there anew each time, and what cannot serve it is refused. vLLM itself stands
in here; tests/policies/test_vllm.py trains with the real one where it is.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import char_tokenizer, tiny_llama

from actre.config import ModelConfig, RunConfig
from actre.config.presets import preset
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora
from actre.training.engines import ModelEngine, VLLMEngine, engine_for
from actre.types import ActreError


class StandIn:
    """Remembers how it was made."""

    def __init__(self, model: ModelConfig, **asked: object) -> None:
        self.model, self.asked = model, asked


@pytest.fixture
def model():
    return add_lora(tiny_llama(len(char_tokenizer())), ModelConfig(lora_rank=4), 0)


@pytest.fixture
def config() -> RunConfig:
    return replace(preset("tiny"), model=ModelConfig(engine="vllm", lora_rank=4))


def _written(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_a_refresh_writes_the_adapter_as_it_is_now_into_files_that_are_seen_to_be_new(
    model, config, tmp_path, monkeypatch
):
    monkeypatch.setattr("actre.policies.vllm.VLLMPolicy", StandIn)
    engine = engine_for(config, None, model, tmp_path)
    assert isinstance(engine, VLLMEngine)
    assert engine.policy.asked["adapter"] == tmp_path / "engine"
    assert engine.policy.asked["lora_rank"] == 4
    assert engine.policy.asked["max_model_tokens"] == 4096  # the model's limit
    before, state = _written(tmp_path / "engine"), os.stat(tmp_path / "engine" / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    engine.refresh()
    after, new_state = _written(tmp_path / "engine"), os.stat(tmp_path / "engine" / "adapter_model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "lora_B" in name}
    assert (state.st_ino, state.st_mtime_ns) != (new_state.st_ino, new_state.st_mtime_ns)


@pytest.mark.parametrize("change", [{"loader": "unsloth"}, {"four_bit": True}])
def test_vllm_is_refused_where_it_would_serve_another_base(model, config, tmp_path, change):
    with pytest.raises(ActreError, match="plain base model"):
        engine_for(replace(config, model=replace(config.model, **change)), None, model, tmp_path)


def test_the_model_itself_gives_its_cache_back_after_the_episodes(model, tmp_path):
    policy = HFPolicy(model, char_tokenizer())
    engine = engine_for(preset("tiny"), policy, model, tmp_path)
    assert isinstance(engine, ModelEngine)
    prompt = [list(range(5, 40))]
    asked = {"max_new_tokens": 2, "temperature": 1.0, "stop": None, "seed": 0}
    engine.refresh()
    policy.generate(prompt, **asked)
    computed = policy.computed_tokens
    policy.generate(prompt, **asked)
    kept = policy.computed_tokens - computed
    engine.rest()
    policy.generate(prompt, **asked)
    assert policy.computed_tokens - computed - kept > kept
    assert not list(tmp_path.iterdir())


def test_the_figures_of_an_iteration_on_the_page_are_those_of_the_data(root):
    files = sorted((root / "data" / "results").glob("bench_iteration_*.json"))
    command = [sys.executable, "benchmarks/engine_iterations.py", "--table", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() in (root / "docs" / "vllm.md").read_text()


def test_products_of_sampling_are_those_of_trainings_episodes_and_measurements_keep_their_own(model, config, tmp_path):
    policy = HFPolicy(model, char_tokenizer())
    plain = replace(config, model=ModelConfig(lora_rank=4))
    assert engine_for(plain, policy, model, tmp_path).policy is policy
    rounded = replace(plain, sampling=replace(plain.sampling, products="bfloat16"))
    engine = engine_for(rounded, policy, model, tmp_path)
    exact, sampled = (p.action_logprobs([(7, 8)], [[[9]]])[0][0] for p in (policy, engine.policy))
    assert 0 < abs(exact - sampled) < 0.1
    engine.refresh()
    engine.rest()  # frees the copy
    assert engine.policy._cached._runner is None


def test_products_of_sampling_are_refused_for_another_engine(model, config, tmp_path):
    rounded = replace(config, sampling=replace(config.sampling, products="bfloat16"))
    with pytest.raises(ActreError, match=r"sampling\.products=bfloat16 goes with --engine hf; vllm has"):
        engine_for(rounded, None, model, tmp_path)
