"""Out of memory on a GPU: a micro-batch's tokens, or the episodes at once, are halved and it is done again.

Knows no trainer: the step comes in as a function of their number, and so does what takes back a half-done one. Says
what memory peaked at, too.
"""

import resource
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch

from actre.types import ActreError

T = TypeVar("T")
SMALLEST = 256
"""Below so many tokens a micro-batch is not made; a single row that is longer is computed alone in any case."""


class Halved(ABC):
    """A number that memory goes with: `run` halves it where a GPU's memory does not do, and tries again.

    processes: how many train together. With more than one nothing is done again: the others wait in it.
    """

    def __init__(self, most: int, processes: int = 1) -> None:
        self.most = most
        self._processes = processes

    def run(self, step: Callable[[int], T], undo: Callable[[], None]) -> T:
        """step(most), with half of it after each torch.cuda.OutOfMemoryError, which is told as a warning.

        undo: called before each further attempt. Raises ActreError, naming the settings to change, where fewer do not
        help, or with several processes.
        """
        while True:
            try:
                return step(self.most)
            except torch.cuda.OutOfMemoryError as error:
                reason = str(error).strip().splitlines()[0]
            # outside the handler: the error's traceback would hold the failed step's tensors
            undo()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            fewer = self.most // 2
            if self._processes > 1:
                raise ActreError(self.begin_again(fewer, reason, self._processes))
            if fewer < self.smallest():
                raise ActreError(self.hopeless(reason))
            warnings.warn(self.from_now_on(fewer), stacklevel=2)
            self.most = fewer

    @abstractmethod
    def smallest(self) -> int:
        """Fewer are not tried."""

    @abstractmethod
    def begin_again(self, fewer: int, reason: str, processes: int) -> str:
        """What is told where one of several processes is out of memory."""

    @abstractmethod
    def hopeless(self, reason: str) -> str:
        """What is told where fewer do not help."""

    @abstractmethod
    def from_now_on(self, fewer: int) -> str:
        """What is told where it goes on with fewer."""


class MicroBatches(Halved):
    """How many padded tokens one forward and backward pass may take. The result does not depend on it."""

    @property
    def tokens(self) -> int:
        return self.most

    def smallest(self) -> int:
        return SMALLEST

    def begin_again(self, fewer: int, reason: str, processes: int) -> str:
        return (
            f"a GPU is out of memory ({reason}), and with {processes} processes a step cannot be done again "
            f"by one: begin again with --set optim.micro_batch_tokens={fewer}"
        )

    def hopeless(self, reason: str) -> str:
        return (
            f"the GPU is out of memory with {self.most} tokens in a micro-batch ({reason}); fewer do not help. "
            "What does: sampling.max_reply_tokens or sampling.max_prompt_tokens lower, a windowed history, "
            "four_bit, a smaller model, a larger GPU; actre doctor --preset NAME estimates it beforehand"
        )

    def from_now_on(self, fewer: int) -> str:
        return (
            f"out of memory: micro-batches have {fewer} tokens from now on instead of {self.most}. The result is the "
            f"same, a little slower; --set optim.micro_batch_tokens={fewer} begins there"
        )


class EpisodesAtOnce(Halved):
    """How many episodes are played at once. Other random numbers are drawn with fewer: other, equally valid samples."""

    def smallest(self) -> int:
        return 1

    def begin_again(self, fewer: int, reason: str, processes: int) -> str:
        return (
            f"a GPU is out of memory ({reason}) while {self.most} episodes are played at once by one of {processes} "
            "processes: begin again with fewer optim.groups, a smaller optim.group_size, or more processes"
        )

    def hopeless(self, reason: str) -> str:
        return (
            f"the GPU is out of memory ({reason}) while one episode is played. What helps: sampling.max_reply_tokens "
            "or sampling.max_prompt_tokens lower, a windowed history, four_bit, a smaller model, a larger GPU"
        )

    def from_now_on(self, fewer: int) -> str:
        return (
            f"out of memory: {fewer} episodes are played at once from now on instead of {self.most}, which takes "
            f"longer. Fewer optim.groups would need less"
        )


def peak_memory_gb() -> float:
    """The most memory this process has held so far: allocated on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9
