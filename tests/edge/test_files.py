"""What a build writes: reproducible files, libraries that need nothing, errors before any work."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import fanal
import fanal.edge
import fanal.nn as nn
from fanal.core.errors import Limit
from fanal.edge import link
from fanal.edge.checking import check_library
from fanal.edge.link import linker
from fanal.edge.naming import identifiers
from fanal.edge.objects import Elf
from fanal.edge.wasm import imports
from fanal.export import export
from tests.edge.library import built, model_of, needs_host


def network():
    fanal.manual_seed(4)
    model = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 3)).eval()
    return export(model, (fanal.randn(4, 8),), name="small", labels={"output": ["a", "b", "c"]}, card={"licence": "MIT"})


@pytest.mark.parametrize("target", ["x86_64-linux", "aarch64-linux", "riscv64-linux"])
def test_a_library_needs_nothing(target, tmp_path):
    made = fanal.edge.build(network(), tmp_path, target)
    elf = Elf.read((tmp_path / "libsmall.so").read_bytes())
    assert elf.undefined() == set()
    check_library(elf.data, [f"small_{n}" for n in ("abi", "check", "arena_bytes", "cpu_level", "status_text", "selftest", "predict")])
    assert made.driver <= 4096
    assert made.arena["predict"] <= made.bound["predict"] * 1.05 + 4096
    if shutil.which("nm"):
        said = subprocess.run(["nm", "-D", "-u", tmp_path / "libsmall.so"], capture_output=True, text=True)
        assert said.stdout.strip() == ""
    with pytest.raises(RuntimeError, match="its symbols are others"):
        check_library(elf.data, ["small_abi"])


def test_webassembly_imports_nothing_but_memory(tmp_path):
    fanal.edge.build(network(), tmp_path, "wasm32")
    assert imports((tmp_path / "small.wasm").read_bytes()) == ["memory"]
    assert not (tmp_path / "bindings").exists() or not (tmp_path / "bindings" / "python").exists()


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs ziglang")
@pytest.mark.parametrize("target", ["x86_64-linux", "aarch64-linux", "armv7-linux", "riscv64-linux", "wasm32"])
def test_the_linker_of_ziglang(target, tmp_path, monkeypatch):
    """Where the PATH has none; it is a newer one than many systems have."""
    monkeypatch.setattr(link, "linker", lambda name: (sys.executable, "-m", "ziglang", name))
    made = fanal.edge.build(network(), tmp_path, target)
    assert made.driver <= 4096


@needs_host
def test_the_same_program_gives_the_same_files(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    built(network(), first)
    built(network(), second)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes(), path


@needs_host
def test_the_manifest_tells_what_there_is(tmp_path):
    built(network(), tmp_path)
    record = json.loads((tmp_path / "small.json").read_text())
    assert record["licence"] == "MIT"
    (signature,) = record["signatures"]
    assert signature["outputs"] == [{"name": "output", "c": "output", "dtype": "float32", "shape": [4, 3], "labels": ["a", "b", "c"]}]
    assert signature["operations"]["dot"] == 2
    assert signature["rewrites"] == {}
    for name, entry in record["files"].items():
        data = (tmp_path / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert '{ "a", "b", "c" }' in (tmp_path / "small.h").read_text()


@needs_host
def test_weights_may_be_part_of_the_library(tmp_path):
    program = network()
    built(program, tmp_path, embed=True)
    assert not (tmp_path / "small.weights").exists()
    x = fanal.randn(4, 8)
    model = model_of(tmp_path, "small")
    np.testing.assert_array_equal(model.run("predict", {program.signatures["predict"].inputs[0].name: x.numpy()})["output"], program(x).numpy())
    model.selftest()


@needs_host
def test_a_damaged_result_is_found(tmp_path):
    built(network(), tmp_path)
    data = bytearray((tmp_path / "golden.bin").read_bytes())
    data[-64 * 3] ^= 0x40  # in the expected elements, which lie before the bounds
    (tmp_path / "golden.bin").write_bytes(data)
    with pytest.raises(RuntimeError, match="a result is not what it should be"):
        model_of(tmp_path, "small").selftest()
    (tmp_path / "golden.bin").write_bytes(b"x" * 640)
    with pytest.raises(RuntimeError, match="not the golden file"):
        model_of(tmp_path, "small").selftest()


def test_names_are_made_fit_for_c():
    assert identifiers(["a.b", "a_b", "3x", "int", "größe", ""]) == {
        "a.b": "a_b", "a_b": "a_b_2", "3x": "n3x", "int": "int_", "größe": "gr_e", "": "x",
    }  # fmt: skip
    assert identifiers(["Batch", "batch", "arena"], ["ARENA"]) == {"Batch": "Batch", "batch": "batch_2", "arena": "arena_2"}


def test_errors_come_before_any_work(tmp_path):
    program, out = network(), tmp_path / "out"
    with pytest.raises(ValueError, match=r"unknown target: got 'x86-64'; expected one of x86_64-linux"):
        fanal.edge.build(program, out, "x86-64")
    with pytest.raises(ValueError, match="has no such level: got 'avx2'"):
        fanal.edge.build(program, out, levels=["avx2"])
    with pytest.raises(ValueError, match="no signature of that name: got 'train'"):
        fanal.edge.build(program, out, signatures=["train"])
    with pytest.raises(ValueError, match="no dimension of that name: got 'batch'"):
        fanal.edge.build(program, out, dims={"batch": 1})
    solver = export(lambda a: fanal.linalg.eigh(a)[0], (fanal.eye(3),), name="solver")
    with pytest.raises(Limit, match=r"calls code of this machine: got .* at test_files.py:\d+"):
        fanal.edge.build(solver, out)
    assert not out.exists()


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="the package 'ziglang' is not installed")
@pytest.mark.parametrize("target", ["x86_64-linux", "wasm32"])
def test_the_linker_may_come_from_a_package(target, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    linker.cache_clear()
    try:
        assert linker("ld.lld")[1:] == ("-m", "ziglang", "ld.lld")
        fanal.edge.build(network(), tmp_path, target)
    finally:
        linker.cache_clear()
