"""One run of a study in a process of its own: train, evaluate, write its record.

    python -m actre.study.job STUDY.toml KEY FOLDER COMMAND

An interrupted run resumes from its last checkpoint. FOLDER/record.json exists if and only if the run has ended.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from actre.study.file import load_study
from actre.study.onerun import as_process, base_policy, evaluate_into, trained_policy
from actre.study.plan import Run
from actre.study.record import record
from actre.types import ActreError

RECORD = "record.json"


def run_job(study_file: Path, key: str, folder: Path, command: str) -> None:
    """Do the run with this key. Raises ActreError if the study has no such run, and as training does."""
    study = load_study(study_file)
    found = [(run, part) for part in study.parts for run in part.runs if run.key == key]
    if not found:
        raise ActreError(f"{study_file} has no run {key!r}")
    run, part = found[0]
    make(run, study.name, folder, command, part.fingerprint)


def make(run: Run, study: str, folder: Path, command: str, wanted: str | None = None) -> None:
    """Train (unless the arm is untrained), evaluate, then write FOLDER/record.json.

    wanted: the untrained policy's fingerprint; None accepts any. Raises ActreError for another one.
    """
    from actre.adapters import fingerprint

    folder.mkdir(parents=True, exist_ok=True)
    untrained = base_policy(run.config)
    model = fingerprint(untrained.model)
    if wanted not in (None, model):
        raise ActreError(
            f"{run.config.model.name} is not the policy this study was fixed on: its weights' fingerprint is {model}, "
            f"and the study file names {wanted}. For a new policy, give the study a new name and the new fingerprint"
        )
    policy, trouble = _trained(run, folder) if run.trained else (untrained, None)
    asked = run.config.evaluation
    played = [(panel, order) for panel in asked.panels for order in asked.orders]
    evaluate_into(policy, run.config, folder, "after", played, resume=True)
    line = record(run, study, folder, command=command, model=model, trouble=trouble)
    part = folder / f"{RECORD}.part"
    part.write_text(json.dumps(line) + "\n", encoding="utf-8")
    os.replace(part, folder / RECORD)


def _trained(run: Run, folder: Path) -> tuple[Any, str | None]:
    """The trained policy and None; if training stopped at a NaN or infinity, the last checkpoint's and the error.

    Without a checkpoint the run counts as the untrained policy. No run is dropped or repeated with another seed.
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
    file, key, folder, command = sys.argv[1:5]
    return as_process(lambda: run_job(Path(file), key, Path(folder), command))


if __name__ == "__main__":
    sys.exit(_main())
