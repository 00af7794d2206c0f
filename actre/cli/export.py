"""`actre export`: a run's adapter as a folder to give away, checked by reloading it; merged, and pushed to a hub.

Knows how to ask and how to show; adapters.py does the work and is imported when the command runs.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from actre.config.paths import place
from actre.runtime.outputs import Made, must_be_replaceable, run_id
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.adapters import Check


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `export` to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="export a run's adapter with a card, check it by reloading, push it",
        description="Exports a run's adapter with a card and checks it by reloading. A folder that is there already is "
        "replaced only by the same export of the same run, as a whole, and only if nothing in it was changed since.",
    )
    parser.add_argument("folder", type=place, help="a run folder (config.json and adapter/)")
    parser.add_argument("--out", type=place, help="where to (FOLDER/export)")
    parser.add_argument("--merge", type=place, metavar="TO", help="also save base and adapter as one model, there")
    parser.add_argument(
        "--push", metavar="OWNER/NAME", help="put it on the hub, the merged model where --merge is given"
    )
    parser.add_argument("--public", action="store_true", help="with --push: a new repository is public, not private")
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from actre import adapters
    from actre.adapters import hub
    from actre.adapters.cards import run_card
    from actre.config import load_config
    from actre.config.model_names import is_local, settle_model

    config = load_config(args.folder / "config.json")
    out, exported, merged = _targets(args)
    base = settle_model(dataclasses.replace(config.model, loader="plain"))
    model, tokenizer = adapters.load(args.folder / "adapter", base)
    card = run_card(args.folder, config)
    adapters.export(model, out, base, card=card, made=exported)
    print(f"exported to {out}")
    if is_local(base.name):
        print(f"its base model is the local folder {base.name}: who gets the adapter needs that model, too")
    checked = adapters.check(out, model, tokenizer, base=base)
    code = _report(checked)
    if args.merge:
        print(f"merged into {adapters.merge(out, args.merge, base, card=card, made=merged)}, and checked")
    if args.push:
        if not checked.passed:
            raise ActreError(f"{args.push} was not touched: what was exported did not pass the check")
        print(f"pushed: {hub.push(args.merge or out, args.push, private=not args.public)}")
    return code


def _targets(args: argparse.Namespace) -> tuple[Path, Made, Made]:
    """Where the adapter goes, and what makes it and the merged model, which only the same of the same run replaces.

    Raises ActreError for a place that is not free for them, before anything is loaded.
    """
    run = run_id(args.folder)
    out = args.out or args.folder / "export"
    exported, merged = Made("actre export", run), Made("actre export --merge", run, "--merge")
    place = must_be_replaceable(out, exported)
    if args.merge:
        other = must_be_replaceable(args.merge, merged)
        if other == place or other in place.parents or place in other.parents:
            raise ActreError(f"{out} and {args.merge} lie in each other: the adapter and the model need a folder each")
    return out, exported, merged


def _report(check: "Check") -> int:
    print(
        f"reloaded: logits differ from the trained model's by at most {check.from_trained:.1e} "
        f"(allowed: {check.tolerance:.0e}) and from the base model's by {check.from_base:.1e}"
    )
    if not check.differs_from_base:
        print("the adapter changes nothing: was it trained?")
    return 0 if check.passed else 1
