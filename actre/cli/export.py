"""`actre export`: export a run's adapter with a model card, check it by reloading, merge it, and push it to the hub."""

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
        help="export a run's adapter with a model card; merge it, push it to the hub",
        description="Exports a run's adapter and checks it by reloading. The folder also has the tokenizer, the "
        "base model if the kit brings it, and a card with code that plays it with transformers and peft alone. An "
        "existing folder is replaced only if it is an unchanged export of the same run.",
    )
    parser.add_argument("folder", type=place, help="a run folder (config.json and adapter/)")
    parser.add_argument("--out", type=place, help="output folder (default: FOLDER/export)")
    parser.add_argument(
        "--merge", type=place, metavar="FOLDER", help="also save base model and adapter merged into one model"
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload to the hub; with --merge the merged model")
    parser.add_argument(
        "--public", action="store_true", help="with --push: make a new repository public (default: private)"
    )
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
    alone = adapters.Standalone(tokenizer, config)
    adapters.export(model, out, base, card=card, made=exported, alone=alone)
    print(f"exported to {out}; its README.md has the prompt, and code that plays it without this kit")
    if is_local(base.name):
        print(f"its base model is the local folder {base.name}: whoever uses the adapter needs that model too")
    checked = adapters.check(out, model, tokenizer, base=base)
    code = _report(checked)
    if args.merge:
        print(f"merged into {adapters.merge(out, args.merge, base, card=card, made=merged, config=config)} and checked")
    if args.push:
        if not checked.passed:
            raise ActreError(f"nothing was pushed to {args.push}, because the exported adapter failed the check")
        print(f"pushed: {hub.push(args.merge or out, args.push, private=not args.public)}")
    return code


def _targets(args: argparse.Namespace) -> tuple[Path, Made, Made]:
    """The adapter's output folder, and the notes for it and for the merged model.

    Raises ActreError for a folder that may not be replaced, before anything is loaded.
    """
    run = run_id(args.folder)
    out = args.out or args.folder / "export"
    exported, merged = Made("actre export", run), Made("actre export --merge", run, "--merge")
    place = must_be_replaceable(out, exported)
    if args.merge:
        other = must_be_replaceable(args.merge, merged)
        if other == place or other in place.parents or place in other.parents:
            raise ActreError(f"{out} and {args.merge} overlap: the adapter and the merged model need separate folders")
    return out, exported, merged


def _report(check: "Check") -> int:
    print(
        f"reloaded: logits differ from the trained model's by at most {check.from_trained:.1e} "
        f"(allowed: {check.tolerance:.0e}) and from the base model's by {check.from_base:.1e}"
    )
    if not check.differs_from_base:
        print("the adapter does not change the base model's logits: was it trained?")
    return 0 if check.passed else 1
