"""Goals in a person's words: such a game is played, its own data say its type, the expert says what it cannot do."""

import json
from pathlib import Path
from typing import Any

import pytest
from game_files import OFFICIAL_NAME, generated, write
from hypothesis import given
from hypothesis import strategies as st

from actre import cli
from actre.config import EnvConfig, EvalConfig
from actre.config.presets import preset
from actre.entropy.probes import make_probes
from actre.envs.alfworld import AlfworldEnv, demos, games
from actre.envs.alfworld.expert import Expert, Habits
from actre.envs.alfworld.tasks import (
    OTHER,
    TASK_TYPES,
    NoPlanError,
    Task,
    goal_of,
    parse_task,
    sentence_of,
    task_type_of,
)
from actre.envs.worlds import scripted
from actre.rollout import evaluate
from actre.runtime.game_files import MOVABLE_TYPE
from actre.types import ActreError, Observation

WORDS = (
    "Bring the mug over to the shelf",
    "put some t-shirt on shelf",
    "put some tissue box on shelf",
    "put all mugs in shelf",
    "Place a book on the desk, next to the lamp - it's Ann's (the red one).",
    "Mettre le café sur l'étagère - 2 fois!",
    "put a chilled apple on the table",
    "walk",
    "",
)
PARAMS = {
    "object_target": "Mug",
    "parent_target": "Shelf",
    "toggle_target": "",
    "mrecep_target": "",
    "object_sliced": False,
}


def told(game: games.Game) -> dict[str, Any]:
    """What traj_data.json says of a generated game."""
    task = parse_task(game.task)
    assert task is not None
    params = {
        "object_target": task.thing.title(),
        "parent_target": (task.receptacle or "").title(),
        "toggle_target": (task.lamp or "").title(),
        "mrecep_target": "",
        "object_sliced": False,
    }
    return {"task_type": game.task_type, "pddl_params": params}


# --- the type ---


@pytest.mark.parametrize("words", WORDS)
def test_a_game_is_played_whatever_its_sentence_says(words: str, tmp_path: Path) -> None:
    env = AlfworldEnv([write(tmp_path / "kind" / "trial", words)])
    text, info = env.reset()
    assert info["task"].rstrip(".") == words.rstrip(".")
    assert f"Your task is to: {words}" in text
    assert info["task_type"] == OTHER
    text, *_ = env.step(next(action for action in info["admissible_commands"] if action.startswith("go to")))
    assert text.startswith("You arrive at")


@pytest.mark.parametrize("task_type", TASK_TYPES)
@pytest.mark.parametrize("words", [None, "Bring the mug over to the shelf"])
def test_the_type_is_what_the_games_own_data_say_then_its_folder_then_its_sentence(
    task_type: str, words: str | None, tmp_path: Path
) -> None:
    game = generated(task_type)
    other = "look_at_obj_in_light" if task_type != "look_at_obj_in_light" else "pick_and_place_simple"
    folder = f"{other}-Mug-None-Shelf-1/trial"
    assert games.read_game(write(tmp_path / "1" / folder, words, {"task_type": task_type}, game)).task_type == task_type
    assert games.read_game(write(tmp_path / "2" / folder, words, None, game)).task_type == other
    plain = games.read_game(write(tmp_path / "3" / "mine" / "trial", words, None, game))
    assert plain.task_type == (OTHER if words else task_type)


@pytest.mark.parametrize(
    "data",
    ["", "{", "[]", "null", '{"task_type": 3}', '{"task_type": null}', '{"task_type": ""}', "\0\1", "[" * 99_999],
)
def test_data_that_say_nothing_leave_the_type_to_the_folder(data: str, tmp_path: Path) -> None:
    game = games.read_game(write(tmp_path / OFFICIAL_NAME / "trial", "Bring it over", data))
    assert (game.task_type, game.goal) == ("pick_and_place_simple", None)


def test_a_type_of_ones_own_is_kept(tmp_path: Path) -> None:
    file = write(tmp_path / "mine" / "trial", data={"task_type": "sort_the_shelf"})
    assert games.read_game(file).task_type == "sort_the_shelf"
    assert games.list_games(tmp_path) == [str(file)]


# --- the expert's plan ---


@given(
    kind=st.sampled_from(TASK_TYPES),
    thing=st.sampled_from(["Mug", "TissueBox", "CD", "Cloth"]),
    place=st.sampled_from(["Shelf", "SinkBasin"]),
)
def test_a_goal_from_the_data_is_said_in_words_that_the_expert_reads(kind: str, thing: str, place: str) -> None:
    goal = goal_of(
        kind,
        {"pddl_params": {**PARAMS, "object_target": thing, "parent_target": place, "toggle_target": "DeskLamp"}},
        None,
    )
    assert goal is not None
    assert parse_task(sentence_of(goal)) == goal
    assert (goal.task_type, goal.thing) == (kind, thing.lower())


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_what_the_data_say_is_what_the_template_says(task_type: str, tmp_path: Path) -> None:
    game = generated(task_type)
    plain = games.read_game(write(tmp_path / "plain", game=game))
    human = games.read_game(write(tmp_path / "human", "Would you tidy up", told(game), game))
    assert human.goal == plain.goal == game.goal == parse_task(game.task)
    assert human.plan() == plain.plan()


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_expert_solves_a_persons_goal_that_the_data_explain(task_type: str, tmp_path: Path) -> None:
    game = generated(task_type)
    file = write(tmp_path / "human", "Would you tidy up", told(game), game)
    ours, theirs = (list(demos.attempts(path))[-1] for path in (str(file), game.path))
    assert ours.won
    assert [step.action for step in ours.steps] == [step.action for step in theirs.steps]


@pytest.mark.parametrize(
    ("task_type", "changes"),
    [
        ("pick_and_place_simple", {"object_sliced": True}),
        ("pick_and_place_simple", {"mrecep_target": "Bowl"}),
        (MOVABLE_TYPE, {}),
        ("sort_the_shelf", {}),
    ],
)
def test_what_the_expert_cannot_do_it_has_no_plan_for(task_type: str, changes: dict[str, Any]) -> None:
    assert goal_of(task_type, {"pddl_params": {**PARAMS, **changes}}, parse_task("put a mug in shelf")) is None


@pytest.mark.parametrize(
    "params",
    [None, [], {}, {"object_target": ""}, {"object_target": 3}, {"object_target": "Mug"}, {"object_target": "a mug"}],
)
def test_data_without_a_goal_leave_it_to_a_sentence_of_the_same_type(params: Any) -> None:
    parsed = parse_task("put a mug in shelf")
    assert goal_of("pick_and_place_simple", {"pddl_params": params}, parsed) == parsed
    assert goal_of("pick_two_obj_and_place", {"pddl_params": params}, parsed) is None, "the sentence is misread"
    assert goal_of("pick_and_place_simple", {"pddl_params": params}, None) is None


def test_the_data_come_before_a_sentence_that_only_looks_like_a_template() -> None:
    parsed = parse_task("put a cup on table")
    goal = goal_of("pick_and_place_simple", {"pddl_params": PARAMS}, parsed)
    assert goal == Task("pick_and_place_simple", "mug", "shelf", None, 1, None)
    assert task_type_of({}, [], parsed) == "pick_and_place_simple"


def test_without_a_plan_the_expert_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "human", "Would you tidy up")
    text, info = AlfworldEnv().reset(options={"game": file})
    seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
    for ask in (
        lambda: Expert(Habits(), 0).reset(text, info["task"]),
        lambda: scripted("alfworld", "expert", seen, 0),
        lambda: scripted("alfworld", "expert", seen, 0, str(file)),
        lambda: list(demos.attempts(str(file))),
    ):
        with pytest.raises(NoPlanError, match=r"Would you tidy up.*no plan|no plan.*Would you tidy up"):
            ask()
    assert scripted("alfworld", "random", seen, 0, str(file))(seen) in info["admissible_commands"]


def test_the_expert_sees_nothing_to_go_to_and_says_so() -> None:
    with pytest.raises(NoPlanError, match="no receptacle to go to"):
        Expert(Habits(), 0).reset("A void.", "put a mug in shelf")


# --- commands that need the expert ---


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two games that the expert can play, one that it has no plan for, and one that is damaged."""
    write(tmp_path / "games" / "a" / "trial")
    write(tmp_path / "games" / "b" / "trial", "Would you tidy up", told(generated()))
    write(tmp_path / "games" / "c" / "trial", "Would you tidy up")
    write(tmp_path / "games" / "d" / "trial").write_text("{")
    return tmp_path / "games"


def test_check_skips_and_counts_what_the_expert_has_no_plan_for(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mixed / "d" / "trial" / "game.tw-pddl").unlink()
    assert cli.main(["games", "check", str(mixed)]) == 0
    said = capsys.readouterr().out
    assert f"skipped: {mixed / 'c' / 'trial' / 'game.tw-pddl'}: the scripted expert has no plan" in said
    assert "1 skipped" in said
    assert "2 of 2" in said
    assert cli.main(["games", "check", str(mixed / "c")]) == 1, "nothing was checked"
    assert cli.main(["games", "check", str(mixed), "--limit", "0"]) == 2


def test_the_rule_baseline_leaves_out_what_it_cannot_play_and_the_random_one_plays_it(mixed: Path) -> None:
    config = preset("tiny")
    config = evaluate.replace(config, env=EnvConfig(unseen=str(mixed), max_steps=20), evaluation=EvalConfig())
    with pytest.warns(
        UserWarning, match=r"2 of the 4 games of unseen \(rule\) are left out(?s:.*)no plan(?s:.*)damaged"
    ):
        played = evaluate.play_baseline("rule", "unseen", config=config, seed=0)
    assert [(Path(one.game).parts[-3], one.won) for one in played] == [("a", True), ("b", True)]
    with pytest.warns(UserWarning, match=r"1 of the 4 games of unseen \(random\) are left out"):
        assert len(evaluate.play_baseline("random", "unseen", config=config, seed=0)) == 3


def test_probes_take_other_games_for_those_that_cannot_be_played(mixed: Path) -> None:
    paths = games.list_games(mixed)
    with pytest.warns(UserWarning, match=r"left out:(?s:.*)(no plan|damaged)"):
        probes = make_probes(paths, AlfworldEnv(), 4, 0, sources=("expert",))
    assert {Path(probe.game).parts[-3] for probe in probes} == {"a", "b"}
    with pytest.raises(ActreError, match="none of the"):
        make_probes(paths[3:], AlfworldEnv(), 2, 0)


def test_probes_pass_over_a_game_that_the_disk_does_not_give(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, reset = games.list_games(mixed)[:2], AlfworldEnv.reset

    def stale(self: AlfworldEnv, **given: Any) -> Any:
        if given["options"]["game"] == paths[0]:
            raise OSError("stale file handle")
        return reset(self, **given)

    monkeypatch.setattr(AlfworldEnv, "reset", stale)
    with pytest.warns(UserWarning, match="stale file handle"):
        probes = make_probes(paths, AlfworldEnv(), 2, 0, sources=("expert",))
    assert {probe.game for probe in probes} == {paths[1]}


def test_the_commands_name_what_was_left_out_and_go_on(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "e"
    command = ["evaluate", "--baselines", "rule", "--panels", str(mixed), "--out", str(out)]
    with pytest.warns(UserWarning, match="2 of the 4 games"):
        assert cli.main(command) == 0
    assert "(2 of 2)" in capsys.readouterr().out
    assert len((out / "baselines.jsonl").read_text().splitlines()) == 2
    with pytest.warns(UserWarning, match="left out"):
        assert cli.main(["probes", "--panel", str(mixed), "--n", "4", "--out", str(tmp_path / "p.jsonl")]) == 0
    assert json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])["game"].startswith(str(mixed))
