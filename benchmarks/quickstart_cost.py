"""The cost of a quickstart in two checkouts of the kit, such as an old one and this one.

    git worktree add ../old 91a2457 && make -C ../old .venv/.core
    python benchmarks/quickstart_cost.py ../old . [--env-steps 6000] [--out data/results/bench_quickstart.json]

Runs `actre quickstart --jobs 1` in each with its own .venv, at once, each on one thread, and prints the cpu seconds of
the commands and the last one's share of the first one's. Needs as many idle cores as checkouts. Six minutes; training's
share grows with --env-steps, the rest (diagnosis, evaluations, report) does not change.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

from actre.config import versions  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402


def measure(checkouts: list[Path], env_steps: int) -> list[dict[str, Any]]:
    """Commit and cpu seconds of a quickstart of each checkout."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        asked = ["--jobs", "1", "--env-steps", str(env_steps), "--out"]
        running = {}
        for number, checkout in enumerate(checkouts):
            command = [str(checkout / ".venv/bin/actre"), "quickstart", *asked, f"{folder}/{number}"]
            process = subprocess.Popen(command, cwd=checkout, env=environment, **silent)  # type: ignore[call-overload]
            running[process.pid] = checkout
        seconds = {}
        while len(seconds) < len(running):
            pid, status, used = os.wait4(-1, 0)
            if status:
                raise SystemExit(f"the quickstart in {running[pid]} failed")
            seconds[running[pid]] = round(used.ru_utime + used.ru_stime, 1)
    found = []
    for checkout in checkouts:
        commit = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
        ).stdout.strip()
        found.append({"commit": commit, "cpu_s": seconds[checkout]})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--env-steps", type=int, default=6000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = measure([path.absolute() for path in args.checkouts], args.env_steps)
    record = {
        "env_steps": args.env_steps,
        "quickstarts": found,
        "ratio": found[-1]["cpu_s"] / found[0]["cpu_s"],
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "versions": versions(),
    }
    print(json.dumps(record, indent=1))
    if args.out is not None:
        args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
