"""Time limit of a command: a number of minutes, or until Ctrl-C."""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Budget:
    """Called before each batch: whether to stop. It also stops before a batch that would exceed the limit.

    minutes: None for no limit. A batch is expected to take as long as the longest so far. by_hand: ended by Ctrl-C.
    """

    def __init__(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._asked: float | None = None
        self._longest = 0.0
        self.over = False
        self.by_hand = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if self._asked is not None:
            self._longest = max(self._longest, now - self._asked)
        self._asked = now
        self.over = self.over or now + self._longest > self._end
        return self.over

    @property
    def why(self) -> str:
        """The reason, as it follows "stopped"."""
        return "by hand" if self.by_hand else f"after the {self._minutes:g} minutes allowed"

    @contextmanager
    def ended_by_hand(self) -> Iterator[None]:
        """A context in which the first Ctrl-C ends the budget, so that the current batch is finished and summarised. A
        second Ctrl-C stops at once.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals
            return
        before = signal.getsignal(signal.SIGINT)

        def end(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, before)
            self.over = self.by_hand = True
            print("\nstopping after the current batch (Ctrl-C again: at once)", file=sys.stderr, flush=True)

        signal.signal(signal.SIGINT, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
