"""Splits text into search words as Anserini does, with Lucene's DefaultEnglishAnalyzer.

The steps: Unicode word boundaries (UAX #29, as in the StandardTokenizer of Lucene 9: emoji are words, as is each Han or
Hiragana character), removal of a final 's, lower case, removal of 33 stop words, and Porter's stemmer (stemmer.py) for
words longer than two characters.
"""

import re
from functools import lru_cache

import regex

from actre.envs.webshop.stemmer import stem

_STOPPED = """a an and are as at be but by for if in into is it no not of on or such that the their then there these
they this to was will with"""
STOP_WORDS = frozenset(_STOPPED.split())
_LONGEST = 255  # StandardTokenizer splits longer words
_POSSESSIVE = ("'s", "’s", "＇s", "'S", "’S", "＇S")

# Extended_Pictographic of Unicode 12, the version of Lucene 9's tokenizer.
_PICTURE = (
    "©®‼⁉™ℹ\u2194-\u2199\u21a9-\u21aa\u231a-\u231b\u2328\u2388\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2\u25aa-\u25ab"
    "\u25b6\u25c0\u25fb-\u25fe\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2714\u2716\u271d"
    "\u2721\u2728\u2733-\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763-\u2767\u2795-\u2797\u27a1\u27b0"
    "\u27bf\u2934-\u2935\u2b05-\u2b07\u2b1b-\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001f0ff"
    "\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171\U0001f17e-\U0001f17f\U0001f18e\U0001f191-\U0001f19a"
    "\U0001f1ad-\U0001f1e5\U0001f201-\U0001f20f\U0001f21a\U0001f22f\U0001f232-\U0001f23a\U0001f23c-\U0001f23f"
    "\U0001f249-\U0001f3fa\U0001f400-\U0001f53d\U0001f546-\U0001f64f\U0001f680-\U0001f6ff\U0001f774-\U0001f77f"
    "\U0001f7d5-\U0001f7ff\U0001f80c-\U0001f80f\U0001f848-\U0001f84f\U0001f85a-\U0001f85f\U0001f888-\U0001f88f"
    "\U0001f8ae-\U0001f8ff\U0001f90c-\U0001f93a\U0001f93c-\U0001f945\U0001f947-\U0001fffd"
)


def _unicode_words() -> str:
    # The relevant classes of UAX #29 under its names; `extend` may follow any character (Extend, Format, ZWJ).
    katakana = r"[\p{Katakana}\u30fc\uff70]"
    one_each = r"[\p{Han}\p{Hiragana}]"
    no_letter = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\uff70\uff9e\uff9f\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    letter, digit, joiner = rf"[\p{{L}}\p{{Nl}}\u24b6-\u24e9--[{no_letter}]]", r"\p{Nd}", r"\p{Pc}"
    extend = r"[\p{M}\p{Cf}\U0001f3fb-\U0001f3ff\uff9e\uff9f--[\u200b]]*"
    either_quote = r".\u2018\u2019\u2024\ufe52\uff07\uff0e'"  # MidNumLet and the apostrophe join letters and digits
    mid_letter = rf"[:\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a{either_quote}]"
    mid_number = rf"[,;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b{either_quote}]"
    tone = r"[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*"
    picture = rf"[{_PICTURE}][\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff]*(?:\u200d[{_PICTURE}]{tone})*"
    flag, keycap = r"[\U0001f1e6-\U0001f1ff]{2}", r"[\d#*]\ufe0f?\u20e3"
    word = (
        rf"(?:{joiner}{extend})*(?:{letter}|{digit}){extend}"
        rf"(?:(?:{letter}|{digit}|{joiner}){extend}"
        rf"|(?<={letter}{extend}){mid_letter}{extend}(?={letter})"
        rf"|(?<={digit}{extend}){mid_number}{extend}(?={digit}))*"
    )
    return rf"(?V1)(?:{picture})|{flag}|{keycap}|{word}|{katakana}(?:{katakana}|{extend})*|{one_each}{extend}"


_words = regex.compile(_unicode_words()).findall
# The same for ASCII, which nearly all text is; ten times as fast.
_ascii_words = re.compile(
    r"_*[a-zA-Z0-9](?:[a-zA-Z0-9_]|(?<=[a-zA-Z])[:.'](?=[a-zA-Z])|(?<=[0-9])[,;.'](?=[0-9]))*"
).findall


def tokens(text: str) -> list[str]:
    """The search words of a text, in order, with repetitions.

    >>> tokens("The Women's running-shoes, size 10.5 (2 pairs)")
    ['women', 'run', 'shoe', 'size', '10.5', '2', 'pair']
    """
    found = _ascii_words(text) if text.isascii() else _words(text)
    return [token for word in found if (token := _token(word))] if len(text) < _LONGEST else _cut(found)


def _cut(found: list[str]) -> list[str]:
    pieces = (word[i : i + _LONGEST] for word in found for i in range(0, len(word), _LONGEST))
    return [token for word in pieces if (token := _token(word))]


@lru_cache(maxsize=1 << 16)
def _token(word: str) -> str:
    """The search word of a word; "" for a stop word."""
    if word.endswith(_POSSESSIVE):
        word = word[:-2]
    word = word.lower()
    if word in STOP_WORDS:
        return ""
    return stem(word) if len(word) > 2 else word
