"""`actre games`: make, list, check and play ALFWorld games."""

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from actre.cli.terminal import ask
from actre.config.checks import Count, Seed, of
from actre.config.paths import place
from actre.envs.not_played import named
from actre.runtime import outputs
from actre.types import ActreError

if TYPE_CHECKING:
    from actre.envs.alfworld.rooms import Room
    from actre.envs.demo import Demo

_SOURCE = "a panel (small/train, full/unseen, official/valid_seen ...), a panel file, a folder of games, or a game"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `games` and its subcommands to the command line."""
    games = subparsers.add_parser("games", help="make, list, check and play ALFWorld games")
    verbs = games.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    make = verbs.add_parser("generate", help="generate new games into a panel file, or regenerate the shipped panels")
    make.add_argument(
        "--size", choices=("small", "full"), default="small", help="about 8 receptacles, or 20 to 40 (default: small)"
    )
    make.add_argument(
        "--split", choices=("train", "seen", "unseen"), default="train", help="floor plans to use (default: train)"
    )
    make.add_argument("--n", type=of(Count), default=60, help="number of games (default: 60)")
    make.add_argument("--seed", type=of(Seed), default=0, help="random seed (default: 0)")
    make.add_argument("--out", type=place, help="panel file to write; with --shipped a folder")
    make.add_argument(
        "--shipped", action="store_true", help="regenerate the shipped panels (replaces them unless --out is given)"
    )
    make.set_defaults(run=_generate)
    show = verbs.add_parser("list", help="list the available panels, or the games of one")
    show.add_argument("source", nargs="?", help=_SOURCE)
    show.add_argument("--tasks", action="store_true", help="also print each game's task")
    show.set_defaults(run=_list)
    check = verbs.add_parser("check", help="play games with the scripted expert; exit code 1 if one stays unsolved")
    check.description = (
        "Plays each game with the scripted expert. Games that cannot be played, or that the expert has no plan for, "
        "are listed with the reason; games that alfworld itself leaves out of a folder are counted. Exit code 1 if a "
        "game stays unsolved or cannot be played, or if none was checked."
    )
    check.add_argument("source", help=_SOURCE)
    check.add_argument("--max-steps", type=of(Count), help="steps per attempt (default: 50; 100 above 12 receptacles)")
    check.add_argument(
        "--attempts", type=of(Count), default=3, help="attempts per game, each with another seed (default: 3)"
    )
    check.add_argument("--limit", type=of(Count), help="check only the first LIMIT games")
    check.set_defaults(run=_check)
    play = verbs.add_parser("play", help="play a game in the terminal")
    play.add_argument("source", nargs="?", default="small/train", help=_SOURCE)
    play.add_argument("--seed", type=of(Seed), default=0, help="selects one of several games (default: 0)")
    play.add_argument("--max-steps", type=of(Count), default=50, help="steps you may take (default: 50)")
    play.set_defaults(run=_play)


def _generate(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import demos, games, generate, panels

    if args.shipped:
        folder = args.out or games.data_folder()

        def solved(room: "Room") -> bool:
            ok = any(demo.won for demo in demos.attempts(room))
            print(".", end="" if ok else f" {room.id} was not solved and is dropped\n", flush=True)
            return ok

        if args.out is None:  # replace the shipped panels
            refused = panels.make_shipped(folder, solved)
        else:
            with outputs.filling(folder, generate.SIZES) as made:
                refused = panels.make_shipped(made, solved)
        print()
        for name, ids in refused.items():
            print(f"{folder}/{name}.jsonl.gz: written, {len(ids)} generated games dropped {ids or ''}")
        return 0
    if args.out is None:
        raise ActreError("--out is missing: actre games generate --n 60 --out my-games.jsonl.gz")
    if not args.out.name.endswith((".jsonl", ".jsonl.gz")):
        raise ActreError(f"--out {args.out}: the name of a panel file must end in .jsonl or .jsonl.gz")
    outputs.must_be_own(args.out, lambda old: True)  # a folder is refused before anything is generated
    paths = panels.write_panel(args.out, panels.generate(args.size, args.split, args.n, args.seed))
    print(f"{args.out}: {len(paths)} {args.size} games on {args.split} floor plans")
    print(f"next: actre games check {args.out}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import games

    if args.source is None:
        for name in games.SHIPPED + games.OFFICIAL:
            print(f"{name:24} {_counted(name)}")
        return 0
    found = games.listing(args.source)
    failed = {} if args.tasks else games.unreadable(found.games)
    for path in found.games:
        try:
            task = games.read_game(path).task if args.tasks else ""
        except ActreError as error:
            failed[path] = str(error)
        if path not in failed:
            print(f"{path}  {task}".rstrip())
    sys.stdout.flush()
    # on stderr, because other programs may read the list
    for path, reason in failed.items():
        print(f"cannot be played: {named(path, reason)}", file=sys.stderr)
    if failed or found.left_out:
        print(f"{found}{f'; {len(failed)} of them cannot be played' if failed else ''}", file=sys.stderr)
    return 0


def _counted(name: str) -> str:
    """How many games a panel has, or the command that gets it."""
    from actre.envs.alfworld import games

    try:
        found = games.listing(name)
    except games.NotHereError:
        command = "alfworld-download" if name in games.OFFICIAL else "actre games generate --shipped"
        return f"   not available; get it: {command}"
    except ActreError as error:
        return f"   no playable game: {error}"
    return f"{len(found.games):5} {str(found).partition(' ')[2]}"


@dataclass
class _Tally:
    """Results of a check. lost: game -> task; skipped, failed: game -> reason."""

    solved: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    steps: list[int] = field(default_factory=list)
    converted: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, game: str, tries: "list[Demo]", converted: bool) -> None:
        last = tries[-1]
        self.total[last.task_type] += 1
        self.solved[last.task_type] += last.won
        self.steps.append(len(last.steps))
        self.converted += converted
        if not last.won:
            self.lost[game] = last.task

    def __str__(self) -> str:
        lines = [f"{kind:32} {self.solved[kind]:4} of {self.total[kind]}" for kind in sorted(self.total)]
        mean = f", mean steps {sum(self.steps) / len(self.steps):.1f}" if self.steps else ""
        lines.append(f"{'all':32} {self.solved.total():4} of {self.total.total()}{mean}")
        if self.converted:
            lines.append(f"{self.converted} of them are in format 2.1.1 and were converted on reading")
        if self.skipped:
            lines.append(
                f"{len(self.skipped)} skipped because the scripted expert has no plan for them; they can be played"
            )
        if self.failed:
            lines.append(f"{len(self.failed)} cannot be played")
        return "\n".join(lines)


def _check(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import demos, games
    from actre.envs.alfworld.tasks import NoPlanError

    found = games.listing(args.source)
    tally = _Tally()
    for path in islice(found.games, args.limit):
        try:
            tries = list(demos.attempts(path, args.attempts, args.max_steps))
            tally.add(path, tries, games.read_game(path).converted)
        except NoPlanError as error:
            tally.skipped[path] = str(error)
            print(f"skipped: {named(path, error)}")
        except ActreError as error:
            tally.failed[path] = str(error)
            print(f"cannot be played: {named(path, error)}")
        if path in tally.lost:
            print(f"not solved in {len(tries)} attempts: {path} ({tally.lost[path]})")
    print(tally)
    if found.left_out:
        print(found)
    return 0 if tally.steps and not tally.lost and not tally.failed else 1


def _play(args: argparse.Namespace) -> int:
    from actre.envs.alfworld import games
    from actre.envs.alfworld.env import AlfworldEnv

    path = random.Random(args.seed).choice(games.list_games(args.source))
    env = AlfworldEnv([path], max_steps=args.max_steps)
    obs, info = env.reset(options={"game": path})
    print(obs)
    print("\n(`?` lists the admissible actions, `help` explains the commands, Ctrl-D quits)")
    for step in range(1, args.max_steps + 1):
        action = ask(f"{step:2} > ", info["admissible_commands"])
        if action is None:
            print("game left")
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
