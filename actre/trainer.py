"""Trains a policy through stages with TRL's GRPOTrainer: rollouts in, optimizer steps and metrics out.

Knows how a batch of trajectories becomes TRL's inputs and what happens between stages; not how episodes are
played (a `Play` function comes in), nor how a reply is read.

An iteration is: play `groups` games `group_size` times each, one advantage per episode, `updates_per_batch`
optimizer steps on all its tokens. The loss is TRL's "dapo" form: the clipped surrogate summed over the
batch's sampled tokens and divided by their number, so that micro-batches do not matter. `normalise` says what
weighs the same: each token (DAPO, arXiv 2503.14476, eq. 8) or each episode (GRPO, arXiv 2402.03300, eq. 3), the
latter by scaling advantages with mean length / own length.
Differs from GRPO: clip-higher (DAPO, eq. 10), no KL unless kl_beta > 0, old log-probabilities taken from the
sampler; and an episode's length counts its sampled tokens in all its rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from actre.adapters import export
from actre.advantages import groups_without_signal, grpo
from actre.config import RunConfig, derive_seed
from actre.envs.worlds import list_games
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, load
from actre.rollout import make_envs, rollout
from actre.rows import (
    Row,
    collate,
    episode_return,
    episode_weights,
    sliced,
    trained_tokens,
    trajectory_rows,
    trl_inputs,
)
from actre.runlog import RunLog, rollout_metrics
from actre.stages import Plan, learning_rate_factor, plan, span_of
from actre.types import ActreError, Trajectory

Play = Callable[[Plan], list[Trajectory]]
"""Plays every game of a plan group_size times, with `Trajectory.group` set, with the weights of now."""

Measure = Callable[[Any, int, int], dict[str, Any]]
"""(policy, iterations done, stage) -> the fields of one line of entropy.jsonl."""

_STEPS_PER_GENERATION = 1
"""Parts into which TRL cuts a batch of episodes: one, for each optimizer step is to see all of them."""

_KL_ROWS = 4
"""Rows on which the distance to the base model is estimated where the loss itself does not need it."""


class TrainResult(NamedTuple):
    """Where a run left its things, and how far it came."""

    adapter: Path
    metrics: Path
    iterations: int
    env_steps: int
    generated_tokens: int


@dataclass
class _Counts:
    """What a run has used so far."""

    iteration: int = 0
    env_steps: int = 0
    generated_tokens: int = 0


class StagedTrainer(GRPOTrainer):
    """GRPOTrainer whose batches are whole episodes, and whose order of thought and action changes by stage.

    Overrides of TRL 1.14.2, each held by a contract test:
      _generate_and_score_completions  plays episodes; the dataset is a placeholder
      training_step     a forward and backward per token-bounded slice; their losses sum to the batch's
      create_scheduler  the learning rate of `stages.learning_rate_factor`
      beta              set after construction: TRL would copy the adapter as the KL reference; ours is the
                        base model, adapter off

    Old log-probabilities are the sampler's own: they cost nothing, serve any number of updates, and the ratio
    then also corrects for whatever differs between sampler and training forward (under 1e-4 nats on a CPU, by
    test). Rows without advantage carry no gradient and are left out of the forward pass (unless there is a KL
    term); the loss is still divided by all tokens.

    At a stage change: the optimizer's moments are kept or cleared, the schedule goes on or starts anew, the
    reference stays the base model; all three as `OptimConfig` says.
    """

    def __init__(
        self,
        config: RunConfig,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        play: Play,
        games: Sequence[str],
        log: RunLog,
        measure: Callable[[int, int], dict[str, Any]] | None = None,
        progress: bool = True,
    ) -> None:
        """measure: (iterations done, stage) -> entropy line."""
        self.config = config
        self.policy_model = model
        self.counts = _Counts()
        self._play, self._games, self._measure = play, games, measure
        self.run_log = log
        self._plan = plan(config, games, 1)
        self._line: dict[str, Any] = {}
        self._updates: list[dict[str, float]] = []
        self._started = 0.0
        super().__init__(
            model=model,
            reward_funcs=_no_reward_function,
            args=_grpo_config(config, model, log.out),
            train_dataset=Dataset.from_dict({"prompt": [""] * config.iterations}),
            processing_class=tokenizer,
        )
        if self.accelerator.num_processes > 1:
            raise ActreError("training takes one process so far, and several were launched: run `actre train` alone")
        self.beta = config.optim.kl_beta
        self.remove_callback(PrinterCallback)
        self._bar = tqdm(total=config.iterations, desc="training", unit="iteration", disable=not progress)
        self.add_callback(_AfterUpdate(self))

    # --- TRL's seam: one iteration's episodes as a batch ---

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Play the iteration's episodes; returns TRL's batch (see `trl_inputs`)."""
        if self.counts.iteration == 0 and not self._updates:
            self._measure_now(stage=0)
        self._started = time.perf_counter()
        self._plan = plan(self.config, self._games, self.counts.iteration + 1)
        self.temperature = self._plan.temperature
        self.policy_model.eval()
        with torch.no_grad():
            played = self._play(self._plan)
        self.policy_model.train()
        self._line = self._rollout_line(played, time.perf_counter() - self._started)
        self.run_log.trajectories(self._plan, played, self.config.seed)
        return self._batch(played)

    def _batch(self, played: Sequence[Trajectory]) -> dict[str, Tensor]:
        optim = self.config.optim
        returns = torch.tensor([episode_return(one, optim) for one in played])
        groups = torch.tensor([-1 if one.group is None else one.group for one in played])
        advantages = self.advantages(returns, groups)
        decode = None if optim.train_thought else self._tokenizer.decode
        rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i, masked_thoughts=decode)]
        trained = [row for row in rows if optim.kl_beta != 0.0 or advantages[row.episode] != 0.0]
        if optim.normalise == "episode":
            advantages = advantages * episode_weights(rows, len(played))
        collated = collate(trained, advantages, pad_id=self._tokenizer.pad_token_id, multiple=_STEPS_PER_GENERATION)
        batch = trl_inputs(collated, sum(map(trained_tokens, rows)), self.accelerator.device)
        if optim.kl_beta != 0.0:
            batch["ref_per_token_logps"] = self._reference_logps(batch)
        self._line["kl_nats"] = self._kl_to_base(rows)
        self._line["groups_without_signal"] = groups_without_signal(returns, groups)
        return batch

    def advantages(self, returns: Tensor, groups: Tensor) -> Tensor:
        """One advantage per episode: returns and groups (B,) -> (B,)."""
        return grpo(returns, groups)

    def _rollout_line(self, played: Sequence[Trajectory], rollout_s: float) -> dict[str, Any]:
        tokens = sum(len(step.reply_ids) for one in played for step in one.steps)
        self.counts.env_steps += sum(len(one.steps) for one in played)
        self.counts.generated_tokens += tokens
        return {
            "iteration": self._plan.iteration,
            "stage": self._plan.stage,
            "order": self._plan.order,
            **rollout_metrics(played, self.config),
            "rollout_s": rollout_s,
            "tokens_per_s": tokens / max(rollout_s, 1e-9),
            "env_steps": self.counts.env_steps,
            "generated_tokens": self.counts.generated_tokens,
        }

    # --- the update ---

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One optimizer step's gradient, slice by slice. Returns the batch's loss, detached."""
        model.train()
        batch = self._prepare_inputs(inputs)
        total = torch.zeros((), device=self.accelerator.device)
        tokens: list[int] = []
        for _, piece in sliced(batch, self.config.optim.micro_batch_tokens):
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, piece)
            self.accelerator.backward(loss)
            total += loss.detach()
            tokens.append(int(piece["tool_mask"].sum()))
        if not torch.isfinite(total):
            raise ActreError(
                f"the loss of iteration {self._plan.iteration} is {total.item()}; "
                "lower optim.learning_rate, and see the trajectories of that iteration"
            )
        self._step += 1
        clipped = self._metrics["train"].pop("clip_ratio/region_mean")
        self._metrics["train"].clear()  # TRL's means are over slices, unweighted; ours are written instead
        share = sum(c * n for c, n in zip(clipped, tokens, strict=True)) / batch["num_items_in_batch"].item()
        self._updates.append({"loss": total.item(), "clip_rate": share})
        return total

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of the config, counted in iterations."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer
            assert optimizer is not None, "transformers creates the optimizer first"
            optim, stages = self.config.optim, self.config.stages
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer,
                lambda done: learning_rate_factor(optim, stages, done // optim.updates_per_batch + 1),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    @contextmanager
    def _as_base(self) -> Iterator[None]:
        """The base model: adapter off, nothing recorded."""
        with torch.no_grad(), self.policy_model.disable_adapter():
            yield

    def _reference_logps(self, batch: dict[str, Tensor]) -> Tensor:
        """The base model's log-probabilities of the batch's completion tokens, (B, C); 0 on padding."""
        out = torch.zeros_like(batch["old_per_token_logps"])
        first = batch["prompt_ids"].shape[1]
        with self._as_base():
            for rows, piece in sliced(batch, self.config.optim.micro_batch_tokens):
                start = piece["prompt_ids"].shape[1] - first
                logps = self._logps(piece)
                out[rows, start : start + logps.shape[1]] = logps
        return out

    def _logps(self, piece: dict[str, Tensor]) -> Tensor:
        """Log-probabilities of a slice's completion tokens at the stage's temperature."""
        ids = torch.cat([piece["prompt_ids"], piece["completion_ids"]], dim=1)
        present = torch.cat([piece["prompt_mask"], piece["completion_mask"]], dim=1)
        logps, _, _ = self._get_per_token_logps_and_entropies(
            self.model, ids, present, piece["completion_ids"].shape[1]
        )
        return logps

    def _kl_to_base(self, rows: Sequence[Row]) -> float:
        """KL(policy || base), nats a token, on a few rows: mean of exp(d) - d - 1, d = log base - log policy.

        The estimator is unbiased and never negative (Schulman, "Approximating KL divergence", k3).
        """
        some = rows[:: max(1, len(rows) // _KL_ROWS)][:_KL_ROWS]
        collated = collate(some, torch.zeros(1 + max((r.episode for r in some), default=0)), pad_id=0)
        batch = trl_inputs(collated, 1, self.accelerator.device)
        mask = batch["tool_mask"].bool()
        with self._as_base():
            d = (self._reference_logps(batch) - batch["old_per_token_logps"])[mask]
        return (torch.exp(d) - d - 1).mean().item() if mask.any() else 0.0

    # --- after an update, and between stages ---

    def finish_update(self, logs: dict[str, float]) -> bool:
        """Called after each optimizer step with TRL's logs. Returns whether training is to end."""
        self._updates[-1] |= {key: float(logs[key]) for key in ("grad_norm", "learning_rate")}
        if len(self._updates) < self.config.optim.updates_per_batch:
            return False
        names = self._updates[0]
        means = {name: sum(u[name] for u in self._updates) / len(self._updates) for name in names}
        self._updates = []
        self.counts.iteration += 1
        seconds = time.perf_counter() - self._started
        update_s = seconds - self._line["rollout_s"]
        self.run_log.metrics({**self._line, **means, "seconds": seconds, "update_s": update_s})
        self._bar.set_postfix(order=self._plan.order, success=f"{self._line['success']:.2f}")
        self._bar.update()
        return self._finish_iteration()

    def _finish_iteration(self) -> bool:
        done, span = self.counts.iteration, span_of(self.config.stages, self.counts.iteration)
        limit = self.config.env_steps
        last = done == self.config.iterations or (limit is not None and self.counts.env_steps >= limit)
        stage_ends = done == span.before + span.length
        every = self.config.probe.every
        if last or stage_ends or (every and done % every == 0):
            self._measure_now(span.stage)
        if stage_ends and not last:
            self.save_adapter(self.run_log.out / "checkpoints" / f"iter-{done}")
            if self.config.optim.optimizer_at_switch == "reset" and self.optimizer is not None:
                self.optimizer.state.clear()
        return last

    def _measure_now(self, stage: int) -> None:
        if self._measure is None:
            return
        started = time.perf_counter()
        self.policy_model.eval()
        with torch.no_grad():
            record = self._measure(self.counts.iteration, stage)
        self.policy_model.train()
        line = {"iteration": self.counts.iteration, "stage": stage, "order": self.config.stages[stage].order}
        self.run_log.entropy({**line, **record, "measure_s": time.perf_counter() - started})

    def save_adapter(self, folder: Path) -> None:
        """Export the adapter as it is now (PEFT, safetensors, card)."""
        stages = ", ".join(f"{stage.order} {stage.iterations}" for stage in self.config.stages)
        card = (
            f"Trained with GRPO on {self.config.env.train}: {self.counts.iteration} iterations "
            f"({self.counts.env_steps:,} environment steps) of the stages {stages}; seed {self.config.seed}."
        )
        export(self.policy_model, folder, self.config.model, card=card)

    def close(self) -> None:
        """End the progress bar."""
        self._bar.close()


class _AfterUpdate(TrainerCallback):
    """Hands TRL's logs (gradient norm, learning rate) to the trainer after each optimizer step."""

    def __init__(self, trainer: StagedTrainer) -> None:
        self._trainer = trainer

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "grad_norm" in logs and self._trainer.finish_update(logs):
            control.should_training_stop = True


def _no_reward_function(**_: Any) -> list[float | None]:
    """TRL asks for one; ours is never called, for returns come with the episodes."""
    raise NotImplementedError("episodes bring their own returns")


def _grpo_config(config: RunConfig, model: torch.nn.Module, out: Path) -> GRPOConfig:
    """TRL's settings: a batch of episodes is one training_step is one optimizer step; the slicing is ours."""
    optim = config.optim
    parameter = next(model.parameters())
    return GRPOConfig(
        output_dir=str(out),
        seed=derive_seed(config.seed, "trainer"),
        learning_rate=optim.learning_rate,
        max_grad_norm=optim.max_grad_norm,
        max_steps=config.iterations * optim.updates_per_batch,
        num_iterations=optim.updates_per_batch,
        per_device_train_batch_size=2,  # placeholders: the rows come from the episodes
        num_generations=2,
        gradient_accumulation_steps=1,
        steps_per_generation=_STEPS_PER_GENERATION,
        loss_type="dapo",
        epsilon=optim.clip_low,
        epsilon_high=optim.clip_high,
        use_bias_correction_kl=False,
        gradient_checkpointing=_is_large(model),
        use_cpu=parameter.device.type == "cpu",
        bf16=parameter.dtype == torch.bfloat16,
        fp16=parameter.dtype == torch.float16,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


def _is_large(model: torch.nn.Module) -> bool:
    """Whether activations are worth recomputing: from a hundred million parameters on."""
    return sum(p.numel() for p in model.parameters()) > 100_000_000


def train(
    config: RunConfig,
    out: str | Path,
    *,
    measure: Measure | None = None,
    model: PeftModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool = True,
) -> TrainResult:
    """Train through all stages into the run folder `out`; returns where the adapter and the metrics are.

    measure: called before the first iteration, every `probe.every`, at each stage's end and at the end; its
    dict becomes a line of entropy.jsonl. None: nothing is measured (`diagnose.training_measure` makes the
    usual one). model and tokenizer: a base with its adapter, trained in place; None loads `config.model` and
    adds one.
    Raises ActreError if `out` already holds a training run. On any way out, what was done so far is saved.
    """
    log = RunLog(Path(out), config)
    games = list_games(config.env.name, config.env.train)
    if model is None or tokenizer is None:
        base, tokenizer = load(config.model)
        model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    policy = HFPolicy(model, tokenizer)
    envs = make_envs(config.env, config.optim.groups * config.optim.group_size)

    def play(wanted: Plan) -> list[Trajectory]:
        played = rollout(
            policy,
            envs,
            wanted.games,
            renderer=policy.renderer(config.prompt, wanted.order),
            sampling=config.sampling,
            temperature=wanted.temperature,
            max_steps=config.env.max_steps,
            seed=wanted.seed,
            group_size=config.optim.group_size,
        )
        policy.reset()  # its cache is as large as the update's activations; both at once are not needed
        return played

    trainer = StagedTrainer(
        config,
        model,
        tokenizer,
        play=play,
        games=games,
        log=log,
        measure=None if measure is None else partial(measure, policy),
        progress=progress,
    )
    return run(trainer)


def run(trainer: StagedTrainer) -> TrainResult:
    """Train through all stages and save the adapter, also where training is interrupted or fails on the way.

    Raises KeyboardInterrupt, saying what was saved, and ActreError where the loss is no number.
    """
    log, counts = trainer.run_log, trainer.counts
    try:
        with _quiet():
            trainer.train()
    except KeyboardInterrupt:
        saved = f"; the adapter and the metrics so far are in {log.out}" if counts.iteration else ""
        raise KeyboardInterrupt(f"stopped after {counts.iteration} iterations{saved}") from None
    finally:
        trainer.close()
        if counts.iteration:
            trainer.save_adapter(log.adapter)
    return TrainResult(log.adapter, log.metrics_path, counts.iteration, counts.env_steps, counts.generated_tokens)


@contextmanager
def _quiet() -> Iterator[None]:
    """No advice from transformers on the console while a bar is shown."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
