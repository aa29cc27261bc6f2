"""`python -m benchmarks [name ...]`: run all benchmarks, or those named; options go to the one that is named."""

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
WITH_OPTIONS = ("dynamic_programming", "memory", "scaling", "learning", "fitted_q", "distributional", "deep")


def main() -> int:
    """Run benchmarks in this process, one after the other."""
    words = sys.argv[1:]
    split = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    chosen, options = words[:split] or list(NAMES), words[split:]
    for name in chosen:
        if name not in NAMES:
            print(f"benchmark {name!r} is unknown; known: {', '.join(NAMES)}", file=sys.stderr)
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
