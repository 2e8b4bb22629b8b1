"""The public names and signatures of `fanal` and `fanal.Tensor`, as text.

`python -m tests.namespace.surface` writes them to the golden list, after a change that is meant.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import fanal

GOLDEN = Path(__file__).parent / "golden" / "surface.json"


def signature(value: Any) -> str:
    """Parameters and defaults; what kind of thing it is, where there are none."""
    if isinstance(value, property):
        return "property"
    if inspect.isclass(value):
        return "class"
    if not callable(value):
        return type(value).__name__
    parts = []
    keyword = False
    for p in inspect.signature(value).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            keyword = True
        if p.kind is p.KEYWORD_ONLY and not keyword:
            parts.append("*")
            keyword = True
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={p.default!r}"
        parts.append(f"{star}{p.name}{default}")
    return f"({', '.join(parts)})"


def surface() -> dict[str, dict[str, str]]:
    """Names and signatures by namespace."""
    spaces = {"fanal": (fanal, fanal.__all__), "Tensor": (fanal.Tensor, dir(fanal.Tensor))}
    return {
        space: {n: signature(getattr(holder, n)) for n in sorted(names) if n[0] != "_"}
        for space, (holder, names) in spaces.items()
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(surface(), indent=0, ensure_ascii=False) + "\n")
    print({space: len(names) for space, names in surface().items()})
