"""The settings of a run: frozen dataclasses. A field's docstring is its help (`actre train --help-settings`).

What the paper does not publish is a setting here: the switch point, the prompts, the learning rate, what happens to the
optimizer at the switch. Settings by name are in presets.py; reading and writing them in saved.py.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

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
)
from actre.config.env_names import EnvName, must_name_an_env
from actre.config.estimators import Advantage, must_be_the_recipe
from actre.config.tiny_names import DEFAULT_TINY, whole_name
from actre.types import ORDERS, ActreError, Order


@dataclass(frozen=True)
class ModelConfig(Ranged):
    """The policy's model, its adapter, and the engine that samples from it."""

    name: str = DEFAULT_TINY
    """The model: "tiny" (short for the default), "tiny/narrow", "tiny/shopper", "smollm2", a hub name, or a folder."""
    loader: Literal["plain", "unsloth"] = "plain"
    """What loads the model: transformers, or unsloth with its LoRA kernels (GPU only)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights. auto: float32 on a CPU, bfloat16 on a GPU that supports it, else float16."""
    four_bit: bool = False
    """Load the base model in 4 bits (NF4, bitsandbytes); the adapter stays unquantised. Training needs a GPU."""
    engine: Literal["hf", "vllm", "vllm-server"] = "hf"
    """What samples the training episodes: the trained model itself, vLLM in the trainer's process, or a vLLM server
    (`--server URL`; see docs/vllm.md)."""
    weight_sync: Literal["adapter", "merged"] = "adapter"
    """What vLLM loads before each iteration: the adapter, or the whole model with the adapter merged in. merged writes
    all weights each time, but sampling then has no LoRA overhead."""
    lora_rank: Rank = 16
    """Rank of the LoRA adapter."""
    lora_alpha: Count = 32
    """LoRA's alpha; the adapter's output is scaled by lora_alpha / lora_rank."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "name", whole_name(self.name))


@dataclass(frozen=True)
class EnvConfig(Ranged):
    """The environment and its panels of games (`actre games list`, `actre webshop report`)."""

    name: EnvName = "alfworld"
    """"alfworld", "webshop", or an environment from outside the package: a gymnasium id ("my_package:My/Env-v0") or an
    import path ("my_module:factory")."""
    train: str = "small/train"
    """Games to train on: a panel, a panel file, or a folder of games."""
    seen: str = "small/seen"
    """Evaluation games on floor plans (or products) that also occur in training."""
    unseen: str = "small/unseen"
    """Evaluation games on floor plans (or products) that never occur in training."""
    max_steps: Count = 50
    """Steps after which an episode is truncated. 50 is usual for full-size games, 15 for WebShop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must_name_an_env(self.name)


@dataclass(frozen=True)
class PromptConfig(Ranged):
    """How a state becomes a prompt; the texts are in actre/orders."""

    world: Literal["text", "shop"] = "text"
    """The setting that the prompt describes: a text world, or a shop with its two kinds of action."""
    wording: Literal["shared", "instructed"] = "shared"
    """shared: one prompt for every order, only the opening tag differs; instructed: the prompt describes the order."""
    tags: Literal["first", "free"] = "first"
    """first: the reply's opening tag is prefilled; free: nothing is, so that order compliance can be measured."""
    history: Literal["growing", "windowed"] = "growing"
    """growing: the conversation with all earlier turns; windowed: one turn that shows the last `window` steps."""
    window: Natural = 2
    """Observation-action pairs shown by a windowed history."""
    history_thoughts: bool = True
    """Keep earlier thoughts in a growing history."""
    list_admissible: bool = False
    """List the admissible actions in the prompt."""
    date: str = "2026-01-01"
    """Date (or date and time, 2026-01-01T09:30) for chat templates that print today's. It is fixed so that resumed runs
    and later measurements see the same prompts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            datetime.fromisoformat(self.date)
        except (TypeError, ValueError) as error:
            raise ActreError(f"PromptConfig.date is {self.date!r}: it must be a date, such as 2026-01-01") from error


@dataclass(frozen=True)
class SamplingConfig(Ranged):
    """How replies are sampled, and how long they may get."""

    temperature: Temperature = 1.0
    """Sampling temperature in training and in diagnoses. It cannot be 0: greedy episodes of a group would all be equal,
    and nothing would be learned."""
    eval_temperature: TemperatureOrZero = 0.4
    """Sampling temperature in evaluations. 0: greedy."""
    max_reply_tokens: Count = 48
    """Longest reply, in tokens."""
    max_prompt_tokens: Large = 4096
    """Longest prompt, in tokens. An episode whose prompt grows beyond it, or leaves no room for the longest reply in
    the model's context, is truncated."""
    products: Literal["float32", "bfloat16"] = "float32"
    """Type of the layers' matrix products while training's episodes are sampled from plain weights (docs/training.md);
    keys, values, sums and the head stay in float32, and evaluations and entropies are always computed in the weights'
    own type. bfloat16 pays on a processor with instructions for it, for models wider than the tiny policy."""


@dataclass(frozen=True)
class StageConfig(Ranged):
    """One stage of training: an order, and for how many iterations. Written ORDER:ITERATIONS:NAME=VALUE:..."""

    order: Order
    """Order of the reply: act_first, think_first, or no_think (the action alone)."""
    iterations: Count
    """Iterations of the stage. If it ends early, the last stage takes the rest, so that runs stay comparable."""
    temperature: Temperature | None = None
    """Sampling temperature of the stage. none: that of the run."""
    other_order: Order | None = None
    """Order in which `other_share` of the stage's groups are played and trained. none: all in the stage's order."""
    other_share: Share = 0.1
    """The share of groups in `other_order`, evenly spread over the stage's iterations."""
    rationale: Literal["own", "shuffled"] = "own"
    """shuffled: each act-first reply gets the thought of another episode's step in place of its own, in the history and
    in training."""
    match_every: Natural = 0
    """If above 0, re-match the sampling temperature every `match_every` iterations, so that the order's marginal action
    entropy on the probe states equals act-first's (actre/training/matching.py)."""
    until: Literal["iterations", "plateau", "entropy"] = "iterations"
    """What ends the stage early: a plateau of mean success, or the order's action entropy on the probe states (shared
    wording; think-first: the middle of its bracket) below `entropy_below`. The last stage never ends early."""
    plateau_window: Count = 5
    """until=plateau: the last `plateau_window` iterations are compared with as many before."""
    plateau_gain: Signed = 0.02
    """until=plateau: the gain in mean success below which the stage ends."""
    entropy_below: Nats = 0.5
    """until=entropy: the stage ends below this action entropy (nats). It is measured every `probe.every` iterations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rationale == "shuffled" and self.order != "act_first":
            raise ActreError(f"rationale=shuffled needs an act_first stage: a thought in {self.order} explains nothing")


@dataclass(frozen=True)
class OptimConfig(Ranged):
    """The policy-gradient update. Names follow TRL's GRPOConfig where it has them."""

    learning_rate: Rate = 1e-3
    """Peak learning rate (AdamW)."""
    groups: Count = 6
    """Games per iteration; each is played by one group of episodes."""
    group_size: Several = 8
    """Episodes per game. An episode's advantage is relative to its group, so one alone would carry no signal."""
    advantage: Advantage = "grpo"
    """Estimator (`actre train --help` lists them). One named after a paper's recipe sets the recipe's other settings
    too, and they cannot be changed. rloo is n/(n-1) times grpo_no_std, a constant that Adam all but removes."""
    gigpo_discount: Share = 0.95
    """GiGPO and HGPO: discount of rewards in the comparison of steps."""
    gigpo_step_weight: Weight = 1.0
    """GiGPO: weight of the step-level advantage, relative to the episode-level one."""
    hgpo_history: Natural = 2
    """HGPO: most earlier states that steps are also compared by (K)."""
    hgpo_alpha: Weight = 1.0
    """HGPO: steps with the same last k + 1 states weigh (k + 1) ** hgpo_alpha."""
    groups_without_signal: Literal["keep", "drop"] = "keep"
    """Whether groups whose advantages are all 0 count in the loss's denominator. drop is DAPO's filter (arXiv
    2503.14476, section 3.2), but no other groups are sampled instead."""
    normalise: Literal["token", "episode", "row", "constant"] = "token"
    """What weighs equally in the loss: each sampled token (DAPO), each episode whatever its length (GRPO; by token,
    long lost episodes outweigh short won ones), or each training row (GSPO). constant: the sum over tokens is divided
    by the episodes times the longest one allowed, env.max_steps x sampling.max_reply_tokens (Dr. GRPO)."""
    clip_low: Share = 0.2
    """The probability ratio is clipped below 1 - clip_low."""
    clip_high: Weight = 0.28
    """The probability ratio is clipped above 1 + clip_high."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """Ratio and clipping per token (GRPO), or per training row by the geometric mean (arXiv 2507.18071, eq. 7). A row
    is an episode with a growing history, else a step. sequence needs a far smaller clip_low and clip_high, and is GSPO
    only with normalise=row: the estimator gspo."""
    entropy_coef: Signed = 0.0
    """Weight of an entropy bonus: the policy's mean entropy (nats) at the sampled tokens."""
    kl_beta: Weight = 0.0
    """Weight of the KL divergence from the base model (adapter off). It is averaged as `normalise` says."""
    entropy_smoothing: Weight = 0.0
    """EPO: weight (alpha) of the penalty on token entropies far from the mean of earlier iterations; it is also
    multiplied by entropy_coef. 0: none."""
    entropy_floor: Weight = 0.0
    """EPO: times the mean of earlier iterations, the entropy below which a token is penalised (kl)."""
    entropy_ceiling: Weight = 2.0
    """EPO: times the mean of earlier iterations, the entropy above which a token is penalised (kr)."""
    entropy_decay: Weight = 3.0
    """EPO: gamma in the penalty's factor 1 + exp(-gamma k / kmid), k of 2 kmid iterations."""
    covariance: Literal["none", "kl", "clip"] = "none"
    """What happens to the tokens whose advantage and log-probability covary most: a penalty on their log-ratio (kl:
    KL-Cov), or no loss on some of them (clip: Clip-Cov)."""
    cov_share: Share = 2e-4
    """KL-Cov and Clip-Cov: the share of tokens concerned, at least one token."""
    cov_kl: Weight = 0.1
    """KL-Cov: weight of the penalty."""
    cov_low: Signed = 1.0
    """Clip-Cov: only tokens with a larger covariance are drawn."""
    cov_high: Signed = 5.0
    """Clip-Cov: only tokens with a smaller covariance are drawn."""
    thought_weight: Weight = 1.0
    """ActFocus: factor on the advantage of all tokens but the action's and its tags' (alpha)."""
    energy_weight: Weight = 0.0
    """ActFocus: weight (beta) of the uncertainty in the factor on an action's tokens."""
    updates_per_batch: Count = 1
    """Optimizer steps per batch of episodes."""
    micro_batch_tokens: Large = 16384
    """Most padded tokens in one forward and backward pass. It bounds memory and does not change the result."""
    forward: Literal["auto", "transformers"] = "auto"
    """What computes an update. auto: packed rows with operations of their own for a Llama or Qwen2 in float32 on a CPU
    (about 0.7 of the time, docs/training.md), else transformers; transformers: always that."""
    products: Literal["float32", "bfloat16"] = "float32"
    """Type of the packed forward pass's matrix products; weights, gradients, moments and sums are float32. bfloat16
    pays on a processor with instructions for it (AVX512-BF16, AMX)."""
    max_grad_norm: Weight = 1.0
    """Gradient clipping: largest norm."""
    warmup_iterations: Natural = 0
    """Iterations over which the learning rate rises linearly to its full value."""
    success_reward: Signed = 1.0
    """Scale of the episode's reward (see `outcome`)."""
    outcome: Literal["success", "return"] = "success"
    """What success_reward multiplies: 1 if the game was won, or the sum of the environment's rewards. They differ on
    WebShop only, where a purchase is worth 0 to 1."""
    format_penalty: Weight = 0.1
    """Subtracted from the return for each step with wrong tags."""
    inadmissible_penalty: Weight = 0.0
    """Subtracted from the return for each step with an inadmissible action."""
    optimizer_at_switch: Literal["keep", "reset"] = "keep"
    """Adam's moments at a stage switch."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate schedule after the warm-up."""
    schedule_at_switch: Literal["continue", "restart"] = "continue"
    """The schedule at a stage switch: one over the whole run, or a new one in each stage."""
    train_thought: bool = True
    """Train on the thought's tokens in act-first stages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must_be_the_recipe(self.advantage, self)


@dataclass(frozen=True)
class ProbeConfig(Ranged):
    """The fixed states on which action entropy is measured during training."""

    every: Natural = 10
    """Iterations between measurements. 0: only before training, at stage switches and at the end."""
    states: Several = 24
    """Number of probe states."""
    thoughts: Several = 8
    """Thoughts sampled per state (K) for think-first's bracket."""
    diagnosis_thoughts: Several = 32
    """Thoughts per state (K) in the single diagnosis before training, which can afford a narrower bracket."""
    retrieval_states: Natural = 12
    """States among which thoughts are traced back to their own (mutual information of thought and state). 0: none."""
    retrieval_thoughts: Count = 4
    """Thoughts sampled in each of these states."""
    panel_games: Natural = 0
    """Unseen games that are played in every order at each measurement (success, pass@k, admissible actions). 0: none. 4
    games of 4 episodes take two thirds of the time of one training iteration (docs/scoring.md)."""
    panel_episodes: Count = 4
    """Episodes of each of these games; pass@k is given for k = 1, 2, 4, ... up to it."""


@dataclass(frozen=True)
class EvalConfig(Ranged):
    """The evaluations before and after training."""

    panels: tuple[str, ...] = ("seen", "unseen")
    """Panels to play: seen, unseen, or any source of games."""
    orders: tuple[Order, ...] = ORDERS
    """Orders in which a study's runs play each panel; a study needs think_first."""
    limit: Count | None = None
    """Games of each panel, always its first ones. none: all."""
    other_limit: Count | None = None
    """Games of each panel but "unseen", on which arms are compared. none: as many as `limit` says."""
    batch: Count = 60
    """Games played at once."""

    def limit_of(self, panel: str) -> int | None:
        """The most games that are played of a panel; None: all.

        >>> EvalConfig(other_limit=60).limit_of("unseen"), EvalConfig(limit=120, other_limit=60).limit_of("full/unseen")
        (None, 60)
        """
        return self.limit if panel == "unseen" or self.other_limit is None else self.other_limit


@dataclass(frozen=True)
class CheckpointConfig(Ranged):
    """Checkpoints, from which an interrupted run resumes (actre/training/checkpoints.py)."""

    every: Natural = 5
    """Iterations between checkpoints. 0: only at the end of a stage or run, and on interruption."""
    keep: Count = 2
    """Number of latest checkpoints to keep; the last one of each stage is kept as well."""


@dataclass(frozen=True)
class RunConfig(Ranged):
    """Everything that determines a run."""

    preset: str = "tiny"
    """Name of the preset that the settings started from."""
    seed: Seed = 0
    """Seed from which every random stream is derived by name."""
    model: ModelConfig = field(default_factory=ModelConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    stages: tuple[StageConfig, ...] = (StageConfig("act_first", 10), StageConfig("think_first", 20))
    """The stages of training, in order."""
    env_steps: Large | None = None
    """Budget of environment steps: training ends with the iteration that reaches it, so that arms can be compared at
    equal steps. none: the stages' iterations decide."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
    """Trackers that receive the metrics; metrics.jsonl is always written."""

    @property
    def iterations(self) -> int:
        return sum(stage.iterations for stage in self.stages)


def derive_seed(seed: int, *names: object) -> int:
    """The seed, below 2**31, of the random stream called `names`; the same arguments always give the same seed.

    >>> derive_seed(0, "rollout", 3) == derive_seed(0, "rollout", 3) != derive_seed(0, "rollout", 4)
    True
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
