"""Settings of a run: frozen dataclasses, saved as JSON; every random stream's seed. Settings by name: presets.py.

Knows no library but the standard one. What the paper does not publish is a setting here, and named as one:
the switch point, the prompts, the learning rate, what happens to the optimizer at the switch.
"""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from actre.config.checks import (
    Count,
    Large,
    Nats,
    Natural,
    Ranged,
    Rank,
    Rate,
    Seed,
    Several,
    Share,
    Signed,
    Temperature,
    TemperatureOrZero,
    Weight,
    must_fit,
)
from actre.config.env_names import EnvName, must_name_an_env
from actre.config.estimators import Advantage
from actre.config.paths import variable
from actre.types import ActreError, Order

_LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "numpy",
    "gymnasium",
    "alfworld",
    "textworld",
)


@dataclass(frozen=True)
class ModelConfig(Ranged):
    """Which policy, and its adapter."""

    name: str = "tiny"
    """"tiny", "tiny/narrow", "tiny/shopper", "smollm2", a hub name, or a local folder."""
    loader: Literal["plain", "unsloth"] = "plain"
    """unsloth needs a GPU; it loads the model and its LoRA kernels only."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on a CPU, bfloat16 where the GPU has it, else float16."""
    four_bit: bool = False
    """Weights in 4 bits (NF4, by bitsandbytes), the adapter in full. Trains on a GPU only."""
    engine: Literal["hf", "vllm", "vllm-server"] = "hf"
    """What samples the episodes in training: the trained model itself, vLLM in the trainer's process, or a vLLM server
    elsewhere (--server says where; see docs/vllm.md)."""
    handover: Literal["adapter", "merged"] = "adapter"
    """What vLLM reads anew before each iteration's episodes: the adapter, or the model's weights with the adapter
    merged in. merged writes the whole model each time; sampling then costs nothing for the adapter."""
    lora_rank: Rank = 16
    lora_alpha: Count = 32


@dataclass(frozen=True)
class EnvConfig(Ranged):
    """Which environment and which panels of games (see `actre games list` and `actre webshop report`)."""

    name: EnvName = "alfworld"
    """"alfworld", "webshop", or an environment from outside the package: a gymnasium id ("my_package:My/Env-v0") or an
    import path ("my_module:factory"). `actre.envs` says what such an environment has to keep to."""
    train: str = "small/train"
    seen: str = "small/seen"
    unseen: str = "small/unseen"
    max_steps: Count = 50
    """Steps after which an episode is cut; 50 is the usual limit for full-size games, 15 for WebShop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must_name_an_env(self.name)


@dataclass(frozen=True)
class PromptConfig(Ranged):
    """How a state becomes a prompt (the words are in orders.py)."""

    world: Literal["text", "shop"] = "text"
    """What the prompt says the policy acts in: a text world, or a shop with its two kinds of action."""
    wording: Literal["shared", "instructed"] = "shared"
    """shared: one prompt for both orders, only the opening tag differs; instructed: each order is described."""
    tags: Literal["first", "free"] = "first"
    """first: the reply's opening tag is prefilled; free: nothing is (then order compliance can be measured)."""
    history: Literal["growing", "windowed"] = "growing"
    window: Natural = 2
    """Observation-action pairs shown by the windowed history."""
    history_thoughts: bool = True
    """Whether earlier thoughts stay in a growing history."""
    list_admissible: bool = False
    """Whether the prompt lists the admissible actions."""
    date: str = "2026-01-01"
    """The day, or day and time (2026-01-01T09:30), given to chat templates that write today's: the same on every
    day, so that a run that goes on, and a measurement made later, have the same prompts. Others never see it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            datetime.fromisoformat(self.date)
        except (TypeError, ValueError) as error:
            raise ActreError(f"PromptConfig.date is {self.date!r}: it has to be a day, as in 2026-01-01") from error


@dataclass(frozen=True)
class SamplingConfig(Ranged):
    temperature: Temperature = 1.0
    eval_temperature: TemperatureOrZero = 0.4
    max_reply_tokens: Count = 48
    max_prompt_tokens: Large = 4096
    """An episode whose prompt grows past this is cut and counted as truncated; so is one whose prompt and longest reply
    are more than the model holds (see actre.rollout)."""


@dataclass(frozen=True)
class StageConfig(Ranged):
    """One stage: an order, held for a number of iterations."""

    order: Order
    iterations: Count
    """What a stage that ends earlier leaves over goes to the last one, so that runs compare at equal iterations."""
    temperature: Temperature | None = None
    """None: the run's sampling temperature."""
    thoughts: bool = True
    """False: no thought is generated, and the stage's order is then no_think, whatever was given: a reply without its
    thought, in or out of the prompt's words, is that."""
    match_every: Natural = 0
    """Above 0: every so many iterations the sampling temperature is set to where the marginal action entropy of this
    order equals act-first's on the probe states (see actre.training.matching)."""
    until: Literal["iterations", "plateau", "entropy"] = "iterations"
    """What ends the stage before its iterations are over, if anything. plateau: the mean success of the last
    `plateau_window` iterations is not `plateau_gain` above that of as many before. entropy: the action entropy of the
    stage's order, as measured on the probe states (of think-first the middle of its bracket; in the shared wording), is
    below `entropy_below` nats; it is looked at as often as it is measured, see ProbeConfig. The last stage, after which
    there is nothing to switch to, takes what is left."""
    plateau_window: Count = 5
    plateau_gain: Signed = 0.02
    entropy_below: Nats = 0.5

    def __post_init__(self) -> None:
        if not self.thoughts:
            object.__setattr__(self, "order", "no_think")
        super().__post_init__()


@dataclass(frozen=True)
class OptimConfig(Ranged):
    """GRPO's settings; names follow TRL's GRPOConfig where it has them."""

    learning_rate: Rate = 1e-3
    groups: Count = 6
    """Games an iteration."""
    group_size: Several = 8
    """Episodes a game. An episode is compared with its group's mean, and one alone is that."""
    advantage: Advantage = "grpo"
    """What an episode is compared with (see training/advantages.py); GiGPO compares steps from the same state too."""
    gigpo_discount: Share = 0.95
    """GiGPO: what a reward one step later is worth, where steps are compared."""
    gigpo_step_weight: Weight = 1.0
    """GiGPO: weight of the steps' part beside the episodes'."""
    groups_without_signal: Literal["keep", "drop"] = "keep"
    """Groups in which every advantage is 0. keep: their tokens count in what the loss is divided by; drop: the loss is
    as if they had not been played (DAPO's filter, arXiv 2503.14476, section 3.2, without playing others instead)."""
    normalise: Literal["token", "episode"] = "token"
    """What weighs the same in the loss: each sampled token (DAPO), or each episode, whatever its length (GRPO). By
    token, long lost episodes outweigh short won ones."""
    clip_low: Share = 0.2
    clip_high: Weight = 0.28
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """The ratio of new to old probability, and its clipping: each token's own (GRPO), or one for all of a row's sampled
    tokens, their geometric mean (GSPO, arXiv 2507.18071, eq. 7). A row is an episode where the history grows, a step
    where it is windowed. clip_low and clip_high fit tokens; sequences want far narrower ones."""
    entropy_coef: Signed = 0.0
    """Weight of an entropy bonus: the mean entropy (nats) of the policy at the sampled tokens, added to the
    objective."""
    kl_beta: Weight = 0.0
    """Weight of the KL to the frozen base model (adapter off)."""
    updates_per_batch: Count = 1
    """Optimizer steps per batch of episodes."""
    micro_batch_tokens: Large = 16384
    """Upper bound on padded tokens in one forward and backward pass."""
    max_grad_norm: Weight = 1.0
    warmup_iterations: Natural = 0
    success_reward: Signed = 1.0
    outcome: Literal["success", "return"] = "success"
    """What success_reward multiplies: whether the game was won, or the sum of the environment's rewards. They differ on
    WebShop only, whose purchases are worth between 0 and 1."""
    format_penalty: Weight = 0.1
    """Taken from the episode's return for each step whose tags are wrong."""
    inadmissible_penalty: Weight = 0.0
    """Taken for each step whose action is not admissible."""
    optimizer_at_switch: Literal["keep", "reset"] = "keep"
    """Adam's moments at a stage change."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    schedule_at_switch: Literal["continue", "restart"] = "continue"
    reference_at_switch: Literal["base"] = "base"
    """The KL reference stays the base model through all stages."""
    train_thought: bool = True
    """Whether the thought's tokens carry gradient in act-first stages."""


@dataclass(frozen=True)
class ProbeConfig(Ranged):
    """The fixed states on which action entropy is measured through training."""

    every: Natural = 10
    """Iterations between measurements; 0: only before, at each stage change and after."""
    states: Several = 24
    thoughts: Several = 8
    """K: thoughts sampled a state for the think-first bracket."""
    diagnosis_thoughts: Several = 32
    """K of the one diagnosis before training, whose bracket can be afforded narrower."""


@dataclass(frozen=True)
class EvalConfig(Ranged):
    panels: tuple[str, ...] = ("seen", "unseen")
    limit: Count | None = None
    """Games of each panel; None: all. A limited panel is its first games, fixed."""
    batch: Count = 60


@dataclass(frozen=True)
class CheckpointConfig(Ranged):
    """From where an interrupted run can go on (see actre.training.checkpoints)."""

    every: Natural = 5
    """Iterations between checkpoints; 0: only at each stage's end, at the run's, and where a run is interrupted."""
    keep: Count = 2
    """So many of the last are kept, and each stage's last."""


@dataclass(frozen=True)
class RunConfig(Ranged):
    """Everything that determines a run."""

    preset: str = "tiny"
    seed: Seed = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    stages: tuple[StageConfig, ...] = (StageConfig("act_first", 10), StageConfig("think_first", 20))
    env_steps: Large | None = None
    """Training ends with the first iteration that has taken this many environment steps, so that arms can be compared
    at equal steps; the last stage's iterations are then the most it may take. None: the iterations alone decide."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
    """Trackers that get the metrics too; metrics.jsonl is written in any case."""

    @property
    def iterations(self) -> int:
        return sum(stage.iterations for stage in self.stages)


def data_folder() -> Path:
    """Where the shipped data lie: $ACTRE_DATA, else data/ beside the package (a checkout, installed with -e).

    Raises ActreError where neither is a folder.
    """
    folder = variable("ACTRE_DATA") or Path(__file__).resolve().parents[2] / "data"
    if not folder.is_dir():
        raise ActreError(
            f"{folder} is no folder, so the shipped games and policies are missing: "
            "install from a checkout (pip install -e .) or point ACTRE_DATA at its data folder"
        )
    return folder


def derive_seed(seed: int, *names: object) -> int:
    """A seed below 2**31 for the stream called by `names`: the same for the same arguments, everywhere.

    >>> derive_seed(0, "rollout", 3) == derive_seed(0, "rollout", 3) != derive_seed(0, "rollout", 4)
    True
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def versions() -> dict[str, str]:
    """Versions of what a run depends on, and the git commit where there is one."""
    found = {"python": platform.python_version()}
    for name in ("actre", *_LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return found
    if commit.returncode == 0:
        found["commit"] = commit.stdout.strip()
    return found


def save_config(config: RunConfig, path: str | Path) -> None:
    """Write the settings with the versions beside them; the old file stays until the new one is whole.

    An id, drawn anew, tells the run from every other one, wherever its folder is moved.
    """
    whole = {"config": dataclasses.asdict(config), "versions": versions(), "id": uuid.uuid4().hex}
    text = json.dumps(whole, indent=1) + "\n"
    part = Path(f"{path}.part")
    part.write_text(text)
    os.replace(part, path)


def load_config(path: str | Path) -> RunConfig:
    """Read what `save_config` wrote. Raises ActreError for a missing or damaged file, or an unknown setting."""
    path = Path(path)
    if not path.exists():
        raise ActreError(f"{path} does not exist; a run folder has one")
    try:
        raw = json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as error:  # no JSON, or a number too long to be one
        raise ActreError(f"{path} is not a run's settings: {error}") from error
    return config_from_dict(raw)


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """What differs between two settings as dicts, "name: a became b" each.

    >>> differences({"seed": 0, "optim": {"groups": 6, "clip_low": 0.2}}, {"seed": 0, "optim": {"groups": 4}})
    ['optim.clip_low: 0.2 became nothing', 'optim.groups: 6 became 4']
    """
    found = []
    for name in sorted({*one, *other}):
        a, b = (_plain(settings.get(name, "nothing")) for settings in (one, other))
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {a} became {b}")
    return found


def _plain(value: Any) -> Any:
    """As JSON has it: lists for tuples."""
    return json.loads(json.dumps(value))


def config_from_dict(raw: dict[str, Any]) -> RunConfig:
    """The inverse of dataclasses.asdict for RunConfig."""
    parts: dict[str, Any] = {
        "model": ModelConfig,
        "env": EnvConfig,
        "prompt": PromptConfig,
        "sampling": SamplingConfig,
        "optim": OptimConfig,
        "probe": ProbeConfig,
        "evaluation": EvalConfig,
        "checkpoint": CheckpointConfig,
    }
    try:
        values = {key: parts[key](**value) if key in parts else value for key, value in raw.items()}
        values["stages"] = tuple(StageConfig(**stage) for stage in raw["stages"])
        values["evaluation"] = dataclasses.replace(values["evaluation"], panels=tuple(values["evaluation"].panels))
        values["report_to"] = tuple(values.get("report_to", ()))
        made = RunConfig(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ActreError(f"unknown or missing setting: {error}") from error
    for part in (made, *(getattr(made, key) for key in parts), *made.stages):
        must_fit(part)
    return made
