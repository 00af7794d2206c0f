"""The text of each token of a tokenizer, as it appears inside a text.

Decoding a single token is not enough: tokenizers that mark the beginning of a word (such as Llama-2's) drop the blank
of a text's first token.
"""

from functools import lru_cache
from typing import Any

_ANCHOR = ">"
"""Every token is decoded after this: the end of a tag, where these texts are needed."""


class TokenTexts:
    """Decodes all tokens once, on first use."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.beginning_like = lru_cache(maxsize=1024)(self._beginning_like)
        self._texts: list[str] = []

    def _beginning_like(self, token: int) -> tuple[int, ...]:
        """The tokens whose text begins with the text of this one, including itself; ids in ascending order."""
        if not self._texts:
            self._texts = self._all()
        text = self._texts[token] if token < len(self._texts) else ""
        # part of a character, or an id without text, cannot be compared
        if not text or "\ufffd" in text:
            return (token,)
        return tuple(i for i, other in enumerate(self._texts) if other.startswith(text))

    def _all(self) -> list[str]:
        anchor = self._tokenizer.encode(_ANCHOR, add_special_tokens=False)[-1:]
        before = self._decoded([anchor])[0]
        behind = self._decoded([[*anchor, token] for token in range(len(self._tokenizer))])
        return [text.removeprefix(before) for text in behind]

    def _decoded(self, ids: list[list[int]]) -> list[str]:
        return self._tokenizer.batch_decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
