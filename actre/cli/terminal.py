"""What is shown and asked on a terminal: a game being played, and a command's last lines."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path


def conclude(folders: Sequence[Path]) -> None:
    """Print what came out of the runs in some folders, in the report's own sentences."""
    from actre.view.answers import answers

    came_out(answers(*folders))


def came_out(said: Sequence[str]) -> None:
    """Print what came out, a sentence or finding a paragraph."""
    width = min(max(shutil.get_terminal_size().columns, 60), 120)
    print("\nwhat came out")
    for line in said:
        print(textwrap.fill(line, width, initial_indent="  ", subsequent_indent="    "))
    print()


def show(text: str) -> None:
    """Print a text; characters that the terminal cannot show, such as lone surrogates, are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def ask(prompt: str, admissible: list[str]) -> str | None:
    """One line from the terminal; None at end of input or on Ctrl-C. `?` lists the admissible actions first."""
    while True:
        try:
            line = input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stdout)
            return None
        if line == "?":
            show("\n".join(f"   {action}" for action in admissible))
        elif line:
            return line
