"""`python -m benchmarks [name ...]`: run all benchmarks, or those named."""

from __future__ import annotations

import importlib
import sys

NAMES = ("imports", "dynamic_programming", "browser")


def main() -> int:
    """Run benchmarks in this process, one after the other."""
    chosen = sys.argv[1:] or list(NAMES)
    for name in chosen:
        if name not in NAMES:
            print(f"benchmark {name!r} is unknown; known: {', '.join(NAMES)}", file=sys.stderr)
            return 2
    for name in chosen:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
