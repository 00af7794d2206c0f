"""Weights that are cut over two processes train, sample and are saved as whole ones.

FSDP 2 and DeepSpeed ZeRO as TRL's configs ask for them, on two CPU processes (gloo); ZeRO's tests need deepspeed.
"""

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import safetensors.torch
import torch
import toy_training as toy
from accelerate import Accelerator
from launched import FSDP, FSDP_1, SamePlayer, config, cut_as, forks, make, together, weights, zero

from actre.config import ModelConfig
from actre.policies.hf import HFPolicy
from actre.runtime import ranks
from actre.training import NotFiniteError, StagedTrainer, trl_settings
from actre.training.run import run
from actre.training.sharded.launch import weights_of
from actre.training.sharded.replicated import Replicated
from actre.training.sharded.step import gathered_adapter
from actre.training.stages import Plan
from actre.types import ActreError, Trajectory, read_jsonl

pytestmark = forks
needs_deepspeed = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")
CUTS = [
    pytest.param(FSDP, id="fsdp2"),
    pytest.param(zero(1), id="zero1", marks=[needs_deepspeed, pytest.mark.slow]),
    pytest.param(zero(2), id="zero2", marks=[needs_deepspeed, pytest.mark.slow]),
    pytest.param(zero(3), id="zero3", marks=[needs_deepspeed, pytest.mark.slow]),
]
cut_in_every_way = pytest.mark.parametrize("cut", CUTS)
BASE_CUT = [CUTS[0], CUTS[3]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    run(make(out, config()))
    return out


def until(iteration: int, trainer: StagedTrainer) -> None:
    """Train as far as there, and be stopped."""
    play = trainer._play

    def playing(wanted: Plan) -> list[Trajectory]:
        trainer.stop_asked = wanted.iteration == iteration
        return play(wanted)

    trainer._play = playing
    with pytest.raises(KeyboardInterrupt):
        run(trainer)


def parts(model: Any) -> tuple[int, int]:
    """How many numbers of base and adapter this process holds, and how many there are."""
    here = sum(ranks.part_here(p).numel() for p in model.parameters())
    return here, sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())


def must_be_the_same_run(ours: Path, theirs: Path, *, within: float = 1e-4) -> None:
    lines = [list(read_jsonl(folder / "metrics.jsonl")) for folder in (ours, theirs)]
    assert [len(some) for some in lines] == [4, 4]
    for our, their in zip(*lines, strict=True):
        for name in ("success", "return", "env_steps", "generated_tokens", "groups_without_signal"):
            assert our[name] == their[name], name
        for name in ("loss", "grad_norm", "kl_nats", "clip_rate"):
            assert our[name] == pytest.approx(their[name], rel=1e-3, abs=1e-5), name
    assert apart(weights(ours), weights(theirs)) < within
    moments = [
        safetensors.torch.load_file(f / "checkpoints" / "iter-4" / "training.safetensors") for f in (ours, theirs)
    ]
    kept = [{k: v.float() for k, v in some.items() if not k.startswith("random.")} for some in moments]
    assert apart(*kept) < 1e-5
    about = [json.loads((folder / "adapter" / "actre.json").read_text()) for folder in (ours, theirs)]
    assert about[0] == about[1], "the base's fingerprint above all"


def apart(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest difference; the names are to be the same."""
    assert sorted(ours) == sorted(theirs)
    return max(float((ours[name] - value).abs().max()) for name, value in theirs.items())


@cut_in_every_way
def test_a_run_goes_on_cut_and_whole_from_its_checkpoints(cut: dict[str, str], tmp_path: Path, alone: Path) -> None:
    out = tmp_path / "run"

    def begin(rank: int) -> None:
        cut_as(cut)
        trainer = make(out, config())
        until(2, trainer)
        here, all_of_them = parts(trainer.policy_model)
        if cut in (FSDP, zero(3)):
            assert here < 0.6 * all_of_them, "half of it, and what padding costs"
        assert type(trainer.weights) is not Replicated

    def go_on(rank: int) -> None:
        cut_as(cut)
        until(3, make(out, config(), resume=True))

    assert together(begin) == [0, 0]
    assert together(go_on) == [0, 0]
    run(make(out, config(), resume=True))  # alone, with nothing cut
    must_be_the_same_run(out, alone)


@pytest.mark.slow
@cut_in_every_way
def test_what_was_begun_whole_ends_cut(cut: dict[str, str], tmp_path: Path, alone: Path) -> None:
    out = tmp_path / "run"
    until(2, make(out, config()))

    def go_on(rank: int) -> None:
        cut_as(cut)
        run(make(out, config(), resume=True))

    assert together(go_on) == [0, 0]
    must_be_the_same_run(out, alone)


@pytest.mark.slow
@cut_in_every_way
def test_half_precision_rounds_as_much_as_where_nothing_is_cut(
    cut: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(config(), env_steps=160)
    full = toy.model
    monkeypatch.setattr(toy, "model", lambda: halved(full()))
    monkeypatch.setattr(trl_settings, "_is_large", lambda model: True)  # activations are computed again, as there
    run(make(tmp_path / "whole", settings))

    def work(rank: int) -> None:
        cut_as(cut)
        run(make(tmp_path / "cut", settings))

    assert together(work) == [0, 0]
    ours, theirs = (list(read_jsonl(tmp_path / name / "metrics.jsonl")) for name in ("cut", "whole"))
    assert [line["success"] for line in ours] == [line["success"] for line in theirs]
    # how far bfloat16 takes the engines apart depends on the processor; cut, it is no further than whole
    gap, gap_whole = (max(line["engine_gap_max_nats"] for line in lines) for lines in (ours, theirs))
    assert gap < 3 * gap_whole + 1e-3
    for our, their in zip(ours, theirs, strict=True):
        for name in ("loss", "grad_norm", "kl_nats"):
            assert our[name] == pytest.approx(their[name], rel=0.05), name
    assert {value.dtype for value in weights(tmp_path / "cut").values()} == {torch.float32}


def halved(model: Any) -> Any:
    """The base in bfloat16, the adapter in float32, as PEFT has it."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    return model


@pytest.mark.slow
@cut_in_every_way
def test_moments_are_forgotten_where_a_stage_asks_for_it(cut: dict[str, str], tmp_path: Path) -> None:
    settings = config(optimizer_at_switch="reset")
    run(make(tmp_path / "alone", settings))

    def work(rank: int) -> None:
        cut_as(cut)
        run(make(tmp_path / "cut", settings))

    assert together(work) == [0, 0]
    # the first step after it is the gradient's sign, and small gradients' differs
    must_be_the_same_run(tmp_path / "cut", tmp_path / "alone", within=1e-3)
    kept = [tmp_path / name / "checkpoints" / "iter-2" / "training.safetensors" for name in ("cut", "alone")]
    ours, theirs = (safetensors.torch.load_file(path) for path in kept)
    assert not any(value.any() for name, value in ours.items() if not name.startswith("random."))
    assert [name for name in theirs if not name.startswith("random.")] == []


class Prepared(NamedTuple):
    """A toy model that is cut, and its like that is not."""

    weights: Replicated
    model: Any
    whole: Any


@contextmanager
def prepared(cut: dict[str, str]) -> Iterator[Prepared]:
    cut_as(cut)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    model = toy.model().eval()
    found = weights_of(accelerator, model, ModelConfig())
    trained = [p for p in model.parameters() if p.requires_grad]
    accelerator.prepare(model, torch.optim.AdamW(trained))
    yield Prepared(found, model, toy.model().eval())


def ask(model: Any, times: int) -> list[list[int]]:
    """What a policy with that model says, asked so often."""
    policy = HFPolicy(model, toy.tokenizer())
    asked = [[2, 3, 7], [2, 4, 7, 5]]
    said = [
        policy.generate(asked, max_new_tokens=5, temperature=1.0, stop=None, seed=i)[i % 2].token_ids
        for i in range(times)
    ]
    return [list(ids) for ids in said]


def test_each_process_samples_as_often_as_it_likes() -> None:
    def work(rank: int) -> None:
        with prepared(FSDP) as made, torch.no_grad():
            assert parts(made.model)[0] < parts(made.model)[1]
            with made.weights.in_step():
                said = ask(made.model, (0, 5)[rank])
            assert said == ask(made.whole, (0, 5)[rank]), "the same as of whole weights"
            first = made.weights.from_first(lambda: ask(made.model, 3))
            assert first == ask(made.whole, 3), "computed in one process, known to both"

    assert together(work) == [0, 0]


def test_what_fails_in_one_process_lets_the_others_sample_to_the_end() -> None:
    def work(rank: int) -> None:
        with prepared(FSDP) as made, torch.no_grad():

            def fail() -> None:
                ask(made.model, 1)
                raise ActreError("no game could be opened")

            def play() -> None:
                with made.weights.in_step():
                    fail()

            if rank == 0:
                with pytest.raises(ActreError, match="no game"):
                    play()
            else:
                with made.weights.in_step():
                    assert ask(made.model, 4) == ask(made.whole, 4)
            with pytest.raises(ActreError, match="no game"):
                made.weights.from_first(fail)

    assert together(work) == [0, 0]


def test_a_pass_that_fails_in_one_process_ends_all_of_them_and_loses_no_iteration(tmp_path: Path) -> None:
    settings = replace(config(), checkpoint=replace(config().checkpoint, every=0))

    def out_of_memory(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("no memory is left")

    def work(rank: int) -> None:
        cut_as(FSDP)
        trainer = make(tmp_path / "run", settings)
        play = trainer._play

        def playing(wanted: Plan) -> list[Trajectory]:
            if wanted.iteration == 2 and rank == 1:
                trainer.policy_model.get_base_model().model.layers[1].register_forward_pre_hook(out_of_memory)
            return play(wanted)

        trainer._play = playing
        expected = ("another of the 2 processes has ended", "no memory is left")[rank]
        with pytest.raises(ActreError, match=expected):
            run(trainer)
        os._exit(0)  # as a process that failed does; the other one is in the middle of a pass

    assert together(work) == [0, 0]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["iter-1"]


def test_an_engine_beside_gets_the_adapter_whole() -> None:
    def work(rank: int) -> None:
        with prepared(FSDP) as made:
            found = gathered_adapter(made.model)
            assert found is not None
            assert apart(found, {n: p for n, p in made.whole.named_parameters() if p.requires_grad}) == 0.0
            assert gathered_adapter(made.whole) is None, "there is nothing to gather"

    assert together(work) == [0, 0]


def test_a_process_without_games_takes_part(tmp_path: Path) -> None:
    settings = replace(config(groups=1), env_steps=1)

    def work(rank: int) -> None:
        cut_as(FSDP)
        trainer = make(tmp_path / "run", settings)
        assert isinstance(trainer._play, SamePlayer)
        run(trainer)
        assert [len(plan.games) for plan in trainer._play.plans] == [rank]

    assert together(work) == [0, 0]
    assert len(list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("cut", BASE_CUT)
def test_a_loss_that_is_no_number_leaves_the_iteration_before(cut: dict[str, str], tmp_path: Path) -> None:
    settings = replace(config(), checkpoint=replace(config().checkpoint, every=0))

    def work(rank: int) -> None:
        cut_as(cut)
        trainer = make(tmp_path / "run", settings)
        compute = trainer.compute_loss

        def spoiled(model: Any, inputs: Any, *rest: Any, **named: Any) -> torch.Tensor:
            loss = compute(model, inputs, *rest, **named)
            return loss * float("nan") if trainer.run_state.iteration == 1 and rank == 1 else loss

        trainer.compute_loss = spoiled  # type: ignore[method-assign]
        with pytest.raises(NotFiniteError, match="iteration 2"):
            run(trainer)

    assert together(work) == [0, 0]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["iter-1"]
    kept = safetensors.torch.load_file(tmp_path / "run" / "checkpoints" / "iter-1" / "adapter_model.safetensors")
    assert apart(weights(tmp_path / "run"), kept) == 0.0
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())


@pytest.mark.parametrize(
    ("asked", "settings", "wanted"),
    [
        (FSDP_1, None, "fsdp2.yaml"),
        ({**FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, None, "fsdp_offload_params"),
        (FSDP, ModelConfig(four_bit=True), "multi_gpu.yaml"),
        (FSDP, ModelConfig(loader="unsloth"), "multi_gpu.yaml"),
    ],
    ids=["fsdp1", "offload", "four_bit", "unsloth"],
)
def test_what_has_not_been_tried_is_refused_with_another_way(
    asked: dict[str, str], settings: ModelConfig | None, wanted: str
) -> None:
    def work(rank: int) -> None:
        cut_as(asked)
        accelerator = Accelerator(cpu=True)
        with pytest.raises(ActreError, match=wanted):
            weights_of(accelerator, toy.model(), settings or ModelConfig())

    assert together(work) == [0, 0]


def test_a_launch_that_cuts_nothing_though_it_was_asked_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ActreError, match="over several GPUs only"):
        weights_of(Accelerator(cpu=True), toy.model(), ModelConfig())
