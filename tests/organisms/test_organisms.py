"""Organisms with dials: what each dial changes, and that a recipe goes on from a shipped policy."""

import json
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from actre.config import data_folder
from actre.config.tiny_names import TINY_KINDS
from actre.envs.demo import Demo, DemoStep
from actre.organisms import command
from actre.organisms.card import kind_of
from actre.organisms.loop import Trainer
from actre.organisms.muon import Float32Muon
from actre.organisms.recipes import ORGANISMS, RECIPES, Dials, organism, recipe_of
from actre.organisms.rows import Row
from actre.policies.models import find, load
from actre.types import ActreError
from tests.organisms.test_pretrain import DEMO, STEPS


@pytest.mark.parametrize("thoughts", ["other", "needs", "plain", "said"])
def test_without_contraction_every_order_learns_from_the_same_episodes(thoughts: str) -> None:
    recipe = organism(Dials(thoughts, 0.0))  # type: ignore[arg-type]
    assert recipe.alike
    assert {habit.thoughts for habit in recipe.parts[0].habits} == {thoughts}


def test_contraction_makes_think_firsts_expert_narrower_and_worse() -> None:
    shared = organism(Dials("said", 0.0)).parts
    half, full, stuck = (organism(Dials("said", c)).parts[-1] for c in (0.5, 1.0, 1.2))
    shown = [part.think_first_habits[0] for part in (half, full, stuck)]
    assert [one.order_noise for one in shown] == [0.5, 0.0, 0.0]
    assert [one.random_moves for one in shown] == [0.19, 0.05, 0.0]
    assert [one.forget for one in shown] == [0.81, 0.97, 1.0]
    assert half.habits == full.habits == shared[0].habits
    assert organism(Dials("said", 1.0)).parts[:-1] == shared, "it continues from the organism that is not contracted"


def test_players_apart_differ_in_the_way_they_search_alone_from_the_first_part_on() -> None:
    recipe = organism(Dials("other", 0.0, apart=True))
    (part,) = recipe.parts
    (one,), (other,) = part.habits, part.think_first_habits
    assert (one.search, other.search) == ("listed", "reversed")
    assert replace(other, search="listed") == one
    assert recipe.alike, "both orders must start alike"
    assert part.episodes * len(part.habits) == organism(Dials("other", 0.0)).parts[0].episodes * 2


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_is_read_back_from_its_record(kind: str) -> None:
    recipe = RECIPES[kind]
    assert recipe_of(json.loads(json.dumps(asdict(recipe)))) == recipe
    assert kind_of(replace(recipe, seed=4, games=10)) == kind


@pytest.mark.parametrize("kind", ["neutral", "narrow", "shopper"])
def test_a_record_of_an_earlier_version_is_the_same_recipe(kind: str) -> None:
    made = json.loads((data_folder() / "tiny" / kind / "made.json").read_text())["recipe"]
    assert "dials" not in made
    assert recipe_of(made) == RECIPES[kind]


def test_a_kind_with_other_dials_is_named_after_them() -> None:
    assert kind_of(organism(Dials("needs", 0.25))) == "needs-0.25"
    assert kind_of(organism(Dials("needs", 0.25, apart=True))) == "needs-0.25-apart"
    assert {kind_of(organism(dials)) for dials in ORGANISMS.values()} == set(ORGANISMS)


def small(base: str = "tiny/neutral") -> command.Recipe:
    made = organism(Dials("said", 0.0))
    return replace(made, base=base, parts=(replace(made.parts[0], tokens=3000),), games=4)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Demo]:
    """The demonstrations of every part, instead of played ones."""
    demos = [DEMO] * 8
    monkeypatch.setattr(command, "demos_of", lambda recipe, habits, each, work: demos)
    return demos


def test_an_organism_begins_where_the_shipped_policy_ended(
    shown: list[Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first update its logits are the shipped ones, but for the factor applied after training."""
    begun: list[torch.Tensor] = []
    ids = torch.arange(20, 60)[None]

    class Looks(command.Trainer):  # type: ignore[misc]
        def run(self, **rest: object) -> None:
            with torch.no_grad():
                begun.append(self.model(ids).logits)
            super().run()

    monkeypatch.setattr(command, "Trainer", Looks)
    recipe = small()
    command.make(recipe, tmp_path / "made", tmp_path / "work", threads=1)
    shipped, tokenizer = load(command.ModelConfig(name="tiny/neutral"))
    with torch.no_grad():
        theirs = shipped(ids).logits
        made, own = load(command.ModelConfig(name=str(tmp_path / "made")))
        ours = made(ids).logits
    torch.testing.assert_close(begun[0] * recipe.sharpen, theirs)
    assert (ours - theirs).abs().max() > 1e-3  # it has learned a little: the rates are still warming up
    assert own.get_vocab() == tokenizer.get_vocab()


def test_a_word_that_the_shipped_policy_lacks_is_refused(shown: list[Demo], tmp_path: Path) -> None:
    """Its vocabulary is closed: the word would be read and written as an unknown one."""
    shown[0] = DEMO._replace(steps=(DemoStep("peradventure", *STEPS[0][1:]), *STEPS[1:]))
    with pytest.raises(ActreError, match="peradventure"):
        command.make(small(), tmp_path / "made", tmp_path / "work", threads=1)
    assert not (tmp_path / "made").exists()


def test_the_same_recipe_may_replace_its_policy_and_another_may_not(shown: list[Demo], tmp_path: Path) -> None:
    command.make(small(), tmp_path / "made", tmp_path / "work", threads=1)
    command.make(small(), tmp_path / "made", tmp_path / "work", threads=1)
    other = replace(organism(Dials("plain", 0.0)), parts=small().parts)
    with pytest.raises(ActreError, match="would be replaced"):
        command.make(other, tmp_path / "made", tmp_path / "work2", threads=1)


def test_organisms_with_the_same_thoughts_share_the_checkpoint_of_their_first_part(tmp_path: Path) -> None:
    def trainer(contraction: float) -> Trainer:
        recipe = organism(Dials("said", contraction))
        model = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
        row = Row(np.arange(4), np.ones(4), ())
        return Trainer(model, [row], recipe, recipe.parts[0], tmp_path, pad_id=0, names=())

    even = trainer(0.0)
    even.updates = 7
    even.save()
    contracted = trainer(1.0)
    contracted.run(stop_after=0)
    assert contracted.updates == 7


def test_dials_beside_a_kind_are_refused() -> None:
    with pytest.raises(ActreError, match="leave out --kind"):
        command.chosen(Namespace(kind="middle", thoughts="said", contraction=None, apart=False))
    assert command.chosen(Namespace(kind=None, thoughts=None, contraction=None, apart=False)) == RECIPES["neutral"]
    assert command.chosen(Namespace(kind=None, thoughts=None, contraction=0.5, apart=False)) == organism(
        Dials("said", 0.5)
    )
    apart = command.chosen(Namespace(kind=None, thoughts="other", contraction=None, apart=True))
    assert apart == organism(Dials("other", 0.0, apart=True)) == RECIPES["even-low"]
    with pytest.raises(ActreError, match="leave out --kind, or the dials"):
        command.chosen(Namespace(kind="middle", thoughts=None, contraction=None, apart=True))


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_muon_in_float32_steps_as_torchs_does_but_for_bfloat16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = Float32Muon([ours], lr=0.02), torch.optim.Muon([theirs], lr=0.02)
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved
    assert moved > 0.1


def test_the_commands_kinds_are_the_recipes() -> None:
    assert set(TINY_KINDS) == set(RECIPES)


@pytest.mark.parametrize(
    ("name", "said"), [("tiny/neutrall", "makes: tiny/neutral,"), ("tiny/even-low", "--kind even-low --out")]
)
def test_a_tiny_policy_that_is_not_here_is_made_by_a_command_and_an_unknown_one_is_named(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTRE_DATA", str(tmp_path))
    with pytest.raises(ActreError, match=said):
        find(name)
