"""The calibration as a page: docs/calibration.md from data/results/calibration.json and calibration_seeds.json.

    actre calibrate --out data/results/calibration.json     # measures the instrument
    python benchmarks/calibration.py seeds                  # measures the intervals over seeds
    python benchmarks/calibration.py                        # writes the page from what was measured

Every figure on the page comes from these files; the text around them holds for any result.
"""

import json
import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actre.entropy.thoughts import WIDTH_NATS, Pilot, calibration_file, load_calibration, load_curves, thoughts_for
from actre.entropy.verdict import CLOSING
from actre.study import coverage

SEEDS = calibration_file().with_name("calibration_seeds.json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "calibration.md"
OPEN = 0.8
VERDICTS = ("narrowed", "widened", "equivalent", "inconclusive")
_COUNTS = {"plugin": "the plug-in", "miller_madow": "Miller-Madow", "chao_shen": "Chao-Shen"}
Row = dict[str, Any]


def page(path: Path | None = None) -> str:
    """The page's text, from the record alone (None: the shipped one)."""
    record = load_calibration(path)
    sections = (_head, _short, _states, _estimators, _sets, _verdicts, _games)
    lines = [line for section in sections for line in section(record)]
    return "\n".join([*lines, *_thoughts(record, path), *_seeds(), *_limits(record)]) + "\n"


def _head(record: Row) -> list[str]:
    shown = ", ".join(f"{name} {record['versions'][name]}" for name in ("python", "numpy", "actre"))
    s = record["settings"]
    return [
        "# How far the instrument can be trusted",
        "",
        *_text(
            "Made by `python benchmarks/calibration.py` from data/results/calibration.json; do not edit. That file was "
            f"made by `{record['command']}` in {record['cpu_s'] / 60:.0f} CPU-minutes; {shown}."
        ),
        *_text(
            "`actre diagnose` estimates entropies and gives a verdict. Here both are tested on scripted policies whose "
            "action entropies are known exactly, with the functions and settings that a diagnosis uses: "
            f"{s['pseudo_thoughts']} pseudo-thoughts in the upper bound, margin {s['margin']} nats, "
            f"{s['resamples']} resamples, equal-N by {_COUNTS[s['equal_n_method']]}. Every row is "
            f"{record['repetitions']} repetitions; with 500 of them a true 95 % is observed as 93 to 97 %. Entropies "
            "are in nats. The terms are explained in [entropy.md](entropy.md)."
        ),
    ]


def _short(record: Row) -> list[str]:
    states = [row for row in record["estimators"] if "width" in row]
    default = _default(record)
    plain = [row for row in default if not _odd(row)]
    odd = [row for row in record["sets"] if _odd(row)]
    worst = min(plain, key=lambda row: row["interval_holds"])
    exact = [row for row in plain if row["null"] and not _on_average(row)]
    mean = [row for row in plain if _on_average(row)]
    wrong = max((row for row in plain if not row["null"]), key=lambda row: row["wrong"])
    held = [row["holds"] for row in states]
    return [
        "## In short",
        "",
        *_item(
            "On average the bracket's two ends lie on either side of the truth in "
            f"{sum(row['holds_in_expectation'] for row in states)} of {len(states)} rows (within two standard errors). "
            f"A single state's bracket is not an interval: it held the truth in {_percent(min(held))} to "
            f"{_percent(max(held))} of the repetitions. Average brackets over states."
        ),
        *_item(
            "Over 24 states on 24 games the bracket **with its interval** held the true difference in at least "
            f"{_percent(worst['interval_holds'])} of the sets in each of {len(plain)} rows (without odd games, "
            f"see below). In {sum(row['interval_holds'] < 0.95 for row in plain)} rows it was under 95 %; they belong "
            f"to {len({_cell(row) for row in plain if row['interval_holds'] < 0.95})} of "
            f"{len(set(map(_cell, plain)))} settings of thoughts, A and K, whose scenarios share their thoughts."
        ),
        *_item(
            "Exact nulls, equal entropies in every state, were called narrowed or widened in at most "
            f"{_percent(max(map(_called, exact)))} of the sets of any row; nulls that are equal only on average, games "
            f"differing by 0.15 either way, in at most {_percent(max(map(_called, mean)))}."
        ),
        *_item(
            f"Where there was a difference, a wrong verdict came in at most {_percent(wrong['wrong'])} of the sets "
            f"({_place(wrong)})."
        ),
        *_item(
            "**It cannot see games that were not drawn.** In populations where one game in eight is far off, "
            f"the interval held the truth in as little as {_percent(min(row['interval_holds'] for row in odd))} of the "
            f"sets, and a null was called in up to {_percent(max(map(_called, odd)))} (table by number of games)."
        ),
        *_item(
            'The price of caution is "inconclusive": decisive thoughts among many actions leave the bracket wide. The '
            "last table says how many thoughts close it; `actre diagnose` uses this table to choose K."
        ),
        "",
    ]


def _states(record: Row) -> list[str]:
    return [
        "## The scripted states",
        "",
        *_text(
            'A state has A admissible actions and "other". Think-first, each thought is about one outcome and as '
            "likely as that outcome. After it an action has probability (1 - c) times its marginal, plus c if the "
            "thought is about it. Averaged over the thoughts this is the marginal again, whatever c is, so H(A|s) can "
            "be chosen freely, and H(A|s,T) and I(A;T|s) are finite sums. **Diffuse** thoughts have c = 0.3, "
            "**decisive** ones 0.9. **Rare** is a hard case: one common thought leaves the likeliest outcomes open "
            "(those that make up 0.9 of the probability), and each other outcome has a rare thought of its own. "
            'Marginals are geometric; a null "of another shape" has one favourite and equal other actions, with '
            "exactly the same entropy."
        ),
        *_text(
            f"Sets of states are drawn, with replacement, from {record['settings']['games_in_population']} games whose "
            "H(A|s) lies between 0.4 and 0.65 log(A+1). Odd games: one in eight differs by 0.42 (far off) or 0.84 nats "
            "(very far off), and the others differ the other way, so that the mean is 0."
        ),
    ]


def _estimators(record: Row) -> list[str]:
    lines = ["## One state: bias, root mean square error, width", ""]
    lines += _text(
        f"H(A|s) = {OPEN} log(A+1). Bias (root mean square error); holds: how often lower <= truth <= upper. Count "
        "estimators get K sampled actions. With one thought only the plug-in exists. The file also has states with "
        "H(A|s) = 0.4 log(A+1)."
    )
    for kind in ("diffuse", "decisive", "rare"):
        rows = [row for row in record["estimators"] if (row["kind"], row["openness"]) == (kind, OPEN)]
        lines += [f"### {kind} thoughts", ""]
        head = ("A", "K", "lower (plug-in)", "upper", "width", "holds", "conditional", "information")
        lines += _table((*head, "counts: plug-in", "Miller-Madow", "Chao-Shen"), [_estimator_row(row) for row in rows])
    return lines


def _estimator_row(row: Row) -> list[str]:
    def of(name: str) -> str:
        found = row["estimators"].get(name)
        # + 0.0: no minus before a zero
        return f"{round(found['bias'], 2) + 0.0:+.2f} ({found['rmse']:.2f})" if found else ""

    width, holds = (f"{row['width']:.2f}", _percent(row["holds"])) if "width" in row else ("", "")
    bounds = [of("lower"), of("upper"), width, holds, of("conditional"), of("information")]
    return [str(row["actions"]), str(row["k"]), *bounds, *map(of, ("plugin", "miller_madow", "chao_shen"))]


def _sets(record: Row) -> list[str]:
    lines = ["## Sets of 24 states on 24 games: coverage of the interval, and nulls called", ""]
    lines += _text(
        "Bracket: mean width of the difference's bracket; with interval: from the lower end's interval to the upper "
        "end's. Held: how often that contained the true difference, the minimum over all scenarios without odd games, "
        "and over those with them. H(A|s), H(A|s,T): how often the intervals of these means contained the truth. "
        "Called: how often a null of that kind was called narrowed or widened, the maximum."
    )
    head = ("thoughts", "A", "K", "bracket", "with interval", "held", "held, odd games", "H(A|s)", "H(A|s,T)")
    rows = []
    for place, group in _grouped(_default(record), ("kind", "actions", "k")):
        odd = [row for row in group if _odd(row)]
        plain = [row for row in group if not _odd(row)]
        mean = [row for row in plain if _on_average(row)]
        exact = [row for row in plain if row["null"] and not _on_average(row)]
        rows.append(
            [
                *map(str, place),
                f"{mean[0]['width']:.2f}",
                f"{mean[0]['interval_width']:.2f}",
                _percent(min(row["interval_holds"] for row in plain)),
                _percent(min(row["interval_holds"] for row in odd)),
                _percent(group[0]["entropy_holds"]),
                _percent(group[0]["conditional_holds"]),
                *(_percent(max(map(_called, nulls))) for nulls in (exact, mean, odd)),
            ]
        )
    return lines + _table((*head, "called: equal states", "equal on average", "odd games"), rows)


def _verdicts(record: Row) -> list[str]:
    lines = ["## How often each verdict is given, and right", ""]
    lines += _text(
        "30 actions, 24 games that differ by 0.15 either way around the true difference (act-first minus think-first). "
        "Narrowed is right above 0, widened below 0, equivalent within 0.1; inconclusive is neither right nor wrong."
    )
    head = ("thoughts", "K", "true difference", *VERDICTS, "right", "wrong")
    rows = []
    for kind, k in (("diffuse", 8), ("diffuse", 64), ("decisive", 8), ("decisive", 64)):
        own = [r for r in _default(record) if (r["kind"], r["actions"], r["k"]) == (kind, 30, k)]
        own = [r for r in own if not r["null"] or _on_average(r)]
        for row in sorted(own, key=lambda row: row["difference"]):
            shares = [*(row["verdicts"][name] for name in VERDICTS), row["right"], row["wrong"]]
            rows.append([kind, str(k), f"{row['difference']:+.2f}", *map(_percent, shares)])
    return lines + _table(head, rows)


def _games(record: Row) -> list[str]:
    lines = ["## By the number of games", ""]
    lines += _text(
        "30 actions, K = 16, diffuse thoughts: the bracket is nearly closed, so the interval alone has to hold. Odd "
        "games are one in eight: a set of 6 has none of them in (7/8)^6 = 45 % of the cases, one of 12 in 20 %, one of "
        "24 in 4 %; in these cases the data cannot show them."
    )
    head = ("games", "states a game", "scenario", "held", *VERDICTS)
    rows = []
    own = [r for r in record["sets"] if (r["kind"], r["actions"], r["k"]) == ("diffuse", 30, 16)]
    for (games, each), group in sorted(_grouped(own, ("games", "each")), key=lambda item: item[0]):
        for row in group:
            if row["null"] or row["difference"] == 0.2:
                shares = [row["interval_holds"], *(row["verdicts"][name] for name in VERDICTS)]
                rows.append([str(games), str(each), row["scenario"].removeprefix("null: "), *map(_percent, shares)])
    return lines + _table(head, rows)


def _thoughts(record: Row, path: Path | None) -> list[str]:
    curves = load_curves(path)
    lines = ["## How many thoughts", ""]
    lines += _text(
        "`actre diagnose` first runs a pilot of 8 thoughts on 12 states (with a seed of its own; these thoughts are "
        "not used again). The width of its bracket and the tables above give K: among the diffuse and decisive states "
        "with the nearest numbers of actions, take the two whose brackets are closest to the pilot's at K = 8; the one "
        f"that closes more slowly decides (`entropy.thoughts.thoughts_for`). The target width is {WIDTH_NATS} nats "
        '(`--width`), half of what "equivalent" allows; `--max-thoughts` caps K. K without a cap, by pilot width:'
    )
    widths = (0.1, 0.2, 0.4, 0.8, 1.6)
    rows = [
        [str(actions), *(str(thoughts_for(0.1, actions, Pilot(8, w), curves, at_most=4000).thoughts) for w in widths)]
        for actions in (5, 10, 30, 100)
    ]
    lines += _table(("A", *(f"pilot {w:g}" for w in widths)), rows)
    rates = [-math.log(curve.width(64) / curve.width(8)) / math.log(8) for curve in curves]
    lines += _text(
        f"From K = 8 to 64 the widths fall as K to the power -{min(rates):.2f} to -{max(rates):.2f}; the number of "
        f"thoughts that an inconclusive verdict recommends assumes -{CLOSING}."
    )
    lines += _text(
        "A test of the rule on states that it was not made from, the sets above: it receives their width at K = 8, "
        "and its target is their width at K = 32. It should give about 32. More is cautious; fewer leave the bracket "
        "wider than the target. With rare thoughts it may give too few, since a pilot seldom samples one."
    )
    rows = []
    for (kind, actions), group in _grouped(_default(record), ("kind", "actions")):
        width = {row["k"]: row["width"] for row in group}
        found = thoughts_for(width[32], actions, Pilot(8, width[8]), curves, at_most=4000)
        rows.append([kind, str(actions), f"{width[8]:.2f}", f"{width[32]:.2f}", str(found.thoughts)])
    return lines + _table(("thoughts", "A", "width at K = 8", "at K = 32", "K by the rule"), rows)


def _seeds() -> list[str]:
    record = json.loads(SEEDS.read_text())
    rows, tasks = record["differences"], record["tasks"]
    few = [row for row in rows if row["seeds"] == 3]
    old, new = (min(row["held"][name] for row in few) for name in ("bootstrap", "wider"))
    lines = ["## Intervals over seeds", ""]
    lines += _text(
        f"Made by `python benchmarks/calibration.py seeds` in {record['cpu_s'] / 60:.0f} CPU-minutes: "
        f"{record['repetitions']} simulated studies a row, two arms on {record['settings']['games']} games, paired by "
        "seed and game (`actre.study.coverage`). nested: each seed has its own games; shared: all play the same ones, "
        "as on a fixed panel. The truth is the mean over all seeds and games. Deviation: of the seeds' differences, in "
        "points. Bootstrap: percentiles, seeds resampled; pigeonhole: seeds and games resampled; **shown**: the wider "
        "of t and pigeonhole (`stats.over_seeds`), as every page and report has it. With one seed there is none. "
        f"With {record['repetitions']} studies a true 95 % is observed as 93.6 to 96.4 %."
    )
    lines += _text(
        f"Of 3 seeds the percentile bootstrap holds the truth in as little as {_percent(old)} of the studies, what is "
        f"shown in at least {_percent(new)}; over all rows the latter holds in {_percent(_least(rows))} or more."
    )
    differences, by_task = coverage.as_cells(record)
    held = ("held: bootstrap", "pigeonhole", "t", "**shown**")
    lines += _table(("games", "seeds", "deviation", *held, "width: bootstrap", "t", "shown"), differences)
    lines += _text(
        "The interquartile mean over runs and task types and the probability of improvement, over seeds alone: what is "
        "shown is the wider of the bootstrap and the jackknife's t (`stats.jackknife_t`); it holds in "
        f"{_percent(min(row[name]['held']['wider'] for row in tasks for name in ('middle', 'improvement')))} or more."
    )
    return lines + _table(("seeds", "statistic", "held: bootstrap", "**shown**"), by_task)


def _least(rows: Sequence[Row]) -> float:
    return float(min(row["held"]["wider"] for row in rows))


def _limits(record: Row) -> list[str]:
    return [
        "## What this does not show",
        "",
        *_text(
            "Scripted thoughts are independent and of one kind at a time, marginals have two shapes, and games come "
            "from populations of a few spreads. A real policy may be worse than all of these, above all where a few "
            "games or thoughts differ much and are seldom drawn. 95 % refers to sets of games drawn in the same way, "
            "not to other games. Two trained policies: [controls.md](controls.md)."
        ),
    ][:-1]


def _default(record: Row) -> list[Row]:
    """The sets with a diagnosis's default numbers of games and states, which come first."""
    first = record["sets"][0]
    return [row for row in record["sets"] if (row["games"], row["each"]) == (first["games"], first["each"])]


def _grouped(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[Row]]]:
    """The rows that agree in these fields, together with what they agree in; in the order they come."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(groups.items())


def _cell(row: Row) -> tuple[str, int, int]:
    return row["kind"], row["actions"], row["k"]


def _odd(row: Row) -> bool:
    """Whether a few games of the population are far off."""
    return bool(row["scenario"].endswith("far off"))


def _on_average(row: Row) -> bool:
    """Whether it is the null whose games differ either way."""
    return bool(row["scenario"].endswith("games differ"))


def _called(row: Row) -> float:
    """How often a direction was called."""
    return row["verdicts"]["narrowed"] + row["verdicts"]["widened"]


def _place(row: Row) -> str:
    return f"{row['kind']} thoughts, A = {row['actions']}, K = {row['k']}, {row['scenario']}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _text(words: str) -> list[str]:
    """A paragraph, wrapped, and the empty line after it."""
    return [*textwrap.wrap(words, 120, break_long_words=False, break_on_hyphens=False), ""]


def _item(words: str) -> list[str]:
    options = {"initial_indent": "- ", "subsequent_indent": "  ", "break_on_hyphens": False}
    return textwrap.wrap(words, 120, **options)  # type: ignore[arg-type]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = [name.replace("|", "\\|") for name in head]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]


if __name__ == "__main__":
    if sys.argv[1:] == ["seeds"]:
        SEEDS.write_text(json.dumps(coverage.measured(repetitions=1000, seed=0), indent=1) + "\n")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} from {calibration_file()} and {SEEDS}")
