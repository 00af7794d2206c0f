"""Imports run one way, heavy libraries are loaded where they belong, and `import actre` loads none."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A module imports from layers below its own and from its own layer, never from one above.
# The longest matching name counts, so a room's file can stand in another layer than its room.
LAYERS = tuple(
    frozenset(f"actre.{name}".removesuffix(".") for name in names)
    for names in (
        ("",),  # the empty house: `import actre`
        (
            "types",
            "values",
            "config",
            "chat",
            "presets",
            "official",
            "paths",
            "gamefiles",
            "notplayed",
            "outputs",
            "model_names",
            "settings",
            "ranks",
            "estimate",
            "limits",
            "budget",
        ),
        ("envs", "policies", "orders"),
        (
            "rollout",
            "probes",
            "entropy",
            "_contraction",
            "advantages",
            "rows",
            "stages",
            "arms",
            "runlog",
            "warmstart_rows",
        ),
        ("calibration", "_known_truth", "thoughts"),
        (
            "trainer",
            "checkpoints",
            "matching",
            "warmstart",
            "engines",
            "engine_check",
            "sharded",
            "fitting",
            "compliance",
            "cards",
            "hub",
            "pretrain",
            "diagnose",
            "_diagnosis",
            "_diagnosis_log",
            "_breakdown",
            "_scorer",
            "_queries",
            "_action_texts",
            "_self_check",
            "_whole_replies",
            "naive",
            "evaluate",
            "adapters",
            "adapter_files",
            "adapter_cards",
            "view",
        ),
        ("quickstart", "study", "onerun", "processes"),
        (
            "train_command",
            "warmstart_command",
            "probes_command",
            "diagnose_command",
            "calibrate_command",
            "evaluate_command",
            "export_command",
            "measure_into",
        ),
        ("cli", "__main__", "lessons"),
    )
)
BESIDE = frozenset({"actre.doctor"})
"""Stands beside the layers: takes from settings only; only the command line and the lessons take from it."""

FORBIDDEN = (("actre.view", "actre.trainer"),)
"""Edges within a layer that must not be."""

PURE = {"actre.entropy": {"numpy"}, "actre.advantages": {"numpy", "torch"}}
"""Numbers in, numbers out: the only libraries these may import."""

HOMES = {
    "trl": {"actre.trainer", "actre.warmstart", "actre.policies.vllm"},
    "unsloth": {"actre.policies.models"},
    "vllm": {"actre.policies.vllm"},
    "alfworld": {"actre.envs.alfworld"},
    "textworld": {"actre.envs.alfworld"},
    "fast_downward": {"actre.envs.alfworld"},
    "spacy": {"actre.envs.webshop"},
    "plotly": {"actre.view"},
    "ipywidgets": {"actre.view"},
    "anywidget": {"actre.view"},
}
"""Heavy library -> the only rooms that may import it, at the top or inside a function."""

HEAVY = {"torch", "transformers", "trl", "peft", "vllm", "unsloth", "alfworld", "textworld", "plotly"}


class Edge(NamedTuple):
    """One import, as full module names."""

    importer: str
    imported: str
    line: int


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted((ROOT / "actre").rglob("*.py"))}


def edges_of(name: str, source: str, is_package: bool, ours: set[str]) -> Iterator[Edge]:
    """Every import in a source, wherever it stands. `from a import b` is a.b where that is a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Edge(name, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Edge(name, full if full in ours else base, node.lineno)


EDGES = [
    edge
    for name, path in SOURCES.items()
    for edge in edges_of(name, path.read_text(), path.name == "__init__.py", set(SOURCES))
]


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def layer(module: str) -> int:
    """The layer of a module. Raises LookupError for one that has none."""
    found = [
        (len(room), number)
        for number, rooms in enumerate(LAYERS)
        for room in rooms
        if within(module, room) and (room != "actre" or module == "actre")
    ]
    if not found:
        raise LookupError(f"{module} stands in no layer: add it to LAYERS in {Path(__file__).name}")
    return max(found)[1]


def wrong(edge: Edge) -> str | None:
    """What is wrong with an edge between our own modules; None if nothing is."""
    where = f"{edge.importer}:{edge.line} imports {edge.imported}"
    if edge.importer in BESIDE:
        return None if layer(edge.imported) <= 1 else f"{where}: doctor takes from settings only"
    if edge.imported in BESIDE:
        return (
            None if layer(edge.importer) == len(LAYERS) - 1 else f"{where}: only cli and the lessons take from doctor"
        )
    if layer(edge.imported) > layer(edge.importer):
        return f"{where}: upwards"
    if any(within(edge.importer, a) and within(edge.imported, b) for a, b in FORBIDDEN):
        return f"{where}: forbidden"
    return None


def test_imports_run_one_way() -> None:
    assert [text for edge in EDGES if within(edge.imported, "actre") and (text := wrong(edge))] == []


def test_the_walk_sees_what_it_must_forbid() -> None:
    source = "from actre.trainer import StagedTrainer\ndef f():\n    from . import html\n    import actre.cli\n"
    seen = list(edges_of("actre.view.report", source, False, {"actre.view.html"}))
    assert [edge.imported for edge in seen] == ["actre.trainer", "actre.view.html", "actre.cli"]
    assert [wrong(edge) is None for edge in seen] == [False, True, False]
    assert wrong(Edge("actre.doctor", "actre.rollout", 1)) is not None
    with pytest.raises(LookupError):
        layer("actre.cellar")


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_only_where_it_belongs(library: str) -> None:
    strangers = [
        f"{edge.importer}:{edge.line}"
        for edge in EDGES
        if edge.imported.split(".")[0] == library and not any(within(edge.importer, r) for r in HOMES[library])
    ]
    assert strangers == []


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_nothing_but_numbers(module: str) -> None:
    if module not in SOURCES:
        pytest.skip(f"{module} is not written yet")
    allowed = PURE[module] | sys.stdlib_module_names
    used = {edge.imported for edge in EDGES if edge.importer == module}
    foreign = {name for name in used if name.split(".")[0] not in allowed and not own_and_pure(name)}
    assert foreign == set()


def own_and_pure(name: str) -> bool:
    """A pure module may be split: its private parts and the glossary are its own."""
    return name in {"actre.types"} | set(PURE) or name.startswith("actre._")


@pytest.mark.parametrize("start", ["import actre", "import actre.cli as c; c.build_parser()"])
def test_importing_actre_or_building_the_command_line_loads_nothing_heavy(start: str) -> None:
    code = f"import sys; {start}; print(sorted({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("asked", "silent"), [(None, True), ("0", False)])
def test_the_hub_is_told_of_no_training_unless_asked_for(asked: str | None, silent: bool) -> None:
    ours = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {} if asked is None else {"HF_HUB_DISABLE_TELEMETRY": asked}
    code = "import actre; from huggingface_hub import constants as c; print(c.HF_HUB_DISABLE_TELEMETRY)"
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(silent)


def test_importing_actre_takes_under_0_3_seconds() -> None:
    code = "import time; start = time.process_time(); import actre; print(time.process_time() - start)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    # The best of three, in CPU time: a busy machine is not the package's fault.
    assert min(times) < 0.3
