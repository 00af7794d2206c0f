"""Out of memory on a GPU: halve what is computed at once and try again. Also measures peak memory."""

import resource
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from actre.types import ActreError

T = TypeVar("T")
_REMEDIES = (
    "lower sampling.max_reply_tokens or sampling.max_prompt_tokens, a windowed history, model.four_bit, a smaller "
    "model, or a larger GPU"
)


class Halved:
    """A number that determines memory use. `run` halves it when a GPU runs out of memory.

    processes: how many train together. With more than one nothing is retried, because the others wait in the same step.
    The messages are templates over {most}, {fewer} and {processes}.
    """

    smallest = 1
    retried: str
    restart: str
    hopeless: str

    def __init__(self, most: int, processes: int = 1) -> None:
        self.most = most
        self._processes = processes

    def run(self, step: Callable[[int], T], undo: Callable[[], None]) -> T:
        """step(most); after a torch.cuda.OutOfMemoryError again with half of it, and a warning.

        undo: called before each further attempt. Raises ActreError, naming the settings to change, below `smallest` and
        with several processes.
        """
        while True:
            try:
                return step(self.most)
            except torch.cuda.OutOfMemoryError as error:
                reason = str(error).strip().splitlines()[0]
            # outside the handler: the error's traceback would keep the failed step's tensors alive
            undo()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            fewer = self.most // 2
            if self._processes > 1 or fewer < self.smallest:
                message = self.restart if self._processes > 1 else self.hopeless
                raise ActreError(f"the GPU is out of memory ({reason}): {self._filled(message, fewer)}")
            warnings.warn(f"out of memory: {self._filled(self.retried, fewer)}", stacklevel=2)
            self.most = fewer

    def _filled(self, message: str, fewer: int) -> str:
        return message.format(most=self.most, fewer=fewer, processes=self._processes, remedies=_REMEDIES)


class MicroBatches(Halved):
    """Padded tokens in one forward and backward pass. They do not change the result."""

    smallest = 256  # a longer row is computed alone in any case
    retried = (
        "micro-batches have {fewer} tokens from now on instead of {most}. The result is the same; "
        "--set optim.micro_batch_tokens={fewer} starts there"
    )
    restart = (
        "with {processes} processes, one cannot repeat a step alone; start again with "
        "--set optim.micro_batch_tokens={fewer}"
    )
    hopeless = (
        "fewer than {most} tokens in a micro-batch do not help. What does: {remedies} (actre doctor --preset NAME "
        "estimates it)"
    )


class EpisodesAtOnce(Halved):
    """Episodes played at once. With fewer, other random numbers are drawn: different, equally valid samples."""

    retried = (
        "{fewer} episodes are played at once from now on instead of {most}, which takes longer. "
        "Fewer optim.groups need less memory"
    )
    restart = (
        "one of {processes} processes plays {most} episodes at once; start again with fewer optim.groups, a smaller "
        "optim.group_size, or more processes"
    )
    hopeless = "not even one episode can be played. What helps: {remedies}"


def peak_memory_gb() -> float:
    """This process's peak memory in GB: allocated on the GPU if there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9
