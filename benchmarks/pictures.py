"""The pictures of README and docs, made from what is shipped.

    python benchmarks/pictures.py figures       # docs/pictures/*.svg, from data/results
    python benchmarks/pictures.py inspector     # docs/pictures/inspector.png; needs playwright and Chromium

The figures are static SVG on a transparent ground with mid-grey text, so that they read on GitHub in light and dark.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actre.config import data_folder
from actre.config.presets import preset
from actre.entropy.diagnose import Diagnosis, StateDiagnosis, load_diagnosis
from actre.entropy.probes import Probe, digest, panel_probes
from actre.lessons.recorded import recorded_preconditions
from actre.types import ActreError
from actre.view import calibration_plots, plots, still
from actre.view.html import Html, tag
from actre.view.palette import GREY, ORDERS
from actre.view.records import RunRecord, read_runs

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SEED = 0
EPISODES, ANNOTATED = 12, 4


LEARNED = ("contracted-high", "even-high", "contracted-low", "middle")
"""The organisms of which learnability was measured."""


def figures() -> dict[str, str]:
    """File name -> SVG text, of committed data alone."""
    from actre.entropy.naive import diagnosis_comparisons

    results = data_folder() / "results"
    narrow, neutral = (
        load_diagnosis(results / "controls" / kind / "diagnosis.json.gz") for kind in ("narrow", "neutral")
    )
    drawn = {
        "contraction-narrow": plots.difference_by_state(narrow),
        "contraction-neutral": plots.difference_by_state(neutral),
        "naive-mistake": calibration_plots.naive_mistake(diagnosis_comparisons(neutral)),
        "curves": plots.learning_curve(runs(results / "quickstart" / f"seed-{SEED}")),
        "passed-on": plots.passed_on(recorded_preconditions(*LEARNED)),
    }
    files = {f"{name}.svg": still.svg(figure) + "\n" for name, figure in drawn.items()}
    return {**files, "one-state.svg": one_state(narrow, neutral) + "\n"}


def one_state(narrow: Diagnosis, neutral: Diagnosis) -> str:
    """The action probabilities of both orders in one state, for both policies, as SVG text.

    The state is chosen by a rule: the one whose differences are closest to both policies' means.
    Raises ActreError where the states that are made now are not the measured ones.
    """
    probes = panel_probes("small/unseen", len(narrow.states), narrow.settings.seed)
    if not digest(probes) == narrow.settings.probes == neutral.settings.probes:
        raise ActreError("data/results/controls was measured on other states: collect it again (docs/controls.md)")
    gaps = [[state.act_first - (state.lower + state.upper) / 2 for state in one.states] for one in (narrow, neutral)]
    means = [sum(some) / len(some) for some in gaps]
    off = [sum(abs(gap - mean) for gap, mean in zip(both, means, strict=True)) for both in zip(*gaps, strict=True)]
    index = off.index(min(off))
    measured = {
        "contraction built in (narrow)": narrow.states[index],
        "nothing built in (neutral)": neutral.states[index],
    }
    return _bars(probes[index], measured, narrow.settings.thoughts)


def _bars(probe: Probe, measured: dict[str, StateDiagnosis], thoughts: int) -> str:
    """A row for each action that any order takes with 5 % or more, the rest in one row; a column for each order."""
    label, column, gap, row, top = 178, 118, 26, 24, 112
    columns = [
        (policy, order, getattr(state, f"{order}_p"), entropy)
        for policy, state in measured.items()
        for order, entropy in (
            ("act_first", f"{state.act_first:.2f} nats"),
            ("think_first", f"{state.lower:.2f} to {state.upper:.2f} nats"),
        )
    ]
    actions = next(iter(measured.values())).actions
    likely = [i for i in range(len(actions)) if max(p[i] for _, _, p, _ in columns) >= 0.05]
    likely.sort(key=lambda i: -sum(p[i] for _, _, p, _ in columns))
    names = [*(actions[i] for i in likely), f"{len(actions) - len(likely)} other actions, or none"]
    bottom = top + row * len(names)
    title = f"One state of a game: {probe.state.task.rstrip('.')}"
    parts = [_words(0, 18, title, 15), _words(0, 40, f"Seen now: {probe.state.text}", 12)]
    parts += [_words(0, top + row * i + 16, name, 12) for i, name in enumerate(names)]
    parts.append(_words(0, bottom + 24, "action entropy", 12))
    for number, (policy, order, p, entropy) in enumerate(columns):
        x = label + number * column + (number >= 2) * gap
        if order == "act_first":
            parts.append(_words(x, 72, policy, 13))
        shares = [*(p[i] for i in likely), 1 - sum(p[i] for i in likely)]
        parts.append(_words(x, 96, order.replace("_", "-"), 12, ORDERS[order]))
        parts += _column(x, top, row, shares, ORDERS[order])
        parts.append(_words(x, bottom + 24, entropy, 12, ORDERS[order]))
    note = f"act-first: exact. think-first: mean over {thoughts} sampled thoughts, so its entropy is a bracket."
    parts.append(_words(0, bottom + 50, note, 12))
    width, height = label + 4 * column + gap, bottom + 60
    return tag(
        "svg",
        tag("title", title),
        parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
        font_family="sans-serif",
    )


def _column(x: float, top: float, row: float, shares: Sequence[float], color: str) -> list[Html]:
    """One order's bars from the top, each with its share in words."""
    longest = 74.0
    parts = []
    for i, share in enumerate(shares):
        y = top + row * i
        parts.append(tag("rect", x=x, y=y + 4, width=round(max(longest * share, 1.0), 1), height=row - 8, fill=color))
        parts.append(_words(round(x + longest * share + 6, 1), y + 16, f"{share:.0%}", 12))
    return parts


def _words(x: float, y: float, words: str, size: int, color: str = GREY) -> Html:
    return tag("text", words, x=x, y=y, font_size=size, fill=color)


def runs(collected: Path) -> list[RunRecord]:
    """The runs of a collected quickstart, whose lines are kept gzipped."""
    with tempfile.TemporaryDirectory() as folder:
        for path in collected.glob("*/*.jsonl.gz"):
            target = Path(folder) / path.parent.name / path.name.removesuffix(".gz")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(gzip.decompress(path.read_bytes()))
            shutil.copy(collected / "config.json", target.parent)
        return read_runs(folder)


def inspector(path: Path) -> None:
    """A photograph of the inspector on a few games, with the policy at hand."""
    from actre.adapters import load_policy
    from actre.entropy.episode_states import annotate
    from actre.rollout import make_envs
    from actre.rollout.evaluate import play
    from actre.view import Inspector

    sys.path.insert(0, str(ROOT / "tests"))
    from browser.bare_page import show
    from browser.chromium import chromium

    config = replace(preset("tiny"), seed=SEED)
    config = replace(config, evaluation=replace(config.evaluation, limit=EPISODES))
    policy = load_policy(config)
    envs = make_envs(config.env, config.evaluation.batch)
    played = list(play(policy, envs, "unseen", order="think_first", config=config, seed=SEED).trajectories)
    played.sort(key=lambda trajectory: not trajectory.won)
    shown = annotate(played[:ANNOTATED], policy, config=config) + played[ANNOTATED:]
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1240, "height": 860}, device_scale_factor=1.5)
        show(page, Inspector(shown, policy, config=config), until="svg")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(1500)
        page.screenshot(path=path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("figures", "inspector"))
    what = parser.parse_args().what
    # this folder's alfworld.py would hide the package of that name
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != ROOT / "benchmarks"]
    PICTURES.mkdir(exist_ok=True)
    if what == "inspector":
        inspector(PICTURES / "inspector.png")
        return
    for name, text in figures().items():
        (PICTURES / name).write_text(text)
        print(PICTURES / name)


if __name__ == "__main__":
    main()
