"""`actre warmstart`: fine-tune a model on expert episodes to learn the reply format; report compliance."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from actre.cli.model_preset import preset_name
from actre.config import RunConfig
from actre.config.checks import Count, Rate, Seed, Share, of
from actre.config.model_names import settle, shown
from actre.config.paths import place
from actre.config.presets import preset
from actre.runtime import outputs
from actre.types import ActreError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `warmstart` to the command line."""
    parser = subparsers.add_parser(
        "warmstart",
        help="fine-tune a model on expert episodes until it follows the reply format",
        description="Supervised fine-tuning (TRL's SFTTrainer) of a LoRA adapter on expert episodes in new games, "
        "written in every order; reports format compliance before and after. If interrupted, the same command "
        "continues. Next: actre train --preset smollm2 --model OUT/model",
    )
    parser.add_argument("--preset", help="settings by name (default: the model's preset, else smollm2)")
    parser.add_argument("--env", default="alfworld", choices=("alfworld", "webshop"), help=argparse.SUPPRESS)
    parser.add_argument(
        "--model",
        help="a name of `actre models list` (tiny, smollm2, ...), a hub name or a folder (default: the preset's)",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="type of the weights (default: the preset's)",
    )
    parser.add_argument(
        "--products",
        choices=("float32", "bfloat16"),
        help="type of the layers' matrix products in training on a CPU (default: float32; actre doctor says whether "
        "bfloat16 is faster here)",
    )
    parser.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--begin",
        type=place,
        metavar="ADAPTER",
        help="the adapter/ of an earlier warm start, whose training goes on, e.g. with other thoughts (default: a new "
        "adapter)",
    )
    parser.add_argument("--out", type=place, default=Path("runs/warmstart"), help="run folder (default: %(default)s)")
    parser.add_argument("--steps", type=of(Count), help="optimizer steps (default: 60)")
    parser.add_argument("--batch-size", dest="batch", metavar="N", type=of(Count), help="rows per step (default: 8)")
    parser.add_argument(
        "--micro-batch-size", dest="micro_batch", metavar="N", type=of(Count), help="rows per pass (default: 2)"
    )
    parser.add_argument("--learning-rate", type=of(Rate), help="learning rate (default: 5e-4)")
    parser.add_argument("--episodes", type=of(Count), help="games the expert plays (default: 60)")
    parser.add_argument(
        "--states-per-episode",
        dest="per_episode",
        metavar="N",
        type=of(Count),
        help="states drawn from each episode (default: 3)",
    )
    parser.add_argument(
        "--thoughts",
        choices=("marked", "needs", "plain", "said"),
        default="marked",
        help="how much of the action the expert's thoughts say; marked thoughts also name steps without a purpose "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--paraphrase", action="store_true", help="word each thought anew, at random; not with marked thoughts"
    )
    parser.add_argument(
        "--search",
        choices=("random", "listed", "likely"),
        default="random",
        help="where the expert looks first: an order drawn for each game, the order of the first observation, or where "
        "such things usually are (default: %(default)s)",
    )
    parser.add_argument(
        "--random-moves", type=of(Share), default=0.0, help="share of the expert's steps without a purpose (default: 0)"
    )
    parser.add_argument(
        "--forget",
        type=of(Share),
        default=0.0,
        help="share of games in which the expert forgets to clean, heat or cool (default: 0)",
    )
    parser.add_argument(
        "--max-length", dest="longest", metavar="N", type=of(Count), help="longest row, in tokens (default: 1024)"
    )
    parser.add_argument("--save-every", type=of(Count), help="steps between checkpoints (default: 10)")
    parser.add_argument("--states", type=of(Count), help="states on which compliance is measured (default: 16)")
    parser.add_argument("--no-merge", action="store_true", help="do not save the merged model")
    parser.add_argument(
        "--check",
        action="store_true",
        help="only measure whether the model needs a warm start; trains and writes nothing",
    )
    parser.set_defaults(run=_run)


STATES = 16
"""States on which --check measures."""
_COUNTS = ("steps", "batch", "micro_batch", "episodes", "per_episode", "longest", "save_every", "states")


def _config(args: argparse.Namespace) -> RunConfig:
    name = preset_name(args.preset, args.model)
    if args.preset is None and name == "tiny":
        name = "smollm2"
    config = replace(preset(name, args.env), seed=args.seed)
    if args.model:
        config = replace(config, model=replace(config.model, name=args.model))
    if args.dtype:
        config = replace(config, model=replace(config.model, dtype=args.dtype))
    return settle(config)


def _check(config: RunConfig, states: int) -> int:
    """Print the compliance as training asks for replies, and what follows from it; 1 if a warm start is needed."""
    from actre.adapters import load_policy
    from actre.entropy.probes import probes_for
    from actre.organisms.compliance import ENOUGH, in_training, measure, needs_warm_start, table

    probes = probes_for(replace(config, probe=replace(config.probe, states=states)))
    found = measure(load_policy(config), probes, config.prompt, config.sampling, config.seed, in_training(config))
    print(table(found))
    needed = needs_warm_start(found)
    command = f"actre warmstart --preset {config.preset} --model {config.model.name} --out runs/warm"
    print(
        f"at least one order is below {ENOUGH:.0%}: {command}"
        if needed
        else f"every order is at {ENOUGH:.0%} or above: no warm start is needed"
    )
    return int(needed)


def _run(args: argparse.Namespace) -> int:
    config = _config(args)
    if args.check:
        return _check(config, args.states or STATES)
    if args.paraphrase and args.thoughts == "marked":
        raise ActreError("--paraphrase has no other words for marked thoughts: add --thoughts plain (or needs, said)")
    outputs.growing(args.out, lambda folder: (folder / "settings.json").exists(), what="a warm start")
    given = {
        name: value for name in (*_COUNTS, "learning_rate", "products") if (value := getattr(args, name)) is not None
    }
    from actre.entropy.probes import probes_for
    from actre.envs.alfworld.expert import Habits
    from actre.organisms.compliance import Compliance, table
    from actre.organisms.fine_tune import WarmConfig
    from actre.organisms.warmstart import warm_up
    from actre.organisms.warmstart_rows import expert_episodes, prompts_of, warm_rows
    from actre.policies.models import load_tokenizer
    from actre.policies.smollm2 import smollm2_source

    warm = WarmConfig(**given)
    tokenizer = load_tokenizer(config.model.name)
    habits = Habits(
        search=args.search,
        random_moves=args.random_moves,
        forget=args.forget,
        thoughts=args.thoughts,
        paraphrase=args.paraphrase,
    )
    demos = expert_episodes(config.env, warm.episodes, config.seed, habits)
    chosen = warm_rows(
        demos,
        prompts_of(tokenizer),
        config.prompt,
        per_episode=warm.per_episode,
        longest=warm.longest,
        seed=config.seed,
    )
    probes = probes_for(replace(config, probe=replace(config.probe, states=warm.states)))
    about = {
        "games": demos.games,
        "expert": asdict(habits),
        "expert_won": f"{demos.won} of {len(demos.episodes)}",
        "too_long": chosen.too_long,
        "weights": smollm2_source() if config.model.name == "smollm2" else shown(config.model.name),
        "states": f"the first {len(probes)} shipped states of {config.env.unseen}",
    }
    print(f"{len(chosen.rows)} rows from {len(demos.episodes)} episodes, {demos.won} won; {chosen.too_long} too long")
    record = warm_up(
        config, warm, chosen.rows, probes, args.out, begin=args.begin, about=about, merge=not args.no_merge
    )
    print(table([Compliance(**one) for one in record["before"]], [Compliance(**one) for one in record["after"]]))
    done = record["training"]
    print(f"{done['steps']} steps, loss {done['loss_first']:.2f} to {done['loss_last']:.2f}, {done['cpu_s']:.0f} CPU-s")
    print(f"adapter: {args.out / 'adapter'} (reloaded: logits equal to {record['check']['from_trained']:.1e})")
    if not args.no_merge:
        print(f"next: actre train --preset {config.preset} --model {args.out / 'model'}")
    return 0
