"""One iteration of each order by every engine: its gaps to the trainer, its memory and seconds beside the estimate."""

from typing import Any

from actre.config import RunConfig, load_config
from actre.config.overrides import assignments, changed
from actre.config.presets import preset
from actre.runtime.estimate import outcome
from actre.study.gpu_check.command import actre, vllm_server
from actre.study.gpu_check.row import Done, Numbers, Place
from actre.types import ActreError, read_jsonl

_STAGES = "act_first:1,think_first:1,no_think:1"
ORDERS = 3
_SMALL = (
    "env.train=small/train",
    "env.unseen=small/unseen",
    "env.max_steps=6",
    "optim.groups=2",
    "optim.group_size=4",
    "optim.learning_rate=0.005",
    "optim.micro_batch_tokens=2048",
    # a gradient whoever wins: the adapter changes, and there is an effect for the engine check to follow
    "optim.entropy_coef=0.1",
    "sampling.max_reply_tokens=48",
    "sampling.max_prompt_tokens=2048",
    "probe.every=0",
    "checkpoint.every=1",
)


def small(place: Place, *more: str) -> RunConfig:
    """The settings of a check's run: 8 episodes of 6 steps an iteration. more: further settings."""
    config = changed(preset(place.model), [*_SMALL, *more])
    return changed(config, ["env_steps=none"])


def words(config: RunConfig, run: str, order: str = _STAGES) -> list[str]:
    """The arguments of `actre train` for these settings and stages into a folder."""
    asked = [word for text in assignments(config, preset(config.preset)) for word in ("--set", text)]
    return [
        "train",
        "--preset",
        config.preset,
        "--stages",
        order,
        *asked,
        "--no-entropy",
        "--evaluate",
        "0",
        "--out",
        run,
    ]


def each_order(place: Place, more: str = "") -> Done:
    """Train one iteration in each order. more: further settings, with blanks between. The run refuses an engine that
    samples another model than the trained one. Raises ActreError if it fails.
    """
    return _trained(place, small(place, *more.split()))


def on_a_server(place: Place) -> Done:
    """The same with a vLLM server on this machine, which the check starts and ends."""
    from actre.policies.vllm.server import start_for

    config = small(place, "model.engine=vllm-server")
    tokens = config.sampling.max_prompt_tokens + config.sampling.max_reply_tokens
    with vllm_server(place, start_for(config.model, tokens, config.model.lora_rank)) as url:
        return _trained(place, config, "--server", url)


def _trained(place: Place, config: RunConfig, *more: str) -> Done:
    run = place.folder / "run"
    actre(place, *words(config, str(run)), *more)
    lines = metrics(place, ORDERS)
    numbers: Numbers = {"model": config.model.name, **_gaps(lines), **_beside_estimate(place)}
    if not numbers["adapter_shift_nats"]:
        raise ActreError("the adapter did not change, so nothing was checked")
    followed = numbers["adapter_followed"]
    effect = "its effect is too small to follow" if followed is None else f"adapter followed {followed:.2f}"
    gap = f"engine {numbers['engine_gap_nats']:.1e} nats from the trainer"
    return Done(f"{config.model.name}: {gap}, {effect}", numbers)


def metrics(place: Place, iterations: int, run: str = "run") -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl. Raises ActreError unless there is one for each iteration."""
    lines = list(read_jsonl(place.folder / run / "metrics.jsonl"))
    if [line["iteration"] for line in lines] != list(range(1, iterations + 1)):
        raise ActreError(f"the run has {len(lines)} lines of metrics, and {iterations} iterations were asked for")
    return lines


def _gaps(lines: list[dict[str, Any]]) -> Numbers:
    """The largest of the engine check's gaps over the iterations, and the last share of the adapter's effect."""
    followed = [line["adapter_followed"] for line in lines if "adapter_followed" in line]
    found: Numbers = {
        name: max(line[name] for line in lines)
        for name in ("engine_gap_nats", "engine_gap_max_nats", "adapter_shift_nats")
    }
    return {**found, "adapter_followed": followed[-1] if followed else None}


def _beside_estimate(place: Place) -> Numbers:
    """Seconds an iteration and peak memory: measured, estimated before, and estimated with the measured work."""
    run = place.folder / "run"
    found = outcome(run, load_config(run / "config.json"), place.device)
    return {
        "rollout_s": round(found.rollout_s, 3),
        "rollout_estimated_s": round(found.again.rollout_s, 3),
        "update_s": round(found.update_s, 3),
        "update_estimated_s": round(found.again.update_s, 3),
        "memory_gb": None if found.memory_gb is None else round(found.memory_gb, 3),
        "memory_estimated_gb": round(found.again.memory_gb, 3),
    }
