"""Trained adapters: export, load, check, merge, model cards, and upload to the hub.

Files:
    trained.py  export, load, load_policy, check, merge
    files.py    the files of an adapter, and the fingerprint of its base model
    readme.py   README.md of an exported folder
    cards.py    the model card's text: training, data, results, settings
    standalone.py  the card's section on use without the kit: prompt, sampling, code
    hub.py      upload to the hub
    warm.py     a shipped warm start of SmolLM2, merged into its base
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
from actre.adapters.standalone import Standalone
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
    "Standalone",
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
