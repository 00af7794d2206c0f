"""One run from start to end in its folder: train, export, check, evaluate. Shared by the quickstart and the studies.

Heavy libraries are imported when a function needs them.
"""

import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actre.config import RunConfig, derive_seed
from actre.policies import Policy
from actre.rollout.evaluate import When
from actre.types import ActreError, Order, read_trajectories, write_trajectories

if TYPE_CHECKING:
    from actre.entropy.diagnose import Diagnosis

Evaluations = Sequence[tuple[str, Order]]
"""Panels to play, each in an order."""


def base_policy(config: RunConfig) -> Any:
    """The untrained policy."""
    from actre.adapters import load_policy

    return load_policy(config)


def diagnose_into(config: RunConfig, folder: Path) -> "Diagnosis":
    """Diagnose the untrained policy on the settings' states; FOLDER/diagnosis.jsonl is continued if it is there."""
    from actre.entropy.diagnose import diagnose, save_diagnosis
    from actre.entropy.probes import probes_for

    diagnosis = diagnose(
        base_policy(config),
        probes_for(config),
        config,
        thoughts=config.probe.diagnosis_thoughts,
        seed=derive_seed(config.seed, "diagnosis"),
        out=folder / "diagnosis.jsonl",
    )
    save_diagnosis(folder / "diagnosis.json", diagnosis)
    return diagnosis


def trained_policy(config: RunConfig, folder: Path) -> Any:
    """Train in `folder`, or resume from its last checkpoint; returns the trained policy.

    The exported adapter is reloaded and compared with the policy; adapter_check.json has the result. Raises ActreError
    if they differ. An adapter that changes nothing, because no episode gave a signal, is a valid result.
    """
    from actre import adapters
    from actre.entropy.diagnose import training_measure
    from actre.policies.hf import HFPolicy
    from actre.policies.models import add_lora, load
    from actre.training import train

    resume = (folder / "config.json").exists()
    base, tokenizer = load(config.model)
    model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    measure = training_measure(config)
    result = train(config, folder, model=model, tokenizer=tokenizer, measure=measure, progress=False, resume=resume)
    # on the base in the number type of training
    check = adapters.check(result.adapter, model, tokenizer, base=replace(config.model, loader="plain"))
    (folder / "adapter_check.json").write_text(json.dumps(check._asdict(), indent=1) + "\n")
    if not check.same_as_trained:
        raise ActreError(f"the exported adapter {result.adapter} is not the trained policy: {check}")
    return HFPolicy(model, tokenizer)


def evaluate_into(
    policy: Policy,
    config: RunConfig,
    folder: Path,
    when: When,
    evaluations: Evaluations,
    *,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Play the panels; results go to FOLDER/evaluation.jsonl, whole episodes to FOLDER/trajectories/.

    resume: what the folder has of this moment is of the same policy and is not played again. progress: called with the
    number of newly finished episodes.
    """
    from actre.rollout import make_envs
    from actre.rollout.evaluate import load_evaluation, play, save_evaluation

    results, episodes = folder / "evaluation.jsonl", folder / "trajectories" / f"eval_{when}.jsonl.gz"
    there = load_evaluation(results, when) if resume and results.exists() else []
    done = {(one.panel, one.order) for one in there}
    trajectories = read_trajectories(episodes) if done else []
    trajectories = [t for t in trajectories if (t.meta["panel"], t.order) in done]
    envs = make_envs(config.env, config.evaluation.batch)
    seed = derive_seed(config.seed, when)
    for panel, order in evaluations:
        if (panel, order) in done:
            continue
        played = play(policy, envs, panel, order=order, config=config, seed=seed, progress=progress)
        trajectories += [replace(t, meta={**t.meta, "panel": panel, "when": when}) for t in played.trajectories]
        write_trajectories(episodes, trajectories)
        save_evaluation(results, played.results, when)  # last: a panel with results has its episodes too


def env_steps_so_far(folder: Path) -> int:
    """Environment steps of the run in this folder; 0 before its first iteration."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return 0
    *lines, _ = path.read_text().split("\n")  # after the last newline: nothing, or an interrupted line
    return json.loads(lines[-1])["env_steps"] if lines else 0


def as_process(job: Callable[[], None]) -> int:
    """Do a job as the program of this process; returns the exit code. An ActreError is printed."""
    # a program started in a shell's background ignores Ctrl-C; the parent stops this one by that signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        job()
    except ActreError as error:
        print(f"actre: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
