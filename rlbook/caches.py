"""Where compiled programs are kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_base() -> Path:
    """The folder of rlbook's caches: RLBOOK_CACHE, else one in the user's cache. It need not be there yet."""
    chosen = os.environ.get("RLBOOK_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("rlbook", appauthor=False))
