"""A stand-in for vLLM's HTTP server: its routes and answers as of vLLM 0.30.0, over the transformers policy.

What it answers, refusals included, was copied from the real one, which tests/policies/test_server.py asks too.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file

from actre.config import ModelConfig
from actre.policies.hf import HFPolicy
from actre.policies.models import load

Answer = tuple[int, dict[str, Any]]
_NOT_FOUND: Answer = (404, {"detail": "Not Found"})


def _error(status: int, message: str) -> Answer:
    return status, {"error": {"message": message, "type": "Error", "param": None, "code": status}}


class FakeServer:
    """Serves a model folder at `url` until it is closed, or has answered `lives` completions.

    lora: as --enable-lora. updating: as VLLM_ALLOW_RUNTIME_LORA_UPDATING=1. dev: as VLLM_SERVER_DEV_MODE=1. raw: as
    --logprobs-mode raw_logprobs. blind: on another disk. drops: connections that are closed without an answer, first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lora: bool = True,
        updating: bool = True,
        dev: bool = False,
        raw: bool = False,
        ids: bool = True,
        key: str = "",
        max_tokens: int = 4096,
        lives: int | None = None,
        drops: int = 0,
        blind: bool = False,
    ) -> None:
        self.folder, self.lora, self.updating, self.dev, self.raw = folder, lora, updating, dev, raw
        self.blind, self.ids, self.key, self.max_tokens, self.lives, self.drops = (
            blind,
            ids,
            key,
            max_tokens,
            lives,
            drops,
        )
        self.base = HFPolicy(*load(ModelConfig(name=str(folder))))
        self.adapters: dict[str, HFPolicy] = {}
        self.asked: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, path: str, key: str, body: dict[str, Any]) -> Answer | None:
        """None: the connection is closed without one."""
        with self._lock:
            if self.drops:
                self.drops -= 1
                return None
            if self.key and path.startswith("/v1") and key != f"Bearer {self.key}":
                return 401, {"error": "Unauthorized"}
            routes: dict[str, Callable[[dict[str, Any]], Answer]] = {
                "/version": lambda _: (200, {"version": "0.30.0"}),
                "/v1/models": lambda _: (200, self._models()),
                "/v1/completions": self._complete,
            }
            if self.updating:
                routes |= {"/v1/load_lora_adapter": self._load, "/v1/unload_lora_adapter": self._unload}
            if self.dev:
                routes |= {"/collective_rpc": self._reload, "/reset_prefix_cache": lambda _: (200, {"success": True})}
            return routes.get(path, lambda _: _NOT_FOUND)(body)

    def _models(self) -> dict[str, Any]:
        own = {"id": str(self.folder), "parent": None, "max_model_len": self.max_tokens}
        return {"data": [own, *({"id": name, "parent": str(self.folder)} for name in self.adapters)]}

    def _load(self, body: dict[str, Any]) -> Answer:
        name, folder = body["lora_name"], Path(body["lora_path"])
        if not self.lora:
            return _error(500, "Call to add_lora method failed: Worker failed with error 'LoRA is not enabled. Use ...")
        if self.blind or not (folder / "adapter_config.json").exists():
            return _error(404, f"Loading lora {name} failed: No adapter found for <path>")
        if name in self.adapters:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        fresh = load(ModelConfig(name=str(self.folder)))
        self.adapters[name] = HFPolicy(PeftModel.from_pretrained(fresh.model, str(folder)).eval(), fresh.tokenizer)
        return 200, {}

    def _unload(self, body: dict[str, Any]) -> Answer:
        return (200, {}) if self.adapters.pop(body["lora_name"], None) else _error(404, "cannot be found")

    def _reload(self, body: dict[str, Any]) -> Answer:
        assert body["method"] == "reload_weights"
        path = Path(body["kwargs"]["weights_path"])
        if not path.is_dir():
            return _error(500, "Call to collective_rpc method failed: Worker failed with error 'Repo id must be ...")
        missing, unknown = self.base.model.load_state_dict(load_file(path / "model.safetensors"), strict=False)
        assert unknown == []
        assert set(missing) <= {"lm_head.weight"}  # tied
        self.base.reset()
        return 200, {"results": [None]}

    def _complete(self, body: dict[str, Any]) -> Answer:
        policy = self.base if body["model"] == str(self.folder) else self.adapters.get(body["model"])
        if policy is None:
            return _error(404, f"The model `{body['model']}` does not exist.")
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                return _error(500, "EngineCore encountered an issue. See stack trace (above) for the root cause.")
        if max(body["prompt"]) >= len(policy.tokenizer):
            return _error(400, f"Token id {max(body['prompt'])} is out of vocabulary")
        self.asked.append(body)
        plain = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        assert {name: body[name] for name in plain} == plain
        assert body["return_token_ids"]
        assert body["return_tokens_as_token_ids"]
        (reply,) = policy.generate(
            [body["prompt"]],
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"],
            stop=(body.get("stop") or [None])[0],
            seed=body["seed"],
        )
        told = None
        if body.get("logprobs") is not None:
            listed = body.get("logprob_token_ids") or ()
            at = 1.0 if self.raw else body["temperature"]
            scores = policy.action_logprobs([body["prompt"]], [[[t] for t in listed]], temperature=at)[0]
            asked = {f"token_id:{t}": float(score) for t, score in zip(listed, scores, strict=True)}
            tokens = [f"token_id:{t}" for t in reply.token_ids]
            tops = [{t: logp, **asked} for t, logp in zip(tokens, reply.logps, strict=True)]
            told = {"tokens": tokens, "token_logprobs": list(reply.logps), "top_logprobs": tops}
        return 200, {
            "choices": [
                {
                    "text": reply.text,
                    "token_ids": list(reply.token_ids) if self.ids else None,
                    "logprobs": told,
                    "finish_reason": "length" if reply.truncated else "stop",
                }
            ]
        }


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            with torch.inference_mode(False):
                found = server.answer(self.path, self.headers.get("Authorization", ""), body)
            if found is None:
                self.close_connection = True
                return
            text = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
