"""The controls: one policy that thinking narrows by construction, and one that learned every order alike.

    actre probes --panel small/unseen --n 120 --seed 0 --out runs/probes-120.jsonl.gz
    for kind in narrow neutral; do
        actre diagnose --model tiny/$kind --probes runs/probes-120.jsonl.gz --states 120 --thoughts 64 \\
            --wording shared --out runs/control-$kind
    done
    python benchmarks/controls.py collect narrow=runs/control-narrow neutral=runs/control-neutral
    python benchmarks/controls.py page                     # writes docs/controls.md from what was collected

`collect` copies the records into data/results/controls, so that the page can be made from committed data alone.
"""

import argparse
import shutil
import textwrap
from pathlib import Path

import numpy as np

from actre.config import data_folder, derive_seed
from actre.entropy import entropy_from_counts
from actre.entropy.diagnose import FILES, Diagnosis, load_diagnosis, save_diagnosis
from actre.stats import Interval, bootstrap
from actre.types import ActreError

KINDS = ("narrow", "neutral")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "controls.md"
SAMPLED = 8
"""Actions behind the plug-in estimate: as many as a group has members."""
SHOWN = {
    "decomposition": "Means over the states: the parts of each order's entropy",
    "difference_by_state": "Each state: act-first minus think-first, between the bracket's ends",
}


def results_folder() -> Path:
    """Where the collected diagnoses lie."""
    return data_folder() / "results" / "controls"


def collect(runs: dict[str, Path]) -> None:
    """Copy the finished diagnoses of both kinds. Raises ActreError for one that is missing or not finished."""
    if set(runs) != set(KINDS):
        raise ActreError(f"wanted are {' and '.join(f'{kind}=FOLDER' for kind in KINDS)}; given: {', '.join(runs)}")
    found = {kind: load_diagnosis(run / f"{FILES['shared']}.json") for kind, run in runs.items()}
    unfinished = [str(runs[kind]) for kind, one in found.items() if not one.complete]
    if unfinished:
        raise ActreError(f"{', '.join(unfinished)} not finished: the same `actre diagnose` command continues it")
    shutil.rmtree(results_folder(), ignore_errors=True)
    for kind, run in runs.items():
        target = results_folder() / kind
        (target / "plots").mkdir(parents=True)
        save_diagnosis(target / "diagnosis.json.gz", found[kind])
        shutil.copy(run / "config.json", target)
        for name in SHOWN:
            shutil.copy(run / "plots" / f"{name}_shared.svg", target / "plots")


def load(kind: str) -> Diagnosis:
    """A collected diagnosis."""
    return load_diagnosis(results_folder() / kind / "diagnosis.json.gz")


def naive(one: Diagnosis) -> dict[str, Interval]:
    """The two usual mistakes, each as act-first's exact entropy minus a quantity that is not comparable, over games.

    conditional: the entropy left after a sampled thought; plugin: the plug-in estimate from SAMPLED actions, drawn from
    the measured think-first distribution.
    """
    exact = [state.act_first for state in one.states]
    games = [state.game for state in one.states]
    rng = np.random.default_rng(derive_seed(one.settings.seed, "controls"))
    shares = [np.array(state.think_first_p) / sum(state.think_first_p) for state in one.states]
    counts = [rng.multinomial(SAMPLED, p) for p in shares]
    others = {
        "conditional": [state.conditional for state in one.states],
        "plugin": [entropy_from_counts(count, "plugin") for count in counts],
    }
    return {
        name: bootstrap([a - b for a, b in zip(exact, other, strict=True)], games, seed=one.settings.seed)
        for name, other in others.items()
    }


def page() -> str:
    """The page's text, from the collected data alone."""
    found = {kind: load(kind) for kind in KINDS}
    lines = [*_head(found["narrow"]), *_table(found), *_said(found), *_pictures()]
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str) -> list[str]:
    """A paragraph's lines, and an empty one."""
    return [*textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False), ""]


def _head(one: Diagnosis) -> list[str]:
    s = one.settings
    return [
        "# Controls: two policies whose training is known",
        "",
        "Made by `python benchmarks/controls.py page` from data/results/controls; do not edit.",
        "",
        *_wrapped(
            "The **narrow** policy (data/tiny/narrow) learned think-first from the episodes of a systematic expert and "
            "the other orders from those of a more random one, so thinking narrows its choice by construction. The "
            "instrument must find that. The **neutral** policy (data/tiny/neutral) learned every order from the same "
            "episodes. Nothing was built in, so a contraction that a naive comparison finds in it comes from that "
            "comparison. Neither policy is evidence about language models; a gain of ActRe on the narrow one "
            "demonstrates a mechanism."
        ),
        *_wrapped(
            f"{len(one.states)} states on as many unseen small games (expert and random play, early and late), "
            f"K = {s.thoughts} thoughts a state, temperature {s.temperature:g}, seed {s.seed}, one prompt for both "
            "orders. Nats; intervals are 95 %, over games."
        ),
        "    actre probes --panel small/unseen --n 120 --seed 0 --out runs/probes-120.jsonl.gz",
        f"    actre diagnose --model tiny/KIND --probes runs/probes-120.jsonl.gz --states {len(one.states)} "
        f"--thoughts {s.thoughts} --wording shared --out runs/control-KIND",
        "",
    ]


_ROWS = (
    ("act_first", "act-first, exact"),
    ("think_first_lower", "think-first, at least"),
    ("think_first_upper", "think-first, at most"),
    ("conditional", "think-first, left after a thought"),
    ("equal_n_act_first", "act-first, from K sampled actions"),
    ("equal_n_think_first", "think-first, from K sampled actions"),
)
_NAIVE = (
    ("conditional", "**mistake 1**: act-first minus what is left after a thought"),
    (
        "plugin",
        f"**mistake 2**: act-first exact minus a plug-in estimate from {SAMPLED} sampled actions "
        "([entropy.md](entropy.md) has a milder form, from the average of K thoughts)",
    ),
)


def _table(found: dict[str, Diagnosis]) -> list[str]:
    lines = [f"| | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for name, label in _ROWS:
        lines.append(f"| {label} | {' | '.join(_cell(one.summary[name]) for one in found.values())} |")
    ends = [f"{_cell(one.contraction.lower)} and {_cell(one.contraction.upper)}" for one in found.values()]
    lines.append(f"| act-first minus think-first, between | {' | '.join(ends)} |")
    for name, label in _NAIVE:
        lines.append(f"| {label} | {' | '.join(_cell(naive(one)[name]) for one in found.values())} |")
    lines.append(f"| verdict | {' | '.join(f'**{one.verdict}**' for one in found.values())} |")
    return [*lines, ""]


def _cell(band: Interval) -> str:
    return f"{band.value:.2f} [{band.low:.2f}, {band.high:.2f}]"


def _said(found: dict[str, Diagnosis]) -> list[str]:
    lines = [f"- {kind}: {one.words}" for kind, one in found.items()]
    trapped = [label for name, label in _NAIVE if naive(found["neutral"])[name].low > 0]
    also = " and ".join(label.partition(":")[0].strip("*") for label in trapped)
    if trapped:
        lines += [f'- In the neutral policy {also} would have "found" contraction, with an interval above 0.']
    if found["neutral"].verdict != "equivalent":
        lines += [
            '- "Neutral" describes the training, not the result: the orders differ as given above, and a study with '
            "this policy starts from that difference."
        ]
    return [*lines, ""]


def _pictures() -> list[str]:
    lines = []
    for kind in KINDS:
        for name, words in SHOWN.items():
            caption = f"{kind}: {words}"
            lines += [f"![{caption}](../data/results/controls/{kind}/plots/{name}_shared.svg)", "", f"{caption}.", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    gather = commands.add_parser("collect")
    gather.add_argument("runs", nargs="+", metavar="KIND=FOLDER")
    commands.add_parser("page")
    args = parser.parse_args()
    if args.command == "collect":
        collect({kind: Path(folder) for kind, _, folder in (run.partition("=") for run in args.runs)})
    else:
        PAGE.write_text(page())
        print(PAGE)


if __name__ == "__main__":
    main()
