"""ActRe Lab: does thinking before acting narrow what a language-model agent tries?

Importing this loads nothing heavy: no torch, no transformers, no engine. Take what you need from the sub-packages, e.g.
`from actre.entropy import ...`; the README holds the map, `actre.types` the glossary.
"""

import os

# TRL tells the hub of every trainer that is made (model type, versions). Nothing is sent from here unless asked for by
# HF_HUB_DISABLE_TELEMETRY=0. This counts where it is set before huggingface_hub is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
