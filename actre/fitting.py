"""Out of memory on a GPU: the tokens of a micro-batch are halved and the step is done again. And what memory peaked at.

Knows no trainer: the step comes in as a function of the tokens, and so does what takes back a half-done one.
"""

import resource
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from actre.types import ActreError

T = TypeVar("T")
SMALLEST = 256
"""Below so many tokens a micro-batch is not made; a single row that is longer is computed alone in any case."""


class MicroBatches:
    """How many padded tokens one forward and backward pass may take; halved where a GPU's memory does not do.

    processes: how many train together. With more than one a step is not done again: the others wait in it.
    """

    def __init__(self, tokens: int, processes: int = 1) -> None:
        self.tokens = tokens
        self._processes = processes

    def run(self, step: Callable[[int], T], undo: Callable[[], None]) -> T:
        """step(tokens), with fewer of them after each torch.cuda.OutOfMemoryError, which is told as a warning.

        undo: called before each further attempt. Raises ActreError, naming the settings to change, where fewer do not
        help: at `SMALLEST`, or with several processes.
        """
        while True:
            try:
                return step(self.tokens)
            except torch.cuda.OutOfMemoryError as error:
                reason = str(error).strip().splitlines()[0]
            # outside the handler: the error's traceback would hold the failed step's tensors
            undo()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._halve(reason)

    def _halve(self, reason: str) -> None:
        fewer = self.tokens // 2
        if self._processes > 1:
            raise ActreError(
                f"a GPU is out of memory ({reason}), and with {self._processes} processes a step cannot be done again "
                f"by one: begin again with --set optim.micro_batch_tokens={fewer}"
            )
        if fewer < SMALLEST:
            raise ActreError(
                f"the GPU is out of memory with {self.tokens} tokens in a micro-batch ({reason}); fewer do not help. "
                "What does: sampling.max_reply_tokens or sampling.max_prompt_tokens lower, a windowed history, "
                "four_bit, a smaller model, a larger GPU; actre doctor --preset NAME estimates it beforehand"
            )
        warnings.warn(
            f"out of memory: micro-batches have {fewer} tokens from now on instead of {self.tokens}. The result is the "
            f"same, a little slower; --set optim.micro_batch_tokens={fewer} begins there",
            stacklevel=3,
        )
        self.tokens = fewer


def peak_memory_gb() -> float:
    """The most memory this process has held so far: allocated on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9
