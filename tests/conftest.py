"""What holds for all tests."""

from __future__ import annotations

import signal

# A job that a shell starts in the background, as CI may, ignores Ctrl-C and hands that on to its children; the tests
# that send it would then wait in vain. A handler of Python's is not handed on: children start with the default.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
