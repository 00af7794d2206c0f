"""One arm from its beginning to its end in a folder: trained, exported, checked, evaluated.

Knows a folder's files; not which arms are compared, nor that several run at once. Heavy libraries are imported when
something runs.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actre.config import RunConfig, derive_seed
from actre.policies import Policy
from actre.rollout.evaluate import When
from actre.types import ActreError, Order, write_trajectories

Evaluations = Sequence[tuple[str, Order]]
"""What is played: panels, each in an order."""


def base_policy(config: RunConfig) -> Any:
    """The untrained policy."""
    from actre.adapters import load_policy

    return load_policy(config)


def trained_policy(config: RunConfig, folder: Path) -> Any:
    """Train in `folder`, or go on from its last checkpoint; returns the trained policy.

    The exported adapter is reloaded and compared; adapter_check.json tells. Raises ActreError where it is not the same.
    One that changes nothing, for no episode had a signal, is a result like any other.
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
    # on the base in the type it was trained in
    check = adapters.check(result.adapter, model, tokenizer, base=replace(config.model, loader="plain"))
    (folder / "adapter_check.json").write_text(json.dumps(check._asdict(), indent=1) + "\n")
    if not check.same_as_trained:
        raise ActreError(f"the exported adapter {result.adapter} is not the trained policy: {check}")
    return HFPolicy(model, tokenizer)


def evaluate_into(policy: Policy, config: RunConfig, folder: Path, when: When, evaluations: Evaluations) -> None:
    """Play the panels into FOLDER/evaluation.jsonl, whole episodes into its trajectories/."""
    from actre.rollout import make_envs
    from actre.rollout.evaluate import play, save_evaluation

    envs = make_envs(config.env, config.evaluation.batch)
    trajectories = []
    for panel, order in evaluations:
        played = play(policy, envs, panel, order=order, config=config, seed=derive_seed(config.seed, when))
        save_evaluation(folder / "evaluation.jsonl", played.results, when)
        trajectories += [replace(t, meta={**t.meta, "panel": panel, "when": when}) for t in played.trajectories]
    write_trajectories(folder / "trajectories" / f"eval_{when}.jsonl.gz", trajectories)
