"""What a document says about results is what the committed data give."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_on_the_quickstart_is_made_from_the_collected_data() -> None:
    quickstart = benchmark("quickstart")
    assert quickstart.PAGE.read_text() == quickstart.page()


def test_collecting_an_unfinished_quickstart_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from actre.config import preset, save_config
    from actre.types import ActreError

    quickstart = benchmark("quickstart")
    monkeypatch.setattr(quickstart, "results_folder", lambda: tmp_path / "results")
    (tmp_path / "run").mkdir()
    save_config(preset("tiny"), tmp_path / "run" / "config.json")
    (tmp_path / "run" / "diagnosis.json").write_text("{}")
    with pytest.raises(ActreError, match="not finished"):
        quickstart.collect([tmp_path / "run"])
