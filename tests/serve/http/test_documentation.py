"""The examples of docs/serve-http.md run, and give what stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serve.http.serving import Served

PAGE = (Path(__file__).parents[3] / "docs" / "serve-http.md").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(next(text for kind, text in blocks if kind == "python"), {})
    commands = 0
    with Served({"shapes": tmp_path / "shapes.fanal"}) as s:
        for i, (kind, text) in enumerate(blocks):
            if kind != "bash":
                continue
            commands += 1
            script = "set -eo pipefail\n" + text.replace("curl localhost:8000", f"curl -sS --fail-with-body {s.url}")
            done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
            if i + 1 < len(blocks) and blocks[i + 1][0] == "json":
                assert json.loads(done.stdout) == json.loads(blocks[i + 1][1]), text
    assert commands >= 8


def test_statuses_are_all_named() -> None:
    from fanal.serve.errors import Status

    rows = PAGE.partition("| status | when |")[2].partition("\n\n")[0]
    named = set(map(int, re.findall(r"\b\d{3}\b", rows)))
    # 409 and 501 are for gRPC and the repository, 499 is for nobody: the client is gone.
    assert {s.http for s in Status} - {409, 499, 501} == named
