"""What holds for all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

# Folders whose tests need the machine to themselves; single tests say so with `@pytest.mark.serial`.
SERIAL_FOLDERS = ("browser",)

# A job that a shell starts in the background, as CI may, ignores Ctrl-C and hands that on to its children; the tests
# that send it would then wait in vain. A handler of Python's is not handed on: children start with the default.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    folders = [config.rootpath / "tests" / name for name in SERIAL_FOLDERS]
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in folders):
            item.add_marker(pytest.mark.serial)


@pytest.fixture(scope="session", autouse=True)
def _one_version_of_each_kernel() -> Iterator[None]:
    """Prevents a second compilation, with its pause, when arrays arrive with another type than declared."""
    yield
    if "rlbook.kernel" in sys.modules:
        for kernel in sys.modules["rlbook.kernel"].all_kernels():
            assert kernel.dispatcher.signatures in ([], [kernel.signature]), kernel.name
