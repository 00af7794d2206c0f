"""The LoRA adapter that a vLLM engine or server uses: its folder and the loaded version.

A folder whose files have changed is loaded again under a new name, because vLLM caches adapters, and the prefixes
computed with them, by name.
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
"""Loads the adapter in a folder as this version; returns the value that requests refer to it by."""


class Adapter:
    """The adapter of requests; none at first. rank: the highest rank the engine supports, None if unknown."""

    def __init__(self, load: Load, rank: int | None) -> None:
        self._load_version = load
        self._rank = rank
        self._folder: Path | None = None
        self._state: tuple[object, ...] = ()
        self._version = 0
        self._request: Any = None

    def use(self, folder: Path | None) -> None:
        """Use this folder's adapter from now on; None: no adapter. Raises ActreError on failure; there is then none."""
        self._folder, self._state, self._request = None, (), None
        if folder is not None:
            self._load(folder)

    def request(self) -> Any:
        """What requests refer to the adapter by, None without one. Raises ActreError if its files became unusable."""
        if self._folder is not None and _state(self._folder) != self._state:
            self._load(self._folder)
        return self._request

    def _load(self, folder: Path) -> None:
        rank = rank_of(folder)
        if self._rank is not None and rank > self._rank:
            raise ActreError(
                f"{folder} has rank {rank}, but this engine only supports ranks up to {self._rank}: "
                f"make the policy with lora_rank={rank}"
            )
        state = _state(folder)
        self._version += 1
        request = self._load_version(self._version, folder.resolve())
        self._folder, self._state, self._request = folder, state, request


def engine_loader(llm: Any) -> Load:
    """Loads adapters into vLLM's offline engine, whose requests refer to them by a LoRARequest."""

    def load(version: int, folder: Path) -> Any:
        from safetensors import SafetensorError
        from vllm.lora.request import LoRARequest

        request = LoRARequest(f"adapter-{version}", version, str(folder))
        try:
            llm.llm_engine.add_lora(request)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise ActreError(
                f"vLLM cannot serve the adapter in {folder}: {reason(error)}\n"
                "It supports only plain LoRA on linear layers; merge others: actre.adapters.merge(folder, out)"
            ) from error
        return request

    return load


def rank_of(folder: Path) -> int:
    """The highest rank in a LoRA folder. Raises ActreError for a folder without an adapter."""
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
    """A value that changes when the adapter's files are written again; () if they are missing."""
    try:
        found = [os.stat(folder / name) for name in _FILES]
    except FileNotFoundError:
        return ()
    return tuple((file.st_mtime_ns, file.st_size, file.st_ino) for file in found)
