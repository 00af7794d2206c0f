"""Pretraining: rows are what acting builds, the orders get the same episodes, and a resumed run is an unbroken one."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from actre.config import data_folder
from actre.envs.alfworld.expert import Habits
from actre.envs.demo import Demo, DemoStep
from actre.orders import parse
from actre.organisms import command, start
from actre.organisms.loop import Trainer, row_loss
from actre.organisms.recipes import Part, Recipe, recipe_of
from actre.organisms.rows import REFUSED, Mix, Row, batches, cached_demos, pad, renderers, row, rows, with_slips
from actre.policies.tiny import make_model, make_tokenizer, name_ids
from actre.types import ORDERS, ActreError, Observation, Order, Step, Trajectory

TOKENIZER = make_tokenizer()
PROMPTS = renderers(TOKENIZER)
NAMES = name_ids(TOKENIZER)
FIRST = "You are in the middle of a room. Looking quickly around you, you see a cabinet 1, and a shelf 1."
TASK = "put a mug in shelf."
STEPS = (
    DemoStep("need mug . try cabinet 1", "go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed."),
    DemoStep("cabinet 1 is closed . open it", "open cabinet 1", "In it, you see a mug 1."),
    DemoStep("mug 1 is here . take it", "take mug 1 from cabinet 1", "You pick up the mug 1."),
    DemoStep("i hold mug 1 . bring it to shelf 1", "go to shelf 1", "On the shelf 1, you see nothing."),
)
DEMO = Demo("g", TASK, "pick_and_place_simple", FIRST, STEPS, False, (True, True, False, True))
SHIPPED = sorted(path.parent.name for path in (data_folder() / "tiny").glob("*/start.json"))


@pytest.mark.parametrize("order", ORDERS)
def test_a_row_is_the_last_prompt_of_acting_and_its_reply(order: Order) -> None:
    renderer = PROMPTS["shared", order]
    seen = Observation(FIRST, TASK, ())
    steps: list[Step] = []
    for said in STEPS:
        prompt, reply = renderer.prompt(steps, seen), renderer.reply_ids(said.thought, said.action)
        steps.append(Step(seen, prompt, tuple(reply), (), "", said.thought, said.action, (), 0.0))
        seen = Observation(said.observation, TASK, ())
    made = row(DEMO, renderer)
    assert made.ids.tolist() == [*steps[-1].prompt_ids, *steps[-1].reply_ids]
    assert len(made.weights) == len(made.ids)


@pytest.mark.parametrize("order", ORDERS)
def test_what_counts_fully_are_the_replies_that_the_engine_accepts(order: Order) -> None:
    made = row(DEMO, PROMPTS["shared", order], observation_weight=0.2)
    text = TOKENIZER.decode(made.ids[made.weights == 1.0])
    learned = [piece for piece in text.split("<|end|>") if piece.strip()]
    assert [parse(piece, order).action for piece in learned] == ["go to cabinet 1", "open cabinet 1", "go to shelf 1"]
    first_prompt = len(PROMPTS["shared", order].prompt([], Observation(FIRST, TASK, ()))) - 1
    assert not made.weights[:first_prompt].any()


def test_bare_steps_stand_without_thoughts_and_are_not_learned() -> None:
    made = row(DEMO, PROMPTS["shared", "think_first"], bare=2)
    text = TOKENIZER.decode(made.ids)
    assert "try cabinet 1" not in text
    assert text.count("<think>") == 3  # one in the instruction, two in the steps that follow
    given = PROMPTS["shared", "think_first"].probe_prompt(
        [Observation(t, TASK, ()) for t in (FIRST, STEPS[0].observation, STEPS[1].observation)],
        [STEPS[0].action, STEPS[1].action],
    )
    assert made.ids[: len(given)].tolist() == list(given)
    assert not made.weights[: len(given) - 1].any()


def test_every_order_gets_the_same_episodes() -> None:
    made = rows([DEMO] * 20, PROMPTS, Mix(instructed=0.5, bare=0.5, slips=0.2), seed=0, longest=1024)
    assert len(made) == 60
    actions = []
    for n in range(3):
        text = [TOKENIZER.decode(r.ids[r.weights == 1.0]) for r in made[n::3]]
        actions.append([piece.count("</action>") for piece in text])
    assert actions[0] == actions[1] == actions[2]


def test_an_episode_too_long_in_one_order_is_left_out_of_all() -> None:
    lengths = [len(r.ids) for r in rows([DEMO], PROMPTS, Mix(instructed=0, bare=0, slips=0), seed=0, longest=1024)]
    assert lengths[2] < lengths[0]
    assert rows([DEMO], PROMPTS, Mix(instructed=0, bare=0, slips=0), seed=0, longest=lengths[2]) == []


def some_rows(n: int = 40) -> list[Row]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 60, n)
    return [
        Row(rng.integers(5, 900, size).astype(np.int32), (rng.random(size) < 0.7).astype(np.float32))
        for size in lengths
    ]


def test_a_pass_has_every_row_once_within_the_token_bound() -> None:
    made = some_rows()
    found: list[Row] = []
    for batch in batches(made, 120, seed=1):
        assert max(len(r.ids) for r in batch) * len(batch) <= 120
        found += batch
        if len(found) >= len(made):
            break
    assert sorted(id(r) for r in found) == sorted(id(r) for r in made)


def test_padding_changes_no_loss() -> None:
    made = some_rows(2)
    model = make_model(TOKENIZER, 0, layers=1)
    alone = [float(row_loss(model, pad([r], 0)).detach()) for r in made]
    counts = [float(r.weights[1:].sum()) for r in made]
    together = float(row_loss(model, pad(made, 0)).detach())
    assert together == pytest.approx(np.average(alone, weights=counts), rel=1e-5)


def small_recipe(seed: int = 0, tokens: int = 2000, batch_tokens: int = 256) -> Recipe:
    parts = (
        Part("first", tokens, (Habits(),), 1, falling=0.5),
        Part("second", tokens // 2, (Habits(),), 1, rate=0.5, drill=1.0),
    )
    return Recipe(seed=seed, parts=parts, layers=1, width=32, batch_tokens=batch_tokens, warmup=2)


def trained(folder: Path, seed: int = 0, interrupt: int | None = None) -> dict[str, torch.Tensor]:
    recipe = small_recipe(seed)
    model = make_model(TOKENIZER, 1, layers=1, width=32)
    for part in recipe.parts:
        for stop in (interrupt, None) if interrupt else (None,):
            if stop is None and interrupt:
                model = make_model(TOKENIZER, 2, layers=1, width=32)  # all that counts is in the checkpoint
            Trainer(model, some_rows(), recipe, part, folder, pad_id=0, names=NAMES).run(
                checkpoint_every=2, stop_after=stop
            )
    return model.state_dict()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = trained(tmp_path / "1"), trained(tmp_path / "2"), trained(tmp_path / "3", seed=1)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "1"), trained(tmp_path / "2", interrupt=5)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(ActreError, match="another recipe"):
        trained(tmp_path, seed=1)


def test_training_lowers_the_loss_on_the_rows_it_sees(tmp_path: Path) -> None:
    made = rows([DEMO] * 4, PROMPTS, Mix(instructed=0, bare=0, slips=0), seed=0, longest=1024)
    model = make_model(TOKENIZER, 0, layers=1, width=32)
    before = float(row_loss(model, pad(made[:3], 0)).detach())
    recipe = small_recipe(tokens=30_000, batch_tokens=512)
    for part in recipe.parts:
        Trainer(model, made, recipe, part, tmp_path, pad_id=0, names=NAMES).run(checkpoint_every=10)
    after = float(row_loss(model, pad(made[:3], 0)).detach())
    assert after < before * 0.75
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss_nats"] < log[0]["loss_nats"]


def test_demonstrations_are_played_once_and_come_back_equal(tmp_path: Path) -> None:
    calls: list[int] = []

    def play() -> list[Demo]:
        calls.append(1)
        return [DEMO]

    path = tmp_path / "demos.jsonl.gz"
    assert cached_demos(path, play) == cached_demos(path, play) == [DEMO]
    assert len(calls) == 1


def episode(group: int, won: bool, bad: int, order: Order = "act_first") -> Trajectory:
    seen = Observation("", "", ())
    steps = tuple(
        Step(seen, (1,), (2,), (0.0,), "", None, "look", ("inadmissible",) if t < bad else (), 0.0) for t in range(4)
    )
    return Trajectory("e", "g", "t", order, 0, steps, seen, won, False, group)


def test_a_start_is_summarised_over_games() -> None:
    played = [episode(0, True, 0), episode(0, False, 1), episode(1, False, 2), episode(1, False, 1)]
    found = start.summarise(played, "act_first", 1.0)
    assert (found.games, found.episodes, found.steps) == (2, 4, 16)
    assert (found.success, found.admissible, found.mixed_groups) == (0.25, 0.75, 0.5)
    assert found.success_error == 0.25  # of 0.5 and 0
    assert found.admissible_error == 0.125  # of 7/8 and 5/8


def test_each_missed_condition_is_named() -> None:
    good = start.Start("think_first", 1.0, 105, 420, 6000, 0.95, 0.01, 0.30, 0.02, 0.5, 15.0)
    assert start.missed([good, replace(good, success=0.25), replace(good, success=0.33)]) == []
    assert len(start.missed([good, replace(good, admissible=0.89)])) == 1
    assert "more than 8 points" in start.missed([good, replace(good, success=0.39)])[0]
    assert "not within" in start.missed([good, replace(good, success=0.10)])[0]


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_shipped_card_shows_the_measured_start(kind: str) -> None:
    folder = data_folder() / "tiny" / kind
    record = json.loads((folder / "start.json").read_text())
    card = (folder / "README.md").read_text()
    assert f"# The {kind} tiny policy" in card
    assert start.table(record) in card
    assert all(line in card for line in record["missed"])
    assert "no evidence about language models" in card
    alike = recipe_of(json.loads((folder / "made.json").read_text())["recipe"]).alike
    at_one = [s for s in record["starts"] if s["temperature"] == 1.0]
    assert {s["order"] for s in at_one} == set(ORDERS)
    assert all(s["episodes"] >= 400 for s in at_one)
    assert record["missed"] == start.missed([start.Start(**s) for s in at_one], alike=alike)


def test_the_shipped_neutral_policy_meets_every_condition_of_its_start() -> None:
    assert json.loads((data_folder() / "tiny" / "neutral" / "start.json").read_text())["missed"] == []


def test_in_a_narrow_part_think_first_learns_from_episodes_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    varied, fixed = Habits(search="random"), Habits(search="listed")
    part = Part("narrow", 1, (varied,), 1, orders=(*ORDERS, "no_think"), think_first_habits=(fixed,))
    other = DEMO._replace(steps=DEMO.steps[:2], admissible=DEMO.admissible[:2])
    monkeypatch.setattr(
        command, "demos_of", lambda recipe, habits, each, work: [DEMO if habits == (varied,) else other]
    )
    shown = command.part_demos(Recipe(), part, tmp_path)
    assert shown == [([DEMO], ("act_first", "no_think", "no_think")), ([other], ("think_first",))]
    assert command.part_demos(Recipe(), replace(part, think_first_habits=()), tmp_path) == [([DEMO], part.orders)]
    plain = Mix(instructed=0, bare=0, slips=0)
    made = rows([other], PROMPTS, plain, 0, 1024, ("think_first",))
    assert [r.ids.tolist() for r in made] == [row(other, PROMPTS["shared", "think_first"]).ids.tolist()]


def test_slips_are_refused_for_certain_shared_by_all_orders_and_never_learned() -> None:
    other = DEMO._replace(
        first=FIRST.replace("shelf", "drawer"),
        steps=(DemoStep("need cup . try safe 1", "go to safe 1", "You arrive at safe 1."),),
        admissible=(True,),
    )
    slipped = with_slips(DEMO, [other], 0.5, random.Random(0))
    kept = [step for step in slipped.steps if step.observation != REFUSED]
    slips = [step for step in slipped.steps if step.observation == REFUSED]
    assert tuple(kept) == STEPS
    assert slips
    for before, step, listed in zip((None, *slipped.steps), slipped.steps, slipped.admissible, strict=False):
        if step.observation == REFUSED:
            assert not listed
            stays = before is not None and step.action == before.action
            assert stays or "safe 1" in step.action
    for order in ORDERS:
        made = row(slipped, PROMPTS["shared", order])
        assert "safe 1" not in TOKENIZER.decode(made.ids[made.weights == 1.0])
        assert "safe 1" in TOKENIZER.decode(made.ids)


def words(ids: tuple[int, ...]) -> set[str]:
    return set(TOKENIZER.convert_ids_to_tokens(list(ids)))


def test_what_is_possible_for_a_name_is_what_the_room_has_there() -> None:
    made = row(DEMO, PROMPTS["shared", "think_first"])
    found = [(TOKENIZER.decode([made.ids[at]]), words(ids)) for at, ids in made.possible]
    elsewhere = {"cabinet 1", "shelf 1"}
    assert found == [
        ("cabinet 1", elsewhere),  # at the start, anywhere: in the thought, then in the action
        ("cabinet 1", elsewhere),
        ("cabinet 1", {"cabinet 1"}),  # "cabinet 1 is closed . open it"
        ("cabinet 1", {"cabinet 1"}),
        # the third step is marked as refused: nothing of it is drilled
        ("mug 1", {"mug 1"}),
        ("shelf 1", {"shelf 1"}),  # all but where the agent stands
        ("shelf 1", {"shelf 1"}),
    ]
    assert all(at < len(made.ids) and made.weights[at] == 1.0 for at, _ in made.possible)


def test_no_two_orders_are_drilled_on_other_names() -> None:
    full = DEMO._replace(admissible=(True,) * 4)
    drilled = {}
    for order in ("think_first", "act_first"):
        made = row(full, PROMPTS["shared", order])  # type: ignore[index]
        drilled[order] = sorted((int(made.ids[at]), ids) for at, ids in made.possible)
    assert drilled["think_first"] == drilled["act_first"]


def test_the_drill_is_the_mass_on_the_possible_names() -> None:
    ids = TOKENIZER.encode("cabinet 1 shelf 1 mug 1 go to shelf 1", add_special_tokens=False)
    receptacles = TOKENIZER.convert_tokens_to_ids(["cabinet 1", "shelf 1"])
    weights = np.zeros(len(ids), np.float32)
    weights[-1] = 1.0
    made = Row(np.array(ids, np.int32), weights, ((len(ids) - 1, tuple(receptacles)),))
    model = make_model(TOKENIZER, 0, layers=1).eval()
    with torch.no_grad():
        extra = float(row_loss(model, pad([made], 0), 2.0, NAMES) - row_loss(model, pad([made], 0)))
        probs = model(torch.tensor([ids])).logits[0, -2].softmax(-1)
    assert extra == pytest.approx(-2.0 * float((probs[receptacles].sum() / probs[NAMES].sum()).log()), rel=1e-4)
