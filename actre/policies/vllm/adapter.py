"""The LoRA adapter that a vLLM engine or server is asked to use: its folder, and the version of it that is loaded.

Knows peft's folders and vLLM's LoRARequest; no prompts. A folder whose files have changed is loaded anew, under a name
of its own: vLLM keeps adapters, and the prefixes computed with them, by their names.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actre.policies.vllm.engine import reason
from actre.types import ActreError

_FILES = ("adapter_config.json", "adapter_model.safetensors")


Load = Callable[[int, Path], Any]
"""Hands over what is in a folder as the adapter of that version; returns what requests name it by."""


class Adapter:
    """Which adapter requests name; none at first. rank: what the engine has room for, None where only it knows."""

    def __init__(self, load: Load, rank: int | None) -> None:
        self._hand_over = load
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
        """What to ask with, None without adapter. Raises ActreError if its files can no longer be used."""
        if self._folder is not None and _state(self._folder) != self._state:
            self._load(self._folder)
        return self._request

    def _load(self, folder: Path) -> None:
        rank = rank_of(folder)
        if self._rank is not None and rank > self._rank:
            raise ActreError(
                f"{folder} has rank {rank}, this engine has room for {self._rank}: "
                f"make the policy with lora_rank={rank}"
            )
        state = _state(folder)
        self._version += 1
        request = self._hand_over(self._version, folder.resolve())
        self._folder, self._state, self._request = folder, state, request


def engine_loader(llm: Any) -> Load:
    """Hands adapters to vLLM's offline engine, which takes a LoRARequest with each request."""

    def load(version: int, folder: Path) -> Any:
        from safetensors import SafetensorError
        from vllm.lora.request import LoRARequest

        request = LoRARequest(f"adapter-{version}", version, str(folder))
        try:
            llm.llm_engine.add_lora(request)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise ActreError(
                f"vLLM cannot serve the adapter in {folder}: {reason(error)}\n"
                "It takes plain LoRA on linear layers; others work merged: actre.adapters.merge(folder, out)"
            ) from error
        return request

    return load


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
