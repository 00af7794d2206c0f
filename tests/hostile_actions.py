"""Actions that nobody should send: for every interface, none of them may raise."""

import random
from collections.abc import Iterator
from typing import Any

PIECES = (
    "go to", "take", "search[", "click[", "]", "[", "buy now", "\n", "\0", "\ud800", "<r> ", "<a>", "<c>", "<q> x",
    "é" * 50, "{mug}", "%s", "../..", "help", "look", "#intro#", "b" * 3000, "ａ", "🙂", "'; DROP", "\\",
    "next >", "< prev",
)  # fmt: skip
ODD: tuple[Any, ...] = (None, 7, 1.5, b"look", ["look"], {"action": "look"}, "", " ", "search[]", "click[]", "[]")


def actions(number: int, seed: int = 0) -> Iterator[Any]:
    """Mixed pieces, odd values, and now and then something of no type at all."""
    rng = random.Random(seed)
    for _ in range(number):
        yield rng.choice(ODD) if rng.random() < 0.1 else "".join(rng.choices(PIECES, k=rng.randint(1, 4)))
