"""`actre gpu-check`: does everything that touches a GPU work on this machine? One table, one record to send in."""

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from actre.config.checks import Positive, of
from actre.config.paths import place
from actre.runtime.limits import gpus
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.study.gpu_check import Row


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `gpu-check` to the command line."""
    parser = subparsers.add_parser(
        "gpu-check",
        help="check on this machine everything that touches a GPU, and write a record to send in",
        description="Runs every check in a process of its own: number types, engines, out of memory, kill and resume, "
        "two processes; memory and seconds beside their estimates. About 10 minutes, no model hub. A check that cannot "
        "run says why. The same command continues an interrupted one and repeats what failed. docs/gpu-check.md "
        "collects the records.",
    )
    parser.add_argument(
        "--device", choices=("gpu", "cpu"), default="gpu", help="cpu: the same checks without a GPU (default: gpu)"
    )
    parser.add_argument(
        "--out", type=place, help="folder of the checks and the record (default: runs/gpu-check-DEVICE)"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="only these checks, by name")
    parser.add_argument(
        "--budget",
        type=of(Positive),
        metavar="MINUTES",
        help="begin no check after this time; the same command continues",
    )
    parser.add_argument(
        "--patience",
        type=of(Positive),
        default=1.0,
        metavar="FACTOR",
        help="on a busy machine: times as long until a check counts as failed (default: 1)",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from actre.runtime.budget import Budget
    from actre.study.gpu_check import RECORD, run, table

    on_gpu = args.device == "gpu"
    if on_gpu and not gpus():
        raise ActreError("nvidia-smi finds no GPU here; the same checks without one: actre gpu-check --device cpu")
    for number in (signal.SIGINT, signal.SIGTERM):  # even where the shell ignores them, so that the check ends too
        signal.signal(number, signal.default_int_handler)
    out = args.out or Path(f"runs/gpu-check-{args.device}")
    rows = run(out, gpu=on_gpu, only=args.only, patience=args.patience, stop=Budget(args.budget), say=_say)
    print(f"\n{table(rows)}\nrecord: {out / RECORD}")
    return int(any(row.status == "failed" for row in rows))


def _say(row: "Row") -> None:
    print(f"{row.status}: {row.name}: {row.words}", flush=True)
