"""Supervised training of an adapter on the warm start's rows, with TRL's SFTTrainer; on a CPU through packed rows.

An interrupted training resumes from TRL's checkpoints (safetensors for the adapter; torch files are read with
weights_only).

    OUT/metrics.jsonl     one line per optimizer step
    OUT/checkpoints/      the last two
"""

import json
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from datasets import Dataset
from peft import PeftModel, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm.auto import tqdm
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from actre.config import RunConfig, derive_seed
from actre.config.checks import Count, Natural, Ranged, Rate
from actre.organisms.packed_sft import PackedSFTTrainer
from actre.organisms.warmstart_rows import WarmRow
from actre.training.packed.padded import is_packed
from actre.types import ActreError, drop_torn_line, read_jsonl, write_jsonl

_LARGE = 1_000_000_000
"""Number of parameters above which gradient checkpointing is used."""


@dataclass(frozen=True)
class WarmConfig(Ranged):
    """Settings of a warm start, besides those of the run it prepares. Raises ActreError for a number out of range."""

    episodes: Count = 60
    """Games, with one expert episode each."""
    per_episode: Count = 3
    """States drawn from each episode; each gives a row in every order. A growing history has one, the whole episode."""
    longest: Count = 1024
    """Longest row in tokens."""
    steps: Count = 60
    """Optimizer steps."""
    batch: Count = 8
    """Rows per optimizer step."""
    micro_batch: Count = 2
    """Rows per forward and backward pass."""
    learning_rate: Rate = 5e-4
    """Peak learning rate."""
    warmup: Natural = 2
    """Steps over which the learning rate rises; then it falls linearly to zero."""
    save_every: Count = 10
    """Steps between checkpoints."""
    states: Count = 16
    """States on which compliance is measured before and after."""
    products: Literal["float32", "bfloat16"] = "float32"
    """Type of the packed forward pass's products, as in `OptimConfig.products`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch % self.micro_batch:
            raise ActreError(f"a batch of {self.batch} rows is not a multiple of the micro-batch of {self.micro_batch}")


def fine_tune(
    config: RunConfig,
    warm: WarmConfig,
    rows: Sequence[WarmRow],
    out: Path,
    model: PeftModel,
    tokenizer: Any,
    *,
    progress: bool,
) -> dict[str, Any]:
    """Train the adapter in place, from the last complete checkpoint if there is one. Returns a summary.

    Raises ActreError for bfloat16 products where the packed forward pass does not take the model.
    """
    last = _last_checkpoint(out / "checkpoints")
    done = 0 if last is None else int(last.name.rpartition("-")[2])
    log = _Log(
        out / "metrics.jsonl", done, tqdm(total=warm.steps, initial=done, desc="warm start", disable=not progress)
    )
    parts: dict[str, Any] = {
        "model": model,
        "args": _sft_config(config, warm, model, out),
        "train_dataset": _dataset(rows),
        "processing_class": tokenizer,
        "callbacks": [log],
    }
    packed = is_packed(replace(config, optim=replace(config.optim, products=warm.products)), model)
    trainer = PackedSFTTrainer(products=warm.products, **parts) if packed else SFTTrainer(**parts)
    trainer.remove_callback(PrinterCallback)
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        if last is not None and done >= warm.steps:  # transformers would do one more step
            set_peft_model_state_dict(model, load_file(last / "adapter_model.safetensors"))
        else:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        if last is None or trainer.state.global_step > log.start or (isinstance(error, OSError) and error.errno):
            raise
        raise ActreError(
            f"the checkpoint {last} is damaged: {str(error).strip().splitlines()[0]}. To continue from the one before "
            f"it: rm -r {last}, then run the same command"
        ) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped at step {trainer.state.global_step} of {warm.steps}; the same command continues from the last "
            f"checkpoint in {out / 'checkpoints'}"
        ) from None
    finally:
        transformers.logging.set_verbosity(before)
        log.bar.close()
    lines = list(read_jsonl(log.path))
    return {
        "steps": len(lines),
        "loss_first": lines[0]["loss"],
        "loss_last": lines[-1]["loss"],
        "cpu_s": round(sum(line["cpu_s"] for line in lines), 1),
        "epochs": round(len(lines) * warm.batch / len(rows), 2),
    }


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; transformers writes trainer_state.json as the last file."""
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _dataset(rows: Sequence[WarmRow]) -> Dataset:
    """TRL's columns: input_ids, and labels that are -100 for untrained tokens."""
    return Dataset.from_dict(
        {
            "input_ids": [list(row.ids) for row in rows],
            "labels": [[t if on else -100 for t, on in zip(row.ids, row.learned, strict=True)] for row in rows],
        }
    )


def _sft_config(config: RunConfig, warm: WarmConfig, model: Any, out: Path) -> SFTConfig:
    dtype = next(model.parameters()).dtype
    return SFTConfig(
        output_dir=str(out / "checkpoints"),
        seed=derive_seed(config.seed, "warm start"),
        learning_rate=warm.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=warm.warmup,
        max_steps=warm.steps,
        max_grad_norm=config.optim.max_grad_norm,
        per_device_train_batch_size=warm.micro_batch,
        gradient_accumulation_steps=warm.batch // warm.micro_batch,
        max_length=None,  # no truncation: rows that are too long were left out
        loss_type="chunked_nll",  # logits for the reply's tokens only; a prompt has ten times as many
        gradient_checkpointing=sum(p.numel() for p in model.parameters()) > _LARGE,
        use_cpu=model.device.type == "cpu",
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=warm.save_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


class _Log(TrainerCallback):
    """Writes a line per optimizer step; raises ActreError if the loss is not finite. start: steps done before."""

    def __init__(self, path: Path, start: int, bar: Any) -> None:
        self.path, self.start, self.bar = path, start, bar
        if path.exists():
            drop_torn_line(path)
        write_jsonl(path, [line for line in read_jsonl(path) if line["step"] <= start] if path.exists() else [])
        self._since = time.process_time()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.start:
            self._since = time.process_time()  # exclude the time for loading

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        now = time.process_time()
        line = {"step": state.global_step, "loss": logs["loss"], "grad_norm": logs["grad_norm"]}
        with self.path.open("a") as file:
            file.write(json.dumps({**line, "lr": logs["learning_rate"], "cpu_s": round(now - self._since, 3)}) + "\n")
        self._since = now
        self.bar.set_postfix(loss=f"{logs['loss']:.2f}")
        self.bar.update()
        if not all(torch.isfinite(torch.tensor(value)) for value in line.values()):
            raise ActreError(
                f"the loss of step {state.global_step} is {logs['loss']} (gradient norm {logs['grad_norm']}): lower "
                "--learning-rate and start again with another --out"
            )
