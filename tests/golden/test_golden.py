"""Programs of every format version are read for ever, and answer what they answered then.

Other processors round a little differently (grade B): the files were written with AVX-512.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import fanal
from fanal.export import load

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("v*/*.fanal"))
DIGESTS = dict(line.split("  ")[::-1] for line in (HERE / "SHA256SUMS").read_text().splitlines())


@pytest.mark.parametrize("path", FILES, ids=[f"{p.parent.name}-{p.stem}" for p in FILES])
def test_answers_as_ever(path: Path) -> None:
    program, known = load(path), fanal.load(path.with_suffix(".safetensors"))
    (signature,) = program.signatures
    for i in range(1 + max(int(k.split(".")[0]) for k in known)):
        inputs = {k.split(".", 2)[2]: v for k, v in known.items() if k.startswith(f"{i}.in.")}
        wanted = {k.split(".", 2)[2]: v for k, v in known.items() if k.startswith(f"{i}.out.")}
        found = program.run(inputs, signature)
        assert set(found) == set(wanted)
        for name, t in wanted.items():
            assert found[name].dtype is t.dtype
            if t.dtype.kind == "f":
                np.testing.assert_allclose(found[name].float().numpy(), t.float().numpy(), rtol=2e-5, atol=2e-6)
            else:
                assert found[name].tolist() == t.tolist()


def test_nobody_changed_them() -> None:
    found = {f"{p.parent.name}/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in HERE.glob("v*/*")}
    assert found == DIGESTS
