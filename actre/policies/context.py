"""How many tokens a model can hold at once, and the refusal of what is longer. Knows lengths and settings alone.

Past its positions a model with learned ones has no row to look up, and one with rotary ones answers as it was never
trained to. Both are refused; an episode is cut before it gets there (see rollout.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from actre.config import SamplingConfig
from actre.types import ActreError, Cut

SHORTER = "a model with a longer context, a windowed history, or a shorter reply (sampling.max_reply_tokens)"
"""What helps where a prompt and its reply are too long."""


class PromptLimit(NamedTuple):
    """The longest prompt an episode may have, and which of two limits that is."""

    tokens: int
    cut: Cut


def held_by(config: Any) -> int | None:
    """Most tokens of prompt and reply together that a transformers model holds; None where its config says none.

    config: the model's; of one with several parts the text's counts. Rotary, scaled, sliding and learned positions all
    have it as max_position_embeddings, under whatever name their config writes it (GPT-2: n_positions).
    """
    tokens = getattr(config.get_text_config(), "max_position_embeddings", None)
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def prompt_limit(sampling: SamplingConfig, max_context: int | None) -> PromptLimit:
    """The smaller of what the settings allow a prompt and what the model holds beside the longest reply.

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


def must_hold(max_context: int | None, lengths: Iterable[int], more: int, what: str, mend: str) -> None:
    """Raises ActreError where the longest of some sequences, with `more` tokens behind it, is more than a model holds.

    what: the sequences, as in "a prompt"; mend: what to do about it.
    """
    if max_context is None:
        return
    longest = max(lengths, default=0)
    if longest + more <= max_context:
        return
    behind = f" and {more} new ones are" if more else " is"
    raise ActreError(
        f"{what} of {longest} tokens{behind} more than the {max_context} that this policy holds at once: {mend}"
    )
