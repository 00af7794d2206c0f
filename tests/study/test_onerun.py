"""One run's evaluation: what is recorded is not played again, and what is played is recorded whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_world import policy

from actre.config import RunConfig
from actre.config.presets import preset
from actre.rollout import evaluate
from actre.rollout.evaluate import load_evaluation
from actre.study.onerun import Evaluations, evaluate_into
from actre.types import read_trajectories

PLACES: Evaluations = (("unseen", "think_first"), ("seen", "think_first"), ("unseen", "act_first"))


@pytest.fixture
def config() -> RunConfig:
    made = preset("tiny")
    return replace(made, env=replace(made.env, max_steps=2), evaluation=replace(made.evaluation, limit=3, batch=2))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The panels and orders that were played; to play the panel "broken" fails."""
    places: list[tuple[str, str]] = []
    play = evaluate.play

    def playing(policy: Any, envs: Any, panel: str, **given: Any) -> Any:
        if panel == "broken":
            raise KeyboardInterrupt
        places.append((panel, given["order"]))
        return play(policy, envs, panel, **given)

    monkeypatch.setattr(evaluate, "play", playing)
    return places


def test_an_interrupted_evaluation_goes_on_where_it_was(
    config: RunConfig, played: list[tuple[str, str]], tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    one = policy()  # its vocabulary grows as it reads
    evaluate_into(one, config, whole, "after", PLACES)
    played.clear()
    with pytest.raises(KeyboardInterrupt):
        evaluate_into(one, config, parts, "after", [*PLACES[:2], ("broken", "think_first")], resume=True)
    evaluate_into(one, config, parts, "after", PLACES, resume=True)
    assert played == list(PLACES), "each once"
    assert (parts / "evaluation.jsonl").read_text() == (whole / "evaluation.jsonl").read_text()
    episodes = [read_trajectories(folder / "trajectories" / "eval_after.jsonl.gz") for folder in (parts, whole)]
    assert episodes[0] == episodes[1]
    assert len(episodes[0]) == 9


def test_episodes_of_a_panel_without_results_are_played_anew(
    config: RunConfig, played: list[tuple[str, str]], tmp_path: Path
) -> None:
    evaluate_into(policy(), config, tmp_path, "after", PLACES[:2])
    lines = (tmp_path / "evaluation.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "evaluation.jsonl").write_text("".join(lines[:3]))  # as if stopped between episodes and results
    evaluate_into(policy(), config, tmp_path, "after", PLACES[:2], resume=True)
    assert played == [*PLACES[:2], PLACES[1]]
    assert len(read_trajectories(tmp_path / "trajectories" / "eval_after.jsonl.gz")) == 6


def test_another_policys_results_are_replaced_unless_it_is_resumed(
    config: RunConfig, played: list[tuple[str, str]], tmp_path: Path
) -> None:
    for _ in range(2):
        evaluate_into(policy(), config, tmp_path, "after", PLACES[:1])
    assert len(played) == 2
    assert len(load_evaluation(tmp_path / "evaluation.jsonl", "after")) == 3
