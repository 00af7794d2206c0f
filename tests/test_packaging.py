"""The lists agree: what is declared, pinned, imported, installed by conda or on Colab, and promised."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import actre
from actre import cli

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PREINSTALLED_ON_COLAB = {"torch", "transformers", "ipywidgets", "plotly"}
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


def pins(file: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    found = [line.split("==") for line in lines if line]
    assert all(len(pair) == 2 for pair in found), "a constraint is name==version"
    return {canonicalize_name(name): version for name, version in found}


def declared() -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def test_every_declared_package_is_a_range_that_holds_its_tested_pin() -> None:
    tested = pins("constraints.txt")
    for name, requirement in declared().items():
        assert name in tested, f"{name} has no pin in constraints.txt"
        assert tested[name] in requirement.specifier, name
        assert not any(spec.operator == "==" for spec in requirement.specifier), f"{name} is pinned, not ranged"


def test_trl_stays_below_the_minor_that_fails_on_a_cpu() -> None:
    assert "1.14.2" in declared()["trl"].specifier
    assert "1.15.0" not in declared()["trl"].specifier


def test_every_library_that_the_package_imports_is_declared() -> None:
    provided_by = metadata.packages_distributions()
    # deepspeed: imported only in processes that its own launch has begun; the others: where their own users are
    names = set(declared()) | {"deepspeed", "openenv", "verifiers"}
    undeclared = set()
    for path in (ROOT / "actre").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for module in {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"actre"}:
                owners = {canonicalize_name(owner) for owner in provided_by.get(module, [module])}
                if not owners & names:
                    undeclared.add(f"{path.relative_to(ROOT)}: {module}")
    assert undeclared == set()


def test_the_extras_are_those_of_the_design() -> None:
    assert set(EXTRAS) == {"train", "lab", "gpu", "webshop", "test"}


def test_conda_installs_the_same_package_from_the_same_list() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    # Nothing of our own list is named a second time: the package itself brings it, held to the same pins.
    assert pip == ["-c constraints.txt", "-e .[train,lab,test]"]
    names = {re.split(r"[<>=]", entry)[0] for entry in conda}
    assert names == {"python", "pip", "cmake", "make", "cxx-compiler"}
    (python,) = [entry.removeprefix("python") for entry in conda if entry.startswith("python")]
    assert SpecifierSet(python) == SpecifierSet(PROJECT["requires-python"])


def test_colab_gets_the_same_pins_but_for_what_it_brings() -> None:
    colab, tested = pins("constraints-colab.txt"), pins("constraints.txt")
    assert colab.items() <= tested.items()
    assert not colab.keys() & PREINSTALLED_ON_COLAB
    assert {"trl", "alfworld", "textworld"} <= colab.keys()


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("torch", "2.11.0"),
        ("transformers", "5.15.0"),
        ("peft", "0.20.0"),
        ("ipywidgets", "7.7.1"),
        ("plotly", "5.24.1"),
        ("anywidget", "0.9.21"),
        ("ipykernel", "6.17.1"),
    ],
)
def test_what_colab_brings_is_within_the_ranges(name: str, version: str) -> None:
    assert version in declared()[name].specifier


def test_the_package_says_that_it_is_typed_and_under_which_licence() -> None:
    assert (ROOT / "actre" / "py.typed").exists()
    assert "MIT" in (ROOT / "LICENSE").read_text().splitlines()[0]
    assert PROJECT["license"] == "MIT"


def test_the_citation_names_this_version_its_licence_and_the_readmes_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = citation["references"]
    assert (citation["version"], citation["license"]) == (actre.__version__, PROJECT["license"])
    readme = " ".join((ROOT / "README.md").read_text().replace("\n> ", " ").split())
    assert f"https://doi.org/{paper['doi']}" in readme
    assert paper["title"] in readme


def test_contributing_lists_every_entry_of_the_package() -> None:
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    here = {
        path.stem for path in (ROOT / "actre").iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")
    }
    assert sorted(listed) == sorted(here)


def test_the_readme_lists_every_notebook_in_order() -> None:
    listed = re.findall(r"^\| \[.*?\]\(notebooks/(.*?)\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_named_in_a_document_exist(document: Path) -> None:
    text = document.read_text()
    code = "\n".join(re.findall(r"`([^`\n]+)`", text) + re.findall(r"^(?: {4}|\t)(.*)$", text, re.MULTILINE))
    code += "\n" + "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    targets = set(re.findall(r"(?:^|&& )make ([a-z-]+)", code, re.MULTILINE))
    assert targets <= make_targets()
    (subparsers,) = [action for action in cli.build_parser()._actions if action.dest == "command"]
    assert isinstance(subparsers.choices, dict)
    commands = set(re.findall(r"(?:^|&& )(?:\.venv/bin/)?actre ([a-z][a-z-]*)", code, re.MULTILINE))
    assert commands <= set(subparsers.choices)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    lost = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert lost == []


def test_the_readme_lists_every_command_there_is() -> None:
    (subparsers,) = [action for action in cli.build_parser()._actions if action.dest == "command"]
    assert isinstance(subparsers.choices, dict)
    listed = re.findall(r"^\| `actre ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert listed == list(subparsers.choices)


def test_the_index_of_docs_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_every_folder_of_data_says_how_it_was_made() -> None:
    index = (ROOT / "data" / "README.md").read_text()
    folders = {path.name for path in (ROOT / "data").iterdir() if path.is_dir()}
    assert {folder for folder in folders if f"`{folder}/`" not in index} == set()


def test_every_file_beside_the_modules_travels_with_the_package() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    carried = {
        path
        for package, patterns in tool["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    beside = {path for path in (ROOT / "actre").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert beside == carried
