"""Collects short trainings of organisms by which the second study's settings were chosen.

    actre train --preset tiny --model tiny/even-high --stages act_first:40 --env-steps 60000 --seed 901 --no-entropy \\
        --evaluate 0 --set optim.learning_rate=5e-4 --out runs/tuning/act-5e-4
    python benchmarks/tuning.py runs/tuning/* --out data/results/tuning.json

Of each run: what distinguishes it, and success, admissible actions and zero-variance groups of every iteration's
episodes, at temperature 1 on training games. Their seeds enter no test, and no comparison of arms is made of them.
Prints the means of five iterations each.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from actre.config import load_config
from actre.types import read_jsonl

CURVES = {"success": "success", "admissible": "admissible_rate", "zero_variance": "zero_variance_groups"}


def collected(run: Path) -> dict[str, Any]:
    """One run's settings and curves."""
    config, lines = load_config(run / "config.json"), list(read_jsonl(run / "metrics.jsonl"))
    return {
        "model": config.model.name,
        "order": config.stages[0].order,
        "seed": config.seed,
        "learning_rate": config.optim.learning_rate,
        "inadmissible_penalty": config.optim.inadmissible_penalty,
        "env_steps": lines[-1]["env_steps"],
        **{name: [round(line[key], 4) for line in lines] for name, key in CURVES.items()},
    }


def fives(curve: list[float]) -> list[float]:
    """Means of five iterations each."""
    return [float(np.mean(curve[i : i + 5])) for i in range(0, len(curve), 5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = [collected(run) for run in args.runs]
    for one in found:
        print({name: value for name, value in one.items() if name not in CURVES})
        for name in CURVES:
            print(f"  {name:13}", " ".join(f"{value:.2f}" for value in fives(one[name])))
    args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
