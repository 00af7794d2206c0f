"""Presets: the settings of a run by name, for both environments."""

import dataclasses
import difflib

from actre.config.env_names import EnvName
from actre.config.run import (
    EnvConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    PromptConfig,
    RunConfig,
    SamplingConfig,
    StageConfig,
)
from actre.types import ActreError

_QWEN_SMALLEST = "Qwen/Qwen2.5-0.5B-Instruct"
_QWEN_SMALL = "Qwen/Qwen2.5-1.5B-Instruct"
_OFFICIAL = EnvConfig(train="official/train", seen="official/valid_seen", unseen="official/valid_unseen")


def _published(name: str, model: str, micro_batch_tokens: int = 32768) -> RunConfig:
    """16 tasks x group size 8, 150 iterations: the protocol of most published results (verl-agent's settings for
    ALFWorld, as in GiGPO, arXiv 2505.10978).

    Differs: LoRA of rank 64 at 3e-6 without KL, as published LoRA runs have it, instead of 1e-6 with KL 0.01.
    """
    return RunConfig(
        preset=name,
        model=ModelConfig(name=model, lora_rank=64, lora_alpha=128),
        env=_OFFICIAL,
        prompt=PromptConfig(wording="instructed", history="windowed", list_admissible=True),
        optim=OptimConfig(
            learning_rate=3e-6,
            groups=16,
            group_size=8,
            clip_high=0.2,
            success_reward=10.0,
            micro_batch_tokens=micro_batch_tokens,
        ),
        sampling=SamplingConfig(max_reply_tokens=512),
        stages=(StageConfig("act_first", 50), StageConfig("think_first", 100)),
    )


def _one_night(
    name: str, model: str, env: EnvConfig, *, reply_tokens: int, env_steps: int, micro_batch_tokens: int
) -> RunConfig:
    """A comparison that one small GPU can afford: the published prompt and rewards, shorter replies and episodes, 6
    games of 8 episodes, and about a third of the iterations at a higher learning rate.

    Differs from the published protocol in all of these, so its results do not belong beside published figures. The
    learning rate is assumed, not tuned. A third of the budget's iterations are the first stage's.
    """
    long = _published(name, model, micro_batch_tokens)
    return dataclasses.replace(
        long,
        env=env,
        optim=dataclasses.replace(long.optim, learning_rate=2e-5, groups=6, group_size=8),
        sampling=SamplingConfig(max_reply_tokens=reply_tokens),
        stages=(StageConfig("act_first", 14), StageConfig("think_first", 46)),
        env_steps=env_steps,
        evaluation=EvalConfig(limit=60),
    )


PRESETS: dict[str, RunConfig] = {
    # At 5e-4 both orders of the organisms learn; at 2e-3 they unlearn admissible actions (docs/organisms.md). The
    # switch comes after two fifths of the budget's 40 or so iterations.
    # Micro-batches of 2048 tokens are a little faster on a CPU than of 4096 and need 0.25 GB less
    # (benchmarks/trainer.py). No penalties: in a group that never wins, GRPO's division by the group's standard
    # deviation turns the smallest difference in format errors into a full-sized advantage, which drowns other groups'
    # wins.
    "tiny": RunConfig(
        env=EnvConfig(max_steps=20),
        stages=(StageConfig("act_first", 16), StageConfig("think_first", 64)),
        env_steps=30_000,
        optim=OptimConfig(learning_rate=5e-4, normalise="episode", format_penalty=0.0, micro_batch_tokens=2048),
    ),
    "smollm2": RunConfig(
        preset="smollm2",
        model=ModelConfig(name="smollm2", lora_rank=32, lora_alpha=64),
        env=EnvConfig(train="full/train", seen="full/seen", unseen="full/unseen"),
        prompt=PromptConfig(history="windowed", list_admissible=True),
        optim=OptimConfig(learning_rate=1e-4),
        sampling=SamplingConfig(max_reply_tokens=128),
    ),
    # For two cores: a conversation that grows is one row an episode, computed once, where a window is a row a step.
    "smollm2-cpu": RunConfig(
        preset="smollm2-cpu",
        model=ModelConfig(name="smollm2", lora_rank=32, lora_alpha=64),
        env=EnvConfig(max_steps=20),
        optim=OptimConfig(learning_rate=1e-4, groups=4, normalise="episode", micro_batch_tokens=4096),
        sampling=SamplingConfig(max_reply_tokens=48),
        stages=(StageConfig("act_first", 15), StageConfig("think_first", 25)),
    ),
    "qwen-1.5b": _published("qwen-1.5b", _QWEN_SMALL),
    # Both arms in one night by the estimate: the shipped small rooms, which need no download, and the official games.
    "qwen-0.5b-16gb": _one_night(
        "qwen-0.5b-16gb",
        _QWEN_SMALLEST,
        EnvConfig(max_steps=20),
        reply_tokens=128,
        env_steps=30_000,
        micro_batch_tokens=4096,
    ),
    "qwen-1.5b-24gb": _one_night(
        "qwen-1.5b-24gb",
        _QWEN_SMALL,
        dataclasses.replace(_OFFICIAL, max_steps=30),
        reply_tokens=192,
        env_steps=48_000,
        micro_batch_tokens=6144,
    ),
    # The published settings on a smaller GPU: the same episodes and updates in smaller micro-batches.
    "qwen-1.5b-16gb": _published("qwen-1.5b-16gb", _QWEN_SMALL, micro_batch_tokens=4096),
    "qwen-1.5b-80gb": _published("qwen-1.5b-80gb", _QWEN_SMALL),
    "qwen-7b": _published("qwen-7b", "Qwen/Qwen2.5-7B-Instruct"),
}


GPU_GB = {
    "smollm2": 16,
    "qwen-0.5b-16gb": 16,
    "qwen-1.5b-16gb": 16,
    "qwen-1.5b-24gb": 24,
    "qwen-1.5b": 80,
    "qwen-1.5b-80gb": 80,
    "qwen-7b": 80,
}
"""Preset -> the memory in GB of the GPU it is for. The others train on a CPU."""


def preset(name: str, env: EnvName = "alfworld") -> RunConfig:
    """The preset of that name, for that environment. Raises ActreError for an unknown name.

    An environment from outside the package gets the text world's settings, with the sources "train", "seen" and
    "unseen".
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ActreError(f"unknown preset {name!r}; {hint}the presets are: {', '.join(PRESETS)}")
    config = PRESETS[name]
    if env == "alfworld":
        return config
    if env == "webshop":
        return _in_shop(config)
    outside = EnvConfig(env, "train", "seen", "unseen", max_steps=config.env.max_steps)
    return dataclasses.replace(config, env=outside)


def _in_shop(config: RunConfig) -> RunConfig:
    """The same settings for WebShop: the shipped shop; at published scale the official one, split as published."""
    if config.env.train.startswith("official/"):
        panels = ("official/paper-train", "official/paper-dev", "official/paper-test")
    else:
        panels = ("shop/train", "shop/seen", "shop/unseen")
    shop = dataclasses.replace(
        config, env=EnvConfig("webshop", *panels, max_steps=15), prompt=dataclasses.replace(config.prompt, world="shop")
    )
    if config.preset != "tiny":
        # as many iterations of shorter episodes
        budget = None if config.env_steps is None else config.env_steps * shop.env.max_steps // config.env.max_steps
        return dataclasses.replace(shop, env_steps=budget)
    # An episode has five steps instead of twenty, so 6,000 steps make about as many iterations. The first 120 goals of
    # a panel are a random sample, because goals are shuffled.
    return dataclasses.replace(
        shop,
        model=dataclasses.replace(config.model, name="tiny/shopper"),
        env=dataclasses.replace(shop.env, max_steps=8),
        stages=(StageConfig("act_first", 6), StageConfig("think_first", 24)),
        env_steps=6_000,
        optim=dataclasses.replace(config.optim, learning_rate=2e-3, outcome="return"),
        evaluation=dataclasses.replace(config.evaluation, limit=120),
    )
