"""Supervised warm start: trains a model on expert episodes with TRL's SFTTrainer until it follows the reply format.

An interrupted warm start continues with the same call: the measurement before training is saved, and training
(fine_tune.py) resumes from its checkpoints.

    OUT/warmstart.json    settings, versions, rows, compliance before and after, the check by reloading
    OUT/metrics.jsonl     one line per optimizer step
    OUT/adapter/          the adapter with its model card
    OUT/model/            base and adapter merged, for `actre train --model OUT/model`
    OUT/checkpoints/      removed when training is finished
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from actre import adapters
from actre.adapters.warm import RECORD
from actre.config import RunConfig, config_from_dict, derive_seed, differences, versions
from actre.config.model_names import settle, settled
from actre.entropy.probes import Probe
from actre.organisms import compliance
from actre.organisms.compliance import Compliance
from actre.organisms.fine_tune import WarmConfig, fine_tune
from actre.organisms.warmstart_rows import WarmRow
from actre.policies.context import must_hold
from actre.policies.hf import HFPolicy
from actre.policies.models import add_lora, context_of, load
from actre.runtime import outputs
from actre.types import ActreError


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
        adapters.merge(out / "adapter", out / "model", base, records={RECORD: text})
    (out / RECORD).write_text(text)  # last: it says that all is there
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
