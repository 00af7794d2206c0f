"""Random models, adapters and short training runs that vLLM's tests share."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from fake_env import CorridorEnv
from tiny_models import char_tokenizer, tiny_llama

from actre.config import ModelConfig, RunConfig, StageConfig, save_config
from actre.config.presets import preset
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, load
from actre.rollout import rollout
from actre.training import StagedTrainer, resume_from_last
from actre.training.engines import Engine, engine_for
from actre.training.run import run
from actre.training.runlog import RunLog
from actre.training.stages import Plan
from actre.types import Trajectory, read_jsonl

RANK = 4
ACTIONS = ("go to shelf 1", "go to shelf 2", "go", "take mug 1", "look", "go to shelf 1")


def random_model(folder: Path, seed: int = 0) -> Path:
    """Tags are spelled out, so that the stop string takes several tokens; heads of a size that vLLM has kernels for."""
    tokenizer = char_tokenizer(tags_are_tokens=False)
    tiny_llama(len(tokenizer), seed=seed, hidden=128).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_adapter(model: Path, folder: Path, seed: int, rank: int = RANK) -> Path:
    adapted = add_lora(load(ModelConfig(name=str(model))).model, ModelConfig(lora_rank=rank), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    adapted.save_pretrained(folder)
    return folder


def with_adapter(model: Path, adapter: Path) -> HFPolicy:
    from peft import PeftModel

    loaded = load(ModelConfig(name=str(model)))
    return HFPolicy(PeftModel.from_pretrained(loaded.model, str(adapter)).eval(), loaded.tokenizer)


def settings(model: Path, **named: str) -> RunConfig:
    """Three iterations of eight short episodes."""
    tiny = preset("tiny")
    return RunConfig(
        model=ModelConfig(name=str(model), lora_rank=RANK, **named),  # type: ignore[arg-type]
        sampling=replace(tiny.sampling, max_reply_tokens=12, max_prompt_tokens=2000),
        stages=(StageConfig("act_first", 1), StageConfig("think_first", 2)),
        optim=replace(tiny.optim, groups=2, group_size=4, learning_rate=2e-2),
        probe=replace(tiny.probe, every=0),
        checkpoint=replace(tiny.checkpoint, every=1),
    )


def train(
    config: RunConfig,
    folder: Path,
    *,
    server: str | None = None,
    resume: bool = False,
    change: Callable[[Engine], None] = lambda engine: None,
) -> list[dict[str, float]]:
    """Train in the corridor with random advantages, so that the adapter changes; the metrics' lines."""
    model, tokenizer = load(config.model)
    model = add_lora(model, config.model, 0)
    if not resume:
        save_config(config, folder / "config.json")  # as a run does before its engine makes a folder there
    engine = engine_for(config, HFPolicy(model, tokenizer), model, folder, server)
    change(engine)

    def play(plan: Plan) -> list[Trajectory]:
        engine.refresh()
        return rollout(
            engine.policy,
            [CorridorEnv(3) for _ in range(8)],
            plan.games,
            renderer=engine.policy.renderer(config.prompt, plan.order),
            sampling=config.sampling,
            temperature=plan.temperature,
            max_steps=3,
            seed=plan.seed,
            group_size=4,
        )

    trainer = StagedTrainer(
        config,
        model,
        tokenizer,
        play=play,
        games=["2", "3"],
        log=RunLog(folder, config, resume=resume),
        progress=False,
        must_agree=True,
    )
    generator = torch.Generator().manual_seed(0)
    trainer.advantages = lambda played, groups: torch.randn((len(played), 1), generator=generator)  # type: ignore[method-assign]
    if resume:
        resume_from_last(trainer)
    run(trainer)
    return list(read_jsonl(folder / "metrics.jsonl"))
