"""Out of memory: the micro-batch is halved, said so, and the result is that of smaller ones from the beginning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_training as toy

from actre.config.presets import preset
from actre.runtime.out_of_memory import EpisodesAtOnce, MicroBatches, peak_memory_gb
from actre.training import collect as playing
from actre.training.run import run
from actre.training.stages import plan
from actre.types import ActreError, read_jsonl


def out_of_memory_above(limit: int, asked: list[int]):
    """A step that fails as a GPU does where it is given too many tokens."""

    def step(tokens: int) -> str:
        asked.append(tokens)
        if tokens > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return f"done with {tokens}"

    return step


def test_the_tokens_are_halved_until_the_step_goes_through_and_stay_so():
    batches, asked, undone = MicroBatches(8192), [], []
    with pytest.warns(UserWarning, match="micro-batches have 2048 tokens from now on"):
        assert batches.run(out_of_memory_above(3000, asked), undo=lambda: undone.append(1)) == "done with 2048"
    assert asked == [8192, 4096, 2048]
    assert len(undone) == 2
    assert batches.run(out_of_memory_above(3000, asked), undo=lambda: None) == "done with 2048"
    assert asked[3:] == [2048]


@dataclass(frozen=True)
class Done:
    """An episode, as far as this file asks."""

    said: str
    group: int = 0


@pytest.mark.filterwarnings("ignore:out of memory")
def test_where_fewer_do_not_help_the_settings_that_do_are_named():
    with pytest.raises(ActreError, match="max_reply_tokens"):
        MicroBatches(2 * MicroBatches.smallest).run(out_of_memory_above(0, []), undo=lambda: None)


def test_with_several_processes_a_step_is_not_done_again_by_one():
    with pytest.raises(ActreError, match="micro_batch_tokens=4096"):
        MicroBatches(8192, processes=2).run(out_of_memory_above(0, []), undo=lambda: None)


def test_episodes_that_do_not_fit_are_played_fewer_at_once_from_then_on(monkeypatch):
    config, asked, rested = preset("tiny"), [], []

    class Engine:
        class policy:
            renderer = staticmethod(lambda prompt, order: None)

        refresh = staticmethod(lambda: None)
        rest = staticmethod(lambda: rested.append(1))

    def rollout(policy: Any, envs: list[int], games: Any, **_: Any) -> list[Any]:
        return [Done(out_of_memory_above(20, asked)(len(envs)))]

    monkeypatch.setattr(playing, "rollout", rollout)
    monkeypatch.setattr(playing, "make_envs", lambda env, n: list(range(n)))
    play = playing.player(config, Engine())
    wanted = plan(config, ["g"] * 6, 1)
    with pytest.warns(UserWarning, match="12 episodes are played at once from now on instead of 24"):
        assert play(wanted) == [Done("done with 12")]
    assert play(wanted) == [Done("done with 12")]
    assert asked == [48, 24, 12, 12]
    assert len(rested) == 4, "what a failed attempt had cached is given back, and what each whole one had"


@pytest.mark.parametrize(("processes", "message"), [(1, "not even one episode.*max_reply_tokens"), (2, "optim.groups")])
@pytest.mark.filterwarnings("ignore:out of memory")
def test_where_not_even_one_episode_fits_the_settings_are_named(processes, message):
    with pytest.raises(ActreError, match=message):
        EpisodesAtOnce(4, processes).run(out_of_memory_above(0, []), undo=lambda: None)


def test_another_error_is_none_of_memory():
    def step(tokens: int) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        MicroBatches(8192).run(step, undo=lambda: None)


def _trained(out: Path, tokens: int, limit: int | None) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Four iterations of padded slices; above `limit` tokens in one the forward pass runs out of memory."""
    model = toy.model()
    trainer = toy.trainer(out, toy.config(micro_batch_tokens=tokens, forward="transformers"), policy=model)
    plain = trainer.compute_loss

    def compute_loss(model: Any, piece: dict[str, torch.Tensor], *rest: Any) -> Any:
        size = piece["prompt_ids"].numel() + piece["completion_ids"].numel()
        loss = plain(model, piece, *rest)
        if limit is not None and size > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return loss

    trainer.compute_loss = compute_loss  # type: ignore[method-assign]
    run(trainer)
    weights = {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" in name}
    return weights, list(read_jsonl(out / "metrics.jsonl"))


def test_a_run_that_ran_out_of_memory_ends_as_one_with_smaller_slices(tmp_path, monkeypatch):
    monkeypatch.setattr(MicroBatches, "smallest", 8)
    with pytest.warns(UserWarning, match="from now on"):
        halved, message = _trained(tmp_path / "halved", 128, limit=70)
    small, _ = _trained(tmp_path / "small", 64, limit=None)
    assert all(torch.equal(halved[name], small[name]) for name in small)
    used = [line["micro_batch_tokens"] for line in message]  # groups without signal leave some batches small
    assert used == sorted(used, reverse=True)
    assert set(used) == {128, 64}


def test_the_peak_grows_with_what_is_held():
    before = peak_memory_gb()
    held = torch.ones(30_000_000)
    assert peak_memory_gb() >= before > 0.05
    assert held[0] == 1
