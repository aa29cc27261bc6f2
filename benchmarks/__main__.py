"""`python -m benchmarks [name ...]`: run all benchmarks, or those named; options go to the one that is named.

`quality` runs only where it is named: it measures how well agents learn, not how fast, and takes most of an hour.
"""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "imports",
    "dynamic_programming",
    "memory",
    "scaling",
    "learning",
    "fitted_q",
    "distributional",
    "deep",
    "browser",
    "gpu",
)
WHEN_NAMED = ("quality",)
WITH_OPTIONS = (
    *("dynamic_programming", "memory", "scaling", "learning", "fitted_q", "distributional", "deep"),
    *WHEN_NAMED,
)


def main() -> int:
    """Run benchmarks in this process, one after the other."""
    words = sys.argv[1:]
    split = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    chosen, options = words[:split] or list(NAMES), words[split:]
    for name in chosen:
        if name not in NAMES + WHEN_NAMED:
            print(f"benchmark {name!r} is unknown; known: {', '.join(NAMES + WHEN_NAMED)}", file=sys.stderr)
            return 2
    if options and (len(chosen) > 1 or chosen[0] not in WITH_OPTIONS):
        print(f"options need one of these benchmarks before them: {', '.join(WITH_OPTIONS)}", file=sys.stderr)
        return 2
    for name in chosen:
        benchmark = importlib.import_module(f"benchmarks.{name}")
        benchmark.main(options) if name in WITH_OPTIONS else benchmark.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
