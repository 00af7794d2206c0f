"""The cost of scoring actions: all candidates in one pass or by plain forwards, and its share of training time.

    python benchmarks/scoring.py measure [--models tiny smollm2]   # writes data/results/bench_scoring.json
    actre train --preset tiny --stages act_first:10 --out runs/cost
    python benchmarks/scoring.py training runs/cost                # adds the measure's share of a run's time
    python benchmarks/scoring.py collapse                          # adds the cost of what shows a collapse
    python benchmarks/scoring.py page                              # writes docs/scoring.md from that file

CPU time, one thread, all in one process and by turns, since the machine may be shared. The state is taken from a game:
the last 300 tokens of a prompt on a full-size game, and 30 of its admissible actions. No cache is kept between
measurements.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

# Python puts this file's folder first, where alfworld.py, the benchmark, would hide the package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from actre.config import ModelConfig, StageConfig, data_folder, load_config  # noqa: E402
from actre.config.presets import preset  # noqa: E402
from actre.entropy.diagnose import diagnose, entropy_record  # noqa: E402
from actre.entropy.probes import load_probes, probes_for  # noqa: E402
from actre.policies.hf import HFPolicy  # noqa: E402
from actre.policies.models import load  # noqa: E402
from actre.policies.smollm2 import smollm2_source  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402
from actre.types import ActreError, read_jsonl  # noqa: E402

ACTIONS, PREFIX_TOKENS = 30, 300
PANEL_GAMES = 4
ASKED_RATIO, ASKED_SHARE = 8.0, 0.10
REPEATS = {"tiny": 15, "smollm2": 1}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "scoring.md"


def record_file() -> Path:
    """Where the figures lie."""
    return data_folder() / "results" / "bench_scoring.json"


class State(NamedTuple):
    """A prefix of PREFIX_TOKENS ids and ACTIONS candidates."""

    prefix: tuple[int, ...]
    candidates: list[list[int]]


def states(policy: HFPolicy, name: str, n: int) -> list[State]:
    """n states of full-size games that have enough actions and a long enough prompt for this policy."""
    renderer = policy.renderer(preset(name).prompt, "act_first")
    found = []
    for probe in load_probes(data_folder() / "probes" / "full_unseen.jsonl.gz"):
        prompt = renderer.probe_prompt(probe.observations, probe.actions)
        listed = probe.state.admissible[:ACTIONS]
        if len(prompt) >= PREFIX_TOKENS and len(listed) == ACTIONS:
            found.append(State(prompt[-PREFIX_TOKENS:], renderer.candidates(listed, after_thought=False)))
    if len(found) < n:
        raise ActreError(f"only {len(found)} shipped states have {ACTIONS} actions and {PREFIX_TOKENS} tokens")
    return found[:n]


def one_by_one(model: Any, state: State) -> np.ndarray:
    """(A,) scores by one plain forward a candidate; logits of the candidate's own tokens only."""
    return np.array([_row_scores(model, state.prefix, [candidate])[0] for candidate in state.candidates])


def in_one_batch(model: Any, state: State) -> np.ndarray:
    """(A,) scores by one padded forward with a row a candidate."""
    return _row_scores(model, state.prefix, state.candidates)


def _row_scores(model: Any, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> np.ndarray:
    longest = max(map(len, candidates))
    ids = torch.tensor([[*prefix, *c, *[0] * (longest - len(c))] for c in candidates])
    with torch.inference_mode():
        # padding stands behind, where causal attention does not look
        logits = model(ids, logits_to_keep=longest + 1, use_cache=False).logits[:, :-1].float()
        logps = torch.log_softmax(logits, dim=-1)
    return np.array([sum(logps[row, i, t].item() for i, t in enumerate(c)) for row, c in enumerate(candidates)])


def compare(name: str) -> dict[str, Any]:
    """CPU seconds of the three ways, state by state in turn, and how far their scores are apart."""
    policy = HFPolicy(*load(ModelConfig(name=name)))
    chosen = states(policy, name, REPEATS[name])

    def tree(state: State) -> np.ndarray:
        policy.reset()
        return policy.action_logprobs([state.prefix], [state.candidates])[0]

    ways: dict[str, Callable[[State], np.ndarray]] = {
        "tree": tree,
        "one_by_one": lambda state: one_by_one(policy.model, state),
        "one_batch": lambda state: in_one_batch(policy.model, state),
    }
    for way in ways.values():
        way(State(chosen[0].prefix, chosen[0].candidates[:2]))  # warm up
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    apart = 0.0
    for state in chosen:
        scores = {}
        for way, score in ways.items():
            start = time.process_time()
            scores[way] = score(state)
            seconds[way].append(time.process_time() - start)
        apart = max(apart, *(float(np.abs(scores["tree"] - scores[way]).max()) for way in ways))
    ratios = {
        way: [slow / fast for slow, fast in zip(seconds[way], seconds["tree"], strict=True)]
        for way in ("one_by_one", "one_batch")
    }
    return {
        "dtype": str(policy.model.dtype).removeprefix("torch."),
        "source": smollm2_source() if name == "smollm2" else "data/tiny/neutral",
        "states": len(chosen),
        "cpu_ms": {way: 1e3 * statistics.median(values) for way, values in seconds.items()},
        "ratio": {way: {"median": statistics.median(r), "least": min(r)} for way, r in ratios.items()},
        "largest_difference_nats": apart,
    }


def measure(models: Sequence[str]) -> dict[str, Any]:
    """The scoring figures of these models."""
    torch.set_num_threads(1)
    return {
        "settings": {"actions": ACTIONS, "prefix_tokens": PREFIX_TOKENS, "threads": 1},
        "machine": {"python": platform.python_version(), "cpu": processor(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "numpy")},
        "scoring": {name: compare(name) for name in models},
    }


def training(run: Path) -> dict[str, Any]:
    """The measurement's share of a run: its seconds against those of the iterations since the last one.

    Raises ActreError for a run that was not measured at its preset's intervals.
    """
    config = load_config(run / "config.json")
    entropy, metrics = (list(read_jsonl(run / f"{name}.jsonl")) for name in ("entropy", "metrics"))
    spans = []
    for before, after in itertools.pairwise(entropy):
        inside = [m["seconds"] for m in metrics if before["iteration"] < m["iteration"] <= after["iteration"]]
        if len(inside) == config.probe.every:
            spans.append({"order": after["order"], "measure_s": after["measure_s"], "iterations_s": sum(inside)})
    if not spans:
        raise ActreError(f"{run} has no {config.probe.every} iterations between two measurements: train longer")
    return {
        "preset": config.preset,
        "seed": config.seed,
        "every": config.probe.every,
        "states": config.probe.states,
        "thoughts": config.probe.thoughts,
        "spans": spans,
        "largest_share": max(span["measure_s"] / span["iterations_s"] for span in spans),
    }


def collapse(iterations: int = 2) -> dict[str, Any]:
    """CPU seconds of an iteration, of a measurement of action entropy, and of what shows a collapse, in one process.

    Trains the tiny policy at its preset's sizes, think-first, and measures after each iteration.
    """
    from actre.entropy.monitor import collapse_measure
    from actre.training import train

    base = preset("tiny")
    alone = replace(base.probe, every=1, retrieval_states=0, panel_games=0)
    config = replace(base, stages=(StageConfig("think_first", iterations),), probe=alone)
    probes = probes_for(config)
    parts = {
        "retrieval": replace(base.probe, panel_games=0),
        "panel": replace(base.probe, retrieval_states=0, panel_games=PANEL_GAMES),
    }
    measures = {name: collapse_measure(replace(config, probe=probe), probes) for name, probe in parts.items()}
    spent: dict[str, list[float]] = {name: [] for name in ("iteration", "entropy", *parts)}
    last = 0.0

    def measure(policy: Any, done: int, stage: int) -> dict[str, Any]:
        nonlocal last
        began = time.process_time()
        if done:
            spent["iteration"].append(began - last)
        found = entropy_record(diagnose(policy, probes, config, thoughts=config.probe.thoughts, seed=done))
        spent["entropy"].append(time.process_time() - began)
        for name, part in measures.items():
            policy.reset()
            began = time.process_time()
            part(policy, done)
            spent[name].append(time.process_time() - began)
        last = time.process_time()
        return found

    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run", measure=measure, progress=False)
    means = {name: statistics.mean(seconds) for name, seconds in spent.items()}
    every = base.probe.every
    return {
        **{"preset": base.preset, "iterations": iterations, "every": every, "cpu_s": means},
        **{"retrieval_states": base.probe.retrieval_states, "retrieval_thoughts": base.probe.retrieval_thoughts},
        **{"panel_games": PANEL_GAMES, "panel_episodes": base.probe.panel_episodes},
        "share": {name: means[name] / (every * means["iteration"]) for name in ("entropy", *parts)},
    }


def page() -> str:
    """The page's text, from the record alone."""
    record = json.loads(record_file().read_text())
    made = ", ".join(f"{name} {v}" for name, v in record["versions"].items())
    lines = [
        "# What measuring costs",
        "",
        "Made by `python benchmarks/scoring.py page` from data/results/bench_scoring.json; do not edit.",
        f"{record['machine']['cpu']}, one thread, CPU time; {made}.",
        "",
        "## Scoring all actions of a state",
        "",
        f"{ACTIONS} admissible actions of a full-size game after a {PREFIX_TOKENS}-token prefix, float32, no",
        "cache. *Tree*: the prefix once, then the candidates as a token tree under its own mask",
        "(`policy.action_logprobs`). *One by one*: one plain forward for each candidate. *One batch*: one forward",
        f"with a row for each. Medians over states. The target was {ASKED_RATIO:g} times faster than one by one.",
        "",
        "| model | tree, ms | one by one, ms | one batch, ms | one by one / tree (least) | one batch / tree (least) "
        "| scores differ by at most, nats |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in record["scoring"].items():
        times = " | ".join(f"{row['cpu_ms'][way]:.1f}" for way in ("tree", "one_by_one", "one_batch"))
        ratios = " | ".join(
            f"{row['ratio'][way]['median']:.1f} ({row['ratio'][way]['least']:.1f})"
            for way in ("one_by_one", "one_batch")
        )
        lines.append(f"| {name} ({row['states']} states) | {times} | {ratios} | {row['largest_difference_nats']:.1e} |")
    return "\n".join([*lines, "", *_training_lines(record["training"]), *_collapse_lines(record["collapse"])]) + "\n"


def _training_lines(cost: dict[str, Any]) -> list[str]:
    lines = [
        "## Measuring during training",
        "",
        f"Every {cost['every']} iterations the trainer measures {cost['states']} fixed states with",
        f"K = {cost['thoughts']} thoughts (preset {cost['preset']}, seed {cost['seed']}); entropy.jsonl",
        f"records the seconds as `measure_s`. The target: less than {100 * ASKED_SHARE:g} % of the iterations' time.",
        "",
        f"| {cost['every']} iterations of | iterations, s | measurement, s | share |",
        "|---|---|---|---|",
    ]
    for span in cost["spans"]:
        share = 100 * span["measure_s"] / span["iterations_s"]
        order = span["order"].replace("_", "-")
        lines.append(f"| {order} | {span['iterations_s']:.1f} | {span['measure_s']:.1f} | {share:.1f} % |")
    return lines


def _collapse_lines(cost: dict[str, Any]) -> list[str]:
    names = {
        "entropy": "action entropy, as above",
        "retrieval": f"thoughts traced back to their state: {cost['retrieval_states']} states, "
        f"{cost['retrieval_thoughts']} thoughts each (the default)",
        "panel": f"every order on {cost['panel_games']} games, {cost['panel_episodes']} episodes each "
        f"(`probe.panel_games={cost['panel_games']}`; off by default)",
    }
    rows = [
        f"| {words} | {cost['cpu_s'][name]:.1f} | {100 * cost['share'][name]:.1f} % |" for name, words in names.items()
    ]
    return [
        "",
        "## Seeing a collapse",
        "",
        "What a measurement takes beside an iteration of training, in one process and by turns: "
        f"{cost['iterations']} think-first",
        f"iterations of the preset {cost['preset']}, {cost['cpu_s']['iteration']:.1f} CPU seconds each",
        f"on a busy machine. Share: of {cost['every']} iterations, with one measurement between them. The groups'",
        "variance and distinct trajectories are counted from the episodes played anyway.",
        "",
        "| measured | CPU seconds | share of training |",
        "|---|---|---|",
        *rows,
        "",
        f"What shows a collapse takes {100 * (cost['share']['retrieval'] + cost['share']['panel']):.1f} % together,",
        f"all three {100 * sum(cost['share'].values()):.1f} %; a panel costs in proportion to its episodes.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("measure").add_argument("--models", nargs="+", default=list(REPEATS), choices=list(REPEATS))
    commands.add_parser("training").add_argument("run", type=Path)
    commands.add_parser("collapse")
    commands.add_parser("page")
    args = parser.parse_args()
    if args.command == "page":
        PAGE.write_text(page())
        print(PAGE)
        return
    path = record_file()
    old = json.loads(path.read_text()) if path.exists() else {}
    if args.command == "collapse":
        new = {"collapse": collapse()}
    else:
        new = measure(args.models) if args.command == "measure" else {"training": training(args.run)}
    if args.command == "measure":
        new["scoring"] = {**old.get("scoring", {}), **new["scoring"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**old, **new}, indent=1) + "\n")
    print(json.dumps(new, indent=1))


if __name__ == "__main__":
    main()
