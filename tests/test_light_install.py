"""The light install plays the worlds without the packages of `actre[train]`, and a wheel without a checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from actre.runtime import extras
from actre.types import ActreError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{*{extras.TRAIN!r}, "spacy", "IPython", "anywidget", "vllm", "unsloth"}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""
"""An interpreter without the packages of the extras, as a light install has it."""

ALFWORLD = """
import gymnasium, actre.envs
from actre.envs.alfworld import list_games
env = gymnasium.make("actre/Alfworld-v0", games=list_games("small/unseen")[:1])
text, info = env.reset(seed=0)
assert text.startswith("-= Welcome to TextWorld, ALFRED! =-")
text, *_ = env.step(next(a for a in info["admissible_commands"] if a.startswith("go to")))
assert text.startswith("You arrive at"), text
"""
WEBSHOP = """
import gymnasium, actre.envs
from actre.envs.webshop.panel_env import PanelEnv
env = PanelEnv("shop/unseen")
text, info = env.reset(seed=0)
text, *_ = env.step(f"search[{info['task']}]")
assert "Total results: 50" in text, text
"""
SCRIPTED = """
from actre.config import EnvConfig
from actre.envs.worlds import list_games, make_env, scripted
from actre.types import Observation
for name, panel in (("alfworld", "small/unseen"), ("webshop", "shop/unseen")):
    game = list_games(name, panel)[0]
    env = make_env(EnvConfig(name=name, train=panel))
    text, info = env.reset(options={"game": game})
    play, over = None, False
    while not over:
        seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
        play = play or scripted(name, "expert", seen, 0, game)
        text, reward, won, cut, info = env.step(play(seen))
        over = won or cut
"""
ORDERS = """
from actre.orders import parse
found = parse("<think>a mug</think><action>look</action>", "think_first")
assert found.action == "look" and not found.flags, found
"""
NUMBERS = """
from actre.entropy import entropy
from actre.stats import wilson
assert abs(entropy([0.5, 0.5]) - 0.6931) < 1e-3
assert wilson(5, 10)
"""
COMMANDS = """
from actre.cli import main
for line in ("games list small/unseen", "games check small/unseen", "webshop report", "webshop check"):
    assert main(line.split()) == 0, line
"""


def python(code: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "code",
    [ALFWORLD, WEBSHOP, SCRIPTED, ORDERS, NUMBERS, COMMANDS],
    ids=["alfworld", "webshop", "scripted", "orders", "numbers", "commands"],
)
def test_the_light_set_works_where_the_heavy_one_cannot_be_imported(code: str) -> None:
    done = python(BLOCK + code)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "line", ["train", "quickstart", "diagnose", "warmstart", "pretrain-tiny", "study data/studies/tiny.toml"]
)
def test_a_command_that_needs_the_heavy_set_names_it_and_writes_nothing(line: str, tmp_path: Path) -> None:
    words = [str(ROOT / word) if word.startswith("data/") else word for word in line.split()]
    done = python(f"{BLOCK}from actre.cli import main; sys.exit(main({words!r}))", cwd=tmp_path)
    assert done.returncode == 2, done.stderr[-2000:]
    assert f"actre {words[0]} needs actre[train], and " in done.stderr
    assert "pip install -c constraints.txt -e '.[train]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_trainer_says_so_too_where_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import actre.training

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(
        ActreError, match=r"actre\.training\.train needs actre\[train\], and torch is not installed: pip"
    ):
        actre.training.train  # noqa: B018


def test_what_counts_as_heavy_is_what_the_extra_brings() -> None:
    heavy = {canonicalize_name(Requirement(line).name) for line in PROJECT["optional-dependencies"]["train"]}
    assert {canonicalize_name(name) for name in extras.TRAIN} == heavy
    assert not heavy & {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}


def test_importing_the_environments_takes_under_a_second() -> None:
    code = "import time; start = time.process_time(); import actre.envs; print(time.process_time() - start)"
    # The best of three, in CPU time: a busy machine is not the package's fault.
    assert min(float(python(code).stdout) for _ in range(3)) < 1.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel, built from what git tracks, and unpacked: no checkout is near."""
    folder = tmp_path_factory.mktemp("wheel")
    source, target = folder / "source", folder / "site"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split()
    for name in listed:
        if name.startswith(("actre/", "data/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("actre-*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("code", [ALFWORLD, WEBSHOP, COMMANDS], ids=["alfworld", "webshop", "commands"])
def test_a_wheel_plays_the_shipped_games_and_shop_without_a_checkout(wheel: Path, code: str, tmp_path: Path) -> None:
    where = f"import actre; assert actre.__file__.startswith({str(wheel)!r}), actre.__file__\n"
    done = python(BLOCK + where + code, tmp_path, PYTHONPATH=str(wheel), ACTRE_DATA="", ACTRE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_wheel_holds_every_module_and_every_file_of_data_but_records_and_most_policies(wheel: Path) -> None:
    ours = {path.relative_to(ROOT) for path in (ROOT / "actre").rglob("*") if path.suffix in (".py", ".js", ".css")}
    assert {path for path in ours if not (wheel / path).is_file()} == set()
    data = {path.relative_to(ROOT / "data") for path in (ROOT / "data").rglob("*") if path.is_file()}
    left_out = {path for path in data if not (wheel / "actre" / "_data" / path).is_file()}
    shipped = {("tiny", "even-high"), ("tiny", "shopper")}
    assert {path for path in left_out if path.parts[0] not in ("results", "tiny") or path.parts[:2] in shipped} == set()
    assert sum(path.stat().st_size for path in (wheel / "actre" / "_data").rglob("*")) < 10e6


@pytest.mark.slow
def test_a_wheel_loads_the_tiny_policy_and_says_where_the_one_it_lacks_is(wheel: Path, tmp_path: Path) -> None:
    code = "from actre.policies.models import find; print(find('tiny')); find('tiny/narrow')"
    done = python(code, tmp_path, PYTHONPATH=str(wheel), ACTRE_DATA="")
    assert done.stdout.strip() == str(wheel / "actre" / "_data" / "tiny" / "even-high")
    assert "a checkout has all of them (ACTRE_DATA=CHECKOUT/data)" in done.stderr
