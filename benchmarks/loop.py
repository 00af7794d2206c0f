"""The cost of an update: packed rows, transformers' forward pass, and the bare bound of both; of a whole iteration.

    python benchmarks/loop.py [--model tiny] [--preset tiny] [--episodes 48] [--steps 20] [--rounds 3]
    python benchmarks/loop.py --model smollm2 --preset smollm2 --episodes 4 --steps 5 --rounds 1
    python benchmarks/loop.py --products bfloat16 ...       # a third trainer, with `optim.products=bfloat16`

Plays episodes once. Then two trainers with the same weights train on them by turns in one process, on one thread:
`optim.forward` is transformers in one and auto in the other. Prints cpu seconds of an update (its rows, its comparison
with the base model and its passes), their ratio, the difference of the weights after the first one, and the tokens in a
forward pass of both. The bare bound is the time of the products alone: the packed tokens of each slice through every
matrix, forth and back, LoRA's products, the products of attention, and the logits of trained tokens.

The rollout's own ratio is measured by benchmarks/sampling.py; with --sampling data/results/FILE this one adds both to
that of an iteration. --memory WAY: one update that way in this process, and its peak memory. --out FILE: write JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import torch  # noqa: E402

from actre.config import ModelConfig, ProbeConfig, RunConfig, StageConfig, versions  # noqa: E402
from actre.config.presets import preset  # noqa: E402
from actre.envs.worlds import readable  # noqa: E402
from actre.policies.hf import HFPolicy  # noqa: E402
from actre.policies.models import add_lora, load  # noqa: E402
from actre.rollout import make_envs, rollout  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402
from actre.runtime.out_of_memory import peak_memory_gb  # noqa: E402
from actre.training import StagedTrainer  # noqa: E402
from actre.training.batch import sliced  # noqa: E402
from actre.training.packed.pack import packables, packed_slices  # noqa: E402
from actre.training.rows import trajectory_rows  # noqa: E402
from actre.training.runlog import RunLog  # noqa: E402
from actre.types import Trajectory  # noqa: E402

WAYS: dict[str, dict[str, Any]] = {"transformers": {"forward": "transformers"}, "packed": {}}
BFLOAT16: dict[str, dict[str, Any]] = {"bfloat16": {"products": "bfloat16"}}


def settings(args: argparse.Namespace, way: str) -> RunConfig:
    """The preset's settings with that forward pass."""
    config = preset(args.preset)
    optim = replace(config.optim, groups=max(1, args.episodes // config.optim.group_size), **(WAYS | BFLOAT16)[way])
    if args.episodes < optim.group_size:
        optim = replace(optim, group_size=args.episodes)
    return replace(
        config,
        model=replace(config.model, name=args.model),
        env=replace(config.env, max_steps=args.steps),
        prompt=replace(config.prompt, history=args.history or config.prompt.history),
        stages=(StageConfig(args.order, 1000),),
        env_steps=10**9,
        probe=ProbeConfig(every=0),
        optim=optim,
    )


def model_of(config: RunConfig) -> tuple[Any, Any]:
    """The model with a fresh adapter, as a run starts with it, and its tokenizer."""
    loaded = load(ModelConfig(name=config.model.name))
    return add_lora(loaded.model, config.model, 0), loaded.tokenizer


def episodes(config: RunConfig, order: Any) -> list[Trajectory]:
    """An iteration's episodes."""
    policy = HFPolicy(*model_of(config))
    optim = config.optim
    with torch.no_grad():
        return rollout(
            policy,
            make_envs(config.env, optim.groups * optim.group_size),
            readable(config.env.name, config.env.train)[: optim.groups],
            renderer=policy.renderer(config.prompt, order),
            sampling=config.sampling,
            temperature=1.0,
            max_steps=config.env.max_steps,
            seed=0,
            group_size=optim.group_size,
            must_start=False,
        )


class Updates:
    """Updates of one trainer on given episodes, one at a time."""

    def __init__(self, config: RunConfig, played: list[Trajectory], folder: Path) -> None:
        model, tokenizer = model_of(config)
        self.trainer = StagedTrainer(
            *(config, model, tokenizer),
            play=lambda plan: played,
            games=["g"] * config.optim.groups,
            log=RunLog(folder, config),
            progress=False,
        )
        self.trainer.create_optimizer_and_scheduler(config.iterations)
        self.trainer.current_gradient_accumulation_steps = 1
        self.batch: dict[str, torch.Tensor] = {}
        # TRL asks for its batch within a step
        self.trainer._prepare_inputs = lambda inputs: inputs  # type: ignore[method-assign]

    def once(self) -> None:
        """The batch, the gradient, clipping and the optimizer's step."""
        trainer = self.trainer
        self.batch = trainer._generate_and_score_completions([])
        trainer.training_step(trainer.policy_model, self.batch)
        weights = [p for p in trainer.policy_model.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(weights, trainer.config.optim.max_grad_norm)
        optimizer: Any = trainer.optimizer
        optimizer.step()
        optimizer.zero_grad()
        trainer._updates.clear()

    def weights(self) -> torch.Tensor:
        """All trained weights in one vector."""
        return torch.cat([p.detach().flatten() for p in self.trainer.policy_model.parameters() if p.requires_grad])


def rows_of(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """ids (B, T), lengths, and which tokens carry gradient (B, T), of a batch."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    lengths = (batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)).tolist()
    counted = torch.cat([torch.zeros_like(batch["prompt_ids"]), batch["tool_mask"]], 1).bool()
    return ids, lengths, counted


def bare(config: Any, rank: int, rows: list[tuple[list[tuple[int, int]], int]]) -> float:
    """cpu seconds of the products of an update. rows: of each slice the (tokens of its own, tokens seen before them) of
    its stretches, and its trained tokens.
    """
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    size = getattr(config, "head_dim", None) or width // heads
    kv = config.num_key_value_heads
    joined = {(width, (heads + 2 * kv) * size): 3, (heads * size, width): 1, (width, 2 * inner): 2, (inner, width): 1}
    matrices = [(torch.randn(i, o), torch.randn(i, n * rank), torch.randn(o, rank)) for (i, o), n in joined.items()]
    head = torch.randn(width, config.vocab_size)
    begun = time.process_time()
    for stretches, trained in rows:
        n = sum(own for own, _ in stretches)
        for _ in range(config.num_hidden_layers):
            for weight, down, up in matrices:
                x = torch.empty(n, len(weight))
                y = x @ weight
                inside = x @ down
                torch.mm(y, weight.T)
                torch.mm(y.T, inside[:, :rank])
                torch.mm((y @ up).T, x)
            for own, before in stretches:
                q, k = torch.empty(heads, own, size), torch.empty(heads, (own + 1) // 2 + before, size)
                for _ in range(3):  # scores and their sums of values, forth; both of each, back
                    torch.bmm(torch.bmm(q, k.transpose(1, 2)), k)
        logits = torch.empty(trained, width) @ head
        torch.mm(logits, head.T)
    return time.process_time() - begun


def slices(batch: dict[str, torch.Tensor], most: int) -> list[tuple[list[tuple[int, int]], int]]:
    """What `bare` computes of a batch."""
    ids, lengths, counted = rows_of(batch)
    result = []
    for families in packed_slices(packables(ids, lengths, counted), most):
        stretches: list[tuple[int, int]] = []
        for family in families:
            shared = family.shared if len(family.rows) > 1 else 0
            stretches += [(shared, 0)] * bool(shared) + [(lengths[row] - shared, shared) for row in family.rows]
        result.append((stretches, sum(int(counted[row].sum()) for family in families for row in family.rows)))
    return result


def tokens(updates: Updates) -> dict[str, int]:
    """Tokens in one forward pass of an update: of the rows, padded by transformers, and packed."""
    trainer, batch = updates.trainer, updates.batch
    most = trainer.micro_batches.most
    padded = sum(
        piece["prompt_ids"].numel() + piece["completion_ids"].numel() for _, piece in sliced(batch, most, packed=False)
    )
    packed = sum(own for stretches, _ in slices(batch, most) for own, _ in stretches)
    _, lengths, counted = rows_of(batch)
    return {"rows": sum(lengths), "padded": padded, "packed": packed, "trained": int(counted.sum())}


def timed(work: Callable[[], Any]) -> float:
    """cpu seconds."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures of updates; seconds are cpu seconds of one update."""
    played = episodes(settings(args, "packed"), args.order)
    with tempfile.TemporaryDirectory() as folder:
        ways = [*WAYS, *(BFLOAT16 if args.products == "bfloat16" else ())]
        every = {way: Updates(settings(args, way), played, Path(folder) / way) for way in ways}
        seconds: dict[str, list[float]] = {name: [] for name in (*ways, "bare")}
        differences = []
        for _ in range(args.rounds):
            for way, updates in every.items():
                seconds[way].append(timed(updates.once))
            old, new = (every[way].weights() for way in WAYS)
            differences.append(float((new - old).norm() / old.norm()))
            trainer = every["packed"].trainer
            todo = slices(every["packed"].batch, trainer.micro_batches.most)
            seconds["bare"].append(bare(trainer.policy_model.config, trainer.config.model.lora_rank, todo))
        counts = tokens(every["packed"])
    best = {name: min(values) for name, values in seconds.items()}
    rounded = {"update_ratio_bfloat16": best["bfloat16"] / best["transformers"]} if "bfloat16" in best else {}
    return {
        "seconds": seconds,
        **rounded,
        "update_ratio": best["packed"] / best["transformers"],
        "over_bare": best["packed"] / best["bare"],
        "weights_differ": differences,
        "tokens": counts,
        "all_rows_tokens": sum(len(row.ids) for i, one in enumerate(played) for row in trajectory_rows(one, i)),
        "steps": sum(len(one.steps) for one in played),
        "episodes": len(played),
    }


def memory(args: argparse.Namespace) -> float:
    """Peak memory in GB of one update that way."""
    with tempfile.TemporaryDirectory() as folder:
        config = settings(args, args.memory)
        Updates(config, episodes(config, args.order), Path(folder) / "run").once()
    return peak_memory_gb()


def iteration(update: dict[str, Any], sampled: dict[str, Any]) -> dict[str, float]:
    """The ratios of a whole iteration: rollout and update, new to old, from the shortest times of each."""
    sampling, updates = ({k: min(v) for k, v in one["seconds"].items()} for one in (sampled, update))
    old = sampling["modules"] + updates["transformers"]
    found = {"iteration_ratio": (sampling["plain"] + updates["packed"]) / old}
    if "bfloat16" in updates:
        rounded = min(sampling["plain"], sampling.get("bfloat16", sampling["plain"]))
        found["iteration_ratio_bfloat16"] = (rounded + updates["bfloat16"]) / old
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--order", default="act_first", choices=("act_first", "think_first", "no_think"))
    parser.add_argument("--history", choices=("growing", "windowed"))
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--memory", choices=tuple(WAYS | BFLOAT16))
    parser.add_argument("--sampling", type=Path, help="the record of benchmarks/sampling.py")
    parser.add_argument("--out", type=Path, help="add the figures to this JSON file under the name of the model")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory:
        print(f"{args.memory}: {memory(args):.2f} GB")
        return
    record = measure(args)
    if args.sampling is not None:
        record |= iteration(record, json.loads(args.sampling.read_text())[f"{args.model}_rollout"])
    print(json.dumps(record, indent=1))
    if args.out is not None:
        kept = json.loads(args.out.read_text()) if args.out.is_file() else {}
        about = {"processor": processor(), "cores": os.cpu_count()}
        kept[args.model] = record | {"machine": about, "versions": versions()}
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
