"""The lesson plan: its sums, its references, and figures that the kit computes."""

import re
from pathlib import Path

import pytest

from actre.config.presets import PRESETS
from actre.lessons import form
from actre.runtime.estimate import estimate, gpu

ROOT = Path(__file__).resolve().parents[2]
PLAN = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
SOLUTIONS = (ROOT / "docs" / "teaching-solutions.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a section's tables, heads left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row, below in zip(cells, [*cells[1:], [""]], strict=True) if not {"---"} & {row[0], below[0]}]


def questions(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]


def test_every_notebook_is_in_the_plan_with_readmes_minutes() -> None:
    readme = dict(re.findall(r"\]\(notebooks/(\w+)\.ipynb\) \| ([\d.]+) \|", (ROOT / "README.md").read_text()))
    there = dict(re.findall(r"\]\(\.\./notebooks/(\w+)\.ipynb\) \| ([\d.]+) \|", section(PLAN, "The notebooks")))
    assert there == readme
    assert list(there) == [path.stem for path in form.paths()]
    whole = int(re.findall(r"They take (\d+) minutes in all", PLAN)[0])
    assert sum(map(float, readme.values())) == pytest.approx(whole, abs=0.5)


@pytest.mark.parametrize("minutes", [45, 90])
def test_a_version_lasts_as_long_as_its_title_says_and_asks_questions_that_are_there(minutes: int) -> None:
    plan = rows(section(PLAN, f"{minutes} minutes"))
    assert sum(int(row[0]) for row in plan) == minutes
    asked = [int(number) for row in plan for number in re.findall(r"\d+", row[2])]
    assert set(asked) <= set(questions(section(PLAN, "Questions")))
    assert len(asked) == len(set(asked))


def test_every_question_has_a_solution_on_the_other_page_and_none_here() -> None:
    numbers = questions(section(PLAN, "Questions"))
    assert numbers == questions(SOLUTIONS) == list(range(1, len(numbers) + 1))
    for solution in re.split(r"^\d+\. ", SOLUTIONS, flags=re.MULTILINE)[1:]:
        assert " ".join(solution.split())[:40] not in " ".join(PLAN.split())


def test_what_a_session_of_12_hours_holds_is_what_the_estimate_gives() -> None:
    card = gpu("T4", 16, bf16=False)
    table = [row for row in rows(section(PLAN, "On Colab")) if row[0] in PRESETS]
    assert [row[0] for row in table] == ["qwen-0.5b-16gb", "smollm2", "qwen-1.5b-16gb"]
    for name, seconds, iterations, said in table:
        need = estimate(PRESETS[name], card)
        each, planned = need.rollout_s + need.update_s, PRESETS[name].iterations
        assert need.fits
        assert seconds == f"{each:,.0f}"
        assert int(iterations) == int(12 * 3600 // each)
        hours = planned * each / 3600
        assert said.startswith(f"{planned} iterations: one run takes {hours:.{0 if hours > 10 else 1}f} h")
    assert not any(estimate(PRESETS[name], card).fits for name in ("qwen-1.5b", "qwen-7b"))


@pytest.mark.parametrize("page", ["README.md", "docs/README.md"])
def test_the_plan_is_linked(page: str) -> None:
    assert "teaching.md" in (ROOT / page).read_text()
