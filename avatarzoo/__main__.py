"""``python -m avatarzoo``: the command line."""

import sys

from avatarzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
