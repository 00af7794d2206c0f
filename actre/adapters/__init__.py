"""Trained adapters: written, reloaded and checked, merged, described, and pushed to a hub.

Files:
    trained.py  export, load, load_policy, check, merge
    files.py    an adapter's folder, and the fingerprint of its base model
    readme.py   the README of an exported folder
    cards.py    what the run was, and what came of it
    hub.py      uploads
"""

from actre.adapters.files import (
    Held,
    adapter_folder,
    fingerprint,
    full_disk,
    must_be_base,
    named_base,
    weights_digest,
    write,
)
from actre.adapters.trained import (
    MERGED_NATS,
    TOLERANCE,
    TOLERANCE_HALF,
    Check,
    check,
    export,
    load,
    load_policy,
    merge,
    must_reload,
)

__all__ = [
    "MERGED_NATS",
    "TOLERANCE",
    "TOLERANCE_HALF",
    "Check",
    "Held",
    "adapter_folder",
    "check",
    "export",
    "fingerprint",
    "full_disk",
    "load",
    "load_policy",
    "merge",
    "must_be_base",
    "must_reload",
    "named_base",
    "weights_digest",
    "write",
]
