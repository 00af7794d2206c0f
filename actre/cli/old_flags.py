"""Options under the names that they had in the version before: they still work, with a warning."""

import sys
from collections.abc import Sequence

OLD_FLAGS = {
    "diagnose": {"--most": "--max-thoughts"},
    "pretrain-tiny": {"--work": "--work-dir"},
    "study": {"--again": "--rerun"},
    "train": {"--even-so": "--force"},
    "warmstart": {
        "--batch": "--batch-size",
        "--longest": "--max-length",
        "--micro-batch": "--micro-batch-size",
        "--per-episode": "--states-per-episode",
    },
    "webshop": {"--most": "--max-problems"},
}
"""Command -> earlier option -> today's."""


def in_todays_names(argv: Sequence[str]) -> list[str]:
    """The command line with today's option names; each earlier one is reported on stderr."""
    old = OLD_FLAGS.get(argv[0], {}) if argv else {}
    found = []
    for word in argv:
        name, equals, value = word.partition("=")
        if name in old:
            print(
                f"actre: warning: {name} is now {old[name]}; the old name goes with the next version", file=sys.stderr
            )
        found.append(f"{old.get(name, name)}{equals}{value}")
    return found
