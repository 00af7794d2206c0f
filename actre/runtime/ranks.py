"""Several processes that train one policy: this process's rank, and values exchanged between processes.

`accelerate launch` and `torchrun` set RANK, WORLD_SIZE and LOCAL_RANK for each process. With a single process every
function is trivial and torch is not loaded.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def count() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return rank() == 0


def cuts_weights() -> bool:
    """Whether the launch shards the weights over the processes (FSDP, DeepSpeed)."""
    asked = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "false").lower() == "true" for name in asked)


def part_here(tensor: Any) -> Any:
    """This process's shard of a sharded tensor; any other tensor unchanged."""
    if not cuts_weights():
        return tensor
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        return tensor.to_local()
    return getattr(tensor, "ds_tensor", tensor)  # DeepSpeed ZeRO-3 attaches the shard to an empty parameter


def claim_device() -> None:
    """Make "cuda" mean this process's own GPU, if there are several processes."""
    if count() == 1:
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def all_of(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks; every process must call it."""
    if count() == 1:
        return [value]
    import torch.distributed

    found: list[T | None] = [None] * count()
    torch.distributed.all_gather_object(found, value)
    return found  # type: ignore[return-value]


def from_first(make: Callable[[], T]) -> T:
    """The result of `make` in the first process, sent to all; an exception there is raised in all of them."""
    if count() == 1:
        return make()
    import torch.distributed

    made: list[T | Exception | None] = [None]
    if is_first():
        try:
            made = [make()]
        except Exception as error:  # the others are waiting, so every error has to be sent to them
            made = [error]
    torch.distributed.broadcast_object_list(made, src=0)
    if isinstance(made[0], Exception):
        raise made[0]
    return made[0]  # type: ignore[return-value]


def leave() -> None:
    """Leave the group of processes; nothing can be exchanged afterwards.

    A process that ends while it is still in the group can be aborted (SIGABRT): threads of gloo may then release
    tensors while Python itself is shutting down (pytorch/pytorch, pull request 179291).
    """
    if count() == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def lost_another(error: BaseException) -> bool:
    """Whether the error means that another process cannot be reached, because it or its connection has ended.

    torch raises a DistBackendError for NCCL, but for gloo a RuntimeError that only its text distinguishes.
    """
    if count() == 1 or not isinstance(error, RuntimeError):
        return False
    import torch.distributed

    text = str(error)
    return isinstance(error, torch.distributed.DistError) or "gloo" in text or "closed by peer" in text


def part_of(items: Sequence[T], part: int, parts: int) -> tuple[int, Sequence[T]]:
    """A part's consecutive items, and the index of the first; the parts' sizes differ by at most one.

    >>> [part_of("abcde", part, 3) for part in range(3)]
    [(0, 'a'), (1, 'bc'), (3, 'de')]
    """
    first, end = len(items) * part // parts, len(items) * (part + 1) // parts
    return first, items[first:end]


def balanced(sizes: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of items distributed so that the parts' total sizes are about equal: largest first, to the smallest part.

    >>> balanced([5, 9, 4, 7], 2)
    [[1, 2], [0, 3]]
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    filled = [0] * parts
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        least = filled.index(min(filled))
        shares[least].append(index)
        filled[least] += sizes[index]
    return [sorted(share) for share in shares]
