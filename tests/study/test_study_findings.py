"""What a study says follows from its records by the protocol's rules, whichever way they came out."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from study_records import fake_record, fake_records

from actre.stats import Interval, PairedTest
from actre.study.file import load_study
from actre.study.findings import Comparison, comparisons, find, summaries
from actre.study.pages import results, words
from actre.study.pages.entropy_tables import entropy_tables
from actre.study.pages.page import TINY
from actre.study.pages.tables import tables
from actre.study.pages.words import sentences
from actre.study.plan import Contrast, Part, Run, Study
from actre.study.record import finished, results_file, save_record
from actre.types import ORDERS, ActreError

TEXT = """
name = "s"
about = "<b>whether</b> it helps"
[[part]]
name = "p"
about = "A policy"
evidence = "confirmatory"
seeds = [3, 4, 5, 6, 7]
confirmatory = [["actre-grpo", "think_first-grpo"], ["actre-grpo", "tfpi-grpo"]]
exploratory = [["tfpi-grpo", "untrained"]]
[[part.runs]]
arms = ["think_first", "actre", "tfpi", "untrained"]
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "s.toml"
    path.write_text(TEXT)
    return load_study(path)


def by_arm(actre: list[float], think_first: list[float], tfpi: list[float]) -> Callable[[Run], float]:
    rates = {"actre": actre, "think_first": think_first, "tfpi": tfpi, "untrained": [0.25] * 5}
    return lambda run: rates[run.arm][run.seed - 3]


LOW, HIGH = [0.5, 0.55, 0.5, 0.525, 0.55], [0.8, 0.8, 0.85, 0.8, 0.875]


@pytest.mark.parametrize(
    ("actre", "think_first", "found", "said"),
    [
        (HIGH, LOW, "support", "ActRe helps, also beyond leaving out thoughts"),
        (LOW, HIGH, "harm", "not supported (harm)"),
        (LOW, LOW, "equivalent", "not supported (equivalent)"),
        ([0.4, 0.5, 0.45, 0.5, 0.4], [0.5, 0.475, 0.5, 0.475, 0.5], "no worthwhile help", "no worthwhile help"),
        ([0.4, 0.9, 0.3, 0.9, 0.4], [0.5, 0.5, 0.5, 0.5, 0.5], "inconclusive", "not supported (inconclusive)"),
    ],
)
def test_a_finding_follows_from_the_records(
    study: Study, actre: list[float], think_first: list[float], found: str, said: str
) -> None:
    part = study.parts[0]
    lines = fake_records(study.runs, by_arm(actre, think_first, LOW))
    assert comparisons(part, lines)[0].finding == found
    assert said in " ".join(sentences(find(part, lines)))


@pytest.mark.parametrize(
    ("both", "test", "p_holm", "found"),
    [
        ((1, 20), (2, 22), 0.04, "support"),
        ((1, 20), (2, 22), 0.06, "inconclusive"),  # clear of 0, but not after the correction
        ((1, 20), (-1, 22), 0.04, "inconclusive"),  # both intervals count, not either
        ((-1, 20), (2, 22), 0.04, "inconclusive"),
        ((-20, -1), (-22, -2), 0.04, "harm"),
        ((-20, -1), (-22, 1), 0.04, "no worthwhile help"),
        ((-20, -1), (-22, -2), 0.06, "no worthwhile help"),
        ((-5, 5), (-5, 5), 0.9, "equivalent"),
        ((-5, 5.0000000000001), (-5.0000000000001, 5), 0.9, "equivalent"),  # the edge, as a sum may round it
        ((-6, 5), (-6, 5), 0.9, "inconclusive"),
        ((-6, 4), (-4, 4), 0.9, "no worthwhile help"),
        ((-4, 4), (-6, 4), 0.9, "no worthwhile help"),
        ((-9, 4), (-9, 6), 0.9, "inconclusive"),
        ((-9, 6), (-9, 4), 0.9, "inconclusive"),
    ],
)
def test_a_finding_keeps_to_the_protocol_at_its_edges(
    both: tuple[float, float], test: tuple[float, float], p_holm: float, found: str
) -> None:
    """docs/protocol.md, "What counts"; intervals in points."""
    wide = Interval(0.0, both[0] / 100, both[1] / 100)
    one = Comparison(
        *(Contrast("actre-grpo", "think_first-grpo", confirmatory=True), "unseen", "think_first"),
        seeds=(3, 4, 5, 6, 7),
        planned=5,
        both=wide,
        test=PairedTest(0.0, test[0] / 100, test[1] / 100, p_holm / 2, 5),
        p_holm=p_holm,
        g=0.0,
        improvement=wide,
        tokens=(1.0, 1.0),
    )
    assert one.finding == found
    assert replace(one, seeds=(3, 4, 5, 6)).finding == "interim"
    assert replace(one, seeds=(3,), planned=1, test=one.test._replace(seeds=1)).finding == "inconclusive"


def test_help_without_an_edge_over_leaving_thoughts_out_is_not_called_more(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, [0.7, 0.9, 0.6, 0.95, 0.8]))
    said = " ".join(sentences(find(study.parts[0], lines)))
    assert "ActRe helps, but it is not shown to help beyond leaving out thoughts" in said


def test_nothing_is_concluded_before_the_last_planned_seed(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    del lines["p/actre-grpo-seed-7"]
    said = " ".join(sentences(find(study.parts[0], lines)))
    assert {one.finding for one in comparisons(study.parts[0], lines) if one.contrast.confirmatory} == {"interim"}
    assert "4 of 5 seeds, so nothing is concluded" in said
    assert "stays open until all seeds are finished" in said
    assert "helps" not in said


def test_the_correction_counts_the_planned_contrasts_even_where_one_has_no_runs(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    lines = {key: line for key, line in lines.items() if "/tfpi" not in key}
    (one,) = (c for c in comparisons(study.parts[0], lines) if c.contrast.confirmatory)
    assert one.p_holm == pytest.approx(2 * one.test.p)


def test_success_is_over_seeds_and_the_interval_holds_it(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    of = {one.condition: one for one in summaries(study.parts[0], lines, "unseen", "think_first")}
    assert of["think_first-grpo"].success.value == pytest.approx(sum(LOW) / 5)
    assert of["think_first-grpo"].success.low < sum(LOW) / 5 < of["think_first-grpo"].success.high
    assert of["untrained"].env_steps == 0


def test_runs_from_two_different_untrained_policies_are_never_compared(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    run = study.runs[0]
    lines[run.key] = fake_record(run, 0.5, model="another")
    with pytest.raises(ActreError, match="2 different policies"):
        comparisons(study.parts[0], lines)


def test_every_table_is_as_wide_as_its_head_and_names_every_finished_run(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    found = find(study.parts[0], lines)
    made = [*tables(found), *entropy_tables(found)]
    assert all(len(row) == len(table.names) for table in made for row in table.rows)
    by_title = {table.title: table for table in made}
    assert len(by_title["The runs"].rows) == len(study.runs)
    every = by_title["By task type, in every panel and order"].rows
    assert {row[:3] for row in every} == {
        (words.name_of(c), panel, order)
        for c in study.parts[0].conditions
        for panel in ("seen", "unseen")
        for order in ("think-first", "act-first", "no-think")
    }
    assert tables(find(study.parts[0], {})) == []


def test_a_line_of_other_settings_does_not_count_as_finished(study: Study, tmp_path: Path) -> None:
    run = study.runs[0]
    path = results_file(tmp_path, study.name)
    line = fake_record(run, 0.5)
    save_record(path, {**line, "config": {**line["config"], "env_steps": 7}})
    assert finished(study, tmp_path) == {}
    save_record(path, fake_record(run, 0.5))
    assert list(finished(study, tmp_path)) == [run.key]
    assert len(path.read_text().splitlines()) == 2, "the line of other settings stays"
    older = {**line, "config": {k: v for k, v in line["config"].items() if k != "checkpoint"}}
    older["config"]["optim"] = {k: v for k, v in line["config"]["optim"].items() if k != "gigpo_discount"}
    save_record(path, older)
    assert list(finished(study, tmp_path)) == [run.key], "a setting that has come since leaves runs as they were"


def test_both_pages_can_be_made_at_any_time_and_hold_no_markup_from_the_file(study: Study) -> None:
    whole = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    for lines in ({}, {study.runs[0].key: whole[study.runs[0].key]}, whole):
        html = results.html(study, lines, Path("s.html"))
        assert "<b>whether" not in html
        assert "<script" not in html
        text = results.markdown([study], [lines], "actre study s.toml", Path("r.md"))
        assert f"{len(lines)} of {len(study.runs)} runs" in text or not lines
        assert "nan" not in text


def test_the_html_page_draws_the_signs_of_a_collapse_where_they_are_recorded(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    questions = ("How many groups have nothing to learn from?", "What carries over to the other order?")
    for line in lines.values():
        line["signs"]["groups"] *= 2
        line["curve"] *= 2  # long enough to be smoothed
        for one in line["signs"]["measured"]:
            one["orders"] = {order: [0.5, 0.75, 1.0] for order in ORDERS}
    page = results.html(study, lines, Path("s.html"))
    assert [page.count(asked) > 0 for asked in questions] == [True, True]
    for line in lines.values():
        del line["signs"]  # an older record
    page = results.html(study, lines, Path("s.html"))
    assert [page.count(asked) for asked in questions] == [0, 0]


@pytest.mark.parametrize("pair", ['["actre-grpo", "tfpi-grpo"]', '["tfpi-grpo", "actre-grpo"]'])
def test_a_contrast_waits_for_the_seeds_that_both_are_to_have_whichever_stands_first(tmp_path: Path, pair: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\n[[part]]\nname = "p"\nseeds = [3, 4, 5]\n'
        f"exploratory = [{pair}]\n"
        '[[part.runs]]\narms = ["actre"]\n[[part.runs]]\narms = ["tfpi"]\nseeds = [3, 4]\n'
    )
    part = load_study(path).parts[0]
    found = comparisons(part, fake_records(part.runs, lambda run: 0.5))
    assert [(one.planned, one.complete) for one in found] == [(2, True)]


def test_a_panel_of_ones_own_stands_behind_the_usual_ones(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    for line in lines.values():
        line["evaluation"] = [{**line["evaluation"][0], "panel": "train"}, *line["evaluation"]]
        line["panels"]["train"] = line["panels"]["seen"]
    assert find(study.parts[0], lines).places[0] == ("unseen", "think_first")
    assert find(study.parts[0], lines).places[-1] == ("train", "think_first")


def asking(study: Study, *pairs: tuple[str, str]) -> Part:
    """The part with these confirmatory contrasts and no others."""
    contrasts = tuple(Contrast(then, first, confirmatory=True) for then, first in pairs)
    return replace(study.parts[0], contrasts=contrasts)


ASKED = ("actre-grpo", "think_first-grpo")


@pytest.mark.parametrize(
    ("pairs", "tfpi", "said", "unsaid"),
    [
        ([ASKED], LOW, "no contrast asks", "also beyond"),
        ([("tfpi-grpo", "think_first-grpo")], HIGH, ": higher", "ActRe"),
        ([ASKED, ("actre-grpo", "tfpi-grpo")], HIGH, "tfpi's claim", "also beyond"),
    ],
)
def test_nothing_is_claimed_of_actre_that_no_contrast_asked(
    study: Study, pairs: list[tuple[str, str]], tfpi: list[float], said: str, unsaid: str
) -> None:
    text = " ".join(sentences(find(asking(study, *pairs), fake_records(study.runs, by_arm(HIGH, LOW, tfpi)))))
    assert said in text
    assert unsaid not in text


def test_a_run_that_ended_early_is_named(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    assert "ended early" not in " ".join(sentences(find(study.parts[0], lines)))
    key = study.runs[1].key
    lines[key]["trouble"] = "the loss is no number; its last checkpoint counts"
    said = sentences(find(study.parts[0], lines))
    assert f"Training of {key} ended early: the loss is no number; its last checkpoint counts." in said


def test_seeds_that_all_differ_alike_are_no_test(study: Study) -> None:
    lines = fake_records(study.runs, by_arm([0.9] * 5, [0.5] * 5, LOW))
    one = comparisons(study.parts[0], lines)[0]
    assert one.finding == "inconclusive"
    assert "Holm's p –" in " ".join(sentences(find(study.parts[0], lines)))


def test_arms_whose_games_are_typed_otherwise_are_compared_over_all_games(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    for key, line in lines.items():
        if "/actre" in key:
            line["panels"]["unseen"]["task_types"] = ["another"] * 40
    one = comparisons(study.parts[0], lines)[0]
    assert one.improvement.value == 1.0
    assert one.finding == "support"


def test_a_shop_has_goals_and_a_score_and_no_primary_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    text = TEXT.replace('evidence = "confirmatory"', 'env = "webshop"\nevidence = "exploratory"')
    path.write_text(
        text.replace("confirmatory =", "exploratory =").replace('exploratory = [["tfpi-grpo", "untrained"]]', "")
    )
    part = load_study(path).parts[0]
    lines = fake_records(part.runs, by_arm(HIGH, LOW, LOW))
    for line in lines.values():
        for place in line["evaluation"]:
            place["returns"] = [0.5 + 0.5 * (letter == "1") for letter in place["won"]]
    found = find(part, lines)
    made = [*tables(found), *entropy_tables(found)]
    text = " ".join([*sentences(found), *(table.note + " ".join(table.names) for table in made)])
    assert "goals" in text
    assert "games" not in text
    assert "primary endpoint" not in text
    gap = found.compared[0]
    assert gap.score is not None
    assert gap.score.value == pytest.approx(gap.both.value / 2)
    (scores,) = (table for table in made if table.title == "Contrasts of score")
    assert scores.rows[0][2].startswith(f"{gap.score.value:+.3f} [")


def test_the_page_of_results_says_only_what_holds_for_the_study_it_shows(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    text = results.markdown([study], [lines], "c", Path("r.md"))
    assert "fixed before it ran" not in text
    assert TINY in text
    judged = replace(study, protocol=Path("docs") / "p.md")
    assert "fixed before it ran: [p.md](../docs/p.md)." in results.markdown([judged], [lines], "c", Path("out/r.md"))
    runs = tuple(
        replace(r, config=replace(r.config, model=replace(r.config.model, name="smollm2"))) for r in study.runs
    )
    large = replace(study, parts=(replace(study.parts[0], runs=runs),))
    assert TINY not in results.markdown([large], [lines], "c", Path("r.md"))
    assert TINY not in results.html(large, lines, Path("s.html"))


def test_the_page_of_results_begins_with_what_each_part_came_to(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(LOW, HIGH, LOW))
    del lines["p/untrained-seed-7"]
    one = find(study.parts[0], lines)
    assert words.in_short(one) == [
        "For this policy and budget the claim that ActRe helps is not supported (harm).",
        f"confirmatory: lower: actre − think_first, GRPO ({100 * one.compared[0].both.value:.1f})",
        "confirmatory: equivalent: actre − tfpi, GRPO (0.0)",
        "exploratory: waiting for seeds: 1 of 1 contrasts",
    ]
    text = results.markdown([study], [lines], "c", Path("r.md"))
    (heading,) = re.findall(r"^## (s: .*)$", text, re.M)
    assert f"- [{heading}](#s-p-confirmatory)" in text[text.index("## In short") : text.index(f"## {heading}")]
    assert words.in_short(find(study.parts[0], {}))[1:] == [
        "confirmatory: waiting for seeds: 2 of 2 contrasts",
        "exploratory: waiting for seeds: 1 of 1 contrasts",
    ]


def test_what_is_said_of_a_complete_contrast_does_not_hang_on_one_that_waits(study: Study) -> None:
    part = asking(study, ("actre-grpo", "think_first-grpo"), ("actre-grpo", "tfpi-grpo"))
    lines = fake_records(study.runs, by_arm(HIGH, LOW, [0.7, 0.9, 0.6, 0.95, 0.8]))
    whole = comparisons(part, lines)
    del lines["p/tfpi-grpo-seed-7"]
    waiting = comparisons(part, lines)
    assert waiting[0].p_holm == whole[0].p_holm == pytest.approx(2 * whole[0].test.p)
    assert waiting[1].p_holm != waiting[1].p_holm
    (table,) = (one for one in tables(find(part, lines)) if one.title == "Confirmatory contrasts")
    assert [row[1] for row in table.rows] == ["5 of 5", "4 of 5: 3, 4, 5, 6"]
    assert "this table's 2 planned contrasts" in table.note


def test_contrasts_without_a_run_are_counted_as_waiting(study: Study) -> None:
    lines = fake_records(study.runs, by_arm(HIGH, LOW, LOW))
    some = {key: line for key, line in lines.items() if "/tfpi" not in key}
    said = sentences(find(study.parts[0], some))
    assert "Exploratory: 1 contrast waits for seeds; nothing is concluded yet." in said
    assert "Seeds 3, 4, 5, 6, 7: think_first, GRPO; actre, GRPO; untrained." in said
    assert "Not run yet: tfpi, GRPO." in said


@pytest.mark.parametrize(("about", "line"), [("", None), ("Is it so?", "Is it so?"), ("It is so", "It is so.")])
def test_a_parts_purpose_is_a_sentence_or_nothing(study: Study, about: str, line: str | None) -> None:
    one = replace(study, parts=(replace(study.parts[0], about=about),))
    lines = results.markdown([one], [{}], "c", Path("r.md")).splitlines()
    after = next(
        one for one in lines[lines.index("## s: p (confirmatory)") + 2 :] if "Preconditions: " not in one and one
    )
    assert after == (line or "- No run of this part is finished yet.")


def test_estimators_that_differ_by_a_constant_are_called_a_noise_estimate(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    runs = [
        f'[[part.runs]]\nestimator = "{name}"\narms = ["actre", "think_first"]\n' for name in ("rloo", "grpo_no_std")
    ]
    pairs = '["actre-rloo", "think_first-rloo"], ["actre-grpo_no_std", "think_first-grpo_no_std"]'
    head = f'name = "s"\n[[part]]\nname = "p"\nseeds = [3, 4]\nexploratory = [{pairs}]\n'
    path.write_text(head + "".join(runs))
    made = load_study(path)
    rates = {"rloo": {"actre": 0.3, "think_first": 0.5}, "grpo_no_std": {"actre": 0.55, "think_first": 0.5}}
    said = sentences(find(made.parts[0], fake_records(made.runs, lambda run: rates[run.estimator][run.arm])))
    (noise,) = [one for one in said if one.startswith("A noise estimate")]
    assert "RLOO is a constant times GRPO without the deviation" in noise
    assert "came out -20.0" in noise
    assert "+5.0: 25.0 points apart with 2 seeds" in noise
    half = fake_records(made.runs[:2], lambda run: rates[run.estimator][run.arm])
    assert not any("noise" in one for one in sentences(find(made.parts[0], half))), "nothing before both are finished"


def test_what_a_policy_misses_opens_its_results(tmp_path: Path) -> None:
    part = '[[part]]\nname = "p"\nseeds = [3]\nmisses = "its transfer is low"\n'
    text = f'name = "s"\n{part}[[part.runs]]\narms = ["actre"]\n'
    (tmp_path / "s.toml").write_text(text)
    study = load_study(tmp_path / "s.toml")
    short, whole = results.markdown([study], [{}], "c", tmp_path / "p.md").split("## s: p")
    said = "- The policy misses what the protocol asks for: its transfer is low."
    assert short.count(said) == 1
    assert whole.count(said) == 1
