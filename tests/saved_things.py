"""Things that were saved already: runs, adapters, checkpoints, models, files; and whether all is as it was."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from tiny_models import char_tokenizer, tiny_llama

from actre import adapters
from actre.config import ModelConfig, RunConfig, save_config
from actre.config.presets import preset
from actre.policies.models import add_lora
from actre.types import write_jsonl


def snapshot(folder: Path) -> dict[str, str]:
    """Every file, folder and link below, with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"to {path.readlink()}"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def build_model(folder: Path, seed: int = 0) -> ModelConfig:
    """A tiny random model with its tokenizer, as a base of runs."""
    tokenizer = char_tokenizer()
    tiny_llama(len(tokenizer), seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(name=str(folder), lora_rank=4)


def build_run(folder: Path, base: ModelConfig, seed: int = 0, *, config: RunConfig | None = None) -> Path:
    """A run folder with settings, metrics, an adapter that changes something, and a checkpoint."""
    adapted = add_lora(tiny_llama(len(char_tokenizer())), base, seed=1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    adapters.export(adapted, folder / "adapter", base)
    adapters.export(adapted, folder / "checkpoints" / "iter-1", base)
    (folder / "checkpoints" / "iter-1" / "state.json").write_text("{}")
    (folder / "trajectories").mkdir()
    write_jsonl(folder / "trajectories" / "train_0001.jsonl.gz", [])
    line = {"stage": 0, "iteration": 1, "env_steps": 12, "success": 0.5, "parse_rate": 0.75, "order": "think_first"}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    save_config(replace(config or preset("tiny"), model=base, seed=seed), folder / "config.json")
    return folder
