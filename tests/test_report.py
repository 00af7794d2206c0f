"""The report: complete, offline, escaped, and honest about what is missing."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import build_quickstart, build_run, damage, fake_diagnosis

from actre.cli import main
from actre.diagnose import Diagnosis, load_diagnosis, save_diagnosis
from actre.entropy import Interval
from actre.types import ActreError, read_jsonl, write_jsonl
from actre.view import words
from actre.view.episodes import choose
from actre.view.html import tag, text
from actre.view.records import continued, entropy_point, read_runs
from actre.view.report import write

HOSTILE = "</style></title></p><script>alert('x')</script><img src=x onerror=alert(1)> &lt;b&gt; \x00\x1b[31m \u202e"
TAGS = frozenset(
    (
        *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "nav", "article"),
        *("h1", "h2", "h3", "p", "a", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "strong", "pre", "figure"),
        *("figcaption", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        *("svg", "g", "text", "line", "polyline", "polygon", "circle", "rect"),
    )
)


def parsed(path: Path) -> ET.Element:
    """The page as XML: our markup is written so that both kinds of parser agree on it."""
    doctype, text = path.read_text(encoding="utf-8").split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    return ET.fromstring(text)


def words_of(path: Path) -> str:
    return " ".join("".join(parsed(path).itertext()).split())


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_quickstart(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture(scope="module")
def page(quickstart: Path) -> Path:
    return write(quickstart)


def test_the_report_lies_in_the_folder_and_is_one_small_file(quickstart: Path, page: Path) -> None:
    assert page == quickstart / "report.html"
    assert page.stat().st_size < 1_000_000


def test_the_page_loads_nothing_and_runs_nothing(page: Path) -> None:
    root = parsed(page)
    for element in root.iter():
        assert element.tag in TAGS
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("src", "style", "srcset")
            assert name != "href" or value.startswith("#")
    assert "://" not in page.read_text()
    assert "url(" not in page.read_text()
    assert "@import" not in page.read_text()
    policy = next(e for e in root.iter("meta") if "http-equiv" in e.attrib)
    assert policy.attrib["content"].startswith("default-src 'none'")


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's contrast ratio of two colours written as #rrggbb."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_all_words_can_be_read_in_light_and_dark(root: Path, theme: int) -> None:
    css = (root / "actre" / "view" / "report.css").read_text()
    block = css.split(":root {")[theme + 1].split("}")[0]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    on_ground = ("ink", "soft", "arm-0", "arm-1", "arm-2", "arm-3", "act", "think", "neutral")
    pairs = [(name, ground) for name in on_ground for ground in ("ground", "card")]
    pairs += [("good", "good-ground"), ("bad", "bad-ground"), ("ink", "note-ground"), ("soft", "note-ground")]
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: value for pair, value in weak.items() if value < 4.5} == {}


def test_every_link_in_the_page_has_a_target(page: Path) -> None:
    root = parsed(page)
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    assert {a.attrib["href"][1:] for a in root.iter("a")} == set(ids)


def test_every_chart_has_a_name(page: Path) -> None:
    charts = list(parsed(page).iter("svg"))
    assert len(charts) >= 10
    assert all(chart.attrib["role"] == "img" and chart.attrib["aria-label"] for chart in charts)


def test_hostile_text_from_model_or_game_stays_text(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre", hostile=HOSTILE)
    rows = list(read_jsonl(run / "evaluation.jsonl"))
    write_jsonl(run / "evaluation.jsonl", [{**row, "task_type": row["task_type"] + HOSTILE[:60]} for row in rows])
    path = write(run)
    assert {element.tag for element in parsed(path).iter()} <= TAGS
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "alert('x')</script><img src=x onerror=alert(1)> &lt;b&gt;" in words_of(path)
    assert not {"\x00", "\x1b", "\u202e"} & set(page)


def diagnosed(folder: Path) -> tuple[Path, Diagnosis]:
    """A folder with a diagnosis alone, in which a model wrote markup."""
    found = fake_diagnosis()
    hostile = replace(
        found.states[0],
        thoughts=(HOSTILE,) * len(found.states[0].thoughts),
        actions=(HOSTILE, *found.states[0].actions[1:]),
        js=9.0,
    )
    found = replace(found, states=(hostile, *found.states[1:]))
    save_diagnosis(folder / "diagnosis.json", found)
    return write(folder), found


def test_a_diagnosis_alone_has_a_page_that_loads_nothing_and_escapes_what_a_model_wrote(tmp_path: Path) -> None:
    path, found = diagnosed(tmp_path)
    for element in parsed(path).iter():
        assert element.tag in TAGS
        assert not any(name.startswith("on") or name in ("src", "style") for name in element.attrib)
    assert "://" not in path.read_text()
    said = words_of(path)
    assert found.words in said
    assert "alert('x')" in said  # shown as text
    for state in found.states:
        assert f"{state.lower:.2f} – {state.upper:.2f}" in said
    assert f"{found.summary['conditional'].value:.3f}" in said


def test_figures_of_a_diagnosis_are_files_that_stand_alone(tmp_path: Path) -> None:
    path, _ = diagnosed(tmp_path)
    files = sorted((path.parent / "plots").iterdir())
    assert len(files) == 4
    for file in files:
        root = ET.fromstring(file.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in file.read_text()
        used = {c for e in root.iter() for c in e.attrib.get("class", "").split()}
        style = next(root.iter("{http://www.w3.org/2000/svg}style")).text or ""
        assert all(f".{name}" in style for name in used - {"row-label"})


def test_a_run_is_a_run_also_where_a_diagnosis_lies_beside_it(quickstart: Path) -> None:
    assert (quickstart / "diagnosis.json").exists()
    assert "Learning" in words_of(write(quickstart))


def test_characters_that_html_forbids_are_replaced() -> None:
    assert text("a\x00\x1b\ud800\uffff\u202eb\tc\n") == "a" + "\ufffd" * 5 + "b\tc\n"
    assert tag("p", "x", title='"><i>') == '<p title="&quot;&gt;&lt;i&gt;">x</p>'
    assert tag("p", ["<i>", tag("b", 1)]) == "<p>&lt;i&gt;<b>1</b></p>"


def test_a_hostile_arm_name_stays_text(tmp_path: Path) -> None:
    build_run(tmp_path, "<b onmouseover=x>&'\"")
    path = write(tmp_path)
    assert {element.tag for element in parsed(path).iter()} <= TAGS
    assert "<b onmouseover=x>&'\"" in words_of(path)


def test_the_same_folder_gives_the_same_bytes(quickstart: Path, page: Path) -> None:
    assert page.read_bytes() == write(quickstart).read_bytes()


def test_the_page_says_how_little_one_seed_says(page: Path) -> None:
    assert words.CAUTION in words_of(page)
    assert words.MODEL_ORGANISM in words_of(page)


def test_shown_success_is_the_counted_one(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    base = {"panel": "unseen", "order": "think_first", "task_type": "t", "steps": 3, "env_return": 0.0}
    wins = {"before": [0, 0, 1, 0, 0, 0, 0, 0], "after": [1, 1, 1, 1, 1, 1, 0, 0]}
    rows = [
        {"when": when, "game": f"g{i}", "won": bool(won), **base}
        for when, of in wins.items()
        for i, won in enumerate(of)
    ]
    write_jsonl(run / "evaluation.jsonl", rows)
    said = words_of(write(run))
    assert "ActRe won 12% [2, 47] of the unseen games before training and 75% [41, 93] after" in said
    assert "paired on the same games +62 points" in said


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("entropy.jsonl", "No action entropy was measured before training"),
        ("evaluation.jsonl", "No evaluation was recorded"),
        ("metrics.jsonl", "No training iteration was recorded"),
        ("trajectories/eval_after.jsonl.gz", "No episode was kept"),
        ("trajectories/eval_before.jsonl.gz", "Fewer than three are shown"),
    ],
)
def test_a_missing_piece_is_named_and_the_rest_is_shown(tmp_path: Path, missing: str, sentence: str) -> None:
    run = build_run(tmp_path, "actre")
    (run / missing).unlink()
    said = words_of(write(run))
    assert sentence in said
    assert "Settings, seeds, versions" in said


def test_without_an_evaluation_the_last_training_iteration_is_shown(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    folder = run / "trajectories"
    (folder / "eval_after.jsonl.gz").rename(folder / "train_0030.jsonl.gz")
    (run / "evaluation.jsonl").unlink()
    said = words_of(write(run))
    assert "ActRe, last iteration" in said
    assert "ActRe, after training" not in said


@pytest.mark.parametrize(
    ("from_trained", "from_base", "sentence"),
    [(0.0, 0.8, "does something"), (0.0, 0.0, "it does nothing"), (0.5, 0.8, "is NOT the trained one")],
)
def test_the_adapters_check_is_told_as_it_came_out(
    tmp_path: Path, from_trained: float, from_base: float, sentence: str
) -> None:
    run = build_run(tmp_path, "actre")
    found = {"from_trained": from_trained, "from_base": from_base, "tolerance": 1e-4, "tokens": 44}
    (run / "adapter_check.json").write_text(json.dumps(found))
    assert sentence in words_of(write(run))


def test_one_arm_is_enough(tmp_path: Path) -> None:
    build_run(tmp_path, "think_first")
    said = words_of(write(tmp_path))
    assert "Think-first alone won" in said
    assert "ActRe minus" not in said
    assert "between before and after training" in said


def test_settings_alone_are_no_run(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    for name in ("metrics.jsonl", "entropy.jsonl", "evaluation.jsonl"):
        (run / name).unlink()
    with pytest.raises(ActreError, match="no run folder"):
        write(run)


def test_a_folder_that_is_no_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match=r"no run folder.*actre quickstart"):
        write(tmp_path)
    with pytest.raises(ActreError, match="is no folder"):
        write(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "entropy.jsonl", "evaluation.jsonl", "config.json"])
def test_a_damaged_file_is_named_and_the_old_report_stays(tmp_path: Path, name: str) -> None:
    run = build_run(tmp_path, "actre")
    path = write(run)
    before = path.read_bytes()
    damage(run / name)
    with pytest.raises(ActreError, match=name):
        write(run)
    assert path.read_bytes() == before


def test_an_entropy_line_without_its_fields_is_a_clear_error(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    write_jsonl(run / "entropy.jsonl", [{"iteration": 0}])
    with pytest.raises(ActreError, match=r"entropy\.jsonl"):
        write(run)


def test_numbers_that_are_none_nan_or_infinite_are_left_out(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    metrics = list(read_jsonl(run / "metrics.jsonl"))
    metrics[3] |= {"success": None, "return": float("nan")}
    write_jsonl(run / "metrics.jsonl", metrics)
    entropy = list(read_jsonl(run / "entropy.jsonl"))
    endless = {"value": float("inf"), "low": float("inf"), "high": float("inf")}
    entropy = [{**row, "think_first_upper": endless, "information": None} for row in entropy]
    write_jsonl(run / "entropy.jsonl", entropy)
    path = write(run)
    assert "too few thoughts to bound it from above" in words_of(path)
    numbers = [v for e in parsed(path).iter() for k, v in e.attrib.items() if k in ("x", "y", "cx", "cy", "points")]
    assert numbers
    assert not any("nan" in v or "inf" in v for v in numbers)


def test_episodes_are_drawn_by_the_seed_and_are_what_they_are_called(quickstart: Path) -> None:
    runs = read_runs(quickstart)
    won, lost, two = choose(runs, seed=0)
    assert won.episodes[0][1].won
    assert not lost.episodes[0][1].won
    first, second = (trajectory for _, trajectory in two.episodes)
    assert first.game == second.game
    assert first.won != second.won
    assert first in runs[0].after
    assert second in runs[1].after
    assert choose(runs, seed=0) == [won, lost, two]
    assert any(choose(runs, seed) != [won, lost, two] for seed in range(1, 5))


def test_a_thought_stands_where_it_was_written(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    root = parsed(write(run))
    kinds = [p.attrib["class"] for p in root.iter("p") if p.attrib.get("class") in ("thought", "action")]
    assert kinds[:2] == ["thought", "action"]


def test_the_switch_is_where_the_second_stage_begins(tmp_path: Path) -> None:
    (run,) = read_runs(build_run(tmp_path, "actre"))
    ((steps, before, after),) = run.switches
    assert (before, after) == ("act_first", "think_first")
    assert steps == run.metrics[9]["env_steps"]
    at_switch = next(p for p in run.entropy if p.iteration == 10)
    assert at_switch.env_steps == steps


def test_a_run_that_went_on_from_another_reads_as_one(tmp_path: Path) -> None:
    first, then = (read_runs(build_run(tmp_path, arm))[0] for arm in ("act_first", "think_first"))
    whole = continued(first, then, arm="actre")
    assert [row["iteration"] for row in whole.metrics] == list(range(1, 61))
    steps = [row["env_steps"] for row in whole.metrics]
    assert steps == sorted(steps)
    assert steps[-1] == first.metrics[-1]["env_steps"] + then.metrics[-1]["env_steps"]
    assert [at for at, _, _ in whole.switches] == [first.metrics[-1]["env_steps"]]
    assert whole.results == {"before": first.results["before"], "after": then.results["after"]}


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [("narrowed", "narrowed"), ("widened", "widened"), ("equivalent", "same choice"), ("inconclusive", "stays open")],
)
def test_each_verdict_has_its_own_sentence(verdict: str, sentence: str) -> None:
    one = {"value": 1.0, "low": 0.9, "high": 1.1}
    point = entropy_point(
        {"act_first": one, "think_first_lower": one, "think_first_upper": one, "verdict": verdict, "k": 8}
    )
    assert sentence in words.verdict_words(point)


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (Interval(0.2, 0.1, 0.3), "A won more"),
        (Interval(-0.2, -0.3, -0.1), "B won more"),
        (Interval(0.2, -0.01, 0.3), "do not tell the two runs apart"),
    ],
)
def test_a_comparison_reads_the_same_whichever_way_it_came_out(difference: Interval, sentence: str) -> None:
    assert sentence in words.arms_compared("A", "B", difference, "unseen")


def test_the_command_prints_where_the_report_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path, "actre")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_the_diagnosis_is_what_is_said_about_the_start(tmp_path: Path) -> None:
    folder = build_quickstart(tmp_path / "quickstart")
    diagnosis = load_diagnosis(folder / "diagnosis.json")
    said = words_of(write(folder))
    assert f"On {len(diagnosis.states)} fixed states" in said
    assert f"{diagnosis.summary['act_first'].value:.2f} nats" in said
    assert diagnosis.words in said
    (folder / "diagnosis.json").unlink()
    assert "On 24 fixed states" in words_of(write(folder))


def test_what_an_interrupted_try_left_is_no_run(tmp_path: Path) -> None:
    build_quickstart(tmp_path)
    build_run(tmp_path, "actre.interrupted")
    assert [run.arm for run in read_runs(tmp_path)] == ["actre", "think_first"]


def test_what_went_otherwise_than_the_settings_say_is_told(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    assert "environment failed" not in words_of(write(run))
    lines = list(read_jsonl(run / "metrics.jsonl"))
    for line in lines:
        line["env_errors"] = 2
        line["stage"] = int(line["iteration"] > 6)
    (run / "metrics.jsonl").unlink()
    write_jsonl(run / "metrics.jsonl", lines)
    said = words_of(write(run))
    assert "Iterations that the stages took: 6, 24." in said
    assert "The environment failed in 60 training episodes" in said
    assert f"actre train --config {run / 'config.json'}" in said
