"""Checks the answer to a notebook's exercise."""

import math


def judge(answer: float | str | None, right: float | str, *, within: float = 0.0, hint: str = "") -> str:
    """A sentence: not answered yet, right, or not yet, with the hint.

    within: the tolerance for a number. Case and surrounding blanks of words are ignored.

    >>> judge(None, 0.5)
    'Not answered yet: put your answer in place of None and run this cell again.'
    >>> judge(0.52, 0.5, within=0.05)
    'Right: 0.5.'
    >>> judge("Narrowed", "widened", hint="Look at the sign.")
    'Not yet. Look at the sign.'
    """
    if answer is None:
        return "Not answered yet: put your answer in place of None and run this cell again."
    if isinstance(right, str):
        fits = str(answer).strip().lower() == right.lower()
        return f"Right: {right}." if fits else f"Not yet. {hint}".rstrip()
    fits = isinstance(answer, int | float) and math.isfinite(answer) and abs(answer - right) <= within
    return f"Right: {right:.3g}." if fits else f"Not yet. {hint}".rstrip()
