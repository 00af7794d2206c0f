"""A study file becomes the runs it says, and nothing it does not know passes."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from actre.config import RunConfig
from actre.config.estimators import ESTIMATORS
from actre.rollout.evaluate import EpisodeResult, save_evaluation
from actre.study.file import load_study
from actre.study.plan import digest_of
from actre.study.record import CURVE, record
from actre.types import ActreError, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
name = "small"
[[part]]
name = "p"
seeds = [3, 4]
settings = { "optim.group_size" = 4, switch = 5 }
exploratory = [["actre-grpo", "think_first-grpo"]]
[[part.runs]]
arms = ["think_first", "actre"]
[[part.runs]]
variant = "masked"
settings = { "optim.train_thought" = false }
arms = ["actre"]
"""


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "s.toml"
    path.write_text(text)
    return path


def test_runs_come_block_by_block_and_seed_by_seed(tmp_path: Path) -> None:
    study = load_study(_file(tmp_path, SMALL))
    assert [run.key for run in study.runs] == [
        "p/think_first-grpo-seed-3",
        "p/actre-grpo-seed-3",
        "p/think_first-grpo-seed-4",
        "p/actre-grpo-seed-4",
        "p/actre-grpo-masked-seed-3",
        "p/actre-grpo-masked-seed-4",
    ]


def test_arms_of_a_block_differ_in_their_stages_alone(tmp_path: Path) -> None:
    alone, both = load_study(_file(tmp_path, SMALL)).runs[:2]
    assert [(s.order, s.iterations) for s in both.config.stages] == [("act_first", 5), ("think_first", 75)]
    assert replace(alone.config, stages=both.config.stages) == both.config
    assert alone.config.optim.group_size == 4


def test_settings_of_the_study_hold_in_every_part_that_does_not_change_them(tmp_path: Path) -> None:
    own = '[[part]]\nname = "q"\nseeds = [5]\n[[part.runs]]\narms = ["actre"]\n'
    common = 'name = "small"\n[settings]\n"optim.group_size" = 6\nswitch = 7\nenv_steps = 900\n'
    study = load_study(_file(tmp_path, SMALL.replace('name = "small"', common) + own))
    of = {part: [run.config for run in study.runs if run.part == part] for part in ("p", "q")}
    assert {config.env_steps for configs in of.values() for config in configs} == {900}
    assert {config.optim.group_size for config in of["p"]} == {4}
    assert [(c.optim.group_size, c.stages[0].iterations) for c in of["q"]] == [(6, 7)]
    with pytest.raises(ActreError, match=r"s\.toml: .*unknown setting 'optim.group_sise'"):
        load_study(_file(tmp_path, SMALL.replace('name = "small"', common.replace("group_size", "group_sise")) + own))


def test_a_digest_tells_runs_apart_and_is_the_same_for_the_same_run_in_another_study(tmp_path: Path) -> None:
    study = load_study(_file(tmp_path, SMALL))
    assert len({run.digest for run in study.runs}) == len(study.runs)
    other = load_study(
        _file(tmp_path, SMALL.replace('name = "small"', 'name = "x"').replace('name = "p"', 'name = "q"'))
    )
    assert [run.digest for run in other.runs] == [run.digest for run in study.runs]


def test_every_setting_enters_the_digest_but_where_a_run_is_kept_and_who_is_told() -> None:
    config = RunConfig()
    assert digest_of(False, config) != digest_of(True, config)
    changed: dict[str, Any] = {
        "preset": "x",
        "seed": 1,
        "model": replace(config.model, name="x"),
        "env": replace(config.env, max_steps=7),
        "prompt": replace(config.prompt, tags="free"),
        "sampling": replace(config.sampling, temperature=0.3),
        "stages": config.stages[:1],
        "env_steps": 5,
        "optim": replace(config.optim, group_size=3),
        "probe": replace(config.probe, every=3),
        "evaluation": replace(config.evaluation, limit=2),
        "checkpoint": replace(config.checkpoint, every=config.checkpoint.every + 1),
        "report_to": ("trackio",),
    }
    assert set(changed) == {field.name for field in fields(config)}
    same = {n for n, v in changed.items() if digest_of(True, replace(config, **{n: v})) == digest_of(True, config)}
    assert same == {"checkpoint", "report_to"}


def test_a_record_of_orders_that_played_other_games_is_refused(tmp_path: Path) -> None:
    text = SMALL.replace('"think_first", "actre"', '"untrained", "think_first", "actre"')
    run = load_study(_file(tmp_path, text)).runs[0]
    assert not run.trained  # it leaves no metrics

    def played(order: Any, games: list[str]) -> list[EpisodeResult]:
        return [EpisodeResult("seen", order, game, "t", True, 3, 1.0) for game in games]

    save_evaluation(
        tmp_path / "evaluation.jsonl", [*played("act_first", ["a", "b"]), *played("no_think", ["a", "b"])], "after"
    )
    line = record(run, "small", tmp_path, command="c", model="m")
    assert line["panels"] == {"seen": {"games": ["a", "b"], "task_types": ["t", "t"]}}
    save_evaluation(tmp_path / "evaluation.jsonl", played("no_think", ["b", "a"]), "after")
    with pytest.raises(ActreError, match="seen was not the same games in every order"):
        record(run, "small", tmp_path, command="c", model="m")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"actre"]', '"actree"]', "unknown arm 'actree'"),
        ("group_size", "group_sise", "unknown setting 'optim.group_sise'.*did you mean group_size"),
        ('"optim.group_size" = 4', '"optim.group_size" = "four"', "it must be a whole number"),
        ('variant = "masked"', 'estimator = "ppo"', "unknown estimator 'ppo'"),
        ('variant = "masked"', "", "two runs are called"),
        ("exploratory", "confirmatory", "say evidence"),
        ('["actre-grpo",', '["tfpi-grpo",', "which it does not run"),
        ("switch = 5", "switch = 80", "leaves a stage without iterations"),
        ("seeds", "seed", "'seed', which is unknown"),
        ('name = "small"', "name = small", "not TOML"),
        ('name = "small"', 'name = "../small"', "is not valid as a file's"),
        ('variant = "masked"', 'variant = "a/b"', "is not valid as a file's"),
        ('name = "small"', 'name = "small"\nshares = "tiny"', "shares = 'tiny'; expected a list"),
        ('name = "small"', 'name = "small"\nsettings = 3', "settings = 3; expected a table"),
        ('"optim.group_size" = 4', '"optim.advantage" = "gigpo"', "write estimator"),
        ('"optim.group_size" = 4', "seed = 4", "write seeds"),
        ("seeds = [3, 4]", "seeds = [true]", "each a whole number, at least one"),
        ("seeds = [3, 4]", "seeds = []", "each a whole number, at least one"),
        ('variant = "masked"', 'variant = "masked"\nseeds = 3', "seeds = 3; expected a list"),
        ('variant = "masked"', 'variant = "masked"\nseeds = []', "at least one"),
        ('settings = { "optim.group_size" = 4, switch = 5 }', 'settings = "x"', "settings = 'x'; expected a table"),
        ("switch = 5", 'switch = "5"', "switch = '5': expected a whole number"),
        ("switch = 5", "iterations = 9.0", "iterations = 9.0: expected a whole number"),
        ('["actre-grpo", "think_first-grpo"]', '["actre-grpo", "actre-grpo"]', "compares actre-grpo with itself"),
        ('"think_first-grpo"]]', '"think_first-grpo"], ["think_first-grpo", "actre-grpo"]]', "twice"),
        ("seeds = [3, 4]", "seeds = [3, 3]", "list each seed once"),
        ('"think_first-grpo"]]', '"think_first-grpo"], ["actre-grpo", "think_first-grpo"]]', "twice"),
        ('"think_first-grpo"]]', '"think_first-grpo", "x"]]', "is not a contrast"),
        ('arms = ["think_first", "actre"]', 'arms = "actre"', "arms = 'actre'; expected a list"),
    ],
)
def test_what_is_not_known_is_refused_in_words(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ActreError, match=said):
        load_study(_file(tmp_path, SMALL.replace(old, new, 1)))


@pytest.mark.parametrize(
    "text",
    [
        'name = "s"',
        'name = "s"\npart = ["x"]',
        'name = "s"\npart = []',
        'name = "s"\n[[part]]\nname = "p"\nseeds = [1]',
    ],
)
def test_a_file_without_parts_or_runs_is_refused_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(ActreError, match=r"needs at least one \[\[part"):
        load_study(_file(tmp_path, text))


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_study_can_be_read_and_is_named_as_its_file(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    assert set(ESTIMATORS) >= {run.estimator for run in study.runs}
    assert all(run.config.env_steps is not None for run in study.runs), "arms are compared at equal environment steps"


def test_the_shipped_study_is_the_protocols() -> None:
    study = load_study(ROOT / "data" / "studies" / "tiny.toml")
    neutral = study.parts[0]
    assert neutral.seeds == (3, 4, 5, 6, 7)
    assert [c[:2] for c in neutral.contrasts if c.confirmatory] == [
        ("actre-grpo", "think_first-grpo"),
        ("actre-grpo", "tfpi-grpo"),
    ]
    config = neutral.runs[0].config
    assert (config.env_steps, config.sampling.eval_temperature, config.env.unseen) == (24_000, 0.4, "small/unseen")
    assert (config.evaluation.limit, config.optim.groups, config.optim.group_size) == (None, 6, 8)


def test_a_record_holds_the_signs_of_a_collapse_of_each_iteration_and_measurement(tmp_path: Path) -> None:
    run = load_study(_file(tmp_path, SMALL)).runs[0]
    number = {"value": 0.25, "low": 0.0, "high": 0.5}
    row = {name: 1 for name in (*CURVE, "seconds")}
    write_jsonl(
        tmp_path / "metrics.jsonl",
        [  # the first line is an earlier version's
            {**row, "iteration": 1, "env_steps": 90},
            {**row, "iteration": 2, "env_steps": 170, "zero_variance_groups": 0.5, "distinct_trajectories": 6.0},
        ],
    )
    played = {"order": "act_first", "success": number, "pass_at": {"1": number, "4": {"value": 0.75}}, "admissible": 1}
    measured = {"order": "think_first", "other_act_first": number, "orders": [played]}
    write_jsonl(tmp_path / "entropy.jsonl", [{"iteration": i, **measured} for i in (0, 2)])
    save_evaluation(tmp_path / "evaluation.jsonl", [], "after")
    signs = record(run, "small", tmp_path, command="c", model="m")["signs"]
    assert signs["groups"] == [[None, None], [0.5, 6.0]]
    found = {"other_act_first": 0.25, "orders": {"act_first": [0.25, 0.75, 1]}}
    assert signs["measured"] == [{"iteration": 0, "env_steps": 0, **found}, {"iteration": 2, "env_steps": 170, **found}]


@pytest.mark.parametrize("setting", ['"evaluation.orders" = ["act_first"]', '"evaluation.panels" = ["seen"]'])
def test_a_part_that_does_not_play_what_arms_are_compared_on_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ActreError, match=r"p/think_first-grpo-seed-3 does not play .* unseen, think_first"):
        load_study(_file(tmp_path, SMALL.replace("switch = 5", f"switch = 5, {setting}")))
