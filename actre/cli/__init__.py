"""The command line, one file a command; app.py finds them."""

from actre.cli.app import (
    COMMANDS,
    build_parser,
    main,
)

__all__ = [
    "COMMANDS",
    "build_parser",
    "main",
]
