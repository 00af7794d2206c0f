"""`actre export`: a run's adapter as a folder to give away, checked by reloading it; merged, and pushed to a hub.

Knows how to ask and how to show; adapters.py does the work and is imported when the command runs.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from actre.paths import place
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.adapters import Check


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `export` to the command line."""
    parser = subparsers.add_parser("export", help="export a run's adapter with a card, check it by reloading, push it")
    parser.add_argument("folder", type=place, help="a run folder (config.json and adapter/)")
    parser.add_argument("--out", type=place, help="where to (FOLDER/export)")
    parser.add_argument("--merge", type=place, metavar="TO", help="also save base and adapter as one model, there")
    parser.add_argument(
        "--push", metavar="OWNER/NAME", help="put it on the hub, the merged model where --merge is given"
    )
    parser.add_argument("--public", action="store_true", help="with --push: a new repository is public, not private")
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from actre import adapters, hub
    from actre.cards import run_card
    from actre.config import load_config

    config = load_config(args.folder / "config.json")
    for target in (args.out or args.folder / "export", args.merge):
        _must_be_free(target)
    base = dataclasses.replace(config.model, loader="plain")
    model, tokenizer = adapters.load(args.folder / "adapter", base)
    card = run_card(args.folder, config)
    out = adapters.export(model, args.out or args.folder / "export", base, card=card)
    print(f"exported to {out}")
    checked = adapters.check(out, model, tokenizer, base=base)
    code = _report(checked)
    if args.merge:
        merged = adapters.merge(out, args.merge, base, card=adapters.merged_card(base, card))
        print(f"merged into {merged}, and checked")
    if args.push:
        if not checked.passed:
            raise ActreError(f"{args.push} was not touched: what was exported did not pass the check")
        print(f"pushed: {hub.push(args.merge or out, args.push, private=not args.public)}")
    return code


def _must_be_free(folder: Path | None) -> None:
    """Raises ActreError for a folder that holds anything but an earlier export: it would be replaced as a whole."""
    if folder is None or not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    card = folder / "README.md"
    if not card.is_file() or "trained with ActRe Lab" not in card.read_text(encoding="utf-8"):
        raise ActreError(f"{folder} holds what was not exported here, and would be replaced as a whole: name another")


def _report(check: "Check") -> int:
    print(
        f"reloaded: logits differ from the trained model's by at most {check.from_trained:.1e} "
        f"(allowed: {check.tolerance:.0e}) and from the base model's by {check.from_base:.1e}"
    )
    if not check.differs_from_base:
        print("the adapter changes nothing: was it trained?")
    return 0 if check.passed else 1
