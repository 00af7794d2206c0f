"""Several processes that train one policy: who this one is, and how values go between them.

Knows the processes as `accelerate launch` or `torchrun` start them, each with RANK, WORLD_SIZE and LOCAL_RANK in its
environment; alone, every function here is the plain thing, and torch is not loaded. What each process does with its
share is the trainer's matter.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that writes files and shows things."""
    return rank() == 0


def cuts_weights() -> bool:
    """Whether the launch asks for weights that are cut over the processes (FSDP, DeepSpeed), each holding a part."""
    asked = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "false").lower() == "true" for name in asked)


def part_here(tensor: Any) -> Any:
    """Of a tensor that is cut over the processes the part that this one holds; any other as it is."""
    if not cuts_weights():
        return tensor
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        return tensor.to_local()
    return getattr(tensor, "ds_tensor", tensor)  # DeepSpeed ZeRO-3 hangs the part on an empty parameter


def claim_device() -> None:
    """Make this process' own GPU the one that is meant by "cuda", where there are several processes."""
    if count() == 1:
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def all_of(value: T) -> list[T]:
    """Every process' value, in the order of their ranks; all of them call it. Alone: [value]."""
    if count() == 1:
        return [value]
    import torch.distributed

    found: list[T | None] = [None] * count()
    torch.distributed.all_gather_object(found, value)
    return found  # type: ignore[return-value]


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives in the first process, in all of them; an exception there is raised in all of them."""
    if count() == 1:
        return make()
    import torch.distributed

    made: list[T | Exception | None] = [None]
    if is_first():
        try:
            made = [make()]
        except Exception as error:  # the others wait: whatever it is, they are told before it goes on
            made = [error]
    torch.distributed.broadcast_object_list(made, src=0)
    if isinstance(made[0], Exception):
        raise made[0]
    return made[0]  # type: ignore[return-value]


def lost_another(error: BaseException) -> bool:
    """Whether it says that another process cannot be reached: it has ended, or the connection to it has.

    torch raises a DistBackendError for NCCL, and for gloo a RuntimeError that only its text tells from others.
    """
    if count() == 1 or not isinstance(error, RuntimeError):
        return False
    import torch.distributed

    said = str(error)
    return isinstance(error, torch.distributed.DistError) or "gloo" in said or "closed by peer" in said


def part_of(items: Sequence[T], part: int, parts: int) -> tuple[int, Sequence[T]]:
    """The part's share of consecutive items, and the index of its first one; shares differ by one at most.

    >>> [part_of("abcde", part, 3) for part in range(3)]
    [(0, 'a'), (1, 'bc'), (3, 'de')]
    """
    first, end = len(items) * part // parts, len(items) * (part + 1) // parts
    return first, items[first:end]


def balanced(sizes: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of items shared out so that the parts' sizes are about equal: largest first, each to the smallest part.

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
