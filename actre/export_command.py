"""`actre export`: a run's adapter as a folder to give away, checked by reloading it.

Knows how to ask and how to show; adapters.py does the work and is imported when the command runs.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actre.adapters import Check
    from actre.config import RunConfig


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `export` to the command line."""
    parser = subparsers.add_parser("export", help="export a run's adapter with a card, and check it by reloading")
    parser.add_argument("folder", type=Path, help="a run folder (config.json and adapter/)")
    parser.add_argument("--out", type=Path, help="where to (FOLDER/export)")
    parser.add_argument("--merge", type=Path, metavar="TO", help="also save base and adapter as one model, there")
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from actre import adapters
    from actre.config import load_config

    config = load_config(args.folder / "config.json")
    base = dataclasses.replace(config.model, loader="plain")
    model, tokenizer = adapters.load(args.folder / "adapter", base)
    out = adapters.export(model, args.out or args.folder / "export", base, card=_card(config))
    print(f"exported to {out}")
    if args.merge:
        print(f"merged into {adapters.merge(out, args.merge, base)}")
    return _report(adapters.check(out, model, tokenizer))


def _report(check: "Check") -> int:
    print(
        f"reloaded: logits differ from the trained model's by at most {check.from_trained:.1e} "
        f"(allowed: {check.tolerance:.0e}) and from the base model's by {check.from_base:.1e}"
    )
    if not check.differs_from_base:
        print("the adapter changes nothing: was it trained?")
    return 0 if check.passed else 1


def _card(config: "RunConfig") -> str:
    """The settings of the run, for the card."""
    stages = "\n".join(f"- {s.order}, {s.iterations} iterations" for s in config.stages)
    settings = json.dumps(dataclasses.asdict(config), indent=1)
    return f"Stages:\n{stages}\n\n## Settings\n\n```json\n{settings}\n```"
