"""A training task without an engine: two games, each won by naming its word, and a random Llama.

Replies are two sampled words (the order says which is the action), so the toy needs no format and learns in
seconds; an episode is won if the last of its two actions is the game's word.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from actre.config import ModelConfig, OptimConfig, ProbeConfig, RunConfig, StageConfig
from actre.training import StagedTrainer, resume_from_last
from actre.training.runlog import RunLog
from actre.training.stages import Plan
from actre.types import Observation, Step, Trajectory

WORDS = ("<pad>", "<end>", "game", "one", "two", "you", "said", "act", "a", "b", "c", "d")
TARGET = {"one": "a", "two": "d"}


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")


def model(seed: int = 0) -> PeftModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.2,
    )
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(LlamaForCausalLM(config), lora)


def config(**optim: object) -> RunConfig:
    defaults: dict[str, object] = {
        "learning_rate": 1e-2,
        "groups": 2,
        "group_size": 8,
        "micro_batch_tokens": 96,
    }
    return RunConfig(
        model=ModelConfig(lora_rank=8),
        stages=(StageConfig("act_first", 2), StageConfig("think_first", 2)),
        probe=ProbeConfig(every=0),
        optim=replace(OptimConfig(), **{**defaults, **optim}),
    )


def ids(text: str) -> tuple[int, ...]:
    return tuple(WORDS.index(word) for word in text.split())


class Player:
    """Plays plans with a model: two steps an episode, a growing history, replies of two sampled words."""

    def __init__(self, model: torch.nn.Module, group_size: int, windowed: bool = False) -> None:
        self.model, self.group_size, self.windowed = model, group_size, windowed
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan) -> list[Trajectory]:
        self.plans.append(plan)
        generator = torch.Generator().manual_seed(plan.seed)
        return [one for g, game in enumerate(plan.games) for one in self._group(plan, g, game, generator)]

    def _group(self, plan: Plan, group: int, game: str, generator: torch.Generator) -> list[Trajectory]:
        seen = Observation(f"game {game}", game, WORDS)
        # games differ in length, so that batches need padding
        first = ids(f"game {game} act") if game == "one" else ids(f"you game {game} you act")
        prompts = [first] * self.group_size
        steps: list[list[Step]] = [[] for _ in prompts]
        for _ in range(2):
            replies, logps = self._sample(prompts, plan.temperature, generator)
            for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
                words = [WORDS[token] for token in reply]
                action, thought = words if plan.order == "act_first" else words[::-1]
                right = float(action == TARGET[game])
                text = " ".join(words)
                steps[i].append(Step(seen, prompt, reply, logps[i], text, thought, action, (), right))
                new = ids("you said act")
                prompts[i] = (*prompt, *new) if self.windowed else (*prompt, *reply, *new)
        return [
            Trajectory(
                *("toy", game, "toy", plan.order, plan.seed),
                steps=tuple(played),
                final=seen,
                won=played[-1].reward == 1.0,
                truncated=False,
                group=group,
            )
            for played in steps
        ]

    @torch.no_grad()
    def _sample(
        self, prompts: list[tuple[int, ...]], temperature: float, generator: torch.Generator
    ) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
        sequences, logps = torch.tensor(prompts), []
        for _ in range(2):
            every = (self.model(input_ids=sequences).logits[:, -1] / temperature).log_softmax(-1)
            token = torch.multinomial(every.exp(), 1, generator=generator)
            logps.append(every.gather(1, token))
            sequences = torch.cat([sequences, token], dim=1)
        replies = [tuple(row) for row in sequences[:, -2:].tolist()]
        return replies, [tuple(row) for row in torch.cat(logps, dim=1).tolist()]


def trainer(
    out: Path,
    config: RunConfig,
    *,
    policy: PeftModel | None = None,
    player: Callable[[PeftModel, int], Player] = Player,
    games: Iterable[str] = TARGET,
    resume: bool = False,
    writes: bool = True,
    **arguments: Any,
) -> StagedTrainer:
    """A trainer of the toy run, at its beginning or at its last checkpoint."""
    policy = policy or model()
    made = StagedTrainer(
        config,
        policy,
        tokenizer(),
        play=player(policy, config.optim.group_size),
        games=list(games),
        log=RunLog(out, config, resume=resume, writes=writes),
        progress=False,
        **arguments,
    )
    if resume:
        resume_from_last(made)
    return made


def stop_at(trainer: StagedTrainer, iteration: int, error: BaseException | None = None) -> StagedTrainer:
    """Have the trainer's play raise in that iteration: a KeyboardInterrupt, or another error. Returns it."""
    play = trainer._play

    def playing(wanted: Plan) -> list[Trajectory]:
        if wanted.iteration == iteration:
            raise KeyboardInterrupt if error is None else error
        return play(wanted)

    trainer._play = playing
    return trainer
