"""Jobs as child processes with one thread each and their output in a log.

Ctrl-C reaches only the parent, which passes it on (`stop`), so that the jobs can save their progress.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from actre.runtime import locks
from actre.types import ActreError

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
_TAIL = 8
"""Lines of a failed job's log that are shown."""


class Running(NamedTuple):
    """A running job."""

    job: str
    process: subprocess.Popen[bytes]


def start(
    module: str, arguments: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments`. env: added to the environment of this process.

    It shares the locks that this process holds (locks.py).
    """
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **_ONE_THREAD, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C does not reach it directly
            pass_fds=tuple(locks.held),
        )


def failure(job: str, code: int, log: Path) -> ActreError:
    """The error for a job that ended with a code other than 0, with the end of its log."""
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
    return ActreError(
        f"{job} ended with code {code}; the end of {log}:\n{tail}\n"
        "finished work is kept; fix the cause and run the command again to continue"
    )


def stop(running: Iterable[Running]) -> None:
    """Interrupt the jobs and wait for them to end."""
    running = list(running)
    for one in running:
        one.process.send_signal(signal.SIGINT)
    for one in running:
        one.process.wait()
