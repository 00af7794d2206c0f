"""Porter's stemmer for English words.

Source: M. F. Porter, "An algorithm for suffix stripping" (1980).
Differs: as in Porter's own later programs, step 2 has the endings "bli" and "logi", and words of up to two letters are
unchanged. nltk's PorterStemmer("MARTIN_EXTENSIONS") gives the same stems (tested); it is not used because loading nltk
takes 90 MB and 0.8 s.
"""

import itertools

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble", "logi": "log",
}  # fmt: skip
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip
_LONGEST_FIRST_2 = sorted(_STEP_2, key=len, reverse=True)
_LONGEST_FIRST_4 = sorted(_STEP_4, key=len, reverse=True)


def stem(word: str) -> str:
    """The stem of a lower-case word.

    >>> [stem(word) for word in ("relational", "hopping", "happy", "caresses", "sky", "as")]
    ['relat', 'hop', 'happi', 'caress', 'sky', 'as']
    """
    if len(word) < 3:
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replace(word, _STEP_2, _LONGEST_FIRST_2)
    word = _replace(word, _STEP_3, list(_STEP_3))
    for ending in _LONGEST_FIRST_4:
        if word.endswith(ending):
            rest = word[: -len(ending)]
            if _measure(rest) > 1 and (ending != "ion" or rest.endswith(("s", "t"))):
                word = rest
            break
    if word.endswith("e"):
        rest = word[:-1]
        measure = _measure(rest)
        if measure > 1 or (measure == 1 and not _ends_cvc(rest)):
            word = rest
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


def _plural(word: str) -> str:
    if word.endswith("sses") or word.endswith("ies"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and _has_vowel(rest):
            break
    else:
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if _ends_double(rest):
        return rest if rest[-1] in "lsz" else rest[:-1]
    return rest + "e" if _measure(rest) == 1 and _ends_cvc(rest) else rest


def _replace(word: str, table: dict[str, str], endings: list[str]) -> str:
    for ending in endings:
        if word.endswith(ending):
            rest = word[: -len(ending)]
            return rest + table[ending] if _measure(rest) > 0 else word
    return word


def _consonants(word: str) -> list[bool]:
    """For each letter, whether it is a consonant; y is one at the start and after a vowel."""
    kinds: list[bool] = []
    for letter in word:
        kinds.append(letter not in "aeiou" if letter != "y" else not (kinds and kinds[-1]))
    return kinds


def _measure(word: str) -> int:
    """Porter's m: how often a vowel is followed by a consonant."""
    kinds = _consonants(word)
    return sum(not a and b for a, b in itertools.pairwise(kinds))


def _has_vowel(word: str) -> bool:
    return not all(_consonants(word))


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _consonants(word)[-1]


def _ends_cvc(word: str) -> bool:
    return _consonants(word)[-3:] == [True, False, True] and word[-1] not in "wxy"
