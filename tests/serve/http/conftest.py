from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.http.serving import Served, write_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def served(models: dict[str, Path]) -> Iterator[Served]:
    with Served(models) as s:
        yield s
