"""Names and texts of a program, which may be anybody's, end no comment and no string of what is generated."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess

import pytest

import fanal
import fanal.edge
from fanal.edge.naming import remark
from fanal.export import export

EVIL = '*/ int x(; /* """\nimport os\nraise SystemExit @STATE@ \\ </script><script>alert(1)</script> \u2028 "; }) //'


@pytest.mark.parametrize("target", ["x86_64-linux", "wasm32"])
def test_texts_end_nothing(target, tmp_path):
    program = export(
        lambda x: x.softmax(1), (fanal.rand(1, 1, 4, 4).reshape(1, 16),), name=EVIL, output_names=[EVIL],
        labels={EVIL: [EVIL] * 16}, card={"licence": EVIL, "description": EVIL, EVIL: EVIL},
    )  # fmt: skip
    fanal.edge.build(program, tmp_path, target, name="evil")
    header = tmp_path / "evil.h"
    labels = re.search(r"#define (\w+_LABELS) ", header.read_text())
    if shutil.which("cc"):
        source = f'#include "evil.h"\nconst char *labels[] = {labels[1]};\nint main(void) {{ return 0; }}\n'
        (tmp_path / "main.c").write_text(source)
        command = ["cc", "-std=c99", "-Wall", "-fsyntax-only", "main.c"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
    if target == "wasm32":
        if shutil.which("node"):
            checked = subprocess.run(["node", "--check", str(tmp_path / "evil.mjs")], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stderr
        assert "\nraise" not in (tmp_path / "evil.d.mts").read_text()
    else:
        tree = ast.parse((tmp_path / "bindings" / "python" / "evil.py").read_text())
        assert not any(isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node) for node in ast.walk(tree))


def test_remarks():
    assert remark('a */ b\n"c" \\ d') == "a * / b 'c' / d"
