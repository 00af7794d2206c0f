"""Names of the kit's tiny policies: `tiny` is the default one, and earlier names still work."""

TINY_KINDS = (
    *("neutral", "narrow", "shopper", "even-high", "even-low", "contracted-high", "contracted-low", "middle"),
    *("even-plain", "contracted-plain", "half-other", "half-said"),
)
"""The tiny policies that `actre pretrain-tiny --kind` makes."""

DEFAULT_TINY = "tiny/even-high"
"""What `tiny` means: the organism in which nothing is contracted, and what acting first learns reaches thinking."""

WAS_TINY = "tiny/neutral"
"""What `tiny` meant when saved settings and adapters still named it so; settings name the whole policy since."""

_ALSO = {"tiny": DEFAULT_TINY, "tiny/neutral-v1": WAS_TINY}


def is_tiny(name: str) -> bool:
    """Whether the name is of one of the kit's tiny policies.

    >>> is_tiny("tiny"), is_tiny("tiny/narrow"), is_tiny("tiny-one")
    (True, True, False)
    """
    return name == "tiny" or name.startswith("tiny/")


def whole_name(name: str) -> str:
    """The name with which settings name a tiny policy; other names are returned as they are.

    >>> whole_name("tiny"), whole_name("tiny/neutral-v1"), whole_name("smollm2")
    ('tiny/even-high', 'tiny/neutral', 'smollm2')
    """
    return _ALSO.get(name, name)


def saved_name(name: str) -> str:
    """The name in today's settings of a model that a saved file names.

    >>> saved_name("tiny"), saved_name("tiny/narrow")
    ('tiny/neutral', 'tiny/narrow')
    """
    return WAS_TINY if name == "tiny" else whole_name(name)
