"""The install cell in environments of its own: a bare one, and one made like Colab's. Needs a package index."""

from pathlib import Path

import pytest
from environments import Colab, fresh

# a busy machine takes its time over an installation
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_in_a_bare_environment_the_cell_sets_up_all_that_a_notebook_needs(tmp_path: Path) -> None:
    made = fresh(tmp_path)
    assert "installed" in made.install_cell()
    assert "everything is here" in made.install_cell()
    assert "00_tour:" in made.notebook("00", tmp_path / "runs")


def test_what_colab_brings_stays_as_it_is(colab_like: Colab) -> None:
    now = colab_like.environment.packages()
    assert "installed" in colab_like.said
    assert {"torch", "transformers", "ipywidgets", "notebook", "datasets"} <= colab_like.brought.keys()
    assert {name: now.get(name) for name in colab_like.brought} == colab_like.brought
    assert {"trl", "alfworld", "textworld", "actre"} <= now.keys()
    assert "everything is here" in colab_like.environment.install_cell(colab=True)


def test_a_notebook_runs_on_what_colab_brings(colab_like: Colab, tmp_path: Path) -> None:
    assert "00_tour:" in colab_like.environment.notebook("00", tmp_path, colab=True)
