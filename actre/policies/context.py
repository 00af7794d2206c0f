"""The context length of a model, and the refusal of longer sequences.

Beyond it, a model with learned positions has no embedding, and one with rotary positions is untrained. Longer sequences
are refused in both cases; rollout ends an episode before it gets there.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from actre.config import SamplingConfig
from actre.types import ActreError, Cut

SHORTER = "use a model with a longer context, a windowed history, or a shorter reply (sampling.max_reply_tokens)"
"""The remedy for a prompt and reply that are too long, for messages."""


class PromptLimit(NamedTuple):
    """The longest prompt of an episode, and which of the two limits sets it."""

    tokens: int
    cut: Cut


def held_by(config: Any) -> int | None:
    """Most tokens of prompt and reply together for a transformers model; None if its config does not say.

    config: the model's; of a multimodal one the text part counts. For rotary, scaled, sliding and learned positions
    alike it is max_position_embeddings, which transformers also maps to other names (GPT-2: n_positions).
    """
    tokens = getattr(config.get_text_config(), "max_position_embeddings", None)
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def prompt_limit(sampling: SamplingConfig, max_context: int | None) -> PromptLimit:
    """The smaller of the settings' prompt limit and the model's context minus the longest reply.

    >>> prompt_limit(SamplingConfig(max_prompt_tokens=4096, max_reply_tokens=48), 2048)
    PromptLimit(tokens=2000, cut='context')
    >>> prompt_limit(SamplingConfig(max_prompt_tokens=500, max_reply_tokens=48), 2048)
    PromptLimit(tokens=500, cut='prompt')
    """
    if max_context is not None and max_context - sampling.max_reply_tokens < sampling.max_prompt_tokens:
        return PromptLimit(max_context - sampling.max_reply_tokens, "context")
    return PromptLimit(sampling.max_prompt_tokens, "prompt")


def with_candidates(prefixes: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]]) -> Iterator[int]:
    """The length of each prefix with its longest candidate.

    >>> list(with_candidates([[1, 2], [1]], [[[3], [3, 4]], []]))
    [4, 1]
    """
    for prefix, listed in zip(prefixes, candidates, strict=True):
        yield len(prefix) + max(map(len, listed), default=0)


def must_hold(max_context: int | None, lengths: Iterable[int], more: int, what: str, remedy: str) -> None:
    """Raises ActreError if the longest of some sequences, with `more` tokens after it, exceeds a model's context.

    what: the sequences, as in "a prompt"; remedy: what to do about it.
    """
    if max_context is None:
        return
    longest = max(lengths, default=0)
    if longest + more <= max_context:
        return
    after = f" and {more} new ones are" if more else " is"
    raise ActreError(
        f"{what} of {longest} tokens{after} more than the {max_context} that this policy holds at once: {remedy}"
    )
