"""`actre webshop`: make, import, check, play and describe shops."""

import argparse
import random
from typing import TYPE_CHECKING

from actre.cli.terminal import ask, show
from actre.config.checks import Count, Natural, Seed, of
from actre.config.paths import place
from actre.runtime import outputs
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.envs.webshop.importer import Report

_PANEL = "a panel: shop/train, shop/unseen, official/paper-test, FOLDER/human-unseen ..."


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `webshop` and its subcommands to the command line."""
    shop = subparsers.add_parser("webshop", help="make, import, check, play and describe WebShop shops")
    verbs = shop.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    make = verbs.add_parser(
        "generate", help="generate a shop in the official file format, or regenerate the shipped one"
    )
    make.add_argument("--n", type=of(Count), default=300, help="number of products (default: 300)")
    make.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    make.add_argument("--out", type=place, help="folder to write")
    make.add_argument(
        "--shipped", action="store_true", help="regenerate the shipped shop (replaces it unless --out is given)"
    )
    make.set_defaults(run=_generate)
    take = verbs.add_parser("import", help="check and index the official files; the index is kept beside them")
    take.add_argument("folder", type=place, help="folder with items_shuffle*.json and items_ins_v2*.json (also .gz)")
    take.add_argument("--full", action="store_true", help="use the full set if the folder has both sets")
    take.add_argument(
        "--no-nouns", action="store_true", help="do not tag product names (purchases then cannot be scored)"
    )
    take.set_defaults(run=_import)
    check = verbs.add_parser("check", help="list invalid entries; exit code 1 if there are any")
    check.add_argument("folder", type=place, nargs="?", help="folder of official files (default: the shipped shop)")
    check.add_argument("--full", action="store_true", help="use the full set if the folder has both sets")
    check.add_argument("--max-problems", type=of(Natural), default=20, help="problems to show (default: 20)")
    check.set_defaults(run=_check)
    play = verbs.add_parser("play", help="shop in the terminal")
    play.add_argument("source", nargs="?", default="shop/train", help=_PANEL)
    play.add_argument("--seed", type=of(Seed), default=0, help="selects the goal (default: 0)")
    play.add_argument("--max-steps", type=of(Count), default=15, help="steps you may take (default: 15)")
    play.add_argument(
        "--mode", choices=("text", "text_rich", "url"), default="text", help="how pages are shown (default: text)"
    )
    play.set_defaults(run=_play)
    report = verbs.add_parser("report", help="describe the splits of a shop: sizes, reachable goals, overlap")
    report.add_argument("shop", nargs="?", default="shop", help="shop, official, or a folder (default: shop)")
    report.add_argument("--human", action="store_true", help="use the human instructions")
    report.set_defaults(run=_report)


def _generate(args: argparse.Namespace) -> int:
    from actre.config import data_folder
    from actre.envs.webshop import generate
    from actre.envs.webshop.importer import CACHE

    if args.out is None and not args.shipped:
        raise ActreError("--out is missing: actre webshop generate --n 300 --out my-shop")
    out = args.out or data_folder() / "webshop"
    if args.out is None:  # replace the shipped shop
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
        print(
            f"{report.products - report.with_nouns} names have no nouns on record: purchases of these cannot be scored"
        )
    print(f"next: actre webshop report {args.folder}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from actre.config import data_folder
    from actre.envs.webshop import importer

    folder = args.folder or data_folder() / "webshop"
    files = importer.find_files(folder, full=args.full)
    with tqdm(total=files.products.stat().st_size, unit="B", unit_scale=True, desc=files.products.name) as bar:
        report = importer.check(folder, full=args.full, most=args.max_problems, progress=bar.update)
    for problem in report.problems:
        show(problem.words)
    _show(report)
    if report.problems:
        print(
            f"{len(report.problems)} invalid entries"
            f"{' (there may be more)' if len(report.problems) == args.max_problems else ''}"
        )
    return 1 if report.problems else 0


def _show(report: "Report") -> None:
    print(
        f"{report.products:,} products ({report.skipped} entries skipped), {report.instructions:,} with an "
        f"instruction, {report.human:,} human instructions, {report.with_nouns:,} in the noun table"
    )


def _report(args: argparse.Namespace) -> int:
    from actre.envs.webshop import panels

    print(f"{'panel':32} {'goals':>7} {'products':>8} {'reachable':>10} {'ceiling':>8}   overlap with its train split")
    for row in panels.report(args.shop, "human" if args.human else "synthetic"):
        shared = "-"
        if row.overlap:
            o = row.overlap
            shared = (
                f"{o.product_share:6.1%} of goals by product, {o.query / o.goals:.1%} by product category, "
                f"{o.wish / o.goals:.1%} by instruction"
            )
        print(
            f"{row.name:32} {row.goals:7,} {row.products:8,} {row.attainable / row.goals:10.1%} {row.ceiling:8.3f}   "
            f"{shared}"
        )
    print("panels by product leave out unreachable goals (append +all to keep them); the paper's panels keep them")
    return 0


def _play(args: argparse.Namespace) -> int:
    from actre.envs.webshop import panels
    from actre.envs.webshop.panel_env import PanelEnv

    game = random.Random(args.seed).choice(panels.list_goals(args.source))
    env = PanelEnv(args.source, args.max_steps, args.mode)
    obs, info = env.reset(options={"game": game})
    show(obs)
    print("\n(`?` lists what can be clicked, search[words] searches, Ctrl-D quits)")
    for step in range(1, args.max_steps + 1):
        action = ask(f"{step:2} > ", info["admissible_commands"])
        if action is None:
            print("shop left")
            return 0
        obs, reward, terminated, truncated, info = env.step(action)
        show(obs)
        if terminated:
            print(f"bought in {step} steps: {reward:.2f} of 1")
            return 0
        if truncated:
            break
    print(f"nothing bought in {args.max_steps} steps")
    return 0
