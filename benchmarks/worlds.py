"""Speed and memory of the worlds through the interfaces of other programs, beside the stock ones through their own.

    python benchmarks/worlds.py [--shop FOLDER] [--out data/results/bench_worlds.json]
    python benchmarks/worlds.py --table data/results/bench_worlds.json           # as docs/worlds.md shows it

Each figure comes from a process of its own. Steps a second are environment steps per CPU second, all processes
together, since the machine may be shared; memory is the proportional set size of all processes. The games are the
first 16 of a shipped full-size panel, written as alfworld's files; the actions are random admissible ones. The first
reset and our first round of actions (it makes the shop's index) are not counted, later resets are. The stock ALFWorld
needs one process of about 100 MB for each game, so 256 of them are not tried. WebShop's original needs Java: its
figures (22 steps/s, 521 MB) are quoted from its measurement on the same products.
--shop: a folder of official files with a noun table; without one, the shipped shop.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Python puts this file's folder first, where alfworld.py would pass for the package alfworld.
sys.path[:] = [
    str(ROOT),
    str(ROOT / "tests"),
    *(p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent),
]

ORIGINAL = {"steps_per_cpu_s": 22.0, "mb": 521.0}
SIZES = (1, 16, 256)
STEPS = {"stock": {1: 12, 16: 4}, "ours": {1: 400, 16: 100, 256: 20}}
ALFWORLD = ("alfworld", "gymnasium", "verl-agent", "ragen", "tools")
WEBSHOP = ("webshop", "gymnasium", "verl-agent", "ragen", "tools")
Act = Callable[[random.Random], None]
"""Sends one random action to every environment."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shop", type=Path, help="a folder of official files with a noun table")
    arguments.add_argument("--out", type=Path, help="write the figures to this JSON file")
    arguments.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments.add_argument("--table", type=Path, help="measure nothing: show this file's figures as the page does")
    options = arguments.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
    elif options.child:
        world, interface, number, steps, place = options.child
        print(json.dumps(measured(world, interface, int(number), int(steps), place)))
    else:
        record = measure(options.shop)
        print(table(record))
        if options.out:
            options.out.write_text(json.dumps(record, indent=1) + "\n")


def measure(shop: Path | None) -> dict[str, Any]:
    """All figures."""
    from actre.runtime.limits import processor

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ACTRE_CACHE"] = os.environ["ALFWORLD_DATA"] = folder
        games = write_games(Path(folder) / "games")
        for number in (1, 16):
            rows.append(child("alfworld", "stock", number, STEPS["stock"][number], games))
        for world, interfaces, place in (("alfworld", ALFWORLD, games), ("webshop", WEBSHOP, str(shop or ""))):
            for number in SIZES:
                for interface in interfaces if number == 16 else interfaces[:1]:
                    rows.append(child(world, interface, number, STEPS["ours"][number], place))
    return {
        "command": f"python benchmarks/worlds.py{' --shop SMALL' if shop else ''}",
        "machine": {"python": platform.python_version(), "cpu": processor(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("alfworld", "textworld", "gymnasium", "numpy")},
        "shop": "the official 1,000 products" if shop else "the shipped shop",
        "webshop_original": ORIGINAL,
        "rows": rows,
    }


def child(world: str, interface: str, number: int, steps: int, place: str) -> dict[str, Any]:
    """One row, measured in a fresh process."""
    print(f"{world} {interface} {number}", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--child", world, interface, str(number), str(steps), place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{world} {interface} {number} failed:\n{done.stderr[-3000:]}")
    return {"world": world, "interface": interface, "environments": number, **json.loads(done.stdout.splitlines()[-1])}


def measured(world: str, interface: str, number: int, steps: int, place: str) -> dict[str, float]:
    """Steps per CPU second and memory, after one reset."""
    before = cpu_s()
    act, rng = START[world, interface](number, place), random.Random(0)
    if interface != "stock":
        act(rng)  # the first search makes the shop's index
    begun = cpu_s()
    for _ in range(steps):
        act(rng)
    taken = cpu_s() - begun
    return {
        "steps": steps * number,
        "steps_per_cpu_s": round(steps * number / taken, 1),
        "start_cpu_s": round(begun - before, 2),
        "mb": round(memory_mb(), 1),
    }


def processes() -> list[str]:
    return ["self", *(str(one.pid) for one in multiprocessing.active_children())]


def cpu_s() -> float:
    """CPU seconds of this process and its living children, of which the system counts hundredths."""
    total = 0
    for pid in processes()[1:]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return time.process_time() + total / os.sysconf("SC_CLK_TCK")


def memory_mb() -> float:
    """The proportional set size of this process and its children."""
    found = 0
    for pid in processes():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found / 1024


def write_games(folder: Path) -> str:
    """16 shipped games as alfworld's files; returns the folder."""
    from game_files import write

    from actre.envs.alfworld import list_games, read_game

    for name in list_games("full/train")[:16]:
        game = read_game(name)
        write(folder / game.id / "trial", data={"task_type": game.task_type}, game=game)
    return str(folder)


def settings(games: str) -> dict[str, Any]:
    """alfworld's configuration."""
    return {
        "dataset": {"data_path": games, "num_train_games": -1, "num_eval_games": -1},
        "env": {
            "task_types": [1, 2, 3, 4, 5, 6],
            "goal_desc_human_anns_prob": 0,
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": 10_000}},
    }


def batch(env: Any) -> Act:
    """alfworld's interface, the stock one or ours."""
    _, infos = env.reset()
    state = {"listed": infos["admissible_commands"]}

    def act(rng: random.Random) -> None:
        *_, infos = env.step([rng.choice(commands) for commands in state["listed"]])
        state["listed"] = infos["admissible_commands"]

    return act


def stock(number: int, games: str) -> Act:
    from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

    return batch(AlfredTWEnv(settings(games), "train").init_env(number))


def alfworld(number: int, games: str) -> Act:
    from actre.envs.compat.alfworld import AlfredTWEnv

    return batch(AlfredTWEnv(settings(games)).init_env(number))


def chosen(rng: random.Random, listed: Any, task: str) -> str:
    """A random action of a page or room; a search is for the task."""
    if not listed:  # the page of a purchase; gymnasium starts the next game with whatever comes
        return ""
    action = rng.choice(list(listed))
    return f"search[{task}]" if action == "search[<query>]" else str(action)


def gymnasium_of(world: str) -> Callable[[int, str], Act]:
    def start(number: int, place: str) -> Act:
        import gymnasium

        import actre.envs  # noqa: F401 (registers the worlds)

        name, given = "actre/Webshop-v0", {"catalogue": shop_folder(place), "max_steps": 10_000}
        if world == "alfworld":
            name, given = "actre/Alfworld-v0", {"games": files(place), "max_steps": 10_000}
        envs: Any = gymnasium.make_vec(name, num_envs=number, vectorization_mode="sync", **given)
        state = {"infos": envs.reset(seed=0)[1]}

        def act(rng: random.Random) -> None:
            infos = state["infos"]
            pairs = zip(infos["admissible_commands"], infos["task"], strict=True)
            *_, state["infos"] = envs.step([chosen(rng, listed, task) for listed, task in pairs])

        return act

    return start


def verl_alfworld(number: int, games: str) -> Act:
    from actre.envs.compat.verl_agent import build_alfworld_envs

    groups = min(number, 2)
    envs = build_alfworld_envs(settings(games), 0, groups, number // groups)
    envs.reset()

    def act(rng: random.Random) -> None:
        envs.step([rng.choice(commands) for commands in envs.get_admissible_commands])

    return act


def clicked(rng: random.Random, actions: dict[str, Any], task: str) -> str:
    return f"search[{task}]" if actions["has_search_bar"] else f"click[{rng.choice(actions['clickables'])}]"


def verl_webshop(number: int, place: str) -> Act:
    from actre.envs.compat.verl_agent import build_webshop_envs

    envs = build_webshop_envs(0, number // 2, 2, env_kwargs={"file_path": shop_folder(place)})
    state = {"infos": envs.reset()[1], "over": 0}

    def act(rng: random.Random) -> None:
        tasks = [worker.instruction_text for worker in envs._workers]
        pairs = zip(state["infos"], tasks, strict=True)
        *_, dones, state["infos"] = envs.step([clicked(rng, i["available_actions"], task) for i, task in pairs])
        if any(dones):
            state["infos"] = envs.reset()[1]

    return act


def webshop(number: int, place: str) -> Act:
    from actre.envs.compat.webshop import WebAgentTextEnv

    first = WebAgentTextEnv(file_path=shop_folder(place))
    envs = [first, *(WebAgentTextEnv(server=first.server) for _ in range(number - 1))]
    for k, env in enumerate(envs):
        env.reset(k)

    def act(rng: random.Random) -> None:
        for env in envs:
            action = clicked(rng, env.get_available_actions(), env.instruction_text)
            *_, done, _ = env.step(action)
            if done:
                env.reset(rng.randrange(len(env.server.goals)))

    return act


def ragen_of(world: str) -> Callable[[int, str], Act]:
    def start(number: int, place: str) -> Act:
        from actre.envs.compat import ragen

        envs: list[Any] = []
        for _ in range(number):
            if world == "alfworld":
                envs.append(ragen.AlfworldEnv(ragen.AlfworldConfig(train=place, max_steps=10_000)))
            else:
                envs.append(ragen.WebshopEnv(ragen.WebshopConfig(train=f"{shop_folder(place)}/train")))
        for k, env in enumerate(envs):
            env.reset(seed=k)

        def act(rng: random.Random) -> None:
            for env in envs:
                done = env.step(chosen(rng, env._info["admissible_commands"], env._info["task"]))[2]
                if done:
                    env.reset(seed=rng.randrange(1000))

        return act

    return start


def tools_of(world: str) -> Callable[[int, str], Act]:
    def start(number: int, place: str) -> Act:
        from actre.envs.compat.episode import Episode

        panel = place if world == "alfworld" else f"{shop_folder(place)}/train"
        plays = [Episode(world, panel, 10_000) for _ in range(number)]
        for k, play in enumerate(plays):
            play.start(k)

        def act(rng: random.Random) -> None:
            for play in plays:
                play.act(chosen(rng, play.admissible, "a table"))
                if play.over:
                    play.start()

        return act

    return start


def shop_folder(place: str) -> str:
    from actre.config import data_folder

    return place or str(data_folder() / "webshop")


def files(folder: str) -> list[str]:
    from actre.envs.alfworld import list_games

    return list_games(folder)


START: dict[tuple[str, str], Callable[[int, str], Act]] = {
    ("alfworld", "stock"): stock,
    ("alfworld", "alfworld"): alfworld,
    ("alfworld", "gymnasium"): gymnasium_of("alfworld"),
    ("alfworld", "verl-agent"): verl_alfworld,
    ("alfworld", "ragen"): ragen_of("alfworld"),
    ("alfworld", "tools"): tools_of("alfworld"),
    ("webshop", "webshop"): webshop,
    ("webshop", "gymnasium"): gymnasium_of("webshop"),
    ("webshop", "verl-agent"): verl_webshop,
    ("webshop", "ragen"): ragen_of("webshop"),
    ("webshop", "tools"): tools_of("webshop"),
}


def stock_speed(record: dict[str, Any], world: str) -> float:
    """The stock world's steps per CPU second at 16 environments; WebShop's is one environment's, quoted."""
    if world == "webshop":
        return float(record["webshop_original"]["steps_per_cpu_s"])
    rows = (r for r in record["rows"] if r["interface"] == "stock" and r["environments"] == 16)
    return float(next(rows)["steps_per_cpu_s"])


def table(record: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| world | interface | environments | steps per CPU second | against stock | memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        ratio = row["steps_per_cpu_s"] / stock_speed(record, row["world"])
        against = "" if row["interface"] == "stock" else f"{ratio:,.0f} x"
        speed = f"{row['steps_per_cpu_s']:,.0f}" if row["steps_per_cpu_s"] >= 100 else f"{row['steps_per_cpu_s']:.1f}"
        name = "stock, its own" if row["interface"] == "stock" else row["interface"]
        lines.append(f"| {row['world']} | {name} | {row['environments']} | {speed} | {against} | {row['mb']:,.0f} |")
        if row["interface"] == "stock" and row["environments"] == 16:
            lines.append("| alfworld | stock, its own | 256 | not tried | | |")
    quoted = record["webshop_original"]
    lines.append(
        f"| webshop | original, its own (quoted) | 1 | {quoted['steps_per_cpu_s']:.0f} | | {quoted['mb']:.0f} |"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
