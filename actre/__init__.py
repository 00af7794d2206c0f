"""ActRe Lab: does thinking before acting narrow what a language-model agent tries?

Importing this loads nothing heavy: no torch, no transformers, no engine. Take what you need from the rooms, e.g.
`from actre.entropy import ...`; the README holds the map, `actre.types` the glossary.
"""

__version__ = "0.1.0"
