"""What the server promises (docs/serve.md), scaled to seconds; `make soak` is the same at full counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.soak.behaviours import BEHAVIOURS
from tests.serve.soak.scale import EVERYDAY

# These measure time. A machine that stands still for a moment is not the server's fault; one that does so
# three times is not to be expected. What must never happen (a lost request, other bits) has one try.
TIMED = {
    "bounded queue", "deadlines before compute", "cancellation frees the slot", "cancellation of a stream",
    "reload isolation", "truthful health", "slow clients",
}  # fmt: skip


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour(name: str, tmp_path: Path) -> None:
    for left in reversed(range(3 if name in TIMED else 1)):
        folder = tmp_path / str(left)
        folder.mkdir()
        try:
            BEHAVIOURS[name](folder, EVERYDAY)
            return
        except AssertionError:
            if not left:
                raise
