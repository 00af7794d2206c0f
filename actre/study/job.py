"""One run of a study in a process of its own: train, evaluate in every order, write its line.

    python -m actre.study.job STUDY.toml KEY FOLDER COMMAND

Knows one run and its folder. A run that was interrupted goes on from its last checkpoint; FOLDER/record.json is there
when, and only when, the run has ended.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, get_args

from actre.study.file import load_study
from actre.study.onerun import base_policy, evaluate_into, trained_policy
from actre.study.plan import Run
from actre.study.record import record
from actre.types import ActreError, Order

RECORD = "record.json"
ORDERS: tuple[Order, ...] = get_args(Order)


def run_job(study_file: Path, key: str, folder: Path, command: str) -> None:
    """Do one run. Raises ActreError for a key the study has not, or as training does."""
    study = load_study(study_file)
    found = [(run, part) for part in study.parts for run in part.runs if run.key == key]
    if not found:
        raise ActreError(f"{study_file} has no run {key!r}")
    run, part = found[0]
    make(run, study.name, folder, command, part.fingerprint)


def make(run: Run, study: str, folder: Path, command: str, wanted: str | None = None) -> None:
    """Train (unless the arm is not trained) and evaluate every panel in every order, then write FOLDER/record.json.

    Raises ActreError where the untrained policy's fingerprint is not the wanted one.
    """
    from actre.adapters import fingerprint

    folder.mkdir(parents=True, exist_ok=True)
    untrained = base_policy(run.config)
    model = fingerprint(untrained.model)
    if wanted not in (None, model):
        raise ActreError(
            f"{run.config.model.name} is not the policy this study was fixed on: its weights' fingerprint is {model}, "
            f"and the study file names {wanted}. A policy that is made anew starts a study anew, with another name"
        )
    policy, trouble = _trained(run, folder) if run.trained else (untrained, None)
    played = [(panel, order) for panel in run.config.evaluation.panels for order in ORDERS]
    evaluate_into(policy, run.config, folder, "after", played)
    line = record(run, study, folder, command=command, model=model, trouble=trouble)
    part = folder / f"{RECORD}.part"
    part.write_text(json.dumps(line) + "\n", encoding="utf-8")
    os.replace(part, folder / RECORD)


def _trained(run: Run, folder: Path) -> tuple[Any, str | None]:
    """The trained policy; where training broke off on numbers that are none, the last checkpoint's and what was said.

    Without a checkpoint the run counts as the untrained policy. Nothing is dropped or made again with another seed.
    """
    from actre.adapters import load_policy
    from actre.training import NotFiniteError
    from actre.training.checkpoints import latest

    try:
        return trained_policy(run.config, folder), None
    except NotFiniteError as error:
        last = latest(folder / "checkpoints")
        played = "its last checkpoint counts" if last else "it has no checkpoint, and so counts as the untrained policy"
        return load_policy(run.config, last), f"{error}; {played}"


def _main() -> int:
    # a program started in a shell's background ignores Ctrl-C, and so would we; the runner stops us by that signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_job(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    except ActreError as error:
        print(f"actre: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(_main())
