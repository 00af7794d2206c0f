"""Makes docs/preconditions.md from the records in data/results/preconditions.

actre preconditions --model tiny --write data/results/preconditions/tiny.json     # one record
python benchmarks/preconditions.py page
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from actre.entropy import precondition_files as files
from actre.entropy.preconditions import (
    ADMISSIBLE_AT_LEAST,
    CONTRACTED_NATS,
    LEARNS_ABOVE,
    LEARNS_AT_LEAST,
    SPREAD_AT_MOST,
    SUCCESS_BETWEEN,
    TRAINED,
    checks,
    points,
    verdict,
)
from actre.entropy.transfer import HIGH, LOW
from actre.entropy.verdict import MARGIN_NATS

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "data" / "results" / "preconditions"
PAGE = ROOT / "docs" / "preconditions.md"

_OPENING = f"""# Preconditions: could a comparison show anything on this policy?

Made by `python benchmarks/preconditions.py page` from data/results/preconditions; do not edit.

    actre preconditions --model MODEL [--preset P]

By the mechanism that the claim names, acting first in stage 1 helps thinking only if three things hold before any
training. Where one is missing, that mechanism cannot be at work, and a gain of ActRe would need another explanation.
The command measures them:

- **Contraction**: thinking narrows the choice. [`actre diagnose`](entropy.md); at least {CONTRACTED_NATS:g} nats
  at the lower end of the bracket. Not contracted: equivalent within {MARGIN_NATS:g} nats.
- **Learnability**: a fixed, short reinforcement in one order alone raises success in that order by at least
  {100 * LEARNS_AT_LEAST:.0f} points, with the whole interval above {100 * LEARNS_ABOVE:.0f}. At least 3 seeds.
- **Transfer**: what one order learns reaches the other. The gain in the untrained order over the gain in the
  trained one, high from {HIGH:g} on (and the interval above {LOW:g}), low up to {LOW:g} (and the interval below
  {HIGH:g}), else "some", which leaves the question open; after supervised training on an expert's episodes in one
  order alone, and after the reinforcement above.

It also measures the **start** in both orders: {100 * SUCCESS_BETWEEN[0]:.0f} to {100 * SUCCESS_BETWEEN[1]:.0f} %
success leaves room to learn, at least {100 * ADMISSIBLE_AT_LEAST:.0f} % of the actions must be admissible, and
where nothing is contracted the orders must be within {100 * SPREAD_AT_MOST:.0f} points.

Transfer is measured in three ways, at fixed states of unseen games or by playing. The *log-probability of the
expert's action* decides: it needs no playing, and training that adds the same to the action's logit in both orders
adds the same to it wherever the action is unlikely. It is exact act-first; think-first it is a bracket, because the
logarithm of a mean over few thoughts is biased, towards too large a rise. Its *probability* is unbiased (the mean
over sampled thoughts of the exact probability after each), but rises in proportion to p (1 - p), so that a narrow
choice of other actions hides what has reached it; it errs the other way and stands beside. *Success* is what
matters in the end, and varies most. Intervals are over games, and over seeds where there are several (the wider of
both). The ratio's interval is Fieller's, and a ratio is "undetermined" unless the trained order's own gain is above
0 with its whole interval. In a game's states the history holds the expert's actions without thoughts.

Everything is played on the panel `unseen`, for organisms the same 120 games as the studies' endpoint. So admission used
results on these games, though none of two stages; the second panel, `small/unseen-2`, was not used.

A tiny policy takes all of it by default; a larger model a reduced set (`--iterations`, `--episodes`, `--steps`,
`--states`, `--thoughts`, `--games`, `--parts`), which the record names. An interrupted measurement keeps its
finished parts, and the same command continues. Parts measured apart, on another machine or day, complete the record
that `--write` names, if it is of the same weights and budget; it then has the command of each. Quickstart reports,
study pages and `actre train` state the verdict of the record that matches the model's name, its weights'
fingerprint and the environment: a shipped one, or one in {files.RUNS}.
"""


def page() -> str:
    """The page's text."""
    records = sorted(RECORDS.glob("*.json"))
    if not records:
        return _OPENING + "\nNo policy has been measured yet.\n"
    read = [json.loads(path.read_text()) for path in records]
    return _OPENING + _summary(read) + "".join(_section(record) for record in read)


def _summary(records: list[dict[str, Any]]) -> str:
    """Every policy in a line, in the order of the sections below."""
    lines = []
    for found in map(files.from_json, records):
        name = f"[{found.model}, {found.env}](#{found.model.replace('/', '')}-{found.env})"
        start = [f"{100 * found.start[order].success.value:.0f}" for order in TRAINED if order in found.start]
        learned = [(order, found.learned[order].gain) for order in TRAINED if order in found.learned]
        gains = [f"{order.replace('_', '-')} {points(gain)}" for order, gain in learned]
        moved = found.transfer("act_first")
        ratio = None if moved is None else moved.gains.ratio
        passed = found.gains("act_first", "rl", "success")
        narrowing = found.contraction
        cells = [
            name,
            f"{narrowing.verdict}, {narrowing.lower.value:.2f} to {narrowing.upper.value:.2f}" if narrowing else "–",
            f"{' and '.join(start)} %" if start else "–",
            "; ".join(gains) or "not measured",
            "not measured" if passed is None else points(passed.untrained),
            "not measured" if moved is None else "undetermined" if ratio is None else str(ratio),
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return f"""
## Every policy measured

Contraction: the verdict and both ends of the bracket, in nats. Start: success act-first and think-first, before
training. Learnability: the gain of each order by reinforcement in it alone. Passed on: think-first's gain when
act-first is reinforced, to be compared with its gain by its own reinforcement beside it. Transfer: from act-first to
think-first, by the measure that decides.

| policy | contraction | start | learnability | passed on | transfer |
|---|---|---|---|---|---|
{"".join(lines)}"""


_SHOWN = {
    "transfer from act-first to think-first: log-probability of the expert's action, supervised training",
    "transfer from act-first to think-first: success, reinforcement",
}
"""The transfers that are not folded: the one that decides, and the one that training the arms relies on."""


def _section(record: dict[str, Any]) -> str:
    found = files.from_json(record)
    every = checks(found)
    folded = [one for one in every if one.what.startswith("transfer") and one.what not in _SHOWN and one.value != "–"]
    rows = "".join(
        f"| {one.what} | {one.value} | {one.threshold} | {one.met} |\n" for one in every if one not in folded
    )
    more = "".join(f"| {one.what.removeprefix('transfer from ')} | {one.value} | {one.met} |\n" for one in folded)
    commands = [one["command"] for one in (*record.get("before", []), record)]
    return f"""
## {found.model}, {found.env}

{"".join(f"    {command}{chr(10)}" for command in commands)}
{verdict(found)}

| measured | value [95 % interval] | threshold | met, or what it is |
|---|---|---|---|
{rows}
<details><summary>Transfer by the other measures</summary>

| from | value [95 % interval] | what it is |
|---|---|---|
{more}
</details>

{_wrapped(_budget(record))}
"""


def _budget(record: dict[str, Any]) -> str:
    found = files.from_json(record)
    budget = found.budget
    rl = budget.get("reinforcement", {})
    how = f" ({rl['groups']} groups of {rl['group_size']}, learning rate {rl['learning_rate']:g})" if rl else ""
    seeds = [
        f"{one.seeds} seed{'s' if one.seeds > 1 else ''} {order.replace('_', '-')}"
        for order in TRAINED
        if (one := found.learned.get(order)) is not None
    ]
    trained = f"{' and '.join(seeds)} of {budget['iterations']} iterations{how}" if seeds else "no reinforcement"
    return (
        f"Budget: {trained}; {budget['steps']} supervised steps of {budget['batch']} rows; "
        f"{budget['thoughts']} thoughts in each of {budget['states']} states a game; "
        f"{budget['cpu_minutes']} CPU-minutes on one thread of {record['processor']} each. "
        f"Weights: fingerprint {found.fingerprint[:16]}."
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 116, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    if sys.argv[1:] != ["page"]:
        sys.exit(__doc__)
    PAGE.write_text(page())
    print(PAGE)
