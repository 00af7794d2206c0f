"""The cost of a training iteration with each engine: CPU seconds of its episodes, its update and its weight sync.

    python benchmarks/engine_iterations.py hf --out hf.json
    python benchmarks/engine_iterations.py vllm --weight-sync merged --out merged.json            # where vllm is
    python benchmarks/engine_iterations.py vllm-server --server http://127.0.0.1:8000 --server-pid PID --out server.json
    python benchmarks/engine_iterations.py --table hf.json merged.json server.json

Trains the preset tiny, think-first, on the small rooms, leaves out the first iteration, and counts the CPU time of this
process and of the server, since the machine may be shared. Clock seconds are recorded too.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
ROOT = Path(__file__).resolve().parents[1]
# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [str(ROOT), *(path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent)]

_TICK = os.sysconf("SC_CLK_TCK")


def server_cpu_s(pid: int | None) -> float:
    """CPU seconds of a process and its living descendants."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / _TICK + sum(server_cpu_s(int(child)) for child in children)


class Timed:
    """An engine that records when its episodes begin and end: (seconds, CPU here, CPU of the server)."""

    def __init__(self, engine: Any, pid: int | None) -> None:
        self._engine, self._pid = engine, pid
        self.policy = engine.policy
        self.marks: list[tuple[float, float, float]] = []

    def _mark(self) -> None:
        self.marks.append((time.perf_counter(), time.process_time(), server_cpu_s(self._pid)))

    def refresh(self) -> None:
        self._mark()
        self._engine.refresh()
        self._mark()

    def rest(self) -> None:
        self._mark()
        self._engine.rest()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train; means over the iterations except the first and the last (the end of the last update is not observed)."""
    from actre.config import StageConfig, versions
    from actre.config.presets import preset
    from actre.runtime.limits import processor
    from actre.training import run as conduct
    from actre.types import read_jsonl

    config = preset("tiny")
    config = replace(
        config,
        model=replace(config.model, engine=args.engine, weight_sync=args.weight_sync),
        stages=(StageConfig("think_first", args.iterations),),
    )
    made: list[Timed] = []
    original = conduct.engine_for

    def timed(*given: Any) -> Timed:
        made.append(Timed(original(*given), args.server_pid))
        return made[0]

    conduct.engine_for = timed  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        conduct.train(config, folder, progress=False, server=args.server)
        tokens = [line["generated_tokens"] for line in read_jsonl(Path(folder) / "metrics.jsonl")]
    marks = made[0].marks
    rows = [marks[i : i + 4] for i in range(3, len(marks) - 3, 3)]  # handed over, played, updated: the second on
    made_tokens = [after - before for before, after in itertools.pairwise(tokens)][: len(rows)]

    def mean(of: Any) -> float:
        return round(statistics.fmean(of(row) for row in rows), 2)

    return {
        "engine": args.engine,
        "handover": args.weight_sync if args.engine != "hf" else "",
        "iterations": len(rows),
        "handover_cpu_s": mean(lambda r: sum(r[1][1:]) - sum(r[0][1:])),
        "episodes_cpu_s": mean(lambda r: sum(r[2][1:]) - sum(r[1][1:])),
        "of_that_server_cpu_s": mean(lambda r: r[2][2] - r[1][2]),
        "update_cpu_s": mean(lambda r: r[3][1] - r[2][1]),
        "iteration_cpu_s": mean(lambda r: sum(r[3][1:]) - sum(r[0][1:])),
        "iteration_s": mean(lambda r: r[3][0] - r[0][0]),
        "tokens": round(statistics.fmean(made_tokens)),
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "load": os.getloadavg()[0],
        "versions": versions(),
    }


def table(results: list[dict[str, Any]]) -> str:
    """One column for each result."""
    names = [f"{r['engine']}{', ' + r['handover'] if r['handover'] else ''}" for r in results]
    lines = [f"|  | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    shown = {
        "sampled tokens": "tokens",
        "weight sync, cpu seconds": "handover_cpu_s",
        "episodes, cpu seconds": "episodes_cpu_s",
        "... of that the server's": "of_that_server_cpu_s",
        "update, cpu seconds": "update_cpu_s",
        "iteration, cpu seconds": "iteration_cpu_s",
        "iteration, seconds by the clock": "iteration_s",
    }
    for title, name in shown.items():
        lines.append(f"| {title} | {' | '.join(str(r[name]) for r in results)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", nargs="?", choices=("hf", "vllm", "vllm-server"))
    parser.add_argument("--weight-sync", choices=("adapter", "merged"), default="adapter")
    parser.add_argument("--server")
    parser.add_argument("--server-pid", type=int)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, nargs="+")
    args = parser.parse_args()
    if args.table:
        print(table([json.loads(path.read_text()) for path in args.table]))
        return
    text = json.dumps(measure(args), indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
