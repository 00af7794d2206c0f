"""Turns a notebook's PRESET and SEED into settings; "auto" selects what this machine can train, and says why.

It uses the results of `actre doctor`, loads no model and needs no network.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from actre.cli.doctor import Check, examine
from actre.config import EnvName, RunConfig
from actre.config.paths import place
from actre.config.presets import preset
from actre.lessons.drive import on_drive
from actre.runtime.estimate import estimate
from actre.runtime.estimate import gpu as device

AUTO = "auto"
_LARGEST_FIRST = ("qwen-7b", "qwen-1.5b-80gb", "qwen-1.5b-24gb", "qwen-1.5b-16gb")
"""Presets of the published scale, of which "auto" takes the first that fits; all need the official games."""


class Chosen(NamedTuple):
    """The settings, and a sentence that says what was chosen and why."""

    config: RunConfig
    words: str


def chosen(name: str, seed: int, env: EnvName = "alfworld", checks: Sequence[Check] | None = None) -> Chosen:
    """The settings of a preset, or of the one that fits this machine if `name` is "auto".

    checks: the results of doctor; None runs it. auto: tiny without a usable GPU; with one, the largest Qwen preset that
    fits if the official games are there, else SmolLM2. If installed, unsloth loads the model and vLLM samples episodes.
    Measuring and training through "auto" has not been run on a GPU. Raises ActreError for an unknown preset.
    """
    if name != AUTO:
        return Chosen(replace(preset(name, env), seed=seed), f"preset {name}, seed {seed}")
    found = {check.name: check for check in (examine() if checks is None else checks)}
    gpu = found.get("GPU")
    if gpu is None or gpu.status != "ok":
        why = "this machine has no GPU" if gpu is None or gpu.found.startswith("none") else gpu.found
        return Chosen(replace(preset("tiny", env), seed=seed), f"preset tiny, seed {seed}: {why}")
    games = env != "alfworld" or _is_ok(found.get("official games"))
    fitting = next((which for which in _LARGEST_FIRST if games and _fits(which, gpu.found)), "smollm2")
    config = replace(preset(fitting, env), seed=seed)
    why = gpu.found if games else f"{gpu.found}; no official games"
    if _is_ok(found.get("unsloth")):
        config = replace(config, model=replace(config.model, loader="unsloth"))
        why += "; unsloth loads it"
    if _is_ok(found.get("vllm")):
        config = replace(config, model=replace(config.model, engine="vllm"))
        why += "; vLLM samples its episodes"
    return Chosen(config, f"preset {fitting}, seed {seed}: {why}")


def folder(out: str | Path, config: RunConfig) -> Path:
    """The folder for the runs of one preset and seed, which the notebooks share. On Colab `out` may be "drive:FOLDER".

    Raises ActreError as `drive.on_drive` does.

    >>> folder("runs/notebooks", RunConfig(seed=3)).as_posix()
    'runs/notebooks/tiny-3'
    """
    return (on_drive(out) or place(out)) / f"{config.preset}-{config.seed}"


def _fits(name: str, card: str) -> bool:
    """Whether a preset fits on a card as doctor describes it: "Tesla T4, 15 GiB, no bf16 ..."."""
    memory = re.search(r"(\d+) GiB", card)
    return memory is not None and estimate(preset(name), device(card, float(memory[1]) * 1.07)).fits


def _is_ok(check: Check | None) -> bool:
    return check is not None and check.status in ("ok", "other")
