"""What all tests share: reproducible sampling, and no cache outside of the test run's own folder."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "everyday", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("everyday")
