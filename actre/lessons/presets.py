"""Turns a notebook's PRESET and SEED into settings; "auto" selects what this machine can train, and says why.

It uses the results of `actre doctor`, loads no model and needs no network.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from actre.cli.doctor import Check, examine
from actre.config import EnvName, ModelConfig, RunConfig
from actre.config.paths import place
from actre.config.presets import preset
from actre.lessons.drive import on_drive
from actre.runtime.estimate import Device, estimate
from actre.runtime.estimate import gpu as device
from actre.runtime.price import NIGHT_H, price

AUTO = "auto"
_LARGEST_FIRST = ("qwen-7b", "qwen-1.5b-80gb", "qwen-1.5b-24gb", "qwen-0.5b-16gb")
"""Of these "auto" takes the first that fits, whose games are there, and whose arm ends within a night by the estimate.
smollm2 is not among them: it cannot learn before a warm start, since none of its replies is well-formed.
"""


class Chosen(NamedTuple):
    """The settings, and a sentence that says what was chosen and why."""

    config: RunConfig
    words: str


def chosen(
    name: str,
    seed: int,
    env: EnvName = "alfworld",
    checks: Sequence[Check] | None = None,
    organism: str | None = None,
) -> Chosen:
    """The settings of a preset, or of the one that fits this machine if `name` is "auto".

    checks: the results of doctor; None runs it. organism: where the preset is tiny, that organism (docs/organisms.md)
    takes the place of its policy. auto: tiny without a usable GPU; with one, the
    largest Qwen preset that fits and ends within a night. The smallest plays the shipped small rooms, the others need
    the official games. If installed, vLLM samples the episodes or unsloth loads the model, not both. Measuring and
    training through "auto" has not been run on a GPU. Raises ActreError for an unknown preset.
    """
    config, words = _chosen(name, seed, env, checks)
    if organism is None or config.preset != "tiny":
        return Chosen(config, words)
    model = replace(config.model, name=f"tiny/{organism}")
    return Chosen(replace(config, model=model), f"{words}, organism {organism}")


def _chosen(name: str, seed: int, env: EnvName, checks: Sequence[Check] | None) -> Chosen:
    if name != AUTO:
        return Chosen(replace(preset(name, env), seed=seed), f"preset {name}, seed {seed}")
    found = {check.name: check for check in (examine() if checks is None else checks)}
    gpu = found.get("GPU")
    if gpu is None or gpu.status != "ok":
        why = "this machine has no GPU" if gpu is None or gpu.found.startswith("none") else gpu.found
        return Chosen(replace(preset("tiny", env), seed=seed), f"preset tiny, seed {seed}: {why}")
    official = found.get("official shop" if env == "webshop" else "official games")
    games = official is not None and official.status == "ok"
    card = _card(gpu.found)
    fitting = next((which for which in _LARGEST_FIRST if card and _fits(preset(which, env), card, games)), None)
    if card is None or fitting is None:
        why = f"{gpu.found}, on which no larger one fits"
        return Chosen(replace(preset("tiny", env), seed=seed), f"preset tiny, seed {seed}: {why}")
    model, faster = _faster(preset(fitting, env), card, {name for name, check in found.items() if _is_ok(check)})
    config = replace(preset(fitting, env), seed=seed, model=model)
    why = gpu.found if games else f"{gpu.found}; no official games"
    return Chosen(config, f"preset {fitting}, seed {seed}: {why}{faster}")


def _faster(config: RunConfig, card: Device, installed: Collection[str]) -> tuple[ModelConfig, str]:
    """The model's settings with vLLM or unsloth, and in words which; unchanged if neither is there, or fits.

    Not both: vLLM serves the plain base model.
    """
    vllm, unsloth = replace(config.model, engine="vllm"), replace(config.model, loader="unsloth")
    if "vllm" in installed and estimate(replace(config, model=vllm), card).fits:
        return vllm, "; vLLM samples its episodes"
    return (unsloth, "; unsloth loads it") if "unsloth" in installed else (config.model, "")


def folder(out: str | Path, config: RunConfig) -> Path:
    """The folder for the runs of one preset and seed, which the notebooks share. On Colab `out` may be "drive:FOLDER".

    Raises ActreError as `drive.on_drive` does.

    >>> folder("runs/notebooks", RunConfig(seed=3)).as_posix()
    'runs/notebooks/tiny-3'
    >>> folder("runs/notebooks", chosen("tiny", 3, organism="contracted-high").config).as_posix()
    'runs/notebooks/tiny-contracted-high-3'
    """
    usual = preset(config.preset, config.env.name).model.name
    model = "" if config.model.name == usual else f"-{Path(config.model.name).name}"
    return (on_drive(out) or place(out)) / f"{config.preset}{model}-{config.seed}"


def _card(found: str) -> Device | None:
    """The card that doctor describes as "Tesla T4, 15 GiB, no bf16 ..."; the first of several; None if unclear."""
    memory = re.search(r"(\d+) GiB", found)
    return None if memory is None else device(found.partition(", ")[0], float(memory[1]) * 2**30 / 1e9)


def _fits(config: RunConfig, card: Device, games: bool) -> bool:
    """Whether the games are there, the memory suffices and an arm ends within a night."""
    if config.env.train.startswith("official/") and not games:
        return False
    return estimate(config, card).fits and price(config, card).arm_h <= NIGHT_H


def _is_ok(check: Check) -> bool:
    """Whether a package is installed, in any version."""
    return check.status in ("ok", "other")
