"""`actre rescore RUN`: other returns and advantages for a run's stored training episodes, without playing again."""

import argparse

from actre.config.paths import place


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `rescore` to the command line."""
    parser = subparsers.add_parser(
        "rescore",
        help="score a run's stored training episodes with another outcome, penalty or advantage, without playing",
        description="Reads RUN/trajectories/train_*.jsonl.gz; writes returns and advantages, beside those of training, "
        "to RUN/rescored/NAME. Nothing is overwritten.",
    )
    parser.add_argument("run_folder", type=place, metavar="RUN", help="a run folder of actre train")
    parser.add_argument("--outcome", choices=("success", "return"), help="what success_reward multiplies")
    parser.add_argument("--advantage", metavar="NAME", help="an estimator by its name, as optim.advantage takes it")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting of optim, e.g. optim.format_penalty=0",
    )
    parser.add_argument("--name", help="name of the result (default: the settings)")
    parser.set_defaults(run=_rescore)


def _rescore(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.training.rescore import iterations, rescore, stored

    settings = [f"optim.{name}={value}" for name in ("outcome", "advantage") if (value := getattr(args, name))]
    with tqdm(total=len(stored(args.run_folder)), unit="iteration", desc="scoring") as bar:
        out = rescore(args.run_folder, [*settings, *args.set], name=args.name, progress=bar.update)
    print("iteration  return  (then)   zero-variance groups  (then)   correlation of advantages")
    for one in iterations(out):
        correlation = "–" if one["correlation"] is None else f"{one['correlation']:+.2f}"
        print(
            f"{one['iteration']!s:>9}  {one['return']:6.3f}  ({one['return_then']:.3f})  "
            f"{100 * one['zero_variance_groups']:18.0f} %  ({100 * one['zero_variance_groups_then']:.0f} %)  "
            f"{correlation:>6}"
        )
    print(f"written: {out}")
    return 0
