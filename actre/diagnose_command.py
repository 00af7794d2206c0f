"""`actre diagnose`: measure a policy's action entropies in both orders at the same states.

Knows how to ask and how to show; diagnose.py does the work and is imported when the command runs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actre.config import RunConfig, derive_seed, preset, save_config
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.diagnose import Diagnosis
    from actre.probes import Probe

_PILOT_STATES = 12
_PILOT_THOUGHTS = 8

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
    parser.add_argument(
        "--thoughts",
        type=_auto_or_number,
        help="K, thoughts sampled a state; auto (the default): a pilot and the calibration's table choose it",
    )
    parser.add_argument("--width", type=float, help="with auto: the bracket wanted, nats (default: 0.1)")
    parser.add_argument("--most", type=int, default=64, help="with auto: the most thoughts a state (default: 64)")
    parser.add_argument("--wording", choices=("shared", "instructed"), default="shared")
    parser.add_argument(
        "--force-action-tag", action="store_true", help="write <action> after the thought, for models that do not"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/diagnosis"))
    parser.set_defaults(run=_diagnose)


def _auto_or_number(text: str) -> int | None:
    """None for auto. Raises ValueError, which argparse shows, for what is neither."""
    return None if text == "auto" else int(text)


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """--preset, --model, --adapter, --seed."""
    parser.add_argument("--preset", default="tiny", help="settings by name (default: tiny)")
    parser.add_argument("--model", help="tiny, smollm2, a hub name or a folder (default: the preset's)")
    parser.add_argument("--adapter", type=Path, help="a folder with a trained adapter for that model")
    parser.add_argument("--seed", type=int, default=0)


def _diagnose(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.diagnose import diagnose, save_diagnosis
    from actre.evaluate import load_policy
    from actre.probes import first_probes, load_probes, probes_for

    config = replace(preset(args.preset), seed=args.seed)
    config = replace(config, model=replace(config.model, name=args.model or config.model.name))
    if args.probes:
        probes = load_probes(args.probes)
        probes = first_probes(probes, args.states or len(probes))
    else:
        states = args.states or config.probe.states
        config = replace(config, probe=replace(config.probe, states=states))
        probes = probes_for(config)
    args.out.mkdir(parents=True, exist_ok=True)
    policy = load_policy(config, args.adapter)
    thoughts = args.thoughts if args.thoughts is not None else _chosen(args, policy, probes, config)
    config = replace(config, probe=replace(config.probe, thoughts=thoughts))
    with tqdm(total=len(probes), unit="state", desc="diagnosing") as bar:
        found = diagnose(
            policy,
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


def _chosen(args: argparse.Namespace, policy: Any, probes: "Sequence[Probe]", config: RunConfig) -> int:
    """K from a pilot on the first states and the calibration's table; says how it was chosen.

    The pilot's thoughts are drawn with a seed of their own and never used again: choosing K by what they show then
    leaves the diagnosis's own numbers unbiased.
    """
    from actre.diagnose import diagnose
    from actre.thoughts import WIDTH_NATS, Pilot, load_curves, thoughts_for

    width_wanted = WIDTH_NATS if args.width is None else args.width
    if not (width_wanted > 0 and args.most >= 2):
        raise ActreError(f"--width {width_wanted:g} --most {args.most}: the width is above 0 nats, thoughts at least 2")
    curves = load_curves()
    states = probes[:_PILOT_STATES]
    found = diagnose(
        policy,
        states,
        config,
        thoughts=_PILOT_THOUGHTS,
        seed=derive_seed(args.seed, "pilot"),
        out=args.out / "pilot.jsonl",
        wording=args.wording,
        force_action_tag=args.force_action_tag,
    )
    width = sum(state.decomposition.width for state in found.states) / len(found.states)
    actions = sum(len(state.actions) for state in found.states) / len(found.states)
    pilot = Pilot(_PILOT_THOUGHTS, width)
    least = min(_PILOT_THOUGHTS, args.most)
    choice = thoughts_for(width_wanted, actions, pilot, curves, at_least=least, at_most=args.most)
    print(f"pilot on {len(states)} states: {choice.words}")
    return choice.thoughts


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
