"""`actre evaluate --pass-at`: what it writes and prints, and what it refuses to replace."""

from pathlib import Path

import pytest

from actre import cli
from actre.cli.pass_at import ks
from actre.config import data_folder
from actre.rollout.pass_at import load, pass_at
from actre.types import ActreError

needs_tiny = pytest.mark.skipif(
    not (data_folder() / "tiny" / "neutral" / "config.json").exists(), reason="the tiny policy is not here"
)


def test_the_ks_are_whole_numbers_from_1_on() -> None:
    assert ks("16,1,4") == (1, 4, 16)
    with pytest.raises(ActreError):
        ks("0,4")
    with pytest.raises(ActreError):
        ks("a")


@needs_tiny
def test_each_game_is_played_as_often_as_the_largest_k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--panels", "unseen", "--orders", "no_think", "--when", "before", "--out", str(tmp_path)]
    assert cli.main([*command, "--limit", "2", "--pass-at", "1,2"]) == 0
    said = capsys.readouterr().out
    found = load(tmp_path / "pass_at.jsonl", "before")
    assert [(one.panel, one.order, one.episodes) for one in found] == [("unseen", "no_think", 2)] * 2
    mean = sum(pass_at(2, one.won, 2) for one in found) / 2
    assert f"pass@2 {mean:.2f}" in said
    assert not (tmp_path / "evaluation.jsonl").exists(), "the evaluation plays each game once"
    assert cli.main([*command, "--limit", "3", "--pass-at", "1,2"]) == 2
    assert "do not replace" in capsys.readouterr().err
    assert load(tmp_path / "pass_at.jsonl", "before") == found
    assert cli.main([*command, "--baselines", "random", "--limit", "1", "--pass-at", "2"]) == 2
    assert "leave out --baselines" in capsys.readouterr().err
