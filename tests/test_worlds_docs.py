"""docs/worlds.md: its snippets run, its table is the record's, and the record reaches what was asked for."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "worlds.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RECORD = ROOT / "data" / "results" / "bench_worlds.json"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[re.findall(r"(?:from|import) (\S+)", s)[0] for s in SNIPPETS])
def test_a_snippet_runs_as_it_stands(snippet: str) -> None:
    for package in ("verifiers", "openenv"):
        if f"compat.{package}" in snippet and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {package}")
    exec(compile(snippet, "docs/worlds.md", "exec"), {"__name__": "a_page"})


def test_every_interface_has_its_ten_lines() -> None:
    here = {path.stem for path in (ROOT / "actre" / "envs" / "compat").glob("*.py")}
    inner = {"__init__", "batch", "slot", "sessions", "verl_webshop"}
    assert set(re.findall(r"compat\.(\w+) import", PAGE)) == here - inner
    assert all(len(snippet.splitlines()) <= 13 for snippet in SNIPPETS)


def test_each_interface_is_thin() -> None:
    files = (ROOT / "actre" / "envs" / "compat").glob("*.py")
    assert {path.name: n for path in files if (n := len(path.read_text().splitlines())) >= 120} == {}


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("bench_worlds", ROOT / "benchmarks" / "worlds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_the_table_is_the_records() -> None:
    table = benchmark().table(json.loads(RECORD.read_text()))
    assert f"<!-- table -->\n{table}\n<!-- end -->" in PAGE


def test_at_16_environments_every_interface_is_as_much_faster_as_asked_for() -> None:
    record, module = json.loads(RECORD.read_text()), benchmark()
    rows = [row for row in record["rows"] if row["environments"] == 16 and row["interface"] != "stock"]
    assert {row["world"] for row in rows} == {"alfworld", "webshop"}
    assert {row["interface"] for row in rows} == {*module.ALFWORLD, *module.WEBSHOP}
    for row in rows:
        ratio = row["steps_per_cpu_s"] / module.stock_speed(record, row["world"])
        assert ratio >= (100 if row["world"] == "alfworld" else 200), row


def test_the_benchmark_measures_a_row_in_a_process_of_its_own() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "worlds.py"), "--child", "webshop", "webshop", "2", "150", ""]
    row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert row["steps"] == 300
    assert row["steps_per_cpu_s"] > 0
    assert row["mb"] > 10
