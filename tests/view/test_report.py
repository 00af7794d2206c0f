"""The report: complete, offline, escaped, and honest about what is missing."""

import html
import json
import math
import re
import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_run import build_quickstart, build_run, damage, fake_diagnosis

from actre.cli import main
from actre.config import save_config
from actre.config.overrides import changed, in_proportion
from actre.config.presets import preset
from actre.entropy import precondition_files
from actre.entropy.diagnose import Diagnosis, load_diagnosis, save_diagnosis
from actre.entropy.episode_states import with_records
from actre.entropy.preconditions import Narrowing, Preconditions, verdict
from actre.stats import Interval
from actre.study.scored import score
from actre.types import SCORES, ActreError, Trajectory, read_jsonl, write_jsonl, write_trajectories
from actre.view import palette, words
from actre.view.answers import answers
from actre.view.comparison import settings_that_differ, versions_that_differ
from actre.view.episodes import choose, to_score
from actre.view.html import tag, text
from actre.view.inspector import offline
from actre.view.inspector.offline import fingerprint, script
from actre.view.names import order_name
from actre.view.records import SCORED, continued, entropy_point, read_all, read_runs
from actre.view.report import write

HOSTILE = "</style></title></p><script>alert('x')</script><img src=x onerror=alert(1)> &lt;b&gt; \x00\x1b[31m \u202e"
TAGS = frozenset(
    (
        *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "nav", "article"),
        *("h1", "h2", "h3", "p", "a", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "strong", "pre", "figure"),
        *("figcaption", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        *("svg", "text", "path", "circle", "rect"),
        *("script", "em", "small", "code"),
    )
)


def parsed(path: Path) -> ET.Element:
    """The page as XML: our markup is written so that both kinds of parser agree on it."""
    doctype, text = path.read_text(encoding="utf-8").split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    return ET.fromstring(text)


def words_of(path: Path) -> str:
    """What is there to read: neither style nor script, nor the script's data."""
    root = parsed(path)
    for parent in list(root.iter()):
        for child in [one for one in parent if one.tag in ("script", "style")]:
            parent.remove(child)
    return " ".join("".join(root.itertext()).split())


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_quickstart(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture(scope="module")
def page(quickstart: Path) -> Path:
    return write(quickstart)


def test_the_report_lies_in_the_folder_and_is_one_small_file(quickstart: Path, page: Path) -> None:
    assert page == quickstart / "report.html"
    assert page.stat().st_size < 1_000_000


def scripts(path: Path) -> tuple[str, str]:
    """The data and the script of a page that has both, and no third."""
    data, script = parsed(path).iter("script")
    assert (data.attrib["type"], script.attrib["type"]) == ("application/json", "module")
    return data.text or "", script.text or ""


def test_beside_the_comparison_stands_what_its_preconditions_are(
    quickstart: Path, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precondition_files, "data_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "not measured: run actre preconditions --model tiny/even-high" in words_of(write(quickstart)).replace(
        "`", ""
    )
    found = Preconditions("tiny/even-high", "f", "alfworld", Narrowing("widened", *[Interval(-0.3, -0.4, -0.2)] * 2))
    precondition_files.save(tmp_path / "results" / "preconditions" / "tiny.json", found)
    said = f"{verdict(found)} (Recorded for the untrained model, not from this run; contracted means 0.3 nats or more.)"
    assert said in words_of(write(quickstart))
    for arm in ("actre", "think_first"):
        (quickstart / arm / "adapter").mkdir(exist_ok=True)
        (quickstart / arm / "adapter" / "actre.json").write_text('{"fingerprint": "other weights"}')
    assert verdict(found) not in words_of(write(quickstart))
    for arm in ("actre", "think_first"):
        (quickstart / arm / "adapter" / "actre.json").unlink()
    assert page.exists()


def test_the_page_loads_nothing_and_runs_the_inspectors_script_alone(page: Path) -> None:
    root = parsed(page)
    for element in root.iter():
        assert element.tag in TAGS
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("src", "style", "srcset")
            assert name != "href" or value.startswith("#")
    text_ = page.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
    assert "://" not in text_
    assert "url(" not in text_
    assert "@import" not in text_
    policy = next(e for e in root.iter("meta") if "http-equiv" in e.attrib).attrib["content"]
    assert policy.startswith("default-src 'none'")
    # to a browser the script's text is what stands between its tags, byte for byte
    (inside,) = re.findall(r'<script type="module">(.*?)</script>', page.read_text(), re.DOTALL)
    assert policy.split("script-src ")[1].split(";")[0] == f"'{fingerprint(inside)}'"
    assert "]]>" not in inside.removesuffix("//]]>")
    assert inside.startswith("//<![CDATA[\n")
    assert inside == script()


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
    for link in root.iter("a"):
        if "data-show" in link.attrib:
            numbers = link.attrib["data-show"].split()
            assert link.attrib["href"] == f"#episode-{numbers[0]}"


def test_every_chart_has_a_name(page: Path) -> None:
    charts = list(parsed(page).iter("svg"))
    assert len(charts) >= 10
    assert all(chart.attrib["role"] == "img" and chart.attrib["aria-label"] for chart in charts)


def test_every_colour_of_a_chart_is_one_that_the_style_sheet_turns_with_the_theme(root: Path, page: Path) -> None:
    css = (root / "actre" / "view" / "report.css").read_text()
    colours = {e.attrib[ink] for e in parsed(page).iter() for ink in ("fill", "stroke") if ink in e.attrib}
    solid = {colour for colour in colours if colour.startswith("#")}
    assert {palette.ARMS[0], *palette.ORDERS.values()} <= solid
    for colour in solid - {palette.GREY}:  # grey is readable on both grounds
        assert f'[fill="{colour}"]' in css
        assert f'[stroke="{colour}"]' in css


def test_hostile_text_from_model_or_game_stays_text(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre", hostile=HOSTILE)
    rows = list(read_jsonl(run / "evaluation.jsonl"))
    write_jsonl(run / "evaluation.jsonl", [{**row, "task_type": row["task_type"] + HOSTILE[:60]} for row in rows])
    path = write(run)
    assert {element.tag for element in parsed(path).iter()} <= TAGS
    page = path.read_text(encoding="utf-8")
    data, _ = scripts(path)
    assert page.count("<script") == page.count("</script") == 2
    assert "<" not in data
    assert "<img" not in page
    shown = json.loads(data)
    assert HOSTILE[:20] in shown["_episodes"][0]["steps"][0]["thought"]
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
        assert "prefers-color-scheme:dark" in file.read_text()


def test_a_run_is_a_run_also_where_a_diagnosis_lies_beside_it(quickstart: Path) -> None:
    assert (quickstart / "diagnosis.json").exists()
    assert "Learning" in words_of(write(quickstart))


def test_characters_that_html_forbids_are_replaced() -> None:
    assert text("a\x00\x1b\ud800\uffff\u202eb\tc\n") == "a" + "\ufffd" * 5 + "b\tc\n"
    assert tag("p", "x", title='"><i>') == '<p title="&#34;&gt;&lt;i&gt;">x</p>'
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
    [(0.0, 0.8, "has an effect"), (0.0, 0.0, "has no effect"), (0.5, 0.8, "is NOT the trained one")],
)
def test_the_adapters_check_is_told_as_it_came_out(
    tmp_path: Path, from_trained: float, from_base: float, sentence: str
) -> None:
    run = build_run(tmp_path, "actre")
    found = {"from_trained": from_trained, "from_base": from_base, "tolerance": 1e-4, "tokens": 44}
    (run / "adapter_check.json").write_text(json.dumps(found))
    assert sentence in words_of(write(run))


def test_compliance_counts_every_step_of_the_evaluated_episodes(tmp_path: Path) -> None:
    folder = build_run(tmp_path, "actre")
    (run,) = read_runs(folder)
    one = next(t for t in run.after if t.order == "think_first" and t.won)
    flags = (("no_thought", "inadmissible"), ("inadmissible",), (), ())
    steps = tuple(replace(step, flags=flag) for step, flag in zip(one.steps[:4], flags, strict=True))
    write_trajectories(folder / "trajectories" / "eval_after.jsonl.gz", [replace(one, steps=steps)])
    said = words_of(write(folder))
    assert "ActReafterthink-first475.0%50.0%inadmissible 2, no thought 1" in said


def test_one_arm_is_enough(tmp_path: Path) -> None:
    build_run(tmp_path, "think_first")
    said = words_of(write(tmp_path))
    assert "Think-first alone won" in said
    assert "ActRe minus" not in said
    assert "before and after training" in said.partition("One game, two endings")[2]


def test_settings_alone_are_no_run(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    for name in ("metrics.jsonl", "entropy.jsonl", "evaluation.jsonl"):
        (run / name).unlink()
    with pytest.raises(ActreError, match="not a run folder"):
        write(run)


def test_a_folder_that_is_no_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ActreError, match=r"not a run folder.*actre quickstart"):
        write(tmp_path)
    with pytest.raises(ActreError, match="is not a folder"):
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
    assert "too few thoughts for an upper bound" in words_of(path)
    numbers = [v for e in parsed(path).iter() for k, v in e.attrib.items() if k in ("x", "y", "cx", "cy", "d")]
    assert numbers
    assert not any("nan" in v or "inf" in v for v in numbers)


def test_of_each_run_and_order_one_won_and_one_lost_are_drawn_by_the_seed(quickstart: Path) -> None:
    runs = read_runs(quickstart)
    shown = choose(runs)
    for run in runs:
        titles = [one.title for one in shown if one.group == run.name]
        assert titles == ["think-first, won", "think-first, lost", "act-first, won", "act-first, lost"]
    unseen = {result.game for result in runs[0].all_results if result.panel == "unseen"}
    for one in shown[:8]:
        order, ending = one.title.split(", ")
        ((_, episode),) = one.episodes
        assert (order_name(episode.order), episode.won) == (order, ending == "won")
        assert episode.game in unseen
    (_, first), (_, second) = shown[-1].episodes
    assert first.game == second.game
    assert first.won != second.won
    assert first in runs[0].after
    assert second in runs[1].after
    assert choose(runs) == shown
    assert choose(runs[1:])[:4] == shown[4:8]  # alone it shows what it shows beside others
    assert runs[0].config is not None
    others = [[replace(run, config=replace(runs[0].config, seed=seed)) for run in runs] for seed in range(1, 5)]
    assert any(choose(other) != shown for other in others)


def apart(episode: Trajectory, *values: float) -> Trajectory:
    """The episode, scored: its first steps' divergences; the others' are 0."""
    actions = len(episode.steps[0].observation.admissible)
    one = {"p": [1 / actions] * actions, "other": 0.0, "entropy": math.log(actions)}
    think = {**one, "lower": 0.5, "upper": None, "conditional": 0.1, "thoughts": []}
    js = [*values, *[0.0] * (len(episode.steps) - len(values))]
    scores = [{"act_first": one, "think_first": think, "after": None, "js": x, "js_after": None} for x in js]
    return with_records(episode, SCORES, scores)


def test_where_the_two_orders_differ_most_is_what_was_measured(tmp_path: Path) -> None:
    folder = build_run(tmp_path, "actre")
    (run,) = read_runs(folder)
    likes = [replace(t, steps=t.steps[:3]) for t in run.after[:3]]
    scored = [apart(likes[0], 0.1), apart(likes[1], 0.1, 0.6), apart(likes[2], 0.2)]
    write_trajectories(folder / "trajectories" / SCORED, scored)
    (run,) = read_runs(folder)
    one = next(one for one in choose([run]) if one.title == "where its two orders differ most")
    assert one.episodes[0][1].game == likes[1].game
    assert one.step == 1
    assert "0.23 on average over its steps, and 0.60 at step 2" in one.why
    assert "of the 3 scored episodes" in one.why


def test_an_episode_that_was_scored_is_shown_with_its_scores(tmp_path: Path) -> None:
    folder = build_run(tmp_path, "actre")
    (run,) = read_runs(folder)
    assert "was not measured: actre report RUN --score" in words_of(write(folder))
    ((_, wanted),) = to_score([run])
    drawn = [episode for one in choose([run]) for _, episode in one.episodes]
    assert all(episode in wanted for episode in drawn)
    write_trajectories(folder / "trajectories" / SCORED, [apart(t, 0.1) for t in wanted])
    said = words_of(write(folder))
    assert "What it would do here: 2.30 nats acting first" in said
    episodes = json.loads(scripts(folder / "report.html")[0])["_episodes"]
    assert all(step["scores"]["js"] is not None for episode in episodes for step in episode["steps"])


def test_scoring_asks_the_runs_own_policy_once_and_keeps_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_run(tmp_path, "actre")
    with pytest.raises(ActreError, match="has not ended"):
        score([folder])
    (folder / "adapter").mkdir()
    asked: list[tuple[Any, int]] = []

    def annotate(episodes: list[Trajectory], policy: Any, **_: Any) -> list[Trajectory]:
        asked.append((policy, len(episodes)))
        return [apart(t, 0.1) for t in episodes]

    monkeypatch.setattr("actre.adapters.load_policy", lambda config, adapter=None: adapter)
    monkeypatch.setattr("actre.entropy.episode_states.annotate", annotate)
    done = score([folder])
    # two endings before and after training: the episode from before is the untrained policy's
    assert asked == [(None, 1), (folder / "adapter", done - 1)]
    assert score([folder]) == 0
    assert len(asked) == 2


def test_a_report_stays_small_however_long_the_episodes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offline.MOST_BYTES < 8_000_000 / 3
    folder = build_run(tmp_path, "actre")
    whole = len(json.loads(scripts(write(folder))[0])["_episodes"])
    monkeypatch.setattr(offline, "MOST_BYTES", 20_000)
    path = write(folder)
    kept = json.loads(scripts(path)[0])
    assert 0 < len(kept["_episodes"]) < whole
    assert len(kept["_index"]) == len(kept["_episodes"])
    assert f"{whole - len(kept['_episodes'])} more episodes were chosen but left out" in words_of(path)


def several(folder: Path) -> list[Path]:
    """Two quickstarts of two seeds."""
    return [build_quickstart(folder / name, seed=seed) for seed, name in enumerate(("first", "second_try"))]


def test_several_runs_stand_side_by_side_in_one_page(tmp_path: Path) -> None:
    folders = several(tmp_path)
    path = write(*folders)
    assert path == tmp_path / "report.html"
    assert path.stat().st_size < 8_000_000
    said = words_of(path)
    names = [f"{arm}, {folder}" for folder in ("first", "second_try") for arm in ("ActRe", "think-first alone")]
    assert [run.name for run in read_all(folders)] == names
    for name in names:
        assert f"{words._capital(name)} won" in said
    # arms of one folder, and like with like across folders
    for pair in ((0, 1), (2, 3), (0, 2), (1, 3)):
        assert f"After training, {names[pair[0]]} minus {names[pair[1]]} on the same unseen games" in said
    assert "Runs of 2 seeds" in said
    assert words.CAUTION not in said
    charts = ["".join(chart.itertext()) for chart in parsed(path).iter("svg")]
    assert sum(all(name in chart for name in names) for chart in charts) >= 4
    assert "One game, two endings" in said
    assert write(*folders, out=tmp_path / "else" / "where.html") == tmp_path / "else" / "where.html"
    assert "On 12 fixed states" in said


def test_only_settings_and_versions_that_differ_are_set_side_by_side(tmp_path: Path) -> None:
    runs = read_all(several(tmp_path))
    rows = dict(settings_that_differ(runs))
    assert rows["seed"] == ["0", "0", "1", "1"]
    assert rows["stages[0].order"] == ["act_first", "think_first"] * 2
    assert rows["stages[1].iterations"] == ["20", "–"] * 2
    assert "stages[1].temperature" not in rows  # a default of a stage that the other arm lacks
    assert "preset" not in rows
    assert versions_that_differ(runs) == []
    other = replace(runs[0], versions={**runs[0].versions, "commit": "another"})
    assert [name for name, _ in versions_that_differ([runs[0], other])] == ["commit"]


def test_a_run_named_twice_is_read_once_and_runs_alike_are_told_apart(tmp_path: Path) -> None:
    one, two = (build_run(tmp_path / name, "actre") for name in ("a", "b"))
    assert [run.name for run in read_all([one, two, one, tmp_path / "a"])] == ["ActRe, a", "ActRe, b"]
    assert [run.name for run in read_all([one])] == ["ActRe"]


def test_the_command_takes_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = several(tmp_path)
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "both.html")]) == 0
    assert capsys.readouterr().out.endswith(f"written: {tmp_path / 'both.html'}\n")


def test_a_thought_stands_where_it_was_written(tmp_path: Path) -> None:
    run = build_run(tmp_path, "actre")
    root = parsed(write(run))
    for number, kinds in ((0, ["Thinks", "Does"]), (2, ["Does", "Thinks"])):  # a think-first and an act-first episode
        episode = next(e for e in root.iter("article") if e.attrib["id"] == f"episode-{number}")
        step = "".join(next(iter(episode.iter("ol")))[0].itertext())
        assert [word for word in re.findall(r"Thinks|Does", step)][:2] == kinds


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
    [
        ("narrowed", "narrowed"),
        ("widened", "widened"),
        ("equivalent", "equal within"),
        ("inconclusive", "Inconclusive"),
    ],
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
        (Interval(0.2, -0.01, 0.3), "show no difference between the two runs"),
    ],
)
def test_a_comparison_reads_the_same_whichever_way_it_came_out(difference: Interval, sentence: str) -> None:
    assert sentence in words.arms_compared("A", "B", difference, "unseen")


def test_the_command_prints_where_the_report_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path, "actre")
    assert main(["report", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"written: {run / 'report.html'}\n")
    assert "won" in out, "the command prints the answers, not only a path"
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_what_a_command_prints_is_what_the_page_says(tmp_path: Path) -> None:
    folder = build_quickstart(tmp_path / "quickstart")
    page = words_of(write(folder))
    said = answers(folder)
    assert [line for line in said if " ".join(line.split()) not in page] == []
    assert any("minus" in line for line in said), "the arms' difference"
    assert any(re.search(r"between \d+\.\d+ and \d+\.\d+ nats when it thinks first", line) for line in said)


def test_measurements_of_one_policy_stand_with_their_sizes(tmp_path: Path) -> None:
    folder = build_quickstart(tmp_path / "quickstart")
    page = words_of(write(folder))
    diagnosis = load_diagnosis(folder / "diagnosis.json")
    assert f"{len(diagnosis.states)} states, K = {diagnosis.settings.thoughts} thoughts per state" in page
    point = read_runs(folder)[0].entropy[0]
    assert f"{point.states} states, K = {point.thoughts} thoughts per state" in page


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
    assert "Iterations per stage: 6, 24." in said
    assert "The environment failed in 60 training episodes" in said
    assert f"actre train --config {run / 'config.json'}" in said


def test_the_command_that_is_shown_makes_the_same_quickstart(tmp_path: Path) -> None:
    folder = build_quickstart(tmp_path / "q", seed=3)
    settings = replace(preset("tiny", "webshop"), seed=3, env_steps=1000)
    for path in (folder, *(folder / arm for arm in ("think_first", "actre"))):
        save_config(settings, path / "config.json")
    page = write(folder).read_text()
    assert f"actre quickstart --preset tiny --env webshop --env-steps 1000 --seed 3 --out {folder}" in page
    # whatever differs from the preset is in the command, and the command makes these settings
    shorter = replace(settings, stages=in_proportion(settings.stages, 12))
    changed_ = changed(shorter, ["optim.groups=4", "probe.every=0"])
    save_config(changed_, folder / "config.json")
    said = re.search(r"actre quickstart [^<\n]*", html.unescape(write(folder).read_text()))
    assert said is not None
    with pytest.MonkeyPatch.context() as patch:
        got = []
        patch.setattr("actre.study.quickstart.quickstart", lambda config, out, **_: got.append((config, out)) or out)
        patch.setattr("actre.cli.quickstart.conclude", lambda folders: None)
        assert main(shlex.split(said[0])[1:]) == 0
    assert got == [(changed_, folder)]
    (folder / "config.json").unlink()  # two runs that merely stand in one folder
    assert "actre quickstart --preset" not in write(folder).read_text()
