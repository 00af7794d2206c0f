"""One job of a measurement of preconditions, in a process of its own; OUT/JOB.json exists if and only if it is done.

    python -m actre.study.preconditions.jobs JOB OUT

An interrupted training resumes from its last checkpoint.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from actre.config import RunConfig, StageConfig, derive_seed, load_config
from actre.entropy.expert_scores import expert_scores
from actre.entropy.preconditions import TRAINED
from actre.policies import Policy
from actre.rollout import make_envs, must_be_whole
from actre.rollout.evaluate import panel_env, panel_games, play
from actre.study.onerun import as_process, base_policy, diagnose_into
from actre.study.preconditions.budget import (
    CONTRACTION,
    START,
    Budget,
    Result,
    Training,
    load_budget,
    result_file,
    training,
)
from actre.types import Flag, Order, Trajectory

PANEL = "unseen"
"""The games on which success and the expert's action are measured; none is trained on."""
_NOT_ADMISSIBLE: set[Flag] = {"inadmissible", "no_action"}


def run_job(job: str, out: Path) -> None:
    """Do one job in the folder `out`, in this process. Raises ActreError for an unknown job."""
    config, budget = load_config(out / "config.json"), load_budget(out)
    if job == CONTRACTION:
        found = _contraction(config, out)
    elif job == START:
        found = start(base_policy(config), config, budget)
    else:
        found = trained(training(job, budget), config, budget, out)
    part = out / f".{job}.part"
    part.write_text(json.dumps({**found, "cpu_s": round(time.process_time(), 1)}) + "\n", encoding="utf-8")
    os.replace(part, result_file(out, job))
    shutil.rmtree(out / job / "checkpoints", ignore_errors=True)  # not earlier: an interrupted job resumes from them


def _contraction(config: RunConfig, out: Path) -> Result:
    found = diagnose_into(config, out)
    ends = {name: list(getattr(found.contraction, name)) for name in ("lower", "upper")}
    return {"verdict": found.verdict, **ends, "states": len(found.states), "thoughts": found.settings.thoughts}


def start(policy: Any, config: RunConfig, budget: Budget) -> Result:
    """The untrained policy: the panel, played once for each seed, and the expert's action."""
    from actre.adapters import fingerprint

    played = [_success(policy, replace(config, seed=derive_seed(config.seed, "start", k))) for k in range(budget.seeds)]
    return {
        "fingerprint": fingerprint(policy.model),
        "games": panel_games(config, PANEL),
        **{name: {o: [one[name][o] for one in played] for o in TRAINED} for name in ("won", "admissible")},
        **score(policy, config, budget),
    }


def trained(one: Training, config: RunConfig, budget: Budget, out: Path) -> Result:
    """Train one order alone, then play and score both orders."""
    folder = out / one.job
    own = replace(config, seed=derive_seed(config.seed, "preconditions", one.way, one.seed))
    policy, trouble = (_by_sft if one.way == "sft" else _by_rl)(one.order, own, budget, folder)
    found = {**_success(policy, own), **score(policy, config, budget), "trouble": trouble}
    return found


def score(policy: Policy, config: RunConfig, budget: Budget) -> Result:
    """The expert's action at the same states for every policy, and the states' games."""
    from actre.organisms.expert_play import expert_states

    env = panel_env(config, PANEL)
    states = expert_states(env, panel_games(config, PANEL), budget.states, derive_seed(config.seed, "expert states"))
    found = expert_scores(policy, states, config, thoughts=budget.thoughts, seed=config.seed)
    scores = {name: [round(x, 6) for x in values] for name, values in found._asdict().items()}
    return {"state_games": [state.probe.game for state in states], "scores": scores}


def _success(policy: Policy, config: RunConfig) -> Result:
    """Each game once in both orders: whether it was won, and the share of admissible actions."""
    envs = make_envs(panel_env(config, PANEL), config.evaluation.batch)
    seed = derive_seed(config.seed, "played")
    won: dict[Order, list[int]] = {}
    admissible: dict[Order, list[float]] = {}
    for order in TRAINED:
        played = play(policy, envs, PANEL, order=order, config=config, seed=seed).trajectories
        must_be_whole(played)
        won[order] = [int(t.won) for t in played]
        admissible[order] = [round(_admissible(t), 4) for t in played]
    return {"won": won, "admissible": admissible}


def _admissible(played: Trajectory) -> float:
    return float(np.mean([not _NOT_ADMISSIBLE & set(step.flags) for step in played.steps])) if played.steps else 0.0


def _by_rl(order: Order, config: RunConfig, budget: Budget, folder: Path) -> tuple[Any, str | None]:
    """The policy after reinforcement in one order; after a NaN or infinity its last checkpoint, and the error."""
    from actre.adapters import load_policy
    from actre.policies.hf import HFPolicy
    from actre.policies.models import add_lora, load
    from actre.training import NotFiniteError, train
    from actre.training.checkpoints import latest

    config = replace(config, stages=(StageConfig(order, budget.iterations),), env_steps=None)
    resume = (folder / "config.json").exists()
    base, tokenizer = load(config.model)
    model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    try:
        train(config, folder, model=model, tokenizer=tokenizer, progress=False, resume=resume)
    except NotFiniteError as error:
        return load_policy(config, latest(folder / "checkpoints")), str(error)
    return HFPolicy(model, tokenizer), None


def _by_sft(order: Order, config: RunConfig, budget: Budget, folder: Path) -> tuple[Any, str | None]:
    """The policy after supervised training on the expert's episodes in one order."""
    from actre.envs.worlds import list_games
    from actre.organisms.expert_play import demonstrations, expert_for
    from actre.organisms.fine_tune import WarmConfig, fine_tune
    from actre.organisms.warmstart_rows import prompts_of, warm_rows
    from actre.policies.hf import HFPolicy
    from actre.policies.models import add_lora, load

    base, tokenizer = load(config.model)
    model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    games = list_games(config.env.name, config.env.train)
    demos = demonstrations(config.env, games, budget.episodes, config.seed, expert_for(config.model.name))
    prompt = replace(config.prompt, tags="first")
    rows = warm_rows(
        demos,
        prompts_of(tokenizer),
        prompt,
        per_episode=budget.per_episode,
        longest=budget.longest,
        seed=config.seed,
        orders=(order,),
        wordings=(prompt.wording,),
    ).rows
    warm = WarmConfig(
        **{name: getattr(budget, name) for name in ("steps", "batch", "micro_batch", "learning_rate", "longest")},
        products=config.optim.products,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps({"warm": asdict(warm), "run": asdict(config)}) + "\n")
    fine_tune(config, warm, rows, folder, model, tokenizer, progress=False)
    model.eval()
    return HFPolicy(model, tokenizer), None


def _main() -> int:
    return as_process(lambda: run_job(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    sys.exit(_main())
