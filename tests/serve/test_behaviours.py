"""What the server promises (docs/serve.md), scaled to seconds; `make soak` is the same at full counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.soak.behaviours import BEHAVIOURS
from tests.serve.soak.scale import EVERYDAY


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour(name: str, tmp_path: Path) -> None:
    BEHAVIOURS[name](tmp_path, EVERYDAY)
