"""The file: what other tools see of it, and what happens when it is not what was written."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

import fanal
import fanal.nn as nn
from fanal.core.errors import DataError
from fanal.export import Dim, ExportedProgram, export, load, save


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(5, 7), nn.Linear(7, 3)

    def forward(self, x):
        return self.out(self.first(x).relu()).softmax(-1)


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    fanal.manual_seed(1)
    return export(
        Model(), (fanal.randn(4, 5),), dynamic_shapes=({0: Dim("batch", max=32)},), output_names=["p"],
        labels={"p": ["a", "b", "c"]}, card={"license": "MIT", "metrics": {"accuracy": 0.9}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(program: ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("file") / "model.fanal"
    save(program, path)
    return path.read_bytes()


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def whole(header: dict[str, Any], tensors: bytes) -> bytes:
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + tensors


def test_any_tool_reads_the_weights(program: ExportedProgram, data: bytes, tmp_path: Path) -> None:
    found = safetensors.numpy.load(data)
    for name, t in program.state.items():
        assert (found[name] == t.detach().numpy()).all()
    assert all(n in program.state or n.startswith("__pad__") for n in found)
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert set(fanal.load(path)) == set(found)


def test_tensors_are_aligned(data: bytes) -> None:
    header, _ = parts(data)
    (length,) = struct.unpack("<Q", data[:8])
    assert (8 + length) % 64 == 0
    for name, entry in header.items():
        if not name.startswith("__"):
            assert entry["data_offsets"][0] % 64 == 0, name


def test_the_same_program_is_the_same_file(program: ExportedProgram, data: bytes, tmp_path: Path) -> None:
    save(program, tmp_path / "again.fanal")
    assert (tmp_path / "again.fanal").read_bytes() == data
    save(load(tmp_path / "again.fanal"), tmp_path / "loaded.fanal")
    assert (tmp_path / "loaded.fanal").read_bytes() == data


def test_everything_comes_back(program: ExportedProgram, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.fanal").write_bytes(data)
    loaded = load(tmp_path / "m.fanal")
    s, t = program.signatures["predict"], loaded.signatures["predict"]
    assert str(t.graph).count("\n") == str(s.graph).count("\n")
    assert t.outputs[0].labels == ("a", "b", "c") and loaded.card == program.card
    assert loaded.dims == program.dims and loaded.name == program.name
    assert (t.structure_in, t.structure_out) == (s.structure_in, s.structure_out)
    origins = {n.origin.place for n in t.graph.nodes if n.origin}
    assert origins and all(p.startswith("test_file.py:") for p in origins)
    assert os.sep not in json.dumps(json.loads(parts(data)[0]["__metadata__"]["program"])["origins"])


def test_in_another_process(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.fanal").write_bytes(data)
    code = (
        "import sys, fanal; p = fanal.export.load(sys.argv[1]);"
        "print(p(fanal.ones(2, 5)).numpy().tobytes().hex())"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path / "m.fanal"], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == load(tmp_path / "m.fanal")(fanal.ones(2, 5)).numpy().tobytes().hex()


def test_every_bit_counts(data: bytes, tmp_path: Path) -> None:
    """A flipped bit anywhere is noticed (blanks after the header mean nothing)."""
    path = tmp_path / "flipped.fanal"
    (length,) = struct.unpack("<Q", data[:8])
    text = data[8 : 8 + length].rstrip()
    chance = random.Random(0)
    for _ in range(300):
        at = chance.randrange(len(data))
        if 8 + len(text) <= at < 8 + length:
            continue
        damaged = bytearray(data)
        damaged[at] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            load(path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, -1, -64])
def test_cut_off(data: bytes, length: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.fanal"
    path.write_bytes(data[:length])
    with pytest.raises(DataError, match=r"\[load\] .*cut.fanal is damaged or no safetensors file"):
        load(path)


def test_longer(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "long.fanal"
    path.write_bytes(data + b"\0")
    with pytest.raises(DataError, match="longer or shorter than its tensors"):
        load(path)


def test_a_newer_format_says_so(data: bytes, tmp_path: Path) -> None:
    header, tensors = parts(data)
    header["__metadata__"]["version"] = "2"
    del header["__metadata__"]["sha256"]
    path = tmp_path / "newer.fanal"
    path.write_bytes(whole(header, tensors))
    with pytest.raises(DataError, match="written by a newer version: got format 2; expected at most 1. Try: a newer Fanal"):
        load(path)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    fanal.save({"w": fanal.ones(3)}, path)
    with pytest.raises(DataError, match=r"holds no program.*fanal.load\(\)"):
        load(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="damaged or no safetensors file"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.fanal")


def test_a_failed_save_leaves_the_old_file(program: ExportedProgram, data: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "m.fanal"
    path.write_bytes(data)

    def fails(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        save(program, path)
    assert path.read_bytes() == data and len(list(tmp_path.iterdir())) == 1


def test_what_is_no_program() -> None:
    with pytest.raises(TypeError, match="no exported program"):
        save(Model(), "m.fanal")  # type: ignore[arg-type]
    p = export(Model(), (fanal.randn(4, 5),), card={"made by": object()})
    with pytest.raises(fanal.export.ExportError, match="can't be written"):
        save(p, "m.fanal")


def test_tensors_of_every_dtype(tmp_path: Path) -> None:
    names = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "uint16", "uint32", "uint64"]
    held = {n: fanal.tensor([0, 1, 1]).to(getattr(fanal, n)) for n in names}

    def function(x):
        return [t[:2] for t in held.values()], x

    program = export(function, (fanal.ones(2),))
    save(program, tmp_path / "m.fanal")
    found, _ = load(tmp_path / "m.fanal")(fanal.ones(2))
    assert [t.dtype for t in found] == [t.dtype for t in held.values()]
    assert all(t.tolist() == [0, 1] for t in found)
