"""`python -m actre`: the command line."""

import sys

from actre.cli import main

if __name__ == "__main__":
    sys.exit(main())
