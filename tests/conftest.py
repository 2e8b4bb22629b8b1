"""What all tests share: reproducible sampling, Ctrl-C that arrives, and no cache outside of the test run's own folder."""

from __future__ import annotations

import signal

import hypothesis

hypothesis.settings.register_profile(
    "everyday", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("everyday")

# A shell's background jobs start with SIGINT ignored, which Python and its children then keep: tests of
# interrupts would wait for ever. A handler, unlike SIG_IGN, is not inherited by the programs that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
