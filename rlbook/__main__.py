"""`python -m rlbook` is the `rlbook` command."""

from __future__ import annotations

import sys

from rlbook.cli import main

if __name__ == "__main__":
    sys.exit(main())
