"""The README's pictures, made from what is shipped.

    python benchmarks/pictures.py figures       # docs/pictures/*.svg, from data/results
    python benchmarks/pictures.py inspector     # docs/pictures/inspector.png; needs playwright and Chromium

The figures are the notebooks' own, drawn without a script, so that they read on GitHub in light and dark.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from actre.config import data_folder
from actre.config.presets import preset
from actre.entropy.diagnose import load_diagnosis
from actre.view import calibration_plots, plots, still
from actre.view.records import RunRecord, read_runs

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SEED = 0
EPISODES, ANNOTATED = 12, 4


def figures() -> dict[str, str]:
    """File name -> SVG text, of committed data alone."""
    from actre.entropy.naive import looks_at

    results = data_folder() / "results"
    narrow, neutral = (
        load_diagnosis(results / "controls" / kind / "diagnosis.json.gz") for kind in ("narrow", "neutral")
    )
    drawn = {
        "contraction-narrow": plots.difference_by_state(narrow),
        "contraction-neutral": plots.difference_by_state(neutral),
        "naive-mistake": calibration_plots.naive_mistake(looks_at(neutral)),
        "curves": plots.learning_curve(runs(results / "quickstart" / f"seed-{SEED}")),
    }
    return {f"{name}.svg": still.svg(figure) + "\n" for name, figure in drawn.items()}


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

    # this folder's alfworld.py would stand for the package of that name
    sys.path[:] = [str(ROOT / "tests"), *(place for place in sys.path if Path(place).resolve() != ROOT / "benchmarks")]
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
    PICTURES.mkdir(exist_ok=True)
    if what == "inspector":
        inspector(PICTURES / "inspector.png")
        return
    for name, text in figures().items():
        (PICTURES / name).write_text(text)
        print(PICTURES / name)


if __name__ == "__main__":
    main()
