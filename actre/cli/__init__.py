"""The command line: one file per command; app.py lists and runs them; old_flags.py has renamed options."""

from actre.cli.app import COMMANDS, build_parser, main

__all__ = ["COMMANDS", "build_parser", "main"]
