"""Playing on a terminal: what is shown and asked."""

import sys


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
