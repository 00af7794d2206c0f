"""Decides where a sampled reply ends: at the token that completes a stop string, or at the end-of-turn token.

A token can complete the stop string only if its text contains the string or begins with an end of it; these tokens are
found once. A token with the whole string ends the reply at once; after one with a part of it, the last few tokens of
the reply are decoded and checked.
"""

from collections.abc import Collection
from typing import Any

import torch


class Stops:
    """The table of one stop string; with `stop` None only the end-of-turn ids end a reply."""

    def __init__(
        self,
        tokenizer: Any,
        stop: str | None,
        end_ids: Collection[int],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        surely = torch.zeros(vocabulary, dtype=torch.bool)
        perhaps = torch.zeros(vocabulary, dtype=torch.bool)
        surely[[i for i in end_ids if i < vocabulary]] = True
        if stop:
            tails = tuple(stop[i:] for i in range(1, len(stop)))
            for token, text in enumerate(_texts(tokenizer, vocabulary)):
                if stop in text:
                    surely[token] = True
                elif text and text.startswith(tails):
                    perhaps[token] = True
        self._surely, self._perhaps = surely.to(device), perhaps.to(device)
        self._any_perhaps = bool(perhaps.any())

    def ends(self, tokens: torch.Tensor, rows: torch.Tensor, t: int) -> torch.Tensor:
        """(rows,) bool: whether token t of these rows of `tokens` (replies, T) ends its reply."""
        token = tokens[rows, t]
        ends = self._surely[token]
        if self._any_perhaps and self._stop is not None:
            perhaps = self._perhaps[token]
            if perhaps.any():
                # each token of the stop string contains at least one of its characters
                first = max(0, t + 1 - len(self._stop))
                for i in perhaps.nonzero().flatten().tolist():
                    ends[i] = self._stop in self._decode(tokens[rows[i], first : t + 1].tolist())
        return ends

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _texts(tokenizer: Any, vocabulary: int) -> list[str]:
    """The text of each id, decoded as a single token, which may drop a blank at its beginning."""
    known = min(vocabulary, len(tokenizer))
    return tokenizer.batch_decode(
        [[i] for i in range(known)], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
