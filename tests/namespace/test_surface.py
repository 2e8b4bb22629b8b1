"""No public name is lost and no signature changes by accident; the coverage page says the truth."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

import fanal
from tests.namespace.surface import GOLDEN, surface

ROOT = Path(__file__).parents[2]
HINT = "if this is meant: python -m tests.namespace.surface"


@pytest.mark.parametrize("space", ["fanal", "Tensor"])
def test_names_and_signatures(space: str) -> None:
    expected, found = json.loads(GOLDEN.read_text())[space], surface()[space]
    assert sorted(set(expected) - set(found)) == [], f"names were lost; {HINT}"
    changed = {n: (s, found[n]) for n, s in expected.items() if found[n] != s}
    assert changed == {}, f"signatures changed; {HINT}"


@pytest.mark.parametrize("space", ["fanal", "Tensor"])
def test_every_function_has_a_text(space: str) -> None:
    holder = fanal if space == "fanal" else fanal.Tensor
    silent = [
        n for n, text in surface()[space].items()
        if text.startswith("(") and not (getattr(holder, n).__doc__ or "").strip()
    ]  # fmt: skip
    assert silent == []


def _coverage():
    spec = importlib.util.spec_from_file_location("coverage_page", ROOT / "tools" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_coverage_page_promises_is_there() -> None:
    coverage = _coverage()
    assert coverage.page().startswith("# Coverage")
    have = {space: set(names) for space, (names, _) in coverage.tables().items()}
    text = coverage.PAGE.read_text()
    for space, names in re.findall(r"^## (\S+)\n\nPresent \(\d+\): (.*)\.$", text, re.M):
        lost = set(re.findall(r"`(\w+)`", names)) - have[space]
        assert lost == set(), f"{space}: names that docs/coverage.md promises are gone"


def test_enough_of_pytorch_is_there() -> None:
    counts = {space: len(names) for space, (names, _) in _coverage().tables().items()}
    assert counts["torch"] >= 400
    assert counts["torch.Tensor"] >= 510
