"""Programs that earlier runs compiled are taken from the disk, as they are for readers."""

from __future__ import annotations

import pytest

from rlbook.deep.compilation_cache import keep_programs


@pytest.fixture(autouse=True, scope="session")
def programs() -> None:
    keep_programs()
