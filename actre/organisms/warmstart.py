"""Supervised warm start: trains a model on expert episodes with TRL's SFTTrainer until it follows the reply format.

An interrupted warm start continues with the same call: the measurement before training is saved, and training resumes
from TRL's checkpoints (safetensors for the adapter; torch files are read with weights_only).

    OUT/warmstart.json    settings, versions, rows, compliance before and after, the check by reloading
    OUT/metrics.jsonl     one line per optimizer step
    OUT/adapter/          the adapter with its model card
    OUT/model/            base and adapter merged, for `actre train --model OUT/model`
    OUT/checkpoints/      removed when training is finished
"""

import hashlib
import json
import pickle
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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

from actre import adapters
from actre.adapters.warm import RECORD
from actre.config import RunConfig, config_from_dict, derive_seed, differences, versions
from actre.config.checks import Count, Natural, Ranged, Rate
from actre.config.model_names import settle, settled
from actre.entropy.probes import Probe
from actre.organisms import compliance
from actre.organisms.compliance import Compliance
from actre.organisms.packed_sft import PackedSFTTrainer
from actre.organisms.warmstart_rows import WarmRow
from actre.policies.context import must_hold
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, context_of, load
from actre.runtime import outputs
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


def warm_up(
    config: RunConfig,
    warm: WarmConfig,
    rows: Sequence[WarmRow],
    probes: Sequence[Probe],
    out: str | Path,
    *,
    begin: str | Path | None = None,
    about: dict[str, Any] | None = None,
    merge: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure compliance, train on the rows, export, check by reloading, measure again; returns the record.

    begin: a folder with an adapter for the model, whose training goes on with these rows; None: a new one.
    about: further fields of the record. merge: also save the merged model. Continues an unfinished warm start in `out`
    with the same settings. Raises ActreError if `out` holds another or a finished warm start, if a checkpoint is
    damaged, if there are fewer rows than a batch, if a row exceeds the model's context, if the loss is not finite, and
    if `begin` is of another model or rank.
    """
    out, config = Path(out), settle(config)
    if len(rows) < warm.batch:
        raise ActreError(
            f"{len(rows)} rows are fewer than a batch of {warm.batch}: raise --episodes or lower --batch-size"
        )
    held = context_of(config.model.name)
    must_hold(held, (len(row.ids) for row in rows), 0, "a row", f"--max-length {held} leaves such rows out")
    settings = {"warm": asdict(warm), "run": asdict(config), "rows": _describe(rows), "begin": _digest(begin)}
    _begin(out, settings)
    model, tokenizer = _model(config, begin)
    policy = HFPolicy(model, tokenizer)
    before = _measured(out / "before.json", policy, probes, config)
    policy.reset()
    trained = fine_tune(config, warm, rows, out, model, tokenizer, progress=progress)
    model.eval()
    after = _measured(out / "after.json", policy, probes, config)
    policy.reset()
    base = replace(config.model, loader="plain")
    adapters.export(model, out / "adapter", base, card=_card(config, warm, rows, before, after))
    check = adapters.check(out / "adapter", model, tokenizer, base=base)
    if not check.passed:
        raise ActreError(
            f"the exported adapter differs from the trained one, or changes nothing (logits: {check.from_trained:.1e} "
            f"from the trained model's, {check.from_base:.1e} from the base's): see {out / 'metrics.jsonl'}"
        )
    if merge:
        adapters.merge(out / "adapter", out / "model", base)
    record = {
        **settings,
        "about": about or {},
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "before": [one._asdict() for one in before[0]],
        "after": [one._asdict() for one in after[0]],
        "measure_cpu_s": [before[1], after[1]],
        "training": trained,
        "check": {**check._asdict(), "passed": check.passed},
    }
    text = json.dumps(record, indent=1) + "\n"
    if merge:
        (out / "model" / RECORD).write_text(text)
    (out / RECORD).write_text(text)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return record


def _digest(begin: str | Path | None) -> str | None:
    """What tells one adapter from another; None for none."""
    if begin is None:
        return None
    weights = adapters.adapter_folder(begin) / "adapter_model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _model(config: RunConfig, begin: str | Path | None) -> tuple[PeftModel, Any]:
    """The model with a new adapter, or with the given one, and its tokenizer."""
    if begin is None:
        model, tokenizer = load(config.model)
        return add_lora(model, config.model, derive_seed(config.seed, "adapter")), tokenizer
    loaded = adapters.load(begin, config.model, trainable=True)
    lora = loaded.model.peft_config["default"]
    shape, asked = (lora.r, lora.lora_alpha), (config.model.lora_rank, config.model.lora_alpha)
    if shape != asked:
        raise ActreError(
            f"the adapter in {begin} has rank {shape[0]} and alpha {shape[1]}, and the settings ask for {asked[0]} and "
            f"{asked[1]}: choose the preset it was made with"
        )
    return loaded.model, loaded.tokenizer


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder. Raises ActreError if it holds anything but an unfinished warm start with these settings."""
    path = out / "settings.json"
    if (out / RECORD).exists():
        raise ActreError(f"{out} holds a finished warm start, and nothing is overwritten: choose another --out")
    if path.exists():
        try:
            begun = json.loads(path.read_text())
            begun["run"] = asdict(config_from_dict(begun["run"]))  # newer settings get their defaults
            begun["warm"] = asdict(WarmConfig(**begun["warm"]))
            begun.setdefault("begin")
            begun["run"]["model"]["name"] = settled(begun["run"]["model"]["name"])
            changed = differences(begun, settings)
        except (ValueError, KeyError, TypeError) as error:
            raise ActreError(f"{path} is damaged ({error}): start again with another --out") from error
        if changed:
            raise ActreError(
                f"{out} holds a warm start with other settings ({'; '.join(changed)}): continue it with its own "
                "settings, or choose another --out"
            )
        return
    outputs.growing(out, lambda folder: False, what="a warm start")
    out.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(settings) + "\n")
    part.replace(path)


def _measured(
    path: Path, policy: HFPolicy, probes: Sequence[Probe], config: RunConfig
) -> tuple[list[Compliance], float]:
    """Compliance, and the CPU seconds of measuring it; read from the file if it was measured before."""
    if path.exists():
        raw = json.loads(path.read_text())
        return [Compliance(**one) for one in raw["results"]], raw["cpu_s"]
    started = time.process_time()
    with torch.no_grad():
        results = compliance.measure(policy, probes, config.prompt, config.sampling, config.seed)
    taken = round(time.process_time() - started, 1)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"results": [one._asdict() for one in results], "cpu_s": taken}) + "\n")
    part.replace(path)
    return results, taken


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


def _describe(rows: Sequence[WarmRow]) -> dict[str, Any]:
    """Numbers of rows and tokens, in total and by order and wording."""
    counts: dict[str, int] = {}
    for row in rows:
        key = f"{row.order}, {row.wording}"
        counts[key] = counts.get(key, 0) + 1
    return {
        "rows": len(rows),
        "tokens": sum(len(row.ids) for row in rows),
        "learned_tokens": sum(sum(row.learned) for row in rows),
        "by_order_and_wording": dict(sorted(counts.items())),
    }


def _card(
    config: RunConfig,
    warm: WarmConfig,
    rows: Sequence[WarmRow],
    before: tuple[list[Compliance], float],
    after: tuple[list[Compliance], float],
) -> str:
    data = _describe(rows)
    table = compliance.table(before[0], after[0])
    return (
        f"A supervised warm start: {warm.steps} steps of {warm.batch} rows on {data['rows']} rows of a scripted "
        f"expert's episodes in generated games ({data['learned_tokens']:,} learned tokens of {data['tokens']:,}), the "
        f"same in the orders think-first, act-first and no-think; seed {config.seed}. It teaches the format and "
        "the expert's short thoughts; it is no result of reinforcement learning.\n\n"
        f"Replies without a fault of format, one in each of {warm.states} states, 95 % intervals (Wilson):\n\n{table}"
    )
