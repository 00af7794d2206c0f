"""`actre diagnose`: measure a policy's action entropy in both orders at the same states."""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from actre.cli.measure_into import keep_settings, must_take
from actre.cli.model_preset import preset_name
from actre.config import ENV_HELP, RunConfig, derive_seed, load_config
from actre.config.checks import Nats, Natural, Positive, Seed, Several, of
from actre.config.model_names import settle
from actre.config.paths import place
from actre.config.presets import preset
from actre.runtime import outputs
from actre.runtime.budget import Budget
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.entropy.diagnose import Diagnosis, Part
    from actre.entropy.probes import Probe
    from actre.stats import Interval

Wording = Literal["shared", "instructed"]
_WORDINGS = get_args(Wording)
_MOSTLY_OUTSIDE = 0.5
_CAREFUL = (
    "Warning: much of the probability lies outside the listed actions. That counts as one outcome, so the result says "
    "little about which action is chosen"
)
_FORCE = "for a model that writes no tags by itself use --force-action-tag"
_PILOT_STATES = 12
_PILOT_THOUGHTS = 8
_STARTED = ("pilot.jsonl", "diagnosis.jsonl", "diagnosis_instructed.jsonl")
"""Files that an interrupted diagnosis may leave before it writes its settings."""

_ROWS = (
    ("act_first", "H(action), act-first, exact"),
    ("think_first_lower", "H(action), think-first, at least"),
    ("think_first_upper", "H(action), think-first, at most"),
    ("conditional", "  given the thought (not comparable with act-first)"),
    ("information", "  mutual information of thought and action"),
    ("no_think", "H(action), no-think, exact (its prompt asks for no thought)"),
    ("equal_n_act_first", "from K sampled actions, act-first"),
    ("equal_n_think_first", "from K sampled actions, think-first"),
    ("token_thought", "another quantity: entropy per thought token"),
    ("token_action_act_first", "another quantity: entropy per action token, act-first"),
    ("token_action_think_first", "another quantity: entropy per action token, think-first"),
    ("query_act_first", "another quantity: entropy of search queries, act-first, sampled"),
    ("query_think_first", "another quantity: entropy of search queries, think-first, sampled"),
)
_LISTED = (
    ("listed_act_first", "act-first"),
    ("listed_lower", "think-first, at least"),
    ("listed_upper", "think-first, at most"),
)
_SHARES = (
    ("other_act_first", "probability outside the listed actions, act-first"),
    ("other_think_first", "probability outside the listed actions, think-first"),
    ("other_no_think", "probability outside the listed actions, no-think"),
    ("unfinished", "thoughts that never reach an action"),
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `diagnose` to the command line."""
    parser = subparsers.add_parser(
        "diagnose", help="measure a policy's action entropy, act-first and think-first, at the same states"
    )
    add_policy_arguments(parser)
    parser.add_argument(
        "--probes", type=place, help="file of states made by `actre probes` (default: the shipped ones)"
    )
    parser.add_argument("--states", type=of(Several), help="number of states, the first ones (default: the preset's)")
    parser.add_argument(
        "--thoughts",
        type=_auto_or_number,
        help="thoughts sampled per state (K); auto (the default) chooses K by a pilot and the calibration table",
    )
    parser.add_argument("--width", type=of(Nats), help="with auto: target width of the bracket, in nats (default: 0.1)")
    parser.add_argument("--max-thoughts", type=of(Several), default=64, help="with auto: largest K (default: 64)")
    parser.add_argument(
        "--wording",
        nargs="+",
        choices=_WORDINGS,
        default=list(_WORDINGS),
        help="shared: one prompt for both orders; instructed: the prompt describes the order (default: both, in turn)",
    )
    parser.add_argument(
        "--force-action-tag",
        action="store_true",
        help="append <action> after the thought, for models that do not write it",
    )
    parser.add_argument(
        "--check-replies",
        type=of(Natural),
        default=4,
        metavar="N",
        help="replies sampled per state and order to check the exact probabilities (default: 4; 0: no check)",
    )
    parser.add_argument(
        "--budget", type=of(Positive), metavar="MINUTES", help="stop after this time; the same command continues"
    )
    parser.add_argument(
        "--out", type=place, default=Path("runs/diagnosis"), help="output folder (default: %(default)s)"
    )
    parser.set_defaults(run=_diagnose)


def _auto_or_number(text: str) -> int | None:
    """None for auto, else the number. Raises ActreError for anything else."""
    return None if text == "auto" else int(of(Several)(text))


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --preset, --env, --model, --adapter and --seed, which `policy_config` reads."""
    parser.add_argument(
        "--preset",
        help="settings by name (default: those of --adapter's run, else the model's preset, else tiny)",
    )
    parser.add_argument("--env", help=f"{ENV_HELP} (default: that of --adapter's run, else alfworld)")
    parser.add_argument(
        "--model",
        help="a name of `actre models list` (tiny, smollm2, ...), a hub name or a folder (default: the preset's); a "
        "pretrained model of your own needs --preset as well",
    )
    parser.add_argument("--adapter", type=place, help="folder with a trained adapter for that model, or a run's folder")
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")


def policy_config(args: argparse.Namespace) -> RunConfig:
    """The settings for these options: those of the run that holds the adapter, unless preset, environment or model is
    given; else a preset's. A run given as the adapter becomes its adapter.

    Raises ActreError for an unknown preset, and for a pretrained model without one.
    """
    if args.adapter is not None and outputs.is_trained(args.adapter):
        args.adapter = args.adapter / "adapter"
    if args.adapter is not None and (args.preset, args.env, args.model) == (None, None, None):
        for folder in args.adapter.resolve().parents[:2]:  # RUN/adapter or RUN/checkpoints/iter-N
            if outputs.is_trained(folder):
                config = load_config(folder / "config.json")
                return settle(replace(config, seed=args.seed, model=replace(config.model, loader="plain")))
    config = replace(preset(preset_name(args.preset, args.model), args.env or "alfworld"), seed=args.seed)
    return settle(replace(config, model=replace(config.model, name=args.model or config.model.name)))


class _Job(NamedTuple):
    """What all wordings of one diagnosis share."""

    args: argparse.Namespace
    policy: Any
    probes: "list[Probe]"
    config: RunConfig
    budget: Budget


def _diagnose(args: argparse.Namespace) -> int:
    from actre.adapters import load_policy
    from actre.entropy.probes import first_probes, load_probes, probes_for
    from actre.view import report

    budget = Budget(args.budget)
    config = policy_config(args)
    if args.probes:
        probes = load_probes(args.probes)
        probes = first_probes(probes, args.states or len(probes))
    else:
        states = args.states or config.probe.states
        config = replace(config, probe=replace(config.probe, states=states))
        probes = probes_for(config)
    must_take(args.out, config, args.adapter, _STARTED)
    args.out.mkdir(parents=True, exist_ok=True)
    job = _Job(args, load_policy(config, args.adapter), probes, config, budget)
    wordings, found = list(dict.fromkeys(args.wording)), []
    with budget.ended_by_hand():
        thoughts = args.thoughts if args.thoughts is not None else _chosen(job)
        config = replace(config, probe=replace(config.probe, thoughts=thoughts))
        keep_settings(config, args.out)
        for wording in wordings:
            if not budget.over:
                found.append(_measured(job, wording, thoughts))
                print(described(found[-1]))
    left = len(found) < len(wordings) or not all(one.complete for one in found)
    if left:
        print(f"stopped {budget.why}; the same command continues from here")
    if not found:
        return 130 if budget.by_hand else 0
    print(f"written: {report.write(args.out)}, figures in {args.out / report.PLOTS}")
    return 130 if left and budget.by_hand else 0


def _measured(job: _Job, wording: Wording, thoughts: int) -> "Diagnosis":
    """The diagnosis in one wording, complete or not; saves it and shows a progress bar."""
    from tqdm.auto import tqdm

    from actre.entropy.diagnose import FILES, diagnose, save_diagnosis

    log = job.args.out / f"{FILES[wording]}.jsonl"
    started, spent = time.monotonic(), time.process_time()
    with tqdm(total=len(job.probes), unit="state", desc=f"{wording} prompt") as bar:

        def finished(states: int) -> None:
            if bar.n == 0 and states == before:
                bar.initial = states  # states finished earlier must not count in the estimated time left
            bar.update(states)

        before = _finished(log)
        found = diagnose(
            job.policy,
            job.probes,
            job.config,
            thoughts=thoughts,
            seed=job.args.seed,
            out=log,
            wording=wording,
            force_action_tag=job.args.force_action_tag,
            check_replies=job.args.check_replies,
            adapter=_adapter_name(job.args),
            progress=finished,
            stop=job.budget,
        )
    save_diagnosis(job.args.out / f"{FILES[wording]}.json", found)
    taken = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - spent}
    line = {"wording": wording, "states_measured": len(found.states) - before, **taken}
    with (job.args.out / "timing.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return found


def _finished(log: Path) -> int:
    """The number of finished states in a log, whose first line holds the settings."""
    return max(len(log.read_text(encoding="utf-8").splitlines()) - 1, 0) if log.exists() else 0


def _adapter_name(args: argparse.Namespace) -> str | None:
    """The last three parts of the adapter's path, since most adapter folders are called "adapter"."""
    return None if args.adapter is None else "/".join(args.adapter.resolve().parts[-3:])


def _chosen(job: _Job) -> int:
    """K, chosen by a pilot on the first states and the calibration table; prints how.

    The pilot's thoughts have a seed of their own and are not used again, so that choosing K by them does not bias the
    diagnosis.
    """
    from actre.entropy.diagnose import diagnose
    from actre.entropy.thoughts import WIDTH_NATS, Pilot, load_curves, thoughts_for

    args = job.args
    width_wanted = WIDTH_NATS if args.width is None else args.width
    curves = load_curves()
    states = job.probes[:_PILOT_STATES]
    found = diagnose(
        job.policy,
        states,
        job.config,
        thoughts=_PILOT_THOUGHTS,
        seed=derive_seed(args.seed, "pilot"),
        out=args.out / "pilot.jsonl",
        wording=args.wording[0],
        force_action_tag=args.force_action_tag,
        check_replies=args.check_replies,
        adapter=_adapter_name(args),
        stop=job.budget,
    )
    if not found.complete:
        raise ActreError(
            f"stopped {job.budget.why}, in the pilot ({len(found.states)} of {len(states)} states): the same command "
            "continues it; or set --thoughts to a number"
        )
    width = sum(state.decomposition.width for state in found.states) / len(found.states)
    actions = sum(len(state.actions) for state in found.states) / len(found.states)
    pilot = Pilot(_PILOT_THOUGHTS, width)
    least = min(_PILOT_THOUGHTS, args.max_thoughts)
    choice = thoughts_for(width_wanted, actions, pilot, curves, at_least=least, at_most=args.max_thoughts)
    print(f"pilot on {len(states)} states: {choice.words}")
    return choice.thoughts


def described(found: "Diagnosis") -> str:
    """A diagnosis for a terminal: a table, its parts and its verdict."""
    from actre.entropy.diagnose import PARTS, parts

    s = found.settings
    games = len({state.game for state in found.states})
    named = s.model if s.adapter is None else f"{s.model} with adapter {s.adapter}"
    states = f"{s.states} states" if found.complete else f"PARTIAL, {len(found.states)} of {s.states} states"
    lines = [
        f"{named}: {states} on {games} games, K = {s.thoughts} thoughts, temperature {s.temperature:g}, "
        f"{s.wording} prompt",
        "nats, mean over the states [95 % interval over games]",
    ]
    lines += [f"  {label:62} {found.summary[name]}" for name, label in _ROWS if name in found.summary]
    lines += [f"  {label:62} {found.summary[name]}" for name, label in _SHARES if name in found.summary]
    if found.self_check:
        lines.append("self-check: sampled replies against their exact probability")
        lines += [f"  {'' if one.agrees else 'DISAGREES  '}{one.words}" for one in found.self_check]
    lines.append("act-first minus think-first, at both ends of the bracket (parts are exploratory)")
    for by in PARTS:
        lines += [_part_line(part) for part in parts(found.states, by, s.seed)]
    lines.append(found.words)
    if max(found.summary[name].value for name in ("other_act_first", "other_think_first")) > _MOSTLY_OUTSIDE:
        lines.append(_CAREFUL if found.settings.force_action_tag else f"{_CAREFUL}; {_FORCE}")
    if found.listed is not None:
        lines.append("among the listed actions only (a different policy, constrained to the list)")
        lines += [f"  {label:62} {found.summary[name]}" for name, label in _LISTED]
        lines.append(found.listed.words)
    return "\n".join(lines)


def _part_line(part: "Part") -> str:
    label = f"{part.name}, {part.states} state{'' if part.states == 1 else 's'}"
    return f"  {label:62} {_between(part.difference_lower)} and {_between(part.difference_upper)}"


def _between(band: "Interval") -> str:
    return str(band) if math.isfinite(band.low) else f"{band.value:.2f}"
