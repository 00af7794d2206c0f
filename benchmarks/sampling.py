"""The cost of sampling: a rollout from plain weights, through the model's modules, and the bare bound of both.

    python benchmarks/sampling.py [--model tiny] [--episodes 48] [--steps 20] [--reply-tokens 25] [--rounds 3]
    python benchmarks/sampling.py --products bfloat16 ...                     # also with products in bfloat16
    python benchmarks/sampling.py --decode 32 --model smollm2 [--prompt-tokens 256] [--reply-tokens 16]

Both ways play the same games with the same seed by turns in one process, on one thread; the model has a LoRA adapter.
Prints cpu seconds, their ratio, and whether the samples are the same. The bare bound is the time of the products alone:
the packed tokens of every call through every matrix, and the rows' keys and values read once a token.

--decode N: tokens a second of N rows that continue prompts of random ids. --memory: the most memory of one rollout each
way, in a process of its own. --out FILE adds the figures to a JSON file under the name of the model.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from actre.config import EnvConfig, ModelConfig, PromptConfig, SamplingConfig, versions  # noqa: E402
from actre.envs.alfworld import list_games  # noqa: E402
from actre.policies.hf import HFPolicy  # noqa: E402
from actre.policies.llama.runner import LlamaRunner  # noqa: E402
from actre.policies.models import Loaded, add_lora, load  # noqa: E402
from actre.rollout import make_envs, rollout  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402

GROUP = 8
WAYS: dict[str, dict[str, Any]] = {"modules": {"plain_weights": False}, "plain": {}}
BFLOAT16 = {"bfloat16": {"products": torch.bfloat16}}


class Call(NamedTuple):
    """One forward pass: for each row, the columns it sees and its new tokens."""

    widths: list[int]
    tokens: list[int]


def adapted(name: str) -> Loaded:
    """The model with a fresh adapter, as a run starts with it."""
    loaded = load(ModelConfig(name=name))
    return Loaded(add_lora(loaded.model, ModelConfig(), 0), loaded.tokenizer)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """cpu seconds, and what it returned."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def play(loaded: Loaded, args: argparse.Namespace, way: dict[str, Any]) -> list[tuple[int, ...]]:
    """The tokens of every reply of a rollout."""
    policy = HFPolicy(*loaded, **way)
    played = rollout(
        policy,
        make_envs(EnvConfig(), args.episodes),
        list_games("small/train")[: max(1, args.episodes // GROUP)],
        renderer=policy.renderer(PromptConfig(), args.order),
        sampling=SamplingConfig(max_reply_tokens=args.reply_tokens),
        temperature=1.0,
        max_steps=args.steps,
        seed=0,
        group_size=GROUP,
    )
    return [step.reply_ids for episode in played for step in episode.steps]


def calls_of(work: Callable[[], Any]) -> list[Call]:
    """The forward passes that plain weights make during this work."""
    calls: list[Call] = []
    extend, step = LlamaRunner.extend, LlamaRunner.step

    def extended(self: LlamaRunner, sequences: Any, known: Any, start: int) -> torch.Tensor:
        new = [len(sequence) - k for sequence, k in zip(sequences, known, strict=True)]
        calls.append(Call([len(sequence) for sequence in sequences], new))
        return extend(self, sequences, known, start)

    def stepped(self: LlamaRunner, tokens: torch.Tensor, lengths: torch.Tensor, width: int) -> torch.Tensor:
        calls.append(Call([n + 1 for n in lengths.tolist()], [1] * len(tokens)))
        return step(self, tokens, lengths, width)

    LlamaRunner.extend, LlamaRunner.step = extended, stepped  # type: ignore[method-assign]
    try:
        work()
    finally:
        LlamaRunner.extend, LlamaRunner.step = extend, step  # type: ignore[method-assign]
    return calls


def bare(model: Any, calls: list[Call]) -> float:
    """cpu seconds of the products of these forward passes, with matrices and caches of the model's shapes."""
    config = model.config
    size, heads, shared = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or size // heads
    shapes = [(size, (heads + 2 * shared) * width), (heads * width, size)]
    shapes += [(size, 2 * config.intermediate_size), (config.intermediate_size, size)]
    layers = [[torch.randn(rows, columns) for rows, columns in shapes] for _ in range(config.num_hidden_layers)]
    head = torch.randn(size, config.vocab_size)
    rows, longest = max(len(call.widths) for call in calls), max(max(call.widths) for call in calls)
    caches = [torch.randn(2, rows, shared, longest, width) for _ in layers]
    each = heads // shared
    most = max(sum(call.tokens) for call in calls)
    inputs = {rows: torch.randn(most, rows) for matrices in layers[:1] for rows in {len(m) for m in matrices}}
    queries = torch.randn(rows, shared, each * max(max(call.tokens) for call in calls), width)
    begun = time.process_time()
    for call in calls:
        tokens = sum(call.tokens)
        for matrices, (keys, values) in zip(layers, caches, strict=True):
            for matrix in matrices:
                torch.mm(inputs[len(matrix)][:tokens], matrix)
            for row, (seen, new) in enumerate(zip(call.widths, call.tokens, strict=True)):
                read(queries[row, :, : each * new], keys[row, :, :seen], values[row, :, :seen])
        torch.mm(inputs[size][: len(call.widths)], head)
    return time.process_time() - begun


def read(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
    """A row's scores and the sum of its values, without softmax."""
    if queries.shape[1] == 1:
        scores = np.matmul(queries.numpy(), keys.numpy().swapaxes(1, 2))
        np.matmul(scores, values.numpy())
    else:
        torch.bmm(torch.bmm(queries, keys.transpose(1, 2)), values)


def compare(loaded: Loaded, args: argparse.Namespace) -> dict[str, Any]:
    """A rollout both ways by turns, and the bare bound of its forward passes."""
    short = argparse.Namespace(**{**vars(args), "steps": 1})
    ways = WAYS | (BFLOAT16 if args.products == "bfloat16" else {})
    for way in ways.values():
        play(loaded, short, way)  # translates the games, warms up
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, "bare")}
    calls = calls_of(lambda: play(loaded, args, WAYS["plain"]))
    said = {}
    with torch.inference_mode():
        for _ in range(args.rounds):
            for name, way in ways.items():
                spent, said[name] = timed(lambda way=way: play(loaded, args, way))
                seconds[name].append(spent)
            seconds["bare"].append(bare(loaded.model, calls))
    tokens = {name: sum(map(len, replies)) for name, replies in said.items()}
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "seconds": seconds,
        "steps": len(said["plain"]),
        "sampled_tokens": tokens["plain"],
        "computed_tokens": sum(sum(call.tokens) for call in calls),
        "ratio": best["plain"] / best["modules"],
        "over_bare": best["plain"] / best["bare"],
        "tokens_per_s": {name: count / best[name] for name, count in tokens.items()},
        "same_samples": said["plain"] == said["modules"],
    }


def decode(loaded: Loaded, args: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of one batch both ways, the prompts' computation left out."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(len(loaded.tokenizer), size=(args.decode, args.prompt_tokens)).tolist()
    ways = WAYS | (BFLOAT16 if args.products == "bfloat16" else {})
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    policies = {name: HFPolicy(*loaded, **way) for name, way in ways.items()}
    for _ in range(args.rounds):
        for name, policy in policies.items():
            asked = {"temperature": 1.0, "stop": None, "seed": 0}
            policy.generate(prompts, max_new_tokens=1, **asked)  # prompts are computed but for their last token
            one, _ = timed(lambda policy=policy, asked=asked: policy.generate(prompts, max_new_tokens=1, **asked))
            all_of_them, _ = timed(
                lambda policy=policy, asked=asked: policy.generate(prompts, max_new_tokens=args.reply_tokens, **asked)
            )
            seconds[name].append(all_of_them - one)
    tokens = args.decode * (args.reply_tokens - 1)
    rates = {name: tokens * args.rounds / sum(values) for name, values in seconds.items()}
    return {"batch": args.decode, "seconds": seconds, "tokens_per_s": rates}


def memory(args: argparse.Namespace) -> dict[str, int]:
    """The most memory (MB) of a rollout each way, of a process that does nothing else."""
    found = {}
    for name in WAYS:
        given = ["--model", args.model, "--episodes", str(args.episodes), "--steps", str(args.steps)]
        told = subprocess.run(
            [sys.executable, __file__, "--only", name, *given, "--reply-tokens", str(args.reply_tokens)],
            check=True,
            capture_output=True,
            text=True,
        )
        found[name] = int(told.stdout.split()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--order", default="think_first")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--reply-tokens", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decode", type=int, default=0)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--products", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", choices=[*WAYS], help="one rollout one way; prints the most memory, MB")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory:
        record: dict[str, Any] = {"memory_mb": memory(args)}
    else:
        loaded = adapted(args.model)
        if args.only is not None:
            play(loaded, args, WAYS[args.only])
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
            return
        record = decode(loaded, args) if args.decode else compare(loaded, args)
    print(json.dumps(record, indent=1))
    if args.out is not None:
        kept = json.loads(args.out.read_text()) if args.out.is_file() else {}
        machine = {"processor": processor(), "cores": os.cpu_count()}
        settings = {name: value for name, value in vars(args).items() if isinstance(value, str | int)}
        record |= {"settings": settings, "machine": machine, "versions": versions()}
        kept[f"{args.model}_{'memory' if args.memory else 'decode' if args.decode else 'rollout'}"] = record
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
