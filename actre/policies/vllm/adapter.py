"""The LoRA adapter that a vLLM engine is asked to use: its folder, and the version of it that is loaded.

Knows peft's folders and vLLM's LoRARequest; no prompts. A folder whose files have changed is loaded anew, under a name
of its own: vLLM keeps adapters, and the prefixes computed with them, by their names.
"""

import json
import os
from pathlib import Path
from typing import Any

from actre.policies.vllm.engine import reason
from actre.types import ActreError

_FILES = ("adapter_config.json", "adapter_model.safetensors")


class Adapter:
    """Which adapter the requests to `llm` name; none at first. rank: what the engine has room for."""

    def __init__(self, llm: Any, rank: int) -> None:
        self._llm = llm
        self._rank = rank
        self._folder: Path | None = None
        self._state: tuple[object, ...] = ()
        self._version = 0
        self._request: Any = None

    def use(self, folder: Path | None) -> None:
        """From now on this folder's adapter, None: no adapter. Raises ActreError, and there is none, if it fails."""
        self._folder, self._state, self._request = None, (), None
        if folder is not None:
            self._load(folder)

    def request(self) -> Any:
        """The LoRARequest to ask with, None without adapter. Raises ActreError if its files can no longer be used."""
        if self._folder is not None and _state(self._folder) != self._state:
            self._load(self._folder)
        return self._request

    def _load(self, folder: Path) -> None:
        rank = rank_of(folder)
        if rank > self._rank:
            raise ActreError(
                f"{folder} has rank {rank}, this engine has room for {self._rank}: "
                f"make the policy with lora_rank={rank}"
            )
        from safetensors import SafetensorError
        from vllm.lora.request import LoRARequest

        state = _state(folder)
        self._version += 1
        request = LoRARequest(f"adapter-{self._version}", self._version, str(folder.resolve()))
        try:
            self._llm.llm_engine.add_lora(request)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise ActreError(
                f"vLLM cannot serve the adapter in {folder}: {reason(error)}\n"
                "It takes plain LoRA on linear layers; others work merged: actre.adapters.merge(folder, out)"
            ) from error
        self._folder, self._state, self._request = folder, state, request


def rank_of(folder: Path) -> int:
    """The highest rank in a LoRA folder. Raises ActreError for a folder that holds no adapter."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ActreError(f"{folder} holds no adapter ({missing[0]} is missing): `actre export` writes such a folder")
    settings = folder / _FILES[0]
    try:
        read = json.loads(settings.read_text())
        return max(read["r"], *(read.get("rank_pattern") or {}).values(), 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ActreError(f"{settings} is damaged ({reason(error)}): export the adapter again") from error


def _state(folder: Path) -> tuple[object, ...]:
    """What differs once an adapter was written anew; () while its files are not there."""
    try:
        found = [os.stat(folder / name) for name in _FILES]
    except FileNotFoundError:
        return ()
    return tuple((file.st_mtime_ns, file.st_size, file.st_ino) for file in found)
