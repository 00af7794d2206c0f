"""The prices in docs/your-gpu.md, from the presets and the estimate.

    python benchmarks/your_gpu.py page      # writes the tables into docs/your-gpu.md
    python benchmarks/your_gpu.py table     # prints them

No GPU has confirmed an estimate. The words of the page are edited in the page itself; only what lies between its marks
is made here. This script needs no GPU.
"""

import argparse
from pathlib import Path

from actre.config import RunConfig
from actre.config.presets import preset
from actre.runtime.estimate import Device, estimate, gpu
from actre.runtime.limits import hours
from actre.runtime.price import ARMS, SEEDS, price
from actre.runtime.shapes import shape_of
from actre.study.preconditions import budget_for

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your-gpu.md"
ROUTES = (
    ("T4", 16, 15.8, "qwen-0.5b-16gb"),
    ("L4", 24, 23.7, "qwen-1.5b-24gb"),
    ("A100", 80, 80.0, "qwen-1.5b-24gb"),
    ("A100", 80, 80.0, "qwen-1.5b-80gb"),
)
"""Card, its size in GB, the GB that it really has, and the preset for it."""
PUBLISHED = ("L4", 24, 23.7, "qwen-1.5b-16gb")
"""The published protocol on a GPU that is not for it; in the table of prices only."""
MARKS = ("<!-- prices: python benchmarks/your_gpu.py page -->", "<!-- end of prices -->")
STEP_MARKS = ("<!-- steps: python benchmarks/your_gpu.py page -->", "<!-- end of steps -->")


def prices() -> str:
    """What each route costs, dearest last."""
    lines = [
        "| GPU | preset | to download | memory | one arm | both arms of a seed (`quickstart`) | a verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for card, size, real, name in (*ROUTES, PUBLISHED):
        config, device = preset(name), gpu(card, real)
        found = estimate(config, device)
        cost = price(config, device, found)
        lines.append(
            f"| {card}, {size} GB | `{name}` | {_download(config)} | {found.memory_gb:.0f} GB | {hours(cost.arm_h)} | "
            f"{hours(cost.pair_h)} | {hours(cost.verdict_h)} |"
        )
    told = f"A verdict is {ARMS} arms with {SEEDS} seeds, one run after the other on one GPU."
    return "\n".join([*lines, "", f"{told} The last two rows are the published protocol."])


def steps() -> str:
    """The time of each step that plays or trains, by route."""
    named = [f"{card} `{name}`" for card, _, _, name in ROUTES]
    rows = [
        ("baseline: both panels, think-first", [_time(_panels_h(*route)) for route in _routes()]),
        ("preconditions: the reinforcement alone", [_time(_learnability_h(*route)) for route in _routes()]),
        ("one iteration", [_time(_iteration_h(*route)) for route in _routes()]),
        ("one arm's training", [hours(price(*route).train_h) for route in _routes()]),
        ("one arm's evaluation, three orders", [_time(price(*route).evaluate_h) for route in _routes()]),
    ]
    lines = [f"| step | {' | '.join(named)} |", "|---" * (len(ROUTES) + 1) + "|"]
    return "\n".join([*lines, *(f"| {what} | {' | '.join(cells)} |" for what, cells in rows)])


def made(text: str) -> str:
    """The page with its tables made anew."""
    for (begin, end), table in ((MARKS, prices()), (STEP_MARKS, steps())):
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


def _routes() -> list[tuple[RunConfig, Device]]:
    return [(preset(name), gpu(card, real)) for card, _, real, name in ROUTES]


def _download(config: RunConfig) -> str:
    """The model in half precision, and the games."""
    model = 2 * shape_of(config.model.name).parameters / 1e9
    return f"{model:.0f} GB of model" + (", 2 GB of games" if config.env.train.startswith("official/") else "")


def _iteration_h(config: RunConfig, device: Device) -> float:
    found = estimate(config, device)
    return (found.rollout_s + found.update_s) / 3600


def _panels_h(config: RunConfig, device: Device) -> float:
    return price(config, device).evaluate_h / 3


def _learnability_h(config: RunConfig, device: Device) -> float:
    """Two orders, each trained alone with several seeds, and each evaluated once in both orders on one panel."""
    budget = budget_for(config)
    runs = 2 * budget.seeds
    return runs * (budget.iterations * _iteration_h(config, device) + 2 * _panels_h(config, device) / 2)


def _time(number: float) -> str:
    return f"{60 * number:.0f} min" if number < 1.5 else hours(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("page", "table"))
    if parser.parse_args().what == "table":
        print(f"{prices()}\n\n{steps()}")
        return
    PAGE.write_text(made(PAGE.read_text()))


if __name__ == "__main__":
    main()
