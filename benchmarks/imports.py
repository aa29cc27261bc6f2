"""How long `import rlbook` and the command's help take, in fresh processes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.report import Row, median_seconds, publish


def main() -> None:
    """Time whole processes, less that of an empty one."""

    def process(*arguments: str) -> float:
        return median_seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))

    empty = process("-c", "")
    publish(
        "imports",
        [
            Row("import rlbook", "rlbook", process("-c", "import rlbook") - empty, "s", 0.3),
            Row("rlbook --help, whole process", "rlbook", process("-m", "rlbook", "--help"), "s", 0.5),
            Row("import rlbook.tabular", "rlbook", process("-c", "import rlbook.tabular") - empty, "s"),
        ],
    )


if __name__ == "__main__":
    main()
