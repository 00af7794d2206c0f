"""What must survive: running out of memory, a kill, a second process; and the warm start, which trains otherwise."""

import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from actre.config import RunConfig
from actre.config.overrides import stages
from actre.runtime.estimate import GB
from actre.study.gpu_check.command import actre, start, tail
from actre.study.gpu_check.row import Done, Numbers, Place
from actre.study.gpu_check.training import metrics, small, words
from actre.types import ActreError, read_jsonl

_TIMES = {"seconds", "rollout_s", "update_s", "measure_s", "tokens_per_s", "peak_memory_gb"}
_KILL_STAGES = "act_first:2,think_first:2"
_KILL_ITERATIONS = 4
_WAIT_S = 200.0
_SHARE_OF_PEAK = 0.7
"""Of the memory that the unlimited run took, what the limited one gets."""
_SLICE_TOKENS = {True: 16384, False: 2048}


def out_of_memory(place: Place) -> Done:
    """One iteration, then the same with less memory than it took: the kit must halve and end with the same update.

    On a GPU the limit is torch's (`set_per_process_memory_fraction`), and torch raises the error. A CPU has no such
    error, so there the pass of a slice above half the tokens raises it. Raises ActreError if nothing was halved.
    """
    import torch

    most = _SLICE_TOKENS[place.gpu]
    config = small(place, f"optim.micro_batch_tokens={most}", "optim.forward=transformers")
    config = replace(config, stages=stages("think_first:1"))
    if place.gpu:
        torch.cuda.reset_peak_memory_stats()
    free = _update(config, place.folder / "free")
    peak = torch.cuda.max_memory_reserved() if place.gpu else 0
    limit = _limited_gpu(int(_SHARE_OF_PEAK * peak)) if place.gpu else _limited_slices(most // 2)
    with warnings.catch_warnings(record=True) as caught, limit:
        warnings.simplefilter("always")
        tight = _update(config, place.folder / "tight")
    halved = [str(one.message) for one in caught if str(one.message).startswith("out of memory")]
    if not halved:
        raise ActreError("with less memory than it took the run went through, and nothing was halved")
    apart = max(float((free[name] - tight[name]).abs().max()) for name in free)
    used = metrics(place, 1, "tight")[0]["micro_batch_tokens"]
    numbers: Numbers = {
        "limit": "torch's, on a GPU" if place.gpu else "simulated: a CPU has no such error",
        "halvings": len(halved),
        "micro_batch_tokens": used,
        "adapter_apart": apart,
        "peak_gb": round(peak / GB, 3),
    }
    return Done(f"halved to {used} tokens a micro-batch; the adapters are {apart:.1e} apart", numbers)


def _update(config: RunConfig, out: Path) -> dict[str, Any]:
    """Train into `out`; the adapter's weights. What it held on the GPU is given back."""
    import gc

    import torch
    from safetensors.torch import load_file

    from actre.training import train

    result = train(config, out, progress=False)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return dict(load_file(result.adapter / "adapter_model.safetensors"))


@contextmanager
def _limited_gpu(limit: int) -> Iterator[None]:
    """This process gets at most so many bytes of the GPU."""
    import torch

    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _limited_slices(tokens: int) -> Iterator[None]:
    """The pass of a slice with more padded tokens raises torch's error of a GPU."""
    import torch

    from actre.training.loss import SlicedTrainer

    plain = SlicedTrainer.compute_loss

    def compute_loss(self: Any, model: Any, piece: dict[str, Any], *rest: Any) -> Any:
        if piece["prompt_ids"].numel() + piece["completion_ids"].numel() > tokens:
            raise torch.cuda.OutOfMemoryError(f"simulated: more than {tokens} tokens in a slice")
        return plain(self, model, piece, *rest)

    with mock.patch.object(SlicedTrainer, "compute_loss", compute_loss):
        yield


def kill_and_resume(place: Place) -> Done:
    """A run killed with SIGKILL after its first iteration, and resumed, ends as one that was left alone.

    On a CPU bit for bit; on a GPU sums may be taken in another order, so there only the iterations are compared.
    """
    config = small(place)
    actre(place, *words(config, str(place.folder / "whole"), _KILL_STAGES))
    run = place.folder / "run"
    process = start(place, *words(config, str(run), _KILL_STAGES))
    until = time.monotonic() + _WAIT_S
    while not _lines(run) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    killed_after = _lines(run)
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    if code != -signal.SIGKILL:
        raise ActreError(f"the run ended with code {code} before it was killed: {tail(place.folder / 'log.txt')}")
    actre(place, "train", "--resume", str(run), "--no-entropy", "--evaluate", "0")
    lines = [metrics(place, _KILL_ITERATIONS, name) for name in ("run", "whole")]
    plain = [[{k: v for k, v in line.items() if k not in _TIMES} for line in one] for one in lines]
    weights = [
        (place.folder / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("run", "whole")
    ]
    same = plain[0] == plain[1] and weights[0] == weights[1]
    if not same and not place.gpu:
        raise ActreError("the resumed run differs from the one that was left alone")
    numbers: Numbers = {"killed_after": killed_after, "iterations": _KILL_ITERATIONS, "same_bits": same}
    return Done(f"killed after {killed_after}, resumed to {_KILL_ITERATIONS}; the same bits: {same}", numbers)


def _lines(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def two_processes(place: Place) -> Done:
    """`accelerate launch` with TRL's multi_gpu.yaml and two processes; on a CPU they share it."""
    found = find_spec("trl")  # not imported: only its files are needed
    if found is None or found.origin is None:
        raise ActreError("trl is not installed: pip install -e '.[train]' in the checkout")
    configs = Path(found.origin).parent / "accelerate_configs"
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(configs / "multi_gpu.yaml")]
    launch += ["--num_processes", "2", "--main_process_port", "0"]
    actre(place, *words(small(place), str(place.folder / "run"), "think_first:2"), launch=launch)
    line = metrics(place, 2)[-1]
    numbers: Numbers = {name: line.get(name) for name in ("rollout_s", "update_s", "engine_gap_nats")}
    return Done(f"two processes, {line['env_steps']} environment steps", numbers)


def warm_start(place: Place) -> Done:
    """Two steps of supervised fine-tuning, and compliance before and after."""
    out = place.folder / "run"
    more = ["--episodes", "2", "--states-per-episode", "1", "--batch-size", "2", "--steps", "2", "--states", "2"]
    actre(place, "warmstart", "--preset", place.model, "--no-merge", *more, "--out", str(out))
    losses = [line["loss"] for line in read_jsonl(out / "metrics.jsonl") if "loss" in line]
    if not losses or not all(loss == loss and abs(loss) < 1e6 for loss in losses):
        raise ActreError(f"losses {losses}: not finite")
    return Done(
        f"loss {losses[0]:.2f} to {losses[-1]:.2f} in two steps", {"loss_first": losses[0], "loss_last": losses[-1]}
    )
