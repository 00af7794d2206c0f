"""The HTTP client for a vLLM server elsewhere. Its errors explain the server's refusals and how to fix them.

Routes are those of vLLM 0.30.0. vllm need not be installed here.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from actre.policies.vllm.engine import lora_room
from actre.types import ActreError

TESTED = "0.30.0"
_AT_ONCE = 64  # concurrent requests; vLLM batches them
_CONNECT_S = 10.0
_ANSWER_S = 900.0  # a request may wait for all others
_KEPT_S = 3.0  # a server closes connections idle for 5 s, and a request sent just then would be lost
_ON_CPU = "--enforce-eager --block-size 32 --no-enable-chunked-prefill --max-num-batched-tokens"
_CPU_STEP_TOKENS = 8192


class Start(NamedTuple):
    """How to start a server. source: the model's name or folder. max_model_tokens None: vLLM's own choice. lora_rank 0:
    no adapters, because weights are merged instead.
    """

    source: str
    dtype: str
    max_model_tokens: int | None
    lora_rank: int
    loras: int = 1
    on_cpu: bool = False
    port: int = 8000

    def command(self) -> str:
        """The command line.

        >>> print(Start("Qwen/Qwen2.5-1.5B-Instruct", "bfloat16", 4096, 0).command())  # doctest: +ELLIPSIS
        VLLM_SERVER_DEV_MODE=1 python -m vllm.entrypoints.openai.api_server --model Qwen/Qwen2.5-1.5B-Instruct ...
        """
        words = ["--model", self.source, "--dtype", self.dtype]
        words += [] if self.max_model_tokens is None else ["--max-model-len", str(self.max_model_tokens)]
        words += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"]
        allowed = "VLLM_SERVER_DEV_MODE=1"
        if self.lora_rank:
            allowed = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
            rank = lora_room(self.lora_rank)["max_lora_rank"]
            words += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(self.loras)]
        if self.on_cpu:
            allowed += " VLLM_CPU_KVCACHE_SPACE=1"
            words += [*_ON_CPU.split(), str(max(_CPU_STEP_TOKENS, self.max_model_tokens or 0))]
        # not `vllm serve`, which fails in vllm-cpu 0.30.0 with "No package metadata was found for vllm"
        words += ["--port", str(self.port)]
        return f"{allowed} python -m vllm.entrypoints.openai.api_server {shlex.join(words)}"

    def remedy(self) -> str:
        """The command in a sentence for the end of an error message."""
        return f"Start it where vLLM is installed (docs/vllm.md):\n    {self.command()}"


class Served(NamedTuple):
    """The model that a server serves: its name there, and the longest prompt and reply together."""

    name: str
    max_tokens: int


class Client:
    """A connection to one server. Raises ActreError for an invalid address, and if no vLLM server answers there."""

    def __init__(self, url: str, start: Start) -> None:
        import httpx

        self.url = _address(url)
        self.start = start
        key = os.environ.get("VLLM_API_KEY")  # vLLM's own variable
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=_KEPT_S),
            trust_env=False,  # no proxy between a trainer and its server
        )
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self.version = str(self._must("GET", "/version").get("version", "unknown"))
        self.served = self._served()

    def complete(self, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The only choice in each request's answer, in order. Raises ActreError if a request fails."""
        asked = [self._pool.submit(self._must, "POST", "/v1/completions", body) for body in bodies]
        try:
            return [self._choice(one) for one in asked]
        except BaseException:
            for one in asked:
                one.cancel()
            raise

    def load_adapter(self, name: str, folder: str, rank: int) -> None:
        """Let the server load a LoRA folder of this rank, under the same path there, by this name."""
        remedy = self.start._replace(lora_rank=max(rank, self.start.lora_rank)).remedy()
        status, said = self._send("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})
        if status == 200:
            return
        message = _message(said)
        if status == 404 and "No adapter found" in message:
            raise ActreError(
                f"the server at {self.url} finds no adapter in {folder}: trainer and server need a shared disk, "
                "under the same path. Choose --out on one"
            )
        if "LoRA is not enabled" in message or (status == 404 and "detail" in said):
            raise ActreError(f"the server at {self.url} was not started to load adapters while running. {remedy}")
        raise ActreError(
            f"the server at {self.url} cannot serve the adapter in {folder}: {message}\n{remedy}\n"
            "or sync merged weights instead: --set model.weight_sync=merged"
        )

    def unload_adapter(self, name: str) -> None:
        """Let the server unload the adapter of this name; an unknown one is ignored."""
        self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def load_weights(self, folder: str) -> None:
        """Let the server replace the model's weights by those in a folder, under the same path there."""
        body = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
        status, said = self._send("POST", "/collective_rpc", body)
        if status == 404:
            raise ActreError(
                f"the server at {self.url} was not started to load weights while running. {self.start.remedy()}"
            )
        if status != 200:
            raise ActreError(
                f"the server at {self.url} could not load the weights in {folder} and has ended: "
                f"{_message(said)}\nTrainer and server need a shared disk, under the same path; choose --out on "
                f"one. {self.start.remedy()}"
            )
        if not self._must("POST", "/reset_prefix_cache").get("success", True):
            raise ActreError(
                f"the server at {self.url} kept prefixes of the previous weights, because it has other requests. "
                "A server that gets merged weights can serve only one run"
            )

    def _served(self) -> Served:
        listed = self._must("GET", "/v1/models").get("data", [])
        own = [one for one in listed if one.get("parent") is None]
        if not own or not own[0].get("max_model_len"):
            raise ActreError(f"what answers at {self.url} is not a vLLM server: it lists no model")
        return Served(str(own[0]["id"]), int(own[0]["max_model_len"]))

    def _choice(self, asked: "Future[dict[str, Any]]") -> dict[str, Any]:
        (choice,) = asked.result()["choices"]
        if not choice.get("token_ids"):
            raise ActreError(
                f"the server at {self.url} (vLLM {self.version}) returns no token ids, so it is older than "
                f"{TESTED}, the tested version. Install that version there"
            )
        return dict(choice)

    def _must(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        status, said = self._send(method, path, body)
        if status == 200:
            return said
        if status == 401:
            raise ActreError(
                f"the server at {self.url} requires a key: set VLLM_API_KEY here to the key that it was started with"
            )
        if status == 404 and "detail" in said:
            raise ActreError(
                f"what answers at {self.url} is not a vLLM server: it has no {path}. {self.start.remedy()}"
            )
        if status >= 500:
            raise ActreError(
                f"the vLLM server at {self.url} failed ({status}: {_message(said)}); its log says why. "
                f"{self.start.remedy()}"
            )
        raise ActreError(f"the vLLM server at {self.url} refused {path} ({status}): {_message(said)}")

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer. Requests can be repeated safely, so one is retried if its connection is lost."""
        import httpx

        for last in (False, True):
            try:
                answer = self._http.request(method, path, json=body)
                break
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise ActreError(
                    f"no vLLM server answers at {self.url} ({_reason(error)}). {self.start.remedy()}"
                ) from error
            except httpx.TimeoutException as error:
                raise ActreError(
                    f"the vLLM server at {self.url} has not answered {path} for {_ANSWER_S:.0f} s: its log may say why"
                ) from error
            except httpx.HTTPError as error:
                if last:
                    raise ActreError(
                        f"the vLLM server at {self.url} closed the connection ({_reason(error)}). {self.start.remedy()}"
                    ) from error
        try:
            said = answer.json() if answer.content else {}
        except ValueError:
            said = {"text": answer.text}
        return answer.status_code, said if isinstance(said, dict) else {"answer": said}


def _address(url: str) -> str:
    """
    >>> _address("node7:8000"), _address("https://node7/v1/")
    ('http://node7:8000', 'https://node7')
    """
    import httpx

    full = (url if "://" in url else f"http://{url}").rstrip("/").removesuffix("/v1")
    try:
        parsed = httpx.URL(full)
    except (httpx.InvalidURL, TypeError) as error:
        raise ActreError(f"{url!r} is not the address of a server ({error}): write http://HOST:8000") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ActreError(f"{url!r} is not the address of a server: write http://HOST:8000")
    return full


def _message(said: Mapping[str, Any]) -> str:
    error = said.get("error")
    message = error.get("message", "") if isinstance(error, dict) else said.get("detail") or said.get("text") or said
    return str(message).strip()[:400]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
