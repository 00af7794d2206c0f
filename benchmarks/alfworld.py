"""Speed of the ALFWorld environment and of the stock engine, in one run on the same games and actions.

    python benchmarks/alfworld.py [--games SOURCE ...] [--n 6] [--steps 40] [--out data/results/bench_alfworld.json]
    python benchmarks/alfworld.py --table data/results/bench_alfworld.json      # as docs/alfworld-engine.md shows it

SOURCE: what `list_games` takes (a shipped panel, a folder of games). Prints CPU times, since the machine may be
shared. Every answer of the two engines is compared, and a difference ends the run. Loading is measured in
fresh processes, since the first game of a process also pays for imports.
"""

import argparse
import cProfile
import gc
import json
import os
import platform
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Python puts this file's folder first, where this file would pass for the package alfworld.
sys.path[:] = [
    str(ROOT),
    str(ROOT / "tests"),
    *(p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent),
]

from stock_alfworld import Answer, StockEngine  # noqa: E402

from actre.envs.alfworld import AlfworldEnv, engine, list_games, read_game  # noqa: E402
from actre.runtime.limits import processor  # noqa: E402

RARE = ("take", "move", "open", "close", "use", "heat", "clean", "cool", "slice")
DEFAULT = ["small/train", "small/unseen", "full/train", "full/unseen"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument(
        "--games", nargs="+", default=DEFAULT, help="panels or folders (default: the shipped panels)"
    )
    arguments.add_argument("--n", type=int, default=6, help="games drawn from each source")
    arguments.add_argument("--steps", type=int, default=40, help="steps of the walk in each game")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, help="write the figures to this JSON file")
    arguments.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments.add_argument("--table", type=Path, help="measure nothing: show this file's figures as the document does")
    options = arguments.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    if options.child:
        print(json.dumps(CHILDREN[options.child[0]](options.child[1:])))
        return
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ACTRE_CACHE"] = cache
        record = measure(options)
    show(record)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    rng = random.Random(options.seed)
    sources: dict[str, Any] = {}
    for source in options.games:
        games = list_games(source)
        games = rng.sample(games, min(options.n, len(games)))
        name = Path(source).name if Path(source).is_dir() else source
        sources[name] = compare(games, options.steps, options.seed) | loading(games)
    every = [game for source in options.games for game in list_games(source)]
    chosen = rng.sample(every, min(16, len(every)))
    steps = [s["ours_ms_per_step"] for s in sources.values()]
    shown = [Path(a).name if Path(a).is_dir() else a for a in sys.argv[1:]]
    return {
        "command": " ".join(["python benchmarks/alfworld.py", *shown]),
        "machine": {"python": platform.python_version(), "cpu": processor(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("alfworld", "textworld", "fast-downward-textworld", "gymnasium")},
        "settings": {"n": options.n, "steps": options.steps, "seed": options.seed},
        "sources": sources,
        "lowest_ratio": min(s["ratio"] for s in sources.values()),
        "highest_ours_ms_per_step": max(steps),
        "memory": child("memory", *chosen),
        "many_games": child("many", *rng.sample(every, min(200, len(every)))),
        "profile": child("profile", *chosen)["rows"],
    }


def compare(games: list[str], steps: int, seed: int) -> dict[str, Any]:
    """Both engines on the same walks. Ours plays each twice: a first visit, and again with everything cached."""
    stock_s = load_s = reset_s = 0.0
    walks = []
    for number, path in enumerate(games):
        rng = random.Random(f"{seed} {number}")
        t = time.process_time()
        stock = StockEngine(read_game(path))
        load_s += time.process_time() - t
        t = time.process_time()
        answers = [stock.reset()]
        reset_s += time.process_time() - t
        actions: list[str] = []
        while len(actions) < steps and not answers[-1].won:
            rare = [c for c in answers[-1].admissible if c.startswith(RARE)]
            actions.append(rng.choice(rare if rare and rng.random() < 0.6 else answers[-1].admissible))
            t = time.process_time()
            answers.append(stock.step(actions[-1]))
            stock_s += time.process_time() - t
        walks.append((path, actions, answers))
    taken = sum(len(actions) for _, actions, _ in walks)
    engine._compiled.clear()
    first_s, again_s = play(walks), play(walks)
    return {
        "games": len(games),
        "steps": taken,
        "stock_load_ms": 1e3 * load_s / len(games),
        "stock_reset_ms": 1e3 * reset_s / len(games),
        "stock_ms_per_step": 1e3 * stock_s / taken,
        "ours_ms_per_step": 1e3 * first_s / taken,
        "ours_ms_per_step_again": 1e3 * again_s / taken,
        "ratio": stock_s / first_s,
        "ratio_again": stock_s / again_s,
    }


def play(walks: list[tuple[str, list[str], list[Answer]]]) -> float:
    """CPU seconds that our steps took; every answer is compared with the stock engine's."""
    spent = 0.0
    for path, actions, wanted in walks:
        env = AlfworldEnv(max_steps=len(actions) + 1)
        text, info = env.reset(options={"game": path})
        got = [Answer(text, info["admissible_commands"], info["won"])]
        t = time.process_time()
        for action in actions:
            text, _, _, _, info = env.step(action)
            got.append(Answer(text, info["admissible_commands"], info["won"]))
        spent += time.process_time() - t
        if got != wanted:
            raise SystemExit(f"{path}: our answers differ from the stock engine's")
    return spent


def loading(games: list[str]) -> dict[str, Any]:
    """Milliseconds of reset(): new games and known ones, each set in a fresh process; and again in memory."""
    with tempfile.TemporaryDirectory() as cache:
        # The first game includes the imports and the grammar, so it is reported separately.
        new, known = (child("load", games[0], *games, cache=cache) for _ in range(2))
    return {
        "first_new_game_ms": new["ms"][0],
        "new_game_ms": statistics.mean(new["ms"][2:]),
        "new_game_worst_ms": max(new["ms"][2:]),
        "first_known_game_ms": known["ms"][0],
        "known_game_ms": statistics.mean(known["ms"][2:]),
        "known_game_worst_ms": max(known["ms"][2:]),
        "in_memory_ms": known["ms"][1],
    }


def child(*what: str, cache: str | None = None) -> dict[str, Any]:
    """Run one of CHILDREN in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"ACTRE_CACHE": cache} if cache else {})
    run = [sys.executable, __file__, "--child", *what]
    return json.loads(subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout)


def load_child(games: list[str]) -> dict[str, Any]:
    env, ms = AlfworldEnv(), []
    for path in games:
        t = time.process_time()
        env.reset(options={"game": path})
        ms.append(1e3 * (time.process_time() - t))
    return {"ms": ms}


def memory_child(games: list[str]) -> dict[str, Any]:
    """16 environments, each in another game, stepping in turn."""
    before = resident_mb()
    envs = [AlfworldEnv(games, max_steps=10**6) for _ in range(16)]
    infos = [env.reset(options={"game": games[k % len(games)]})[1] for k, env in enumerate(envs)]
    rng, spent, taken = random.Random(0), 0.0, 0
    for _ in range(100):
        for k, env in enumerate(envs):
            action = rng.choice(infos[k]["admissible_commands"])
            t = time.process_time()
            *_, over, _, infos[k] = env.step(action)
            spent, taken = spent + time.process_time() - t, taken + 1
            if over:
                infos[k] = env.reset(options={"game": games[k % len(games)]})[1]
    return {
        "environments": 16,
        "before_mb": before,
        "after_mb": resident_mb(),
        "steps_per_cpu_s": taken / spent,
    }


def many_child(games: list[str]) -> dict[str, Any]:
    """One environment through many games: memory after a quarter of them and after all."""
    env, marks, rng = AlfworldEnv(max_steps=10**6), [], random.Random(0)
    for k, path in enumerate(games, 1):
        info = env.reset(options={"game": path})[1]
        for _ in range(10):
            *_, over, _, info = env.step(rng.choice(info["admissible_commands"]))
            if over:
                break
        if k in (len(games) // 2, len(games)):
            gc.collect()
            marks.append(resident_mb())
    return {"games": len(games), "half_way_mb": marks[0], "end_mb": marks[-1]}


def resident_mb() -> float:
    """What this process holds in memory now."""
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def profile_child(games: list[str]) -> dict[str, Any]:
    """Where the time of a step goes: shares of the whole, by function, in 30 steps of each game from the disk cache."""
    env, rng = AlfworldEnv(max_steps=10**6), random.Random(0)
    profiler = cProfile.Profile()
    for path in games:
        info = env.reset(options={"game": path})[1]
        for _ in range(30):
            action = rng.choice(info["admissible_commands"])
            profiler.enable()
            *_, over, _, info = env.step(action)
            profiler.disable()
            if over:
                break
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    rows = [
        {"function": f"{Path(file).name}:{name}", "own_share": own / total, "with_calls_share": whole / total}
        for (file, _, name), (_, _, own, whole, _) in stats.items()
    ]
    return {"rows": sorted(rows, key=lambda row: -row["own_share"])[:14]}


CHILDREN = {"load": load_child, "memory": memory_child, "many": many_child, "profile": profile_child}


def table(record: dict[str, Any]) -> str:
    """The figures as Markdown, a column a source; all times are CPU milliseconds."""
    sources = record["sources"]
    names = ["real games" if name.startswith("json_") else name for name in sources]
    rows = {
        "stock engine, a step": "{stock_ms_per_step:.1f}",
        "ours, a step, first visit": "{ours_ms_per_step:.2f}",
        "ours, a step, again": "{ours_ms_per_step_again:.2f}",
        "ratio, first visit": "{ratio:.0f}",
        "stock engine, load": "{stock_load_ms:.0f}",
        "stock engine, each reset": "{stock_reset_ms:.0f}",
        "ours, reset to a new game: mean (worst)": "{new_game_ms:.0f} ({new_game_worst_ms:.0f})",
        "ours, reset to a cached game, from disk: mean (worst)": "{known_game_ms:.1f} ({known_game_worst_ms:.1f})",
        "ours, reset to a game in memory": "{in_memory_ms:.1f}",
    }
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [f"| {row} | {' | '.join(form.format(**s) for s in sources.values())} |" for row, form in rows.items()]
    return "\n".join(lines)


def show(record: dict[str, Any]) -> None:
    """The figures for people. All times are CPU milliseconds."""
    columns = ("stock_ms_per_step", "ours_ms_per_step", "ours_ms_per_step_again", "ratio", "stock_load_ms",
               "new_game_ms", "new_game_worst_ms", "known_game_ms", "known_game_worst_ms", "in_memory_ms")  # fmt: skip
    print(f"{'':34}" + "".join(f"{name[-16:]:>18}" for name in record["sources"]))
    for column in columns:
        print(f"{column:34}" + "".join(f"{s[column]:18.2f}" for s in record["sources"].values()))
    memory, many = record["memory"], record["many_games"]
    print(f"16 environments: {memory['after_mb']:.0f} MB in all, {memory['steps_per_cpu_s']:.0f} steps a cpu-s")
    print(f"{many['games']} games in turn: {many['half_way_mb']:.0f} MB half way, {many['end_mb']:.0f} MB at the end")
    print(f"lowest ratio {record['lowest_ratio']:.0f} (goal: 60)")


if __name__ == "__main__":
    main()
