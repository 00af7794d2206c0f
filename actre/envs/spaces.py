"""The spaces of texts: cheap to have by the thousand, and honest about shared memory."""

import copy
from typing import Any, Self

from gymnasium import spaces
from gymnasium.error import CustomSpaceError
from gymnasium.vector.utils import create_shared_memory


class LongText(spaces.Text):
    """Strings of a set of characters. `another()` makes an equal space that shares its tables and has its own seed."""

    def another(self) -> Self:
        """An equal space. Building the tables of a space anew takes 5 ms and 200 kB."""
        twin = copy.copy(self)
        twin._np_random = None  # type: ignore[assignment]
        return twin


class AnyText(LongText):
    """Strings of any characters, as listings contain them; samples consist of letters and digits."""

    def contains(self, x: Any) -> bool:
        """Whether x is a string of an allowed length."""
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length


@create_shared_memory.register(LongText)
def _no_shared_memory(space: LongText, n: int = 1, ctx: Any = None) -> Any:
    """gymnasium 1.4 pads shared texts with a character of their own, which nothing takes off again."""
    raise CustomSpaceError(
        "texts cannot be in shared memory: make_vec(..., vectorization_mode='async', "
        "vector_kwargs={'shared_memory': False}), or 'sync', which is faster here"
    )
