"""What went wrong in a set-up, as one sentence; see bootstrap.py, whose limits on syntax hold here too."""

import os
import re

OLDEST = (3, 11)
NEWEST_TESTED = (3, 13)
INSTALL_BYTES = 1000 * 1024**2  # less than the smallest set-up takes, so that a disk that would do is never refused
NO_DISK = re.compile(r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b", re.IGNORECASE)
NO_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ConnectionResetError|NameResolutionError|ProxyError|"
    r"SSLError|CERTIFICATE_VERIFY_FAILED|Failed to establish a new connection|Connection refused|Read timed out|"
    r"Name or service not known|Temporary failure in name resolution|Network is unreachable|Max retries exceeded"
)
MISSING = re.compile(r"No matching distribution found for ([^\s(]+)")


def explain(lines, version):
    """One sentence on why a step failed, from its output and the version of its Python."""
    text = "\n".join(lines)
    missing = MISSING.search(text)
    if NO_DISK.search(text):
        return no_disk_sentence()
    if NO_NETWORK.search(text):
        return "the package registry cannot be reached; check network, proxy and `pip config list`, then run again"
    if missing:
        return (
            f"no package registry that pip is set to use offers {missing.group(1)} for Python {dotted(version)}; check "
            f"network and `pip config list`, or name a Python from {dotted(OLDEST)} to {dotted(NEWEST_TESTED)} with "
            "PYTHON=/path/to/python"
        )
    if "ResolutionImpossible" in text or "conflicting dependencies" in text:
        return (
            f"the pinned versions in constraints.txt do not fit Python {dotted(version)}; name another Python with "
            "PYTHON=/path/to/python, or change the pin that .venv/setup.log names"
        )
    if "Permission denied" in text:
        return f"some files may not be written ({last_error(lines)}); check who owns the clone, then run again"
    return f"the set-up failed ({last_error(lines)}); the whole story is in .venv/setup.log"


def last_error(lines):
    said = [line.strip() for line in lines if line.strip()] or ["no output"]
    errors = [line for line in said if line.upper().startswith("ERROR")]
    return (errors or said)[-1][:200]


def no_disk_sentence():
    """One sentence on a full disk; the disk that is full may also be the one of the temporary folder."""
    temporary = os.environ.get("TMPDIR", "/tmp")
    size = 2 * INSTALL_BYTES / 1024**3
    return f"no space left on the disk; free about {size:.1f} GB beside the clone and in {temporary}, then run again"


def dotted(version):
    return ".".join(str(part) for part in version)
