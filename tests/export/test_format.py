"""The page about the format names all operations with their attributes, and no others."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import fanal.linalg
import fanal.nn.functional  # noqa: F401 - registers its operations
from fanal.export.attributes import RULES
from fanal.ops.primitive import TABLE

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def test_operations() -> None:
    part = PAGE.split("### Operations")[1].split("### Attributes")[0]
    plain = set(re.findall(r"`(\w+)`", part.split("Elementwise: ")[1].split("\n")[0]))
    rows = {m[1]: set(re.findall(r"`(\w+)`", m[2])) for m in re.finditer(r"^\| `(\w+)` \| (.*?) \|", part, re.M)}
    known = {n: p for n, p in TABLE.items() if p.kind not in ("composed", "missing") and "." not in n}
    assert plain | set(rows) == set(known)
    for name, attributes in rows.items():
        parameters = inspect.signature(known[name].infer).parameters.values()
        assert attributes == {q.name for q in parameters if q.kind is q.KEYWORD_ONLY}, name


def test_every_attribute_has_a_rule() -> None:
    for p in TABLE.values():
        if p.kind not in ("composed", "missing"):
            for q in inspect.signature(p.infer).parameters.values():
                assert q.kind is not q.KEYWORD_ONLY or q.name in RULES, (p, q.name)
