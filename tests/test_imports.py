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

ORDER = (
    "types",
    "config",
    "stats",
    "runtime",
    "orders",
    "envs",
    "policies",
    "rollout",
    "adapters",
    "entropy",
    "training",
    "organisms",
    "view",
    "study",
    "cli",
    "lessons",
)
"""The entries of actre/, from the ground up: each imports from those before it and from itself, from none after it."""

FORBIDDEN = (
    ("actre.view", "actre.training"),
    ("actre.view", "actre.organisms"),
    ("actre.view", "actre.adapters"),
    ("actre.view", "actre.policies"),
    ("actre.view", "actre.entropy.scorer"),
    ("actre.envs", "actre.orders"),
)
"""Edges that the order allows and the design forbids. Imports for type checking alone do not count."""

DOCTOR = "actre.cli.doctor"
"""Answers where nothing else can be loaded, so it takes from settings and the machine only."""

PURE = {
    "actre.stats": {"numpy", "scipy"},
    "actre.entropy.estimators": {"numpy"},
    "actre.entropy.verdict": {"numpy"},
    "actre.entropy.transfer": {"numpy", "scipy"},
    "actre.entropy.preconditions": set(),
    "actre.training.advantages": {"numpy", "torch"},
}
"""Numbers in, numbers out: the only libraries these may import."""

HOMES = {
    "trl": {"actre.training", "actre.organisms.fine_tune", "actre.organisms.packed_sft", "actre.policies.vllm"},
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
"""Heavy library -> the only packages that may import it, at the top or inside a function."""

HEAVY = {"torch", "transformers", "trl", "peft", "vllm", "unsloth", "alfworld", "textworld", "plotly"}


class Edge(NamedTuple):
    """One import, as full module names."""

    importer: str
    imported: str
    line: int
    typing: bool = False
    """Under `if TYPE_CHECKING`: only for annotations."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted((ROOT / "actre").rglob("*.py"))}


def edges_of(name: str, source: str, is_package: bool, ours: set[str]) -> Iterator[Edge]:
    """Every import in a source, wherever it stands. `from a import b` is a.b where that is a module."""
    tree = ast.parse(source)
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typing = {node for block in blocks for statement in block.body for node in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Edge(name, alias.name, node.lineno, node in typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Edge(name, full if full in ours else base, node.lineno, node in typing)


EDGES = [
    edge
    for name, path in SOURCES.items()
    for edge in edges_of(name, path.read_text(), path.name == "__init__.py", set(SOURCES))
]


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def place(module: str) -> int:
    """Where a module's entry stands in ORDER. Raises LookupError for an entry that has no place there."""
    name = module.split(".")[1] if "." in module else ""
    if name in ("", "__main__"):
        return -1 if name == "" else len(ORDER)
    if name not in ORDER:
        raise LookupError(f"{module} has no place: add its entry to ORDER in {Path(__file__).name}")
    return ORDER.index(name)


def wrong(edge: Edge) -> str | None:
    """What is wrong with an edge between our own modules; None if nothing is."""
    where = f"{edge.importer}:{edge.line} imports {edge.imported}"
    if edge.importer == DOCTOR and place(edge.imported) > ORDER.index("runtime"):
        return f"{where}: doctor takes from settings and the machine only"
    if place(edge.imported) > place(edge.importer):
        return f"{where}: upwards"
    if not edge.typing and any(within(edge.importer, a) and within(edge.imported, b) for a, b in FORBIDDEN):
        return f"{where}: forbidden"
    return None


def circles(edges: list[Edge]) -> list[list[str]]:
    """Groups of modules that import one another, at the top or inside functions; packages' own files left out."""
    after: dict[str, set[str]] = {}
    for edge in edges:
        if SOURCES[edge.importer].name != "__init__.py" and SOURCES.get(edge.imported, Path()).name != "__init__.py":
            after.setdefault(edge.importer, set()).add(edge.imported)
    reach = {name: reached(name, after) for name in after}
    joined = {tuple(sorted(b for b in reach[a] if a in reach.get(b, ()))) for a in after if a in reach[a]}
    return [list(one) for one in sorted(joined)]


def reached(start: str, after: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = list(after.get(start, ()))
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += after.get(name, ())
    return found


def test_the_package_has_few_entries_and_each_has_its_place() -> None:
    entries = {path.name.removesuffix(".py") for path in (ROOT / "actre").iterdir() if not path.name.startswith("__")}
    assert entries - {"py.typed"} == set(ORDER)
    assert len(ORDER) <= 16


def test_no_modules_import_one_another() -> None:
    assert circles([edge for edge in EDGES if edge.imported in SOURCES]) == []


def test_no_file_is_long() -> None:
    assert {name: n for name, path in SOURCES.items() if (n := len(path.read_text().splitlines())) > 400} == {}


def test_imports_run_one_way() -> None:
    assert [text for edge in EDGES if within(edge.imported, "actre") and (text := wrong(edge))] == []


def test_the_walk_sees_what_it_must_forbid() -> None:
    source = "from actre.training import StagedTrainer\ndef f():\n    from . import html\n    import actre.cli\n"
    typed = "if TYPE_CHECKING:\n    from actre.policies import Policy\n    import actre.cli\n"
    seen = list(edges_of("actre.view.report", source + typed, False, {"actre.view.html"}))
    wanted = {"actre.training": False, "actre.view.html": True, "actre.cli": False, "actre.policies": True}
    assert {edge.imported for edge in seen} == set(wanted)
    assert all((wrong(edge) is None) is wanted[edge.imported] for edge in seen)
    assert wrong(Edge("actre.view.play", "actre.policies", 1)) is not None
    assert wrong(Edge("actre.cli.doctor", "actre.rollout", 1)) is not None
    with pytest.raises(LookupError):
        place("actre.cellar")


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
    """Pure modules may take from one another and from the glossary."""
    return name == "actre.types" or name in PURE


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
