"""`actre games`: makes, lists, checks and plays ALFWorld games on a terminal.

Knows how to ask and how to show; the work is done by panels.py, games.py, demos.py and the environment, which
are imported when a command runs.
"""

import argparse
import random
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from actre import outputs
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.envs.alfworld.rooms import Room
    from actre.envs.demo import Demo

_SOURCE = "a panel (small/train, full/unseen, official/valid_seen ...), a panel file, a folder of games, or a game"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `games` and its four verbs to the command line."""
    games = subparsers.add_parser("games", help="make, list, check and play ALFWorld games")
    verbs = games.add_subparsers(title="verbs", metavar="VERB", required=True)
    make = verbs.add_parser("generate", help="draw fresh games into a panel file, or the shipped set anew")
    make.add_argument("--size", choices=("small", "full"), default="small", help="about 8 or 20-40 receptacles")
    make.add_argument("--split", choices=("train", "seen", "unseen"), default="train", help="whose floor plans to use")
    make.add_argument("--n", type=int, default=60, help="how many games (60)")
    make.add_argument("--seed", type=int, default=0, help="another seed, other games (0)")
    make.add_argument("--out", type=Path, help="the panel file, or with --shipped the folder")
    make.add_argument("--shipped", action="store_true", help="the six shipped panels (replaces them)")
    make.set_defaults(run=_generate)
    show = verbs.add_parser("list", help="the panels that are here, or the games of one")
    show.add_argument("source", nargs="?", help=_SOURCE)
    show.add_argument("--tasks", action="store_true", help="each game's task beside its path")
    show.set_defaults(run=_list)
    check = verbs.add_parser("check", help="have the expert solve games; exit code 1 if one is left unsolved")
    check.add_argument("source", help=_SOURCE)
    check.add_argument("--max-steps", type=int, help="steps an attempt may take (50; 100 above 12 receptacles)")
    check.add_argument("--attempts", type=int, default=3, help="seeds to try for each game (3)")
    check.add_argument("--limit", type=int, help="only the first games")
    check.set_defaults(run=_check)
    play = verbs.add_parser("play", help="play a game yourself")
    play.add_argument("source", nargs="?", default="small/train", help=_SOURCE)
    play.add_argument("--seed", type=int, default=0, help="which game of several (0)")
    play.add_argument("--max-steps", type=int, default=50, help="steps you may take (50)")
    play.set_defaults(run=_play)


def _generate(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import demos, games, generate, panels

    if args.shipped:
        folder = args.out or games.data_folder()

        def solved(room: "Room") -> bool:
            ok = any(demo.won for demo in demos.attempts(room))
            print(".", end="" if ok else f" {room.id} is not solved, dropped\n", flush=True)
            return ok

        if args.out is None:  # the shipped panels are what is to be replaced
            refused = panels.make_shipped(folder, solved)
        else:
            with outputs.filling(folder, generate.SIZES) as made:
                refused = panels.make_shipped(made, solved)
        print()
        for name, ids in refused.items():
            print(f"{folder}/{name}.jsonl.gz: written, {len(ids)} drawn games dropped {ids or ''}")
        return 0
    if args.out is None:
        raise ActreError("where to? `actre games generate --n 60 --out my-games.jsonl.gz`")
    if args.n < 1:
        raise ActreError(f"--n {args.n}: ask for at least one game, as in `--n 60`")
    if not args.out.name.endswith((".jsonl", ".jsonl.gz")):
        raise ActreError(f"--out {args.out}: a panel's name ends in .jsonl or .jsonl.gz")
    outputs.must_be_own(args.out, lambda old: True)  # a folder, say, is refused before anything is drawn
    paths = panels.write_panel(args.out, panels.generate(args.size, args.split, args.n, args.seed))
    print(f"{args.out}: {len(paths)} {args.size} games on {args.split} floor plans")
    print(f"next: actre games check {args.out}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import games

    if args.source is None:
        for name in games.SHIPPED + games.OFFICIAL:
            try:
                print(f"{name:24} {len(games.list_games(name)):5} games")
            except ActreError:
                how = "alfworld-download" if name in games.OFFICIAL else "actre games generate --shipped"
                print(f"{name:24}    not here: {how}")
        return 0
    for path in games.list_games(args.source):
        task = ""
        if args.tasks:
            task = games.read_game(path).grammar.partition("Your task is to: ")[2].partition('"')[0]
        print(f"{path}  {task}".rstrip())
    return 0


def _check(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import demos, games

    solved: Counter[str] = Counter()
    total: Counter[str] = Counter()
    lost: list[str] = []
    steps: list[int] = []
    converted = 0
    for path in islice(games.list_games(args.source), args.limit):
        tries: list[Demo] = list(demos.attempts(path, args.attempts, args.max_steps))
        won = tries[-1].won
        total[tries[-1].task_type] += 1
        converted += games.read_game(path).converted
        solved[tries[-1].task_type] += won
        steps.append(len(tries[-1].steps))
        if not won:
            lost.append(path)
            print(f"not solved in {len(tries)} attempts: {path} ({tries[-1].task})")
    for task_type in sorted(total):
        print(f"{task_type:32} {solved[task_type]:4} of {total[task_type]}")
    print(f"{'all':32} {solved.total():4} of {total.total()}, mean steps {sum(steps) / len(steps):.1f}")
    if converted:
        print(f"{converted} of them are in format 2.1.1 and were converted as they were read")
    return 1 if lost else 0


def _play(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import games
    from actre.envs.alfworld.env import AlfworldEnv

    path = random.Random(args.seed).choice(games.list_games(args.source))
    env = AlfworldEnv([path], max_steps=args.max_steps)
    obs, info = env.reset(options={"game": path})
    print(obs)
    print("\n(`?` lists what is possible here, `help` explains the commands, Ctrl-D leaves)")
    for step in range(1, args.max_steps + 1):
        action = _ask(f"{step:2} > ", info["admissible_commands"])
        if action is None:
            print("left the game")
            return 0
        obs, _, terminated, truncated, info = env.step(action)
        print(obs)
        if info["won"]:
            print(f"solved in {step} steps")
        if terminated or truncated:
            break
    if not info["won"]:
        print(f"not solved in {args.max_steps} steps")
    return 0


def _ask(prompt: str, admissible: list[str]) -> str | None:
    """One line from the terminal; None at its end or on Ctrl-C. `?` shows what is possible and asks again."""
    while True:
        try:
            line = input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stdout)
            return None
        if line == "?":
            print("\n".join(f"   {action}" for action in admissible))
        elif line:
            return line
