"""One run on two cores: one thread, two threads, two processes, and two runs side by side.

    python benchmarks/workers.py [--iterations 5] [--out data/results/bench_workers.json]
    python benchmarks/workers.py --way "one thread" --preset smollm2-cpu --iterations 1    # one iteration of SmolLM2
    ... --set sampling.products=bfloat16 optim.products=bfloat16                           # with other settings

Runs `actre train` each way, one way after another, and prints the wall seconds of an iteration (rollout and update; of
several iterations the first is left out), the cpu seconds of the whole command, and how far sampler and trainer differ.
Needs two idle cores.
Two processes are those of docs/scaling.md: each plays half of the games, and the gradients are averaged.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import trl

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

from actre.config import versions  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402
from actre.types import read_jsonl  # noqa: E402

TRAIN = ["-m", "actre", "train", "--no-entropy", "--evaluate", "0"]
_DDP = Path(trl.__file__).parent / "accelerate_configs" / "multi_gpu.yaml"
_LAUNCH = ["-m", "accelerate.commands.launch", "--config_file", str(_DDP), "--num_processes", "2"]
WAYS: dict[str, tuple[int, list[str], int]] = {
    "one thread": (1, [], 1),
    "two threads": (2, [], 1),
    "two processes": (1, _LAUNCH, 1),
    "two runs": (1, [], 2),
}
"""Way -> threads a process, launcher, runs at once."""


def measure(way: str, preset: str, iterations: int, changed: list[str], folder: Path) -> dict[str, Any]:
    """Wall seconds of an iteration of one run, cpu seconds of all processes, and the iterations of all runs."""
    threads, launcher, runs = WAYS[way]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outs = [folder / f"{way} {n}".replace(" ", "-") for n in range(runs)]
    started = []
    for n, out in enumerate(outs):
        command = [sys.executable, *launcher, *TRAIN, "--preset", preset, "--stages", f"think_first:{iterations}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command += ["--seed", str(n), "--out", str(out), *(part for one in changed for part in ("--set", one))]
        started.append(subprocess.Popen(command, env=environment, **silent))  # type: ignore[call-overload]
    for process in started:
        if process.wait():
            raise SystemExit(f"{' '.join(process.args)} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for out in outs for line in list(read_jsonl(out / "metrics.jsonl"))[min(1, iterations - 1) :]]
    of = {name: round(float(np.mean([line[name] for line in lines])), 3) for name in ("rollout_s", "update_s")}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    played = {name: round(lines[-1][name] / iterations) for name in ("generated_tokens", "env_steps")}  # they add up
    gap = {"engine_gap_nats": float(np.mean([line["engine_gap_nats"] for line in lines]))}
    return {
        **of,
        "iteration_s": round(sum(of.values()) / runs, 3),
        "runs": runs,
        "cpu_s": round(cpu, 1),
        **played,
        **gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--way", choices=WAYS, help="this way alone")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = [args.way] if args.way else list(WAYS)
        found = {way: measure(way, args.preset, args.iterations, args.set, Path(folder)) for way in ways}
    record = {
        "ways": found,
        "iterations": args.iterations,
        "preset": args.preset,
        "set": args.set,
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "versions": versions(),
    }
    print(json.dumps(record, indent=1))
    if args.out is not None:
        args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
