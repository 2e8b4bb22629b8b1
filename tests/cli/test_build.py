"""`fanal build` and `fanal onnx`: arguments go through, results are shown."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path

import pytest

from fanal.cli import main
from tests.cli.programs import small


def test_arguments_go_through_and_results_are_shown(tmp_path, capsys, monkeypatch):
    given = {}

    def build(program, out, **options):
        given.update(options, program=program.name, out=out)
        options["progress"]("compile kernels", 1, 2)
        return types.SimpleNamespace(
            folder=Path(out), prefix="small", target=options["target"], files={"small.h": 1234, "libsmall.so": 56789},
            kernels={"avx2": 40000}, driver=3000, tables=200, weights=1004, arena={"predict": 2048}, bound={"predict": 2000},
        )  # fmt: skip

    monkeypatch.setitem(sys.modules, "fanal.edge", types.SimpleNamespace(build=build))
    arguments = ["--target", "aarch64-linux", "--level", "neon", "--signature", "predict", "--dim", "batch=4", "--embed"]
    assert main(["build", str(small(tmp_path)), "--out", "lib", "--name", "small", *arguments]) == 0
    given.pop("progress")
    assert given == {
        "program": "Small", "out": "lib", "target": "aarch64-linux", "name": "small", "levels": ["neon"], "embed": True,
        "signatures": ["predict"], "dims": {"batch": 4},
    }  # fmt: skip
    text = capsys.readouterr().out
    assert text.startswith("small for aarch64-linux in lib\n")
    for line in ("  libsmall.so  56,789", "  kernels, avx2    40,000", "  predict   2.05 kB            2 kB  1.02 ×"):
        assert line in text.splitlines(), text


def test_a_library_is_built(tmp_path, capsys):
    pytest.importorskip("fanal.edge")
    if shutil.which("ld.lld") is None:
        pytest.importorskip("ziglang", reason="there is no linker")
    arguments = ["--level", "x86-64", "--dim", "batch=1", "--name", "tiny"]
    assert main(["build", str(small(tmp_path)), "--out", str(tmp_path / "lib"), *arguments]) == 0
    assert {"tiny.h", "libtiny.so"} <= {p.name for p in (tmp_path / "lib").iterdir()}
    text = capsys.readouterr().out
    assert text.startswith("tiny for x86_64-linux in ")
    assert re.search(r"^  libtiny.so +[\d,]+$", text, re.M) and re.search(r"^  predict +[\d.]+ k?B", text, re.M)


def test_a_target_that_there_is_not(tmp_path, capsys):
    pytest.importorskip("fanal.edge")
    assert main(["build", str(small(tmp_path)), "--out", str(tmp_path / "lib"), "--target", "arm"]) == 1
    assert capsys.readouterr().err.startswith("fanal: [build] unknown target: got 'arm'; expected one of x86_64-linux")


def test_an_onnx_model(tmp_path, capsys):
    pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
    path = small(tmp_path, train=True)
    assert main(["onnx", str(path), "--signature", "predict"]) == 0
    assert (tmp_path / "small.onnx").stat().st_size > 1000
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'small.onnx'}: ")
    assert main(["onnx", str(path)]) == 1
    assert "several functions" in capsys.readouterr().err
