"""Jobs as processes of their own, one thread each, their output in a log. Knows no job.

Ctrl-C reaches the program that started them alone; it passes it on (`stop`), so that they can save where they stand.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from actre.types import ActreError

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
_TAIL = 8
"""Lines of a log that are shown where its job failed."""


class Running(NamedTuple):
    """A job that is running."""

    job: str
    process: subprocess.Popen[bytes]


def start(
    module: str, arguments: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments`; env is added to ours."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **_ONE_THREAD, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we pass it on
        )


def failure(job: str, code: int, log: Path) -> ActreError:
    """What is said of a job that ended with another code than 0: the end of its log, and how it goes on."""
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
    return ActreError(
        f"{job} ended with code {code}; the end of {log}:\n{tail}\n"
        "what is done stays; the same command continues after the cause is mended"
    )


def stop(running: Iterable[Running]) -> None:
    """Interrupt what is running and wait for it to end."""
    running = list(running)
    for one in running:
        one.process.send_signal(signal.SIGINT)
    for one in running:
        one.process.wait()
