"""The pages on compiling and profiling: their Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["compile.md", "profiler.md"])
def test_the_python_of_a_page_runs(name: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    path = tmp_path / "step.py"
    path.write_text("\n".join(blocks))
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out
    if name == "compile.md":
        assert "step.py:" in printed and "sgd" in printed and "define void @kernel" in printed
        assert (tmp_path / "step.html").stat().st_size > 10_000
    else:
        assert "linear (backward)" in printed and "kernel::" in printed
        assert (tmp_path / "trace.json").exists() and len(list((tmp_path / "log").iterdir())) == 1
