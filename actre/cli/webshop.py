"""`actre webshop`: makes, imports, checks, plays and describes shops on a terminal.

Knows how to ask and how to show; the work is done by generate.py, importer.py, panels.py and the environment, which
are imported when a command runs.
"""

import argparse
import random
import sys
from typing import TYPE_CHECKING

from actre.config.checks import Count, Natural, Seed, of
from actre.config.paths import place
from actre.runtime import outputs
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.envs.webshop.importer import Report

_PANEL = "a panel: shop/train, shop/unseen, official/paper-test, FOLDER/human-unseen ..."


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `webshop` and its five verbs to the command line."""
    shop = subparsers.add_parser("webshop", help="make, import, check and play WebShop shops")
    verbs = shop.add_subparsers(title="verbs", metavar="VERB", required=True)
    make = verbs.add_parser("generate", help="draw a shop in the official file format, or the shipped one anew")
    make.add_argument("--n", type=of(Count), default=300, help="how many products (300)")
    make.add_argument("--seed", type=of(Seed), default=0, help="another seed, another shop (0)")
    make.add_argument("--out", type=place, help="the folder to write")
    make.add_argument("--shipped", action="store_true", help="the shipped shop (replaces it)")
    make.set_defaults(run=_generate)
    take = verbs.add_parser("import", help="check and index the official files once, and keep that beside them")
    take.add_argument("folder", type=place, help="where items_shuffle*.json and items_ins_v2*.json lie (.gz or not)")
    take.add_argument("--full", action="store_true", help="the whole set where the 1,000 products lie there, too")
    take.add_argument("--no-nouns", action="store_true", help="do not tag names (purchases then cannot be judged)")
    take.set_defaults(run=_import)
    check = verbs.add_parser("check", help="say what is wrong with which entry; exit code 1 if anything is")
    check.add_argument("folder", type=place, nargs="?", help="a folder of official files; the shipped shop if none")
    check.add_argument("--full", action="store_true", help="the whole set where the 1,000 products lie there, too")
    check.add_argument("--most", type=of(Natural), default=20, help="problems to show (20)")
    check.set_defaults(run=_check)
    play = verbs.add_parser("play", help="go shopping yourself")
    play.add_argument("source", nargs="?", default="shop/train", help=_PANEL)
    play.add_argument("--seed", type=of(Seed), default=0, help="which goal of the panel (0)")
    play.add_argument("--max-steps", type=of(Count), default=15, help="steps you may take (15)")
    play.add_argument("--mode", choices=("text", "text_rich", "url"), default="text", help="how pages are shown (text)")
    play.set_defaults(run=_play)
    report = verbs.add_parser("report", help="both splits of a shop: sizes, what is reachable, what they share")
    report.add_argument("shop", nargs="?", default="shop", help="shop, official, or a folder (shop)")
    report.add_argument("--human", action="store_true", help="of people's instructions")
    report.set_defaults(run=_report)


def _generate(args: argparse.Namespace) -> int:
    from actre.config import data_folder
    from actre.envs.webshop import generate
    from actre.envs.webshop.importer import CACHE

    if args.out is None and not args.shipped:
        raise ActreError("where to? `actre webshop generate --n 300 --out my-shop`")
    out = args.out or data_folder() / "webshop"
    if args.out is None:  # the shipped shop is what is to be replaced
        generate.write(out)
    else:
        with outputs.filling(out, (*generate.FILES, CACHE)) as made:
            generate.write(made) if args.shipped else generate.write(made, args.n, str(args.seed))
    for path in (out / name for name in generate.FILES):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"next: actre webshop check {out}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.envs.webshop import importer

    files = importer.find_files(args.folder, full=args.full)
    tag = None
    if files.nouns is None and not args.no_nouns:
        tag = importer.spacy_tagger()
    with tqdm(total=files.products.stat().st_size, unit="B", unit_scale=True, desc=files.products.name) as bar:
        report = importer.import_shop(args.folder, full=args.full, tag=tag, progress=bar.update)
    _show(report)
    if report.with_nouns < report.products:
        print(f"{report.products - report.with_nouns} names have no nouns on record: buying these cannot be judged")
    print(f"next: actre webshop report {args.folder}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.config import data_folder
    from actre.envs.webshop import importer

    folder = args.folder or data_folder() / "webshop"
    files = importer.find_files(folder, full=args.full)
    with tqdm(total=files.products.stat().st_size, unit="B", unit_scale=True, desc=files.products.name) as bar:
        report = importer.check(folder, full=args.full, most=args.most, progress=bar.update)
    for problem in report.problems:
        _print(problem.words)
    _show(report)
    if report.problems:
        print(
            f"{len(report.problems)} wrong entries{' (there may be more)' if len(report.problems) == args.most else ''}"
        )
    return 1 if report.problems else 0


def _show(report: "Report") -> None:
    print(
        f"{report.products:,} products ({report.skipped} entries passed over), {report.instructions:,} with an "
        f"instruction, {report.human:,} instructions of people, {report.with_nouns:,} in the noun table"
    )


def _report(args: argparse.Namespace) -> int:
    from actre.envs.webshop import panels

    print(f"{'panel':32} {'goals':>7} {'products':>8} {'reachable':>10} {'ceiling':>8}   shares with its train part")
    for row in panels.report(args.shop, "human" if args.human else "synthetic"):
        shared = "-"
        if row.overlap:
            o = row.overlap
            shared = (
                f"{o.product_share:6.1%} of goals their product, {o.query / o.goals:.1%} their kind of ware, "
                f"{o.wish / o.goals:.1%} the very wish"
            )
        print(
            f"{row.name:32} {row.goals:7,} {row.products:8,} {row.attainable / row.goals:10.1%} {row.ceiling:8.3f}   "
            f"{shared}"
        )
    print("by-product panels leave unreachable goals out (+all behind the name keeps them); the paper's keep them")
    return 0


def _play(args: argparse.Namespace) -> int:
    from actre.envs.webshop import panels
    from actre.envs.webshop.panel_env import PanelEnv

    game = random.Random(args.seed).choice(panels.list_goals(args.source))
    env = PanelEnv(args.source, args.max_steps, args.mode)
    obs, info = env.reset(options={"game": game})
    _print(obs)
    print("\n(`?` lists what can be clicked here; search[words] searches; Ctrl-D leaves)")
    for step in range(1, args.max_steps + 1):
        action = _ask(f"{step:2} > ", info["admissible_commands"])
        if action is None:
            print("left the shop")
            return 0
        obs, reward, terminated, truncated, info = env.step(action)
        _print(obs)
        if terminated:
            print(f"bought in {step} steps: {reward:.2f} of 1")
            return 0
        if truncated:
            break
    print(f"nothing bought in {args.max_steps} steps")
    return 0


def _print(text: str) -> None:
    """Print a shop's text; what the terminal cannot show (a lone surrogate, say) is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _ask(prompt: str, admissible: list[str]) -> str | None:
    """One line from the terminal; None at its end or on Ctrl-C. `?` shows what is possible and asks again."""
    while True:
        try:
            line = input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stdout)
            return None
        if line == "?":
            _print("\n".join(f"   {action}" for action in admissible))
        elif line:
            return line
