"""`actre diagnose`: measure a policy's action entropies in both orders at the same states.

Knows how to ask and how to show; diagnose.py does the work and is imported when the command runs.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from actre.config import ENV_NAMES, preset, save_config

if TYPE_CHECKING:
    from actre.diagnose import Diagnosis

_ROWS = (
    ("act_first", "H(action), act-first, exact"),
    ("think_first_lower", "H(action), think-first, at least"),
    ("think_first_upper", "H(action), think-first, at most"),
    ("conditional", "  of it after the thought (not comparable with act-first)"),
    ("information", "  of it what the thought tells about the action"),
    ("equal_n_act_first", "from K sampled actions, act-first"),
    ("equal_n_think_first", "from K sampled actions, think-first"),
    ("token_thought", "another quantity: entropy a thought token"),
    ("token_action_act_first", "another quantity: entropy an action token, act-first"),
    ("query_act_first", "another quantity: what it searches for, act-first, sampled"),
    ("query_think_first", "another quantity: what it searches for, think-first, sampled"),
)
_SHARES = (
    ("other_act_first", "probability outside the listed actions, act-first"),
    ("other_think_first", "probability outside the listed actions, think-first"),
    ("unfinished", "thoughts that never close"),
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `diagnose` to the command line."""
    parser = subparsers.add_parser(
        "diagnose", help="measure a policy's action entropy, act-first and think-first, at the same states"
    )
    add_policy_arguments(parser)
    parser.add_argument("--probes", type=Path, help="states made by `actre probes` (default: the shipped ones)")
    parser.add_argument("--states", type=int, help="use the first so many states (default: the preset's)")
    parser.add_argument("--thoughts", type=int, help="K, thoughts sampled a state (default: the preset's)")
    parser.add_argument("--wording", choices=("shared", "instructed"), default="shared")
    parser.add_argument(
        "--force-action-tag", action="store_true", help="write <action> after the thought, for models that do not"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/diagnosis"))
    parser.set_defaults(run=_diagnose)


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """--preset, --env, --model, --adapter, --seed."""
    parser.add_argument("--preset", default="tiny", help="settings by name (default: tiny)")
    add_env_argument(parser)
    parser.add_argument("--model", help="tiny, smollm2, a hub name or a folder (default: the preset's)")
    parser.add_argument("--adapter", type=Path, help="a folder with a trained adapter for that model")
    parser.add_argument("--seed", type=int, default=0)


def add_env_argument(parser: argparse.ArgumentParser) -> None:
    """--env."""
    parser.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="what is played (default: alfworld)")


def _diagnose(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.diagnose import diagnose, save_diagnosis
    from actre.evaluate import load_policy
    from actre.probes import first_probes, load_probes, probes_for

    config = replace(preset(args.preset, args.env), seed=args.seed)
    config = replace(config, model=replace(config.model, name=args.model or config.model.name))
    thoughts = args.thoughts or config.probe.diagnosis_thoughts
    if args.probes:
        probes = load_probes(args.probes)
        probes = first_probes(probes, args.states or len(probes))
    else:
        states = args.states or config.probe.states
        config = replace(config, probe=replace(config.probe, states=states, thoughts=thoughts))
        probes = probes_for(config)
    args.out.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(probes), unit="state", desc="diagnosing") as bar:
        found = diagnose(
            load_policy(config, args.adapter),
            probes,
            config,
            thoughts=thoughts,
            seed=args.seed,
            out=args.out / "diagnosis.jsonl",
            wording=args.wording,
            force_action_tag=args.force_action_tag,
            progress=bar.update,
        )
    save_diagnosis(args.out / "diagnosis.json", found)
    save_config(config, args.out / "config.json")
    print(described(found))
    print(f"written: {args.out / 'diagnosis.json'}")
    return 0


def described(found: "Diagnosis") -> str:
    """A diagnosis as a table and its verdict, for a terminal."""
    s = found.settings
    games = len({state.game for state in found.states})
    lines = [
        f"{s.model}: {s.states} states on {games} games, K = {s.thoughts} thoughts, temperature {s.temperature:g}, "
        f"{s.wording} prompt",
        "nats, mean over the states [95 % interval over games]",
    ]
    lines += [f"  {label:58} {found.summary[name]}" for name, label in _ROWS if name in found.summary]
    lines += [f"  {label:58} {found.summary[name]}" for name, label in _SHARES if name in found.summary]
    return "\n".join([*lines, found.words])
