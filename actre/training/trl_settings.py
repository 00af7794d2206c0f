"""GRPOConfig from RunConfig, with the placeholders that TRL needs; and transformers' log level during training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from trl import GRPOConfig

from actre.config import RunConfig, derive_seed
from actre.runtime import ranks
from actre.training.packed.padded import is_packed

STEPS_PER_GENERATION = 1
"""Parts into which TRL splits a batch of episodes: one, since each optimizer step sees all of them."""

_PATIENCE_S = 7200
"""How long processes wait for one another: one measures action entropy while the others wait."""


def grpo_config(config: RunConfig, model: torch.nn.Module, out: Path) -> GRPOConfig:
    """TRL's settings. One batch of episodes is one training_step and one optimizer step; loss.py makes the slices."""
    optim = config.optim
    parameter = next(model.parameters())
    return GRPOConfig(
        output_dir=str(out),
        seed=derive_seed(config.seed, "trainer"),
        learning_rate=optim.learning_rate,
        max_grad_norm=optim.max_grad_norm,
        max_steps=config.iterations * optim.updates_per_batch,
        num_iterations=optim.updates_per_batch,
        per_device_train_batch_size=2,  # placeholders: the rows come from the episodes
        num_generations=2,
        gradient_accumulation_steps=1,
        steps_per_generation=STEPS_PER_GENERATION,
        loss_type="dapo",
        epsilon=optim.clip_low,
        epsilon_high=optim.clip_high,
        # "sequence" is set after construction where rows weigh the same, so that TRL does not warn of its token weights
        importance_sampling_level="token" if optim.normalise == "row" else optim.importance_sampling_level,
        entropy_coef=optim.entropy_coef,
        use_bias_correction_kl=False,
        # packed rows keep or compute anew by themselves; and transformers' hook on the embeddings would send sampling
        # through the modules
        gradient_checkpointing=_is_large(model) and not is_packed(config, model),
        use_cpu=parameter.device.type == "cpu" and not (ranks.cuts_weights() and torch.cuda.is_available()),
        bf16=parameter.dtype == torch.bfloat16,
        fp16=parameter.dtype == torch.float16,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=list(config.report_to) or "none",
        run_name=out.name,
        project="actre",
        ddp_find_unused_parameters=False,
        ddp_timeout=_PATIENCE_S,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


def _is_large(model: torch.nn.Module) -> bool:
    """Whether gradient checkpointing pays: from a hundred million parameters on."""
    return sum(p.numel() for p in model.parameters()) > 100_000_000


def keep_precision(model: torch.nn.Module) -> None:
    """Make accelerate compute in the model's own dtype, whatever the launch config says (TRL's: bf16).

    Otherwise the update of a float32 model would round where its sampling does not.
    """
    if "ACCELERATE_MIXED_PRECISION" in os.environ:
        known = {torch.bfloat16: "bf16", torch.float16: "fp16"}
        os.environ["ACCELERATE_MIXED_PRECISION"] = known.get(next(model.parameters()).dtype, "no")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' advice while a progress bar is shown."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
