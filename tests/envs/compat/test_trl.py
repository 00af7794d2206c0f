"""TRL's GRPOTrainer trains on the worlds' tools: two steps of the tiny policy on a CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from actre.config import data_folder
from actre.envs.compat.tools import AlfworldTools, WebshopTools, tool_rows

pytestmark = pytest.mark.slow


class SmallHouse(AlfworldTools):
    panel = "small/train"
    max_steps = 6


class SmallShop(WebshopTools):
    panel = "shop/train"
    max_steps = 6


@pytest.mark.parametrize(
    ("world", "tools", "calls"),
    [
        ("alfworld", SmallHouse, [("act", {"action": "look"}), ("act", {"action": "inventory"})]),
        ("webshop", SmallShop, [("search", {"query": "table"}), ("click", {"text": "next >"})]),
    ],
    ids=["alfworld", "webshop"],
)
def test_two_steps_of_grpo_play_the_rows_games_with_the_tools(
    world: str, tools: Any, calls: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import trl.chat_template_utils as templates
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer
    from trl.trainer import grpo_trainer

    folder = data_folder() / "tiny" / ("neutral" if world == "alfworld" else "shopper")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = templates.qwen3_chat_template
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    before = [p.detach().clone() for p in model.parameters()]

    asked = iter(calls * 100)

    def parsed(_: Any, ids: Any, prefix: Any = None) -> dict[str, Any]:
        # the tiny policy's closed vocabulary has no JSON, so its replies stand for the calls of a script
        name, given = next(asked)
        call = {"type": "function", "function": {"name": name, "arguments": given}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}

    monkeypatch.setattr(grpo_trainer, "parse_response", parsed)
    started: list[Any] = []
    answers: list[str] = []
    made: list[Any] = []

    class Watched(tools):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def reset(self, **row: Any) -> str:
            started.append(row["game"])
            return str(super().reset(**row))

        def get_reward(self) -> float:
            answers.append(f"{self._episode.steps}")
            return super().get_reward() + 0.1 * (made.index(self) % 2)  # apart, or there is no gradient

    config = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=160,
        max_tool_calling_iterations=2,
        learning_rate=1e-3,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        seed=0,
    )
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        args=config,
        train_dataset=Dataset.from_list(tool_rows(world, tools.panel)[:4]),
        environment_factory=Watched,
    )
    trainer.train()
    assert trainer.state.global_step == 2
    assert len(started) == 4
    assert started[0] == started[1]
    assert set(answers) <= {"1", "2"}
    assert any(bool((a != b).any()) for a, b in zip(before, model.parameters(), strict=True))
