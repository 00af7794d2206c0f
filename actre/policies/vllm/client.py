"""Speaks HTTP with a vLLM server elsewhere, and says what its refusals mean and what mends them.

Knows the server's routes, as of vLLM 0.30.0, and the command that starts it; not what the tokens mean. vllm need not be
installed here.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from actre.policies.vllm.engine import lora_room
from actre.types import ActreError

TESTED = "0.30.0"
_AT_ONCE = 64  # requests; vLLM batches what it has
_CONNECT_S = 10.0
_ANSWER_S = 900.0  # a request may wait behind all others
_KEPT_S = 3.0  # a server closes what is idle for 5 s; a request sent just then would be lost
_ON_CPU = "--enforce-eager --block-size 32 --no-enable-chunked-prefill --max-num-batched-tokens"
_CPU_STEP_TOKENS = 8192


class Start(NamedTuple):
    """How a server has to be started. source: the model's name or folder. max_model_tokens None: vLLM's own choice.
    lora_rank 0: weights are merged instead.
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
        # not `vllm serve`, which vllm-cpu 0.30.0 ends with "No package metadata was found for vllm"
        words += ["--port", str(self.port)]
        return f"{allowed} python -m vllm.entrypoints.openai.api_server {shlex.join(words)}"

    def mend(self) -> str:
        """The command in a sentence that ends an error."""
        return f"Start it where vLLM is installed (docs/vllm.md):\n    {self.command()}"


class Served(NamedTuple):
    """What a server serves: the model's name there, and the longest prompt and reply together."""

    name: str
    max_tokens: int


class Client:
    """One server. Raises ActreError for an address that is none, and where no vLLM server answers there."""

    def __init__(self, url: str, start: Start) -> None:
        import httpx

        self.url = _address(url)
        self.start = start
        key = os.environ.get("VLLM_API_KEY")  # vLLM's own name for it
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
        """The only choice of each request's answer, in order. Raises ActreError where one fails."""
        asked = [self._pool.submit(self._must, "POST", "/v1/completions", body) for body in bodies]
        try:
            return [self._choice(one) for one in asked]
        except BaseException:
            for one in asked:
                one.cancel()
            raise

    def load_adapter(self, name: str, folder: str, rank: int) -> None:
        """Have the server read a LoRA folder of this rank, which must lie under the same path there, by this name."""
        mend = self.start._replace(lora_rank=max(rank, self.start.lora_rank)).mend()
        status, said = self._send("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})
        if status == 200:
            return
        told = _message(said)
        if status == 404 and "No adapter found" in told:
            raise ActreError(
                f"the server at {self.url} finds no adapter in {folder}: trainer and server need a disk in common, "
                "under the same path. Choose --out on one"
            )
        if "LoRA is not enabled" in told or (status == 404 and "detail" in said):
            raise ActreError(f"the server at {self.url} takes no adapters while it runs. {mend}")
        raise ActreError(
            f"the server at {self.url} cannot serve the adapter in {folder}: {told}\n{mend}\n"
            "or hand over merged weights: --set model.weight_sync=merged"
        )

    def unload_adapter(self, name: str) -> None:
        """Have it forget the adapter of this name; one it does not know is forgotten already."""
        self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def load_weights(self, folder: str) -> None:
        """Have the server replace the model's weights by those in a folder, under the same path there."""
        body = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
        status, said = self._send("POST", "/collective_rpc", body)
        if status == 404:
            raise ActreError(f"the server at {self.url} takes no weights while it runs. {self.start.mend()}")
        if status != 200:
            raise ActreError(
                f"the server at {self.url} could not take over the weights in {folder}, and has ended: "
                f"{_message(said)}\nTrainer and server need a disk in common, under the same path; choose --out on "
                f"one. {self.start.mend()}"
            )
        if not self._must("POST", "/reset_prefix_cache").get("success", True):
            raise ActreError(
                f"the server at {self.url} kept prefixes of the weights before: it is answering others at the same "
                "time. A server that gets merged weights serves one run alone"
            )

    def _served(self) -> Served:
        listed = self._must("GET", "/v1/models").get("data", [])
        own = [one for one in listed if one.get("parent") is None]
        if not own or not own[0].get("max_model_len"):
            raise ActreError(f"what answers at {self.url} is no vLLM server: it lists no model of its own")
        return Served(str(own[0]["id"]), int(own[0]["max_model_len"]))

    def _choice(self, asked: "Future[dict[str, Any]]") -> dict[str, Any]:
        (choice,) = asked.result()["choices"]
        if not choice.get("token_ids"):
            raise ActreError(
                f"the server at {self.url} (vLLM {self.version}) returns no token ids: an older one than "
                f"{TESTED}, with which this was tested. Install that one there"
            )
        return dict(choice)

    def _must(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        status, said = self._send(method, path, body)
        if status == 200:
            return said
        if status == 401:
            raise ActreError(
                f"the server at {self.url} wants its key: set VLLM_API_KEY here to what it was started with"
            )
        if status == 404 and "detail" in said:
            raise ActreError(f"what answers at {self.url} is no vLLM server: it has no {path}. {self.start.mend()}")
        if status >= 500:
            raise ActreError(
                f"the vLLM server at {self.url} failed ({status}: {_message(said)}); its own log says why. "
                f"{self.start.mend()}"
            )
        raise ActreError(f"the vLLM server at {self.url} refused {path} ({status}): {_message(said)}")

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer. What is asked for is the same the second time, so a lost connection is tried again."""
        import httpx

        for last in (False, True):
            try:
                answer = self._http.request(method, path, json=body)
                break
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise ActreError(
                    f"no vLLM server answers at {self.url} ({_reason(error)}). {self.start.mend()}"
                ) from error
            except httpx.TimeoutException as error:
                raise ActreError(
                    f"the vLLM server at {self.url} has not answered {path} for {_ANSWER_S:.0f} s: see its log"
                ) from error
            except httpx.HTTPError as error:
                if last:
                    raise ActreError(
                        f"the vLLM server at {self.url} broke off ({_reason(error)}). {self.start.mend()}"
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
        raise ActreError(f"{url!r} is no address of a server: {error}; http://HOST:8000 is wanted") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ActreError(f"{url!r} is no address of a server: http://HOST:8000 is wanted")
    return full


def _message(said: Mapping[str, Any]) -> str:
    error = said.get("error")
    told = error.get("message", "") if isinstance(error, dict) else said.get("detail") or said.get("text") or said
    return str(told).strip()[:400]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
