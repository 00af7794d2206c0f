"""The step of a warm start: TRL's SFTTrainer, and the same trainer through the kit's packed rows.

    python benchmarks/sft.py [--model tiny] [--steps 6] [--out data/results/bench_sft_tiny.json]
    python benchmarks/sft.py --model smollm2 --steps 3 --out data/results/bench_sft_smollm2.json

Fine-tunes on the same rows each way, one way after another in one process on one thread, and prints CPU seconds a step
(their median) and the last step's loss, which the first two ways must share.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

from actre.config import versions  # noqa: E402
from actre.config.presets import preset  # noqa: E402
from actre.envs.alfworld.expert import Habits  # noqa: E402
from actre.organisms import fine_tune as training  # noqa: E402
from actre.organisms.fine_tune import WarmConfig, fine_tune  # noqa: E402
from actre.organisms.warmstart_rows import expert_episodes, prompts_of, warm_rows  # noqa: E402
from actre.policies.models import add_lora, load  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402
from actre.types import read_jsonl  # noqa: E402

PRESETS = {"tiny": "tiny", "smollm2": "smollm2-cpu"}
WAYS = {
    "TRL, float32": ("float32", False, "float32"),
    "packed, float32": ("float32", True, "float32"),
    "TRL, a model in bfloat16": ("bfloat16", False, "float32"),
    "packed, products in bfloat16": ("float32", True, "bfloat16"),
}
"""Way -> type of the weights, whether rows are packed, type of the products."""
_EPISODES = 20


def measure(way: str, model: str, steps: int, folder: Path) -> dict[str, Any]:
    """CPU seconds of a step (median and all), the last loss, and tokens a step."""
    dtype, packs, products = WAYS[way]
    config = preset(PRESETS[model])
    config = replace(config, model=replace(config.model, dtype=dtype))
    loaded, tokenizer = load(config.model)
    loaded = add_lora(loaded, config.model, 0)
    demos = expert_episodes(config.env, _EPISODES, 0, Habits(thoughts="said"))
    rows = warm_rows(demos, prompts_of(tokenizer), config.prompt, per_episode=1, longest=2048, seed=0).rows
    warm = WarmConfig(steps=steps, save_every=steps + 1, products=products)  # type: ignore[arg-type]
    plain = training.is_packed
    if not packs:
        training.is_packed = lambda config, model: False  # type: ignore[assignment]
    try:
        done = fine_tune(config, warm, rows, folder / way.replace(" ", "-"), loaded, tokenizer, progress=False)
    finally:
        training.is_packed = plain
    seconds = [line["cpu_s"] for line in read_jsonl(folder / way.replace(" ", "-") / "metrics.jsonl")]
    tokens = warm.batch * sum(len(row.ids) for row in rows) / len(rows)
    return {"cpu_s": float(np.median(seconds)), "steps": seconds, "loss": done["loss_last"], "tokens": round(tokens)}


def main() -> None:
    """Measure every way, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=PRESETS, default="tiny")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            (Path(folder) / way.replace(" ", "-")).mkdir()
            found[way] = measure(way, args.model, args.steps, Path(folder))
            ratio = found[way]["cpu_s"] / found["TRL, float32"]["cpu_s"]
            print(
                f"{way:30} {found[way]['cpu_s']:7.2f} s a step, {ratio:.2f}; loss {found[way]['loss']:.5f}", flush=True
            )
    if args.out is not None:
        about = {"model": args.model, "processor": processor(), "threads": 1, "versions": versions()}
        args.out.write_text(json.dumps({**about, "ways": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
