"""What the notebooks share: the install script, presets by what is found, live curves, self-checks, their form."""

import copy
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import plotly.graph_objects as go
import pytest

from actre.cli.doctor import Check
from actre.config import EnvName, RunConfig
from actre.lessons import form, install, presets, recorded
from actre.lessons.exercise import judge
from actre.runtime.estimate import estimate, gpu
from actre.study.file import load_study
from actre.types import ActreError
from actre.view import plots
from actre.view.still import svg

ROOT = Path(__file__).resolve().parents[2]
GPU = Check("machine", "GPU", "ok", "NVIDIA A100-SXM4-80GB, 80 GiB, bf16")
SMALL_GPU = Check("machine", "GPU", "ok", "Tesla T4, 15 GiB, no bf16 (float16 is used)")
GAMES = Check("data", "official games", "ok", "there")


# --- presets ---


def test_a_named_preset_is_taken_whatever_the_machine_has() -> None:
    found = presets.chosen("tiny", 3, checks=[GPU, GAMES])
    assert (found.config.preset, found.config.seed) == ("tiny", 3)


def test_an_organism_takes_the_tiny_policys_place_at_the_second_studys_learning_rate() -> None:
    found = presets.chosen("tiny", 3, organism="contracted-high")
    study = load_study(ROOT / "data" / "studies" / "organisms.toml")
    (part,) = [part for part in study.parts if part.name == "contracted-high"]
    assert found.config.model == part.runs[0].config.model
    assert found.config.optim.learning_rate == part.runs[0].config.optim.learning_rate
    assert "contracted-high" in found.words
    larger = presets.chosen("qwen-0.5b-16gb", 3, organism="contracted-high")
    assert larger == presets.chosen("qwen-0.5b-16gb", 3)


@pytest.mark.parametrize(
    ("checks", "preset"),
    [
        ([Check("machine", "GPU", "absent", "none")], "tiny"),
        ([Check("machine", "GPU", "other", "A100, 80 GiB, bf16; but torch is a CPU build"), GAMES], "tiny"),
        ([GPU], "qwen-0.5b-16gb"),
        ([GPU, GAMES], "qwen-1.5b-24gb"),
        ([GPU, Check("data", "official games", "other", "train 3 of 3,553")], "qwen-0.5b-16gb"),
        ([SMALL_GPU], "qwen-0.5b-16gb"),
        ([SMALL_GPU, GAMES], "qwen-1.5b-24gb"),
        ([Check("machine", "GPU", "ok", "GeForce GTX 1050, 4 GiB, no bf16 (float16 is used)"), GAMES], "tiny"),
        ([Check("machine", "GPU", "ok", "a card of unknown size")], "tiny"),
    ],
)
def test_auto_takes_what_the_machine_can_train_and_says_why(checks: list[Check], preset: str) -> None:
    found = presets.chosen("auto", 0, checks=checks)
    assert found.config.preset == preset
    assert preset in found.words
    assert checks[0].found.replace("none", "this machine has no GPU") in found.words


CARDS = [
    GPU,
    SMALL_GPU,
    Check("machine", "GPU", "ok", "NVIDIA L4, 22 GiB, bf16"),
    Check("machine", "GPU", "ok", "NVIDIA RTX A4000, 12 GiB, bf16"),
]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.found.partition(",")[0])
@pytest.mark.parametrize("games", [[], [GAMES]], ids=["no games", "games"])
@pytest.mark.parametrize("installed", [(), ("unsloth",), ("vllm",), ("unsloth", "vllm")], ids=str)
@pytest.mark.parametrize("env", ["alfworld", "webshop"])
def test_what_auto_chooses_may_be_combined_fits_and_can_learn(
    card: Check, games: list[Check], installed: tuple[str, ...], env: EnvName
) -> None:
    """The engine's own check decides what may be combined; vLLM may be there and not fit beside the trainer."""
    from actre.training.engines import must_be_plain

    extras = [Check("gpu extra", name, "ok", "1") for name in installed]
    config = presets.chosen("auto", 0, env, checks=[card, *games, *extras]).config
    must_be_plain(config)
    faster = (config.model.loader == "unsloth", config.model.engine == "vllm")
    assert not any(taken and name not in installed for taken, name in zip(faster, ("unsloth", "vllm"), strict=True))
    assert any(faster) or "unsloth" not in installed
    memory = float(card.found.split(", ")[1].removesuffix(" GiB")) * 2**30 / 1e9
    assert estimate(config, gpu(card.found, memory)).fits
    assert config.model.name != "smollm2", "it writes no tag by itself"
    assert games or not config.env.train.startswith("official/")


def test_without_a_gpu_auto_changes_neither_loader_nor_engine() -> None:
    faster = [Check("gpu extra", name, "ok", "1") for name in ("unsloth", "vllm")]
    model = presets.chosen("auto", 0, checks=[Check("machine", "GPU", "absent", "none"), *faster]).config.model
    assert (model.loader, model.engine) == ("plain", "hf")


def test_runs_of_another_seed_or_preset_lie_elsewhere() -> None:
    places = {presets.folder("runs", RunConfig(preset=p, seed=s)) for p in ("tiny", "smollm2") for s in (0, 1)}
    assert len(places) == 4


# --- exercises ---


@pytest.mark.parametrize("answer", ["widened", " Widened "])
def test_a_right_word_is_right_in_any_case(answer: str) -> None:
    assert judge(answer, "widened").startswith("Right")


@pytest.mark.parametrize("answer", [None, 0.4, float("nan"), "0.5", [0.5]])
def test_no_answer_and_wrong_ones_are_not_right(answer: object) -> None:
    assert not judge(answer, 0.5, within=0.01).startswith("Right")  # type: ignore[arg-type]


# --- the install script ---


def test_what_is_here_is_not_installed_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "lacking", lambda _: [])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was installed"))
    monkeypatch.setattr(install, "shown", lambda *_: pytest.fail("something was installed"))
    install.main([])
    assert "everything is here" in capsys.readouterr().out


def test_a_package_that_is_missing_or_too_old_is_named() -> None:
    assert install.lacking(["torch>=2.8", "torch>=999", "no-such-package-of-ours>=1"]) == [
        "torch>=999",
        "no-such-package-of-ours>=1",
    ]


def test_on_colab_what_colab_brings_is_constrained_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "constraints.txt" in install.command()
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert "constraints-colab.txt" in install.command()
    assert not [word for word in install.command() if "jupyterlab" in word or "lab]" in word]
    pinned = (ROOT / "constraints-colab.txt").read_text()
    for name in ("torch", "transformers", "ipywidgets", "plotly", "peft", "numpy"):
        assert not re.search(rf"^{name}==", pinned, re.MULTILINE)


def test_colabs_own_versions_are_accepted_so_that_nothing_of_them_is_replaced() -> None:
    from packaging.requirements import Requirement

    colab = {"torch": "2.11.0", "transformers": "5.15.0", "peft": "0.20.0", "ipywidgets": "7.7.1", "plotly": "5.24.1"}
    colab |= {"anywidget": "0.9.21", "ipykernel": "6.17.1"}
    named = {requirement.name: requirement for requirement in map(Requirement, install.wanted())}
    for name, version in colab.items():
        assert named[name].specifier.contains(version), name


_PIP = """
print("Requirement already satisfied: torch")
print("Collecting alfworld<0.5")
print("  Downloading alfworld-0.4.2.whl (1.2 MB)")
print("Successfully installed alfworld-0.4.2")
raise SystemExit({code})
"""


def test_an_installation_shows_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    install.shown([sys.executable, "-c", _PIP.format(code=0)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" s  ")[2].split()[0] for line in lines] == ["Collecting", "Downloading", "Successfully"]
    assert all(re.match(r" *\d+ s  ", line) for line in lines)
    assert "--quiet" not in install.command()
    assert "--quiet" not in form.install_cell()


def test_an_installation_that_fails_ends_with_all_that_pip_said_last(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        install.shown([sys.executable, "-c", _PIP.format(code=1)])
    assert "Requirement already satisfied: torch" in capsys.readouterr().out


# --- OUT in Google Drive ---


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for google.colab; the places at which Drive was mounted."""
    places: list[str] = []
    drive = ModuleType("google.colab.drive")
    drive.mount = places.append  # type: ignore[attr-defined]
    for module in (ModuleType("google"), ModuleType("google.colab"), drive):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return places


def test_on_colab_the_runs_lie_in_the_drive_where_that_is_asked_for(mounted: list[str]) -> None:
    there = presets.folder("drive:actre/runs", RunConfig(seed=3))
    assert there.as_posix() == "/content/drive/MyDrive/actre/runs/tiny-3"
    assert mounted == ["/content/drive"]
    assert presets.folder("../runs", RunConfig()).parts[-2:] == ("runs", "tiny-0")
    assert mounted == ["/content/drive"], "nothing is mounted for a folder here"


@pytest.mark.parametrize("out", ["drive:", "drive: ", "drive:/etc", "drive:a/../../b"])
def test_a_folder_outside_the_drive_is_refused(mounted: list[str], out: str) -> None:
    with pytest.raises(ActreError, match="drive:FOLDER"):
        presets.folder(out, RunConfig())
    assert mounted == []


def test_without_colab_there_is_no_drive() -> None:
    with pytest.raises(ActreError, match="this is not Colab"):
        presets.folder("drive:runs", RunConfig())


def test_it_runs_in_a_bare_python_and_says_what_it_would_install(tmp_path: Path) -> None:
    """-S -I: no site-packages at all, as in a virtual environment that was just made."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    script = ROOT / "actre" / "lessons" / "install.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script), "--dry-run"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    assert all(requirement in done.stdout for requirement in wanted)
    assert "-c constraints.txt -e .[train,lab]" in done.stdout


# --- badges, and the form in which notebooks are committed ---


def notebook() -> dict[str, object]:
    code = {"cell_type": "code", "metadata": {"tags": ["install"], "collapsed": True}, "source": [], "outputs": []}
    first = {"cell_type": "markdown", "metadata": {}, "source": ["# 00 · A title\n", "\n", "Words."]}
    return {"cells": [first, code], "metadata": {"widgets": {"state": {}}}}


def test_without_an_address_no_badge_is_written_and_an_old_one_goes() -> None:
    published = form.with_form(notebook(), "00_x", "https://github.com/OWNER/NAME")
    assert published["cells"][0]["source"][0].startswith("[![Open in Colab]")
    assert "git" in "".join(published["cells"][1]["source"])
    assert 'REPOSITORY = "https://github.com/OWNER/NAME"' in "".join(published["cells"][1]["source"])
    again = form.with_form(published, "00_x", "")
    assert again["cells"][0]["source"] == notebook()["cells"][0]["source"]  # type: ignore[index]


def test_the_readmes_badge_is_that_of_the_address_and_stands_in_one_place() -> None:
    text = (ROOT / "README.md").read_text()
    assert form.readme_with_badge(text) == text
    address = "https://github.com/OWNER/NAME"
    published = form.readme_with_badge(text, address)
    assert published.count(form.badge("00_tour", address)) == 1
    assert form.readme_with_badge(published, "") == form.readme_with_badge(text, "")


def test_writing_the_form_twice_changes_nothing() -> None:
    once = form.with_form(notebook(), "00_x", "https://github.com/OWNER/NAME")
    assert form.with_form(copy.deepcopy(once), "00_x", "https://github.com/OWNER/NAME") == once


def test_what_is_committed_holds_no_widget_no_progress_bar_and_no_warning() -> None:
    executed = notebook()
    view = "application/vnd.jupyter.widget-view+json"
    widget = {"output_type": "display_data", "data": {view: {}, "text/html": "<p>a step</p>"}, "metadata": {"x": 1}}
    bar = {"output_type": "display_data", "data": {view: {}, "text/plain": "0%"}, "metadata": {}}
    warning = {"output_type": "stream", "name": "stderr", "text": "/some/where/a.py: UserWarning"}
    said = {"output_type": "stream", "name": "stdout", "text": "1.07 nats"}
    executed["cells"][1]["outputs"] = [widget, bar, warning, said]  # type: ignore[index]
    kept = form.as_committed(executed)
    assert kept["cells"][1]["outputs"] == [{**widget, "data": {"text/html": "<p>a step</p>"}, "metadata": {}}, said]
    assert "widgets" not in kept["metadata"]
    assert kept["cells"][1]["metadata"] == {"tags": ["install"]}


def test_a_small_budget_is_never_saved() -> None:
    from actre.lessons.runner import _run

    asked = SimpleNamespace(names=["00"], form=False, budget="small", check=False, out=None, timeout=1)
    with pytest.raises(ActreError, match="--check"):
        _run(asked)  # type: ignore[arg-type]


# --- the still pictures ---


def test_a_point_is_drawn_where_it_lies_on_its_axes() -> None:
    figure = go.Figure(go.Scatter(x=[0, 10], y=[0, 1], mode="markers"))
    figure.update_xaxes(range=[0, 10])
    figure.update_yaxes(range=[0, 1])
    (x0, y0), (x1, y1) = (map(float, found) for found in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg(figure)))
    assert x0 < x1
    assert y0 > y1  # SVG counts downwards
    assert (x0, x1) == (58.0, 742.0)


def test_stacked_bars_begin_where_the_one_before_ended() -> None:
    bars = [go.Bar(y=["a"], x=[value], orientation="h", marker={"color": "#000000"}) for value in (1.0, 3.0)]
    figure = go.Figure(bars)
    figure.update_layout(barmode="stack", showlegend=False)
    drawn = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg(figure))
    (x0, w0), (x1, w1) = (tuple(map(float, one)) for one in drawn)
    assert x1 == pytest.approx(x0 + w0, abs=0.2)
    assert w1 == pytest.approx(3 * w0, rel=0.01)


def test_words_in_a_picture_stay_words() -> None:
    figure = go.Figure(go.Scatter(x=[0], y=["&lt;script&gt;alert(1)<br>two"], mode="markers"))
    drawn = svg(figure)
    assert "<script" not in drawn
    assert "&lt;script&gt;alert(1)" in drawn
    assert ">two<" in drawn


def test_a_kind_of_trace_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="heatmap"):
        svg(go.Figure(go.Heatmap(z=[[1]])))


def test_a_notebook_opened_alone_says_what_it_needs_where_no_address_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="put the kit's address behind REPOSITORY"):
        exec(form.install_cell(""), {})


# --- recorded runs ---


def test_a_notebook_gets_a_parts_records_by_condition() -> None:
    runs = recorded.recorded("tiny", "shop")
    assert set(runs) == {"think_first-grpo", "actre-grpo", "tfpi-grpo", "untrained"}
    assert [line["seed"] for line in runs["actre-grpo"]] == [3, 4, 5]


def test_the_map_has_every_measured_policy_and_a_study_without_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [note.text for note in recorded.recorded_map("organisms").layout.annotations]
    for name in ("contracted-high: ", "even-high: ", "contracted-low: ", "middle: "):
        assert any(text.startswith(name) for text in drawn)
    with pytest.raises(ActreError, match="so it has no map"):
        recorded.recorded_map("tiny")
    monkeypatch.setattr("actre.entropy.precondition_files.find", lambda *_: None)
    with pytest.raises(ActreError, match="actre preconditions"):
        recorded.recorded_map("organisms")


def test_what_training_passes_on_is_drawn_from_the_records_of_preconditions() -> None:
    kinds = ("contracted-high", "contracted-low")
    found = recorded.recorded_preconditions(*kinds)
    figure = plots.passed_on(found)
    itself, to_thinking, thinking = figure.data
    assert list(figure.layout.yaxis.ticktext) == list(kinds)
    assert list(itself.x) == [found[kind].learned["act_first"].gain.value for kind in kinds]
    assert list(thinking.x) == [found[kind].learned["think_first"].gain.value for kind in kinds]
    assert to_thinking.x[0] > to_thinking.x[1] + 0.1, "it reaches thinking in the first, and not in the second"
    with pytest.raises(ActreError, match="actre preconditions --model tiny/narrow"):
        recorded.recorded_preconditions("narrow")
    with pytest.raises(ValueError, match="give records with learnability"):
        plots.passed_on(recorded.recorded_preconditions("even-low"))


def test_what_is_not_recorded_is_said_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ActreError, match="has no part 'wide'; its parts are: neutral, shop, narrow"):
        recorded.recorded("tiny", "wide")
    shutil.copytree(ROOT / "data" / "studies", tmp_path / "studies")  # as in a wheel, which has no records
    monkeypatch.setattr(recorded, "data_folder", lambda: tmp_path)
    with pytest.raises(ActreError, match=r"no finished run of tiny, shop: take a checkout .*`actre study .*tiny.toml"):
        recorded.recorded("tiny", "shop")
