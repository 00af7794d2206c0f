"""The figures in docs/webshop.md are those of the records it names, and of the shop that is shipped."""

import json
from pathlib import Path

import pytest

from actre.envs.webshop import panels

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "webshop.md").read_text(encoding="utf-8")


def record(name: str) -> dict:
    return json.loads((ROOT / "data" / "results" / f"{name}.json").read_text())


def test_speed_and_memory_are_the_records_and_meet_what_was_wanted() -> None:
    r = record("bench_webshop")
    for figure in (r["new"]["steps_per_s"], r["repeated"]["steps_per_s"]):
        assert f"| {figure:,} |" in PAGE
    assert f"| {max(r['new']['peak_mb'], r['repeated']['peak_mb']):.0f} MB |" in PAGE
    assert f"| {r['reset']['ms']:.3f} ms |" in PAGE
    assert f"| {r['many']['peak_mb']:.0f} MB |" in PAGE
    flat = " ".join(PAGE.split())
    take, opened, full = r["import"], r["large"], r["full_set"]
    assert f"import {take['cpu_s']:.0f} s of CPU and {take['peak_mb']:.0f} MB" in flat
    assert f"opened in {opened['open_cpu_s']} s with {opened['opened_mb']:.0f} MB" in flat
    assert (
        f"a new query {opened['search_ms']['median']:.1f} ms (95th percentile {opened['search_ms']['p95']:.1f}" in flat
    )
    assert f"about {full['import_cpu_min']:.0f} minutes and {full['import_peak_gb']:.0f} GB" in flat
    assert f"{full['search_ms']:.0f} ms a query" in flat
    wanted = r["targets"]
    assert r["new"]["steps_per_s"] >= wanted["new_steps_per_s"]
    assert r["repeated"]["steps_per_s"] >= wanted["repeated_steps_per_s"]
    assert opened["search_ms"]["p95"] <= wanted["search_ms"]


@pytest.mark.parametrize(
    ("panel", "line"),
    [
        ("shop/unseen", "shop/unseen"),
        ("SMALL/unseen", "official small set, unseen"),
        ("SMALL, all 6,910 goals", "official small set, all 6,910 goals"),
    ],
)
def test_baselines_are_the_records(panel: str, line: str) -> None:
    rows = {row["baseline"]: row for row in record("webshop_baselines")["rows"] if row["panel"] == panel}
    shown = next(text for text in PAGE.splitlines() if text.startswith(f"| {line}"))
    for row in rows.values():
        value, low, high = (100 * x for x in row["success"])
        assert f"{value:.1f} % [{low:.1f}, {high:.1f}]" in shown
        value, low, high = row["score"]
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in shown


def test_the_shipped_shops_splits_are_what_the_report_says() -> None:
    for row in panels.report("shop"):
        name = row.name.removeprefix("shop/")
        shown = next(text for text in PAGE.splitlines() if text.replace("*", "").startswith(f"| {name} |"))
        cell = shown.replace("*", "").split("|")[2]
        assert f"{row.goals:,}" in cell
        assert f"{row.attainable / row.goals:.1%}".replace("%", " %") in cell
        if row.overlap:
            share = f"{100 * row.overlap.product_share:.1f}".removesuffix(".0")
            assert f"{share} % in train" in cell
