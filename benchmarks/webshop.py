"""Speed and memory of the WebShop environment, and the cost of importing and searching a large shop.

    python benchmarks/webshop.py [--shop FOLDER] [--products 50000] [--seconds 5] [--out FILE]

--shop: a folder of official files with a noun table; without one, 1,000 generated products. The large shop is always
generated, and its texts are filled up to the length of real listings (`FILL_WORDS`). CPU times, since the machine may
be shared; every figure comes from a process of its own, so that its memory is measured alone. The original's figures
(22 steps/s, 521 MB) are quoted from its measurement, not taken here.
"""

import argparse
import gzip
import json
import math
import os
import platform
import random
import resource
import statistics
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
sys.path[:] = [str(ROOT), *(p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent)]

FULL_SET = 1_180_000
FILL_WORDS = 76
"""A generated product has 32 words that search reads, one of the real 1,000 has 108."""
FILL_VOCABULARY = 100_000
ORIGINAL = {"steps_per_s": 22, "mb": 521}
TARGETS = {
    "new_steps_per_s": 8_000,
    "repeated_steps_per_s": 25_000,
    "env_mb": 120,
    "reset_ms": 0.2,
    "mb_of_64": 200,
    "search_ms": 10,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shop", type=Path, help="a folder of official files with a noun table")
    arguments.add_argument("--products", type=int, default=50_000, help="of the large shop; 0: leave it out (50000)")
    arguments.add_argument("--seconds", type=float, default=5.0, help="CPU seconds a speed is measured for (5)")
    arguments.add_argument("--out", type=Path, help="write the figures to this JSON file")
    arguments.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child[0]](*options.child[1:])))
        return
    record = measure(options)
    show(record)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    from actre.runtime.limits import processor

    record: dict[str, Any] = {
        "command": " ".join(["python benchmarks/webshop.py", *(Path(a).name if "/" in a else a for a in sys.argv[1:])]),
        "machine": {"python": platform.python_version(), "cpu": processor(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("numpy", "gymnasium", "regex", "thefuzz")},
        "targets": TARGETS,
        "original": ORIGINAL,
    }
    with tempfile.TemporaryDirectory() as folder:
        shop = options.shop
        if shop is None:
            shop = Path(folder) / "thousand"
            child("generate", shop, 1000, 0)
        seconds = options.seconds
        record["shop"] = "official files" if options.shop else "1,000 generated products"
        record["new"] = child("speed", shop, "new", seconds)
        record["repeated"] = child("speed", shop, "repeated", seconds)
        record["reset"] = child("resets", shop, seconds)
        record["many"] = child("many", shop, 64)
        if options.products:
            large = Path(folder) / "large"
            child("generate", large, options.products, FILL_WORDS)
            record["import"] = child("take_in", large)
            record["large"] = child("large", large)
            record["full_set"] = extrapolated(record["import"], record["large"], options.products)
    return record


def child(name: str, *arguments: object) -> dict[str, Any]:
    """A figure, measured in a process of its own."""
    command = [sys.executable, __file__, "--child", name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def generate(folder: str, products: str, fill: str) -> dict[str, Any]:
    """Write a generated shop, each description filled up with words of a Zipf distribution."""
    from actre.envs.webshop.generate import HUMAN, INSTRUCTIONS, NOUNS, PRODUCTS, draw

    Path(folder).mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    span = math.log(FILL_VOCABULARY)
    tables: dict[str, dict[str, Any]] = {INSTRUCTIONS: {}, HUMAN: {}, NOUNS: {}}
    with gzip.open(Path(folder) / f"{PRODUCTS}.json.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        for i, drawn in enumerate(draw(int(products), seed="benchmark")):
            words = " ".join(f"w{int(math.exp(rng.random() * span))}" for _ in range(int(fill)))
            product = {**drawn.product, "full_description": f"{drawn.product['full_description']} {words}".strip()}
            file.write(("[" if i == 0 else ",\n") + json.dumps(product))
            for name, value in ((INSTRUCTIONS, drawn.instruction), (HUMAN, drawn.human), (NOUNS, drawn.nouns)):
                tables[name][product["asin"]] = value
        file.write("]")
    for name, table in tables.items():
        (Path(folder) / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(table).encode(), 1))
    return {}


def speed(shop: str, queries: str, seconds: str) -> dict[str, Any]:
    """Steps a second of random walks, the admissible commands read at every step; resets count as time, not as steps.

    new: no query is ever asked twice; repeated: 50 queries in turn. Memory is the whole process's, at its highest.
    """
    from actre.envs.webshop.env import WebshopEnv
    from actre.envs.webshop.goals import goals_of

    env = WebshopEnv(shop)
    goals = goals_of(env.catalogue)
    asked = [goal.instruction for goal in goals.goals]
    random.Random(0).shuffle(asked)
    rng = random.Random(1)
    steps = searches = 0
    _, info = env.reset(seed=0)
    begin = time.process_time()
    while (spent := time.process_time() - begin) < float(seconds):
        over = False
        _, info = env.reset()
        while not over:
            command = rng.choice(info["admissible_commands"])
            if command == "search[<query>]":
                # a number no listing holds makes a wish new without making it easier
                wish = asked[searches % 50] if queries == "repeated" else f"{asked[searches % len(asked)]} {searches}"
                command = f"search[{wish}]"
                searches += 1
            _, _, terminated, truncated, info = env.step(command)
            over = terminated or truncated
            steps += 1
    return {"steps_per_s": round(steps / spent), "steps": steps, "searches": searches, "peak_mb": _peak_mb()}


def resets(shop: str, seconds: str) -> dict[str, Any]:
    """The mean time of a reset, over all attainable goals."""
    from actre.envs.webshop.env import WebshopEnv

    env = WebshopEnv(shop)
    start = time.perf_counter()
    env.reset(seed=0)
    first = time.perf_counter() - start
    count, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < float(seconds) / 2:
        for _ in range(1000):
            env.reset()
        count += 1000
    return {"ms": round(1000 * spent / count, 4), "first_ms": round(1000 * first, 1)}


def many(shop: str, n: str) -> dict[str, Any]:
    """Memory of n environments that share one catalogue, after each has played an episode."""
    from actre.envs.webshop.env import WebshopEnv
    from actre.envs.webshop.importer import open_catalogue

    catalogue = open_catalogue(shop)
    envs = [WebshopEnv(catalogue) for _ in range(int(n))]
    rng = random.Random(0)
    for env in envs:
        _, info = env.reset(seed=rng.randrange(10**6))
        over = False
        while not over:
            command = rng.choice(info["admissible_commands"])
            command = f"search[{info['task']}]" if command == "search[<query>]" else command
            _, _, terminated, truncated, info = env.step(command)
            over = terminated or truncated
    return {"envs": int(n), "peak_mb": _peak_mb()}


def take_in(folder: str) -> dict[str, Any]:
    """Time and memory of an import."""
    from actre.envs.webshop.importer import CACHE, find_files, import_shop

    before, begin = _peak_mb(), time.process_time()
    report = import_shop(folder)
    spent = time.process_time() - begin
    kept = list((Path(folder) / CACHE).rglob("*.*"))
    return {
        "products": report.products,
        "cpu_s": round(spent, 1),
        "before_mb": before,
        "peak_mb": _peak_mb(),
        "file_mb": _mb(find_files(folder).products.stat().st_size),
        "kept_mb": {path.name: _mb(path.stat().st_size) for path in sorted(kept) if path.is_file()},
    }


def large(folder: str) -> dict[str, Any]:
    """Opening a large shop, searching it with instructions nobody asked before, and walking in it."""
    from actre.envs.webshop.env import WebshopEnv
    from actre.envs.webshop.goals import goals_of
    from actre.envs.webshop.importer import open_catalogue

    before, begin = _rss_mb(), time.process_time()
    catalogue = open_catalogue(folder)
    opened, opened_mb = time.process_time() - begin, _rss_mb()
    begin = time.process_time()
    # people's instructions: with the full set, as published; its options would make tens of millions of others
    env = WebshopEnv(catalogue, kind="human")
    made = time.process_time() - begin
    goals = goals_of(catalogue, "human").goals
    asked = [goal.instruction for goal in random.Random(0).sample(goals, min(300, len(goals)))]
    search = [_timed(lambda wish=wish: catalogue.index.scored(wish)) for wish in asked]  # type: ignore[misc]
    page = []
    for wish in asked[:100]:
        env.reset(options={"goal": 0})
        page.append(_timed(lambda wish=wish: env.step(f"search[{wish} 7]")))  # type: ignore[misc]
    return {
        "products": len(catalogue),
        "open_cpu_s": round(opened, 2),
        "goals_cpu_s": round(made, 2),
        "before_mb": before,
        "opened_mb": opened_mb,
        "peak_mb": _peak_mb(),
        "postings": len(catalogue.index._arrays["ranks"]),
        "queries": len(asked),
        "search_ms": {"median": _ms(statistics.median(search)), "p95": _ms(sorted(search)[int(0.95 * len(search))])},
        "search_step_ms": {"median": _ms(statistics.median(page)), "p95": _ms(sorted(page)[int(0.95 * len(page))])},
    }


def extrapolated(take: dict[str, Any], opened: dict[str, Any], products: int) -> dict[str, Any]:
    """What the full set would cost if everything grew with the number of products; a bound, not a measurement.

    The generated shop's kinds of wares are few, so its common words are in more products than a real one's.
    """
    by = FULL_SET / products
    return {
        "products": FULL_SET,
        "import_cpu_min": round(take["cpu_s"] * by / 60, 1),
        "import_peak_gb": round((take["before_mb"] + (take["peak_mb"] - take["before_mb"]) * by) / 1024, 1),
        "kept_gb": round(sum(take["kept_mb"].values()) * by / 1024, 1),
        "opened_gb": round((opened["before_mb"] + (opened["opened_mb"] - opened["before_mb"]) * by) / 1024, 1),
        "search_ms": round(opened["search_ms"]["median"] * by, 1),
    }


def show(record: dict[str, Any]) -> None:
    """The figures beside their targets."""
    t = record["targets"]

    def line(what: str, value: float, unit: str, target: float, high: bool) -> None:
        met = "met" if (value >= target if high else value <= target) else "MISSED"
        print(f"  {what:52} {value:>10,.6g} {unit:8} target {'>=' if high else '<='} {target:,}  {met}")

    new, again = record["new"], record["repeated"]
    print(f"{record['shop']}, text mode, random walks of 15 steps, one core")
    line("steps/s, no query twice", new["steps_per_s"], "steps/s", t["new_steps_per_s"], True)
    line("steps/s, 50 queries in turn", again["steps_per_s"], "steps/s", t["repeated_steps_per_s"], True)
    line("memory of the process", max(new["peak_mb"], again["peak_mb"]), "MB", t["env_mb"], False)
    line("reset", record["reset"]["ms"], "ms", t["reset_ms"], False)
    line("64 environments, one catalogue", record["many"]["peak_mb"], "MB", t["mb_of_64"], False)
    original = record["original"]
    faster = [f"{one['steps_per_s'] / original['steps_per_s']:,.0f}" for one in (new, again)]
    print(
        f"  against the original's {original['steps_per_s']} steps/s and {original['mb']} MB: "
        f"{' and '.join(faster)} times as fast, {original['mb'] / new['peak_mb']:.1f} times smaller"
    )
    if "large" not in record:
        return
    take, opened, full = record["import"], record["large"], record["full_set"]
    print(f"{opened['products']:,} generated products of real length")
    print(f"  import {take['cpu_s']} s of CPU, peak {take['peak_mb']} MB ({take['before_mb']} MB before it began)")
    print(f"  kept beside the files: {take['kept_mb']} MB")
    print(f"  opened in {opened['open_cpu_s']} s, {opened['opened_mb']} MB ({opened['before_mb']} MB before)")
    line("search, median of new queries", opened["search_ms"]["median"], "ms", t["search_ms"], False)
    line("search, 95th percentile", opened["search_ms"]["p95"], "ms", t["search_ms"], False)
    line(
        "a step that searches, products read from disk", opened["search_step_ms"]["median"], "ms", t["search_ms"], False
    )
    print(f"extrapolated to {full['products']:,}, all in proportion: {full}")


def _timed(call: Callable[[], object]) -> float:
    begin = time.process_time_ns()
    call()
    return (time.process_time_ns() - begin) / 1e9


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _mb(size: int) -> float:
    return round(size / 2**20, 1)


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _rss_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "generate": generate,
    "speed": speed,
    "resets": resets,
    "many": many,
    "take_in": take_in,
    "large": large,
}

if __name__ == "__main__":
    main()
