"""Demonstrations in WebShop: episodes of the scripted shopper in fresh shops, from which policies are pretrained.

A fresh shop is generated like the shipped one with another seed, and its products have the shipped products' names in
another order. A policy therefore cannot memorise a shop and has to read its pages.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from actre.envs.demo import Demo, DemoStep
from actre.envs.webshop import generate
from actre.envs.webshop.env import WebshopEnv
from actre.envs.webshop.panels import shop_catalogue
from actre.envs.webshop.shopper import Habits, Shopper


def shipped_names() -> list[str]:
    """The names (asins) of the shipped shop's products."""
    return [product.asin for product in shop_catalogue("shop").products]


def fresh_shop(folder: Path, seed: int | str) -> Path:
    """Generate a shop in `folder` unless it exists; returns the shop's folder."""
    shop = folder / f"shop-{seed}"
    if not shop.exists():
        names = shipped_names()
        random.Random(f"actre names {seed}").shuffle(names)
        generate.write(shop.with_name(f"{shop.name}.part"), len(names), seed, names)
        shop.with_name(f"{shop.name}.part").rename(shop)
    return shop


def play(env: WebshopEnv, shopper: Shopper, goal: int) -> Demo:
    """One episode of a shopper."""
    page, info = env.reset(options={"goal": goal})
    first, task = page, info["task"]
    shopper.reset(task)
    steps: list[DemoStep] = []
    over = False
    while not over:
        said = shopper.act(page, info["admissible_commands"])
        page, _, terminated, truncated, info = env.step(said.action)
        over = terminated or truncated
        # no prompt contains the page after the last step
        steps.append(DemoStep(said.thought, said.action, "" if over else page))
    return Demo(str(goal), task, "", first, tuple(steps), bool(info["won"]), (True,) * len(steps))


def demonstrations(
    folder: Path, shops: int, goals: int, habits: Habits, seed: int, max_steps: int, *, episodes: int = 1
) -> Iterator[Demo]:
    """`episodes` of each of `goals` goals, drawn from `shops` fresh shops; the goals do not depend on `habits`.

    folder: where the shops are written.
    """
    for n in range(shops):
        env = WebshopEnv(shop_catalogue(str(fresh_shop(folder, f"{seed}-{n}"))), max_steps)
        drawn = random.Random(f"actre demo goals {seed} {n}").sample(list(env.goals), goals // shops)
        for goal in drawn:
            for k in range(episodes):
                yield play(env, Shopper(habits, f"{seed} {n} {goal} {k}"), goal)
