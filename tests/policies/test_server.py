"""vLLM on a server elsewhere: the policy contract and the transformers policy's numbers over HTTP, what is said where a
server does not fit, and training with it, adapter changes and a server that dies included.

Here a stand-in answers (fake_vllm_server.py); the slow tests start vLLM's own server with the command that errors give,
by the Python that ACTRE_VLLM_PYTHON names (docs/vllm.md), and ask it from this one. Without it they are skipped.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import torch
from fake_vllm_server import FakeServer
from policy_contract import PolicyContract
from vllm_models import RANK, random_model, save_adapter, settings, train, with_adapter

from actre import cli
from actre.config import ModelConfig, save_config
from actre.config.presets import preset
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, load
from actre.policies.vllm import ServerPolicy
from actre.policies.vllm.client import Start
from actre.policies.vllm.server import start_for
from actre.training.engine_check import EngineError
from actre.training.engines import engine_for, merged_weights
from actre.types import ActreError

PYTHON = sys.executable if importlib.util.find_spec("vllm") is not None else os.environ.get("ACTRE_VLLM_PYTHON")
WHY_NOT = "no vllm to start a server with; docs/vllm.md says how, then ACTRE_VLLM_PYTHON=/path/to/its/python"
BOUND_NATS = 1e-3
PROMPTS = [[5], list(range(5, 70))]
SOME = ("go to 1", "go to 2", "look")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return random_model(tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="module")
def adapters(folder, tmp_path_factory) -> list[Path]:
    made = tmp_path_factory.mktemp("adapters")
    return [save_adapter(folder, made / str(seed), seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def shared_server(folder) -> Iterator[FakeServer]:
    with FakeServer(folder) as server:
        yield server


@pytest.fixture
def policy(folder, shared_server) -> ServerPolicy:
    return ServerPolicy(str(folder), shared_server.url)


@pytest.fixture
def beside(folder) -> HFPolicy:
    return HFPolicy(*load(ModelConfig(name=str(folder))))


def _scores(policy, temperature: float = 1.0) -> list[np.ndarray]:
    candidates = [[policy.encode(action) for action in SOME]] * len(PROMPTS)
    return policy.action_logprobs(PROMPTS, candidates, temperature=temperature)


def _apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


class TestContract(PolicyContract):
    @pytest.fixture
    def policy(self, folder, shared_server):
        return ServerPolicy(str(folder), shared_server.url)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_scores_over_http_are_the_transformers_policys(policy, beside, temperature):
    assert _apart(_scores(policy, temperature), _scores(beside, temperature)) < 1e-4


def test_each_prompt_is_asked_for_with_its_own_seed_and_without_the_servers_defaults(policy, shared_server):
    shared_server.asked.clear()
    asked = {"max_new_tokens": 5, "temperature": 0.7, "stop": "</action>", "seed": 5}
    replies = policy.generate([[5, 6]] * 4, **asked)
    assert len({body["seed"] for body in shared_server.asked}) == 4
    assert len({reply.token_ids for reply in replies}) > 1
    for body in shared_server.asked:
        assert body["prompt"] == [5, 6]
        assert body["stop"] == ["</action>"]
        assert (body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1.0, 0, 0.0, 1.0)
        assert not body["skip_special_tokens"]


def test_an_adapter_written_anew_is_used_by_the_next_call_and_the_one_before_is_forgotten(folder, adapters, tmp_path):
    with FakeServer(folder) as server:
        policy = ServerPolicy(str(folder), server.url)
        bare = _scores(policy)
        training = shutil.copytree(adapters[0], tmp_path / "adapter")
        policy.use_adapter(training)
        assert _apart(_scores(policy), _scores(with_adapter(folder, adapters[0]))) < 1e-4
        shutil.copy(adapters[1] / "adapter_model.safetensors", training)
        changed = _scores(policy)
        assert _apart(changed, _scores(with_adapter(folder, adapters[1]))) < 1e-4
        assert _apart(changed, bare) > 0.1
        assert len(server.adapters) == 1
        policy.use_adapter(None)
        assert _apart(_scores(policy), bare) < 1e-4


def test_two_policies_on_one_server_do_not_take_each_others_adapter(folder, adapters):
    with FakeServer(folder) as server:
        policies = [ServerPolicy(str(folder), server.url, adapter=adapter) for adapter in adapters]
        for policy, adapter in zip(policies, adapters, strict=True):
            assert _apart(_scores(policy), _scores(with_adapter(folder, adapter))) < 1e-4


def test_merged_weights_are_base_and_adapter_and_leave_the_model_as_it_was(folder, adapters):
    model = with_adapter(folder, adapters[0]).model
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    merged = merged_weights(model)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    expected = dict(model.merge_and_unload().named_parameters())
    assert merged.keys() == expected.keys()
    assert all(torch.allclose(merged[name], expected[name], atol=1e-6) for name in merged)


def test_a_lost_connection_is_tried_again_once(folder):
    with FakeServer(folder) as server:
        policy = ServerPolicy(str(folder), server.url)
        asked = {"max_new_tokens": 5, "temperature": 0.7, "stop": None, "seed": 5}
        expected = policy.generate([[5, 6]], **asked)
        server.drops = 1
        assert policy.generate([[5, 6]], **asked)[0].token_ids == expected[0].token_ids
        server.drops = 2
        with pytest.raises(ActreError, match=r"(?s)closed the connection.*api_server"):
            policy.generate([[5, 6]], **asked)


# --- servers that do not fit ------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _engine(folder: Path, out: Path, url: str | None, **named: str):
    config = settings(folder, engine="vllm-server", **named)
    model, tokenizer = load(config.model)
    model = add_lora(model, config.model, 0)
    return engine_for(config, HFPolicy(model, tokenizer), model, out, url)


def test_without_an_address_the_command_that_starts_a_server_is_given(folder, tmp_path):
    with pytest.raises(ActreError, match=r"--server http://HOST:8000") as raised:
        _engine(folder, tmp_path, None)
    for needed in ("VLLM_ALLOW_RUNTIME_LORA_UPDATING=1", f"--model {folder}", "--enable-lora", "--max-lora-rank 8"):
        assert needed in str(raised.value)
    assert "--max-model-len 2012" in str(raised.value)
    with pytest.raises(ActreError) as raised:
        _engine(folder, tmp_path, None, weight_sync="merged")
    assert "VLLM_SERVER_DEV_MODE=1" in str(raised.value)
    assert "lora" not in str(raised.value).lower()


@pytest.mark.parametrize("url", ["ftp://node7:8000", "http://", "http://node7:many"])
def test_what_is_no_address_is_refused(folder, url):
    with pytest.raises(ActreError, match="not the address"):
        ServerPolicy(str(folder), url)


def test_where_nothing_answers_the_command_that_starts_a_server_is_given(folder, tmp_path):
    url = f"http://127.0.0.1:{_free_port()}"
    with pytest.raises(ActreError, match=rf"(?s)no vLLM server answers at {url}.*api_server --model {folder}"):
        _engine(folder, tmp_path, url)


@pytest.mark.parametrize(
    ("asked", "named", "hint"),
    [
        ({"lora": False}, {}, r"not started to load adapters while running.*--enable-lora"),
        (
            {"updating": False},
            {},
            r"not started to load adapters while running.*VLLM_ALLOW_RUNTIME_LORA_UPDATING=1",
        ),
        (
            {"dev": False},
            {"weight_sync": "merged"},
            r"not started to load weights while running.*VLLM_SERVER_DEV_MODE=1",
        ),
        ({"blind": True}, {}, r"finds no adapter in .*a shared disk"),
        ({"max_tokens": 1000}, {}, r"room for 1000 tokens.*2012 are needed.*--max-model-len 2012"),
        ({"raw": True}, {}, r"before the temperature.*--logprobs-mode processed_logprobs"),
        ({"ids": False}, {}, r"returns no token ids.*0\.30\.0"),
        ({"key": "secret"}, {}, r"VLLM_API_KEY"),
        ({"lives": 1}, {}, r"EngineCore encountered.*its log"),
    ],
    ids=str,
)
def test_a_server_that_does_not_fit_is_refused_with_what_mends_it(folder, tmp_path, asked, named, hint):
    with FakeServer(folder, **asked) as server, pytest.raises(ActreError, match=f"(?s){hint}"):
        _engine(folder, tmp_path, server.url, **named)


def test_a_server_of_another_model_is_refused(folder, tmp_path):
    other = random_model(tmp_path / "other", seed=1)
    with FakeServer(other) as server, pytest.raises(ActreError, match=r"nats a token off.*another model"):
        _engine(folder, tmp_path / "run", server.url)


def test_a_key_is_sent_where_there_is_one(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    with FakeServer(folder, key="secret") as server:
        assert (
            len(
                _engine(folder, tmp_path, server.url).policy.generate(
                    [[5]], max_new_tokens=2, temperature=1.0, stop=None, seed=0
                )
            )
            == 1
        )


@pytest.mark.parametrize("resumed", [False, True])
def test_an_address_without_the_engine_is_refused_and_may_be_given_to_a_run_that_goes_on(tmp_path, capsys, resumed):
    save_config(preset("tiny"), tmp_path / "config.json")
    where = ["--resume", str(tmp_path)] if resumed else ["--preset", "tiny", "--out", str(tmp_path / "run")]
    assert cli.main(["train", "--server", "http://node7:8000", *where]) != 0
    assert "--server goes with --engine vllm-server" in capsys.readouterr().err


# --- training with it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handover", ["adapter", pytest.param("merged", marks=pytest.mark.slow)])
def test_training_samples_on_the_server_and_its_samples_follow_the_adapter(folder, tmp_path, handover):
    with FakeServer(folder, dev=True) as server:
        config = settings(folder, engine="vllm-server", weight_sync=handover)
        lines = train(config, tmp_path, server=server.url)
    _told(handover, lines)
    assert len(list((tmp_path / "engine").glob("*/*"))) == 1


def test_a_handover_that_stops_ends_the_run(folder, tmp_path):
    def stop(engine):
        engine.refresh = lambda: None

    config = settings(folder, engine="vllm-server")
    with FakeServer(folder) as server, pytest.raises(EngineError, match="iteration 2"):
        train(config, tmp_path, server=server.url, change=stop)


def test_a_server_that_dies_ends_the_run_with_a_checkpoint_from_which_it_goes_on_elsewhere(folder, tmp_path):
    config = settings(folder, engine="vllm-server")
    with FakeServer(folder) as server:

        def mortal(engine):
            server.lives = 30  # of at most 24 requests an iteration

        with pytest.raises(ActreError) as raised:
            train(config, tmp_path, server=server.url, change=mortal)
    for told in ("EngineCore encountered", "api_server --model", f"actre train --resume {tmp_path}", "iter-1"):
        assert told in str(raised.value)
    with FakeServer(folder) as other:
        lines = train(config, tmp_path, server=other.url, resume=True)
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert lines[-1]["adapter_followed"] == pytest.approx(1, abs=0.02)


# --- vLLM's own server ------------------------------------------------------------------------------------------------


class Process(NamedTuple):
    url: str
    group: int

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)


@contextmanager
def _serving(start: Start, log: Path) -> Iterator[Process]:
    """A server started with the command that errors give."""
    start = start._replace(port=_free_port(), on_cpu=True)
    command = start.command().replace(" python ", f" {PYTHON} ")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "PYTHONPATH": ""}
    with log.open("w") as said:
        shell = ["/bin/sh", "-c", f"exec env {command} --host 127.0.0.1"]
        running = subprocess.Popen(shell, stdout=said, stderr=said, env=env, cwd=log.parent, start_new_session=True)
    process = Process(f"http://127.0.0.1:{start.port}", running.pid)
    try:
        until = time.monotonic() + 400
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{process.url}/health", trust_env=False).status_code == 200:
                    break
            assert running.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(1)
        yield process
    finally:
        process.kill()
        running.wait()


@pytest.fixture(scope="module")
def real(folder, tmp_path_factory) -> Iterator[Process]:
    if PYTHON is None:
        pytest.skip(WHY_NOT)
    start = start_for(ModelConfig(name=str(folder)), 2012, RANK)
    with _serving(start, tmp_path_factory.mktemp("real") / "log.txt") as process:
        yield process


@pytest.mark.slow
class TestContractOnVllmsOwn(PolicyContract):
    @pytest.fixture
    def policy(self, folder, real):
        return ServerPolicy(str(folder), real.url)


@pytest.mark.slow
def test_vllms_own_server_gives_the_transformers_policys_numbers_adapters_included(real, folder, adapters, tmp_path):
    policy = ServerPolicy(str(folder), real.url)
    for adapter in (None, *adapters, adapters[0]):
        policy.use_adapter(adapter)
        beside = HFPolicy(*load(ModelConfig(name=str(folder)))) if adapter is None else with_adapter(folder, adapter)
        for temperature in (1.0, 0.6):
            assert _apart(_scores(policy, temperature), _scores(beside, temperature)) < BOUND_NATS
        asked = {"max_new_tokens": 30, "temperature": 0.0, "stop": "</action>", "seed": 0}
        assert policy.generate(PROMPTS, **asked) == beside.generate(PROMPTS, **asked)
        replies = policy.generate(PROMPTS * 4, **{**asked, "temperature": 0.6})
        for prompt, reply in zip(PROMPTS * 4, replies, strict=True):
            begun = [reply.token_ids[: i + 1] for i in range(len(reply.token_ids))]
            (sums,) = beside.action_logprobs([prompt], [begun], temperature=0.6)
            assert np.abs(np.array(reply.logps) - np.diff(sums, prepend=0.0)).max() < BOUND_NATS
    with pytest.raises(ActreError, match=r"(?s)cannot serve the adapter.*--max-lora-rank 16.*weight_sync=merged"):
        policy.use_adapter(save_adapter(folder, tmp_path / "high", seed=3, rank=16))


@pytest.mark.slow
def test_training_samples_on_vllms_own_server_and_ends_with_a_checkpoint_where_it_is_killed(real, folder, tmp_path):
    config = settings(folder, engine="vllm-server")
    lines = train(config, tmp_path / "whole", server=real.url)
    _told("adapter", lines)
    counted = itertools.count(1)

    def mortal(engine):
        refresh = engine.refresh

        def last() -> None:
            refresh()
            if next(counted) == 2:
                threading.Timer(0.1, real.kill).start()

        engine.refresh = last

    with pytest.raises(ActreError, match=rf"(?s)api_server.*iter-1.*--resume {tmp_path}"):
        train(config, tmp_path / "cut", server=real.url, change=mortal)


@pytest.mark.slow
@pytest.mark.skipif(PYTHON is None, reason=WHY_NOT)
def test_vllms_own_server_takes_merged_weights(folder, tmp_path):
    with _serving(start_for(ModelConfig(name=str(folder)), 2012, 0), tmp_path / "log.txt") as process:
        config = settings(folder, engine="vllm-server", weight_sync="merged")
        _told("merged", train(config, tmp_path / "run", server=process.url))
        with pytest.raises(ActreError, match=r"not started to load adapters while running"):
            _engine(folder, tmp_path / "other", process.url)


def _told(handover: str, lines: list[dict[str, float]]) -> None:
    told = [{k: v for k, v in line.items() if "gap" in k or "adapter" in k} for line in lines]
    print(f"training on a server, {handover}:", json.dumps(told))
    assert all(line["engine_gap_max_nats"] <= BOUND_NATS for line in lines)
    assert lines[-1]["adapter_shift_nats"] > 1e-2
    assert lines[-1]["adapter_followed"] == pytest.approx(1, abs=0.02)
