"""The cost of the trainer: an optimizer step of StagedTrainer and of a bare PyTorch loop on the same episodes.

    python benchmarks/trainer.py [--episodes 48] [--tokens 600] [--steps 20] [--out data/results/bench_trainer.json]

Both train the same small Llama with LoRA on the same generated episodes of a growing history, and end with the same
weights (checked). Prints cpu seconds an update (the time from the beginning of the first update to the end of the last,
divided by their number; one-time costs of a run separately), their ratio, and tokens a second. Also prints how many
tokens go through the model for each environment step, with rows merged by prefix and with one row a step. --played FILE
counts that on the episodes of a run's trajectories/*.jsonl.gz too.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback

from actre.config import OptimConfig, ProbeConfig, RunConfig, StageConfig, versions
from actre.config.presets import preset
from actre.runtime.limits import processor
from actre.training import StagedTrainer
from actre.training.advantages import grpo
from actre.training.rows import trajectory_rows
from actre.training.run import run
from actre.training.runlog import RunLog
from actre.types import Observation, Step, Trajectory, read_trajectories

LEARNING_RATE = 1e-3
Result = TypeVar("Result")
VOCABULARY = 1005
"""The tiny policy's."""


def model(vocabulary: int) -> Any:
    """The tiny policy's shape with random weights and a LoRA adapter."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(LlamaForCausalLM(config), lora)


def episodes(n: int, tokens: int, steps: int, vocabulary: int) -> list[Trajectory]:
    """Episodes of about `tokens` tokens: a prompt of a fifth, then observation and reply in turns. A third is won."""
    generator = torch.Generator().manual_seed(1)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, vocabulary, (count,), generator=generator).tolist())

    made, seen = [], Observation("", "", ())
    for i in range(n):
        played = int(torch.randint(steps // 2, steps + 1, (1,), generator=generator))
        prompt, turns, piece = some(tokens // 5), [], max(2, tokens * 4 // 5 // steps // 2)
        for _ in range(played):
            reply = some(piece)
            turns.append(Step(seen, prompt, reply, (-6.0,) * piece, "", None, "go", (), 0.0))
            prompt = (*prompt, *reply, *some(piece))
        won = bool(torch.rand(1, generator=generator) < 0.33)
        made.append(Trajectory("x", "g", "x", "think_first", 0, tuple(turns), seen, won, False, i // 8))
    return made


def bare_step(net: Any, optimizer: torch.optim.Optimizer, played: list[Trajectory], rows_at_once: int) -> None:
    """The same update without TRL: pad, forward, clipped surrogate over all tokens, backward, clip, step."""
    rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i)]
    returns = torch.tensor([float(one.won) for one in played])
    advantages = grpo(returns, torch.tensor([one.group or 0 for one in played]))
    total = sum(sum(row.mask) for row in rows)
    rows = sorted((r for r in rows if advantages[r.episode] != 0), key=lambda row: -len(row.ids))
    for first in range(0, len(rows), rows_at_once):
        some = rows[first : first + rows_at_once]
        width = len(some[0].ids)
        ids = torch.tensor([row.ids + (0,) * (width - len(row.ids)) for row in some])
        mask = torch.tensor([row.mask + (False,) * (width - len(row.mask)) for row in some])[:, 1:]
        old = torch.tensor([row.logps + (0.0,) * (width - len(row.logps)) for row in some])[:, 1:]
        logps = net(input_ids=ids, use_cache=False).logits[:, :-1].log_softmax(-1)
        ratio = torch.exp(logps.gather(2, ids[:, 1:, None])[..., 0] - old)
        a = advantages[[row.episode for row in some]][:, None]
        loss = -(torch.min(ratio * a, ratio.clamp(0.8, 1.28) * a) * mask).sum() / total
        loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def merging(played: list[Trajectory]) -> dict[str, float]:
    """Tokens trained an environment step, with rows merged by prefix and with one row a step."""
    rows = [row for i, one in enumerate(played) for row in trajectory_rows(one, i)]
    steps = [step for one in played for step in one.steps]
    return {
        "steps_an_episode": len(steps) / len(played),
        "rows": len(rows),
        "steps": len(steps),
        "merged": sum(len(row.ids) for row in rows) / len(steps),
        "a_row_a_step": sum(len(step.prompt_ids) + len(step.reply_ids) for step in steps) / len(steps),
    }


class Clock:
    """CPU seconds by name, of timed methods and of the work between them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, work: Callable[[], Result]) -> Result:
        begun = time.process_time()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - begun
        return result

    def watch(self, trainer: StagedTrainer, method: str, then: Callable[[], None] = lambda: None) -> None:
        """Time each call of a trainer's method under its name; `then`: done after each, outside of that time."""
        inner = getattr(trainer, method)

        def outer(*arguments: Any) -> Any:
            result = self.timed(method, lambda: inner(*arguments))
            then()
            return result

        setattr(trainer, method, outer)


class Ends(TrainerCallback):
    """Records when the first update begins and the last one ends."""

    def __init__(self) -> None:
        self.begun = self.ended = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.begun = time.process_time()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ended = time.process_time()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures. Seconds are cpu seconds an update, but for `once_s`, a run."""
    words = WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), pad_token="w0", eos_token="w1")
    played = episodes(args.episodes, args.tokens, args.steps, len(tokenizer))
    config = RunConfig(
        stages=(StageConfig("think_first", args.updates),),
        probe=ProbeConfig(every=0),
        optim=replace(
            OptimConfig(),
            learning_rate=LEARNING_RATE,
            groups=args.episodes // 8,
            micro_batch_tokens=args.micro_batch_tokens,
        ),
    )
    ours, bare = model(len(tokenizer)), model(len(tokenizer))
    optimizer = torch.optim.AdamW(bare.parameters(), LEARNING_RATE, weight_decay=0.0)
    at_once = max(1, args.micro_batch_tokens // max(len(one.steps[-1].prompt_ids) for one in played))
    clock, ends = Clock(), Ends()
    with tempfile.TemporaryDirectory() as folder:
        trainer = StagedTrainer(
            *(config, ours, tokenizer),
            play=lambda plan: played,
            games=["g"] * config.optim.groups,
            log=RunLog(Path(folder) / "run", config),
            progress=False,
        )
        trainer.add_callback(ends)
        clock.watch(trainer, "_generate_and_score_completions")
        clock.watch(trainer, "training_step")
        # by turns, so that other work on the machine affects both alike
        clock.watch(
            trainer,
            "finish_update",
            then=lambda: clock.timed("bare", lambda: bare_step(bare, optimizer, played, at_once)),
        )
        clock.timed("run", lambda: run(trainer))
    n, seconds = args.updates, clock.seconds
    bare_s = seconds["bare"] / n
    ours_s = (ends.ended - ends.begun) / n - bare_s
    batch_s = seconds["_generate_and_score_completions"] / n
    pairs = zip(ours.parameters(), bare.parameters(), strict=True)
    return {
        "settings": {name: getattr(args, name) for name in ("episodes", "updates", "micro_batch_tokens")},
        "tokens": sum(len(one.steps[-1].prompt_ids + one.steps[-1].reply_ids) for one in played),
        "trainer_s": ours_s,
        "bare_s": bare_s,
        "ratio": ours_s / bare_s,
        "passes_s": seconds["training_step"] / n - batch_s,  # TRL asks for the batch within its step
        "batch_s": batch_s,
        "records_s": seconds["finish_update"] / n,
        "once_s": seconds["run"] - (ours_s + bare_s) * n,
        "largest_difference": max(float((a - b).detach().abs().max()) for a, b in pairs),
        "merging": merging(played),
    }


def show(record: dict[str, Any]) -> None:
    """The figures for people."""
    settings, tokens, once = record["settings"], record["tokens"], record["once_s"]
    ours, bare = record["trainer_s"], record["bare_s"]
    print(f"{settings['episodes']} episodes, {tokens} tokens, {settings['updates']} updates, one thread")
    print(f"StagedTrainer  {ours:.2f} cpu-s an update ({tokens / ours:,.0f} tokens/s), all its records included")
    print(
        f"  of it forward and backward passes {record['passes_s']:.2f}, rows, KL and episodes written "
        f"{record['batch_s']:.2f}, metrics and the last one's checkpoint {record['records_s']:.2f}"
    )
    print(f"  beside it once a run, begun and its adapter saved, {once:.2f}")
    print(f"bare PyTorch   {bare:.2f} cpu-s an update ({tokens / bare:,.0f} tokens/s)")
    print(f"ratio          {record['ratio']:.2f}   largest difference of a weight {record['largest_difference']:.1e}")
    print(f"  with what comes once a run: {(ours + once / settings['updates']) / bare:.2f}")


def show_merging(name: str, found: dict[str, float]) -> None:
    """How many tokens merging rows saves."""
    merged, each = found["merged"], found["a_row_a_step"]
    print(
        f"{name}: {found['steps_an_episode']:.1f} steps an episode, {found['rows']} rows instead of {found['steps']};"
    )
    print(
        f"  tokens an environment step: merged {merged:.1f}, a row a step {each:.1f}: {each / merged:.1f} times fewer"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--played", type=Path, help="episodes of a run, to count merged rows on")
    parser.add_argument("--micro-batch-tokens", type=int, default=preset("tiny").optim.micro_batch_tokens)
    parser.add_argument("--out", type=Path, help="add the figures to this JSON file, one entry a number of episodes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    record = measure(args)
    show(record)
    show_merging("these episodes", record["merging"])
    if args.played is not None:
        record["played"] = merging(list(read_trajectories(args.played)))
        show_merging(str(args.played), record["played"])
    if args.out is not None:
        kept = json.loads(args.out.read_text()) if args.out.is_file() else {}
        kept[str(args.episodes)] = record | {
            "machine": {"processor": processor(), "cores": os.cpu_count()},
            "versions": versions(),
        }
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
