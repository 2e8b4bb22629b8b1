"""Files: containers round-trip, damage is detected, nothing foreign is run."""

from __future__ import annotations

import io
import pickle

import pytest

import fanal
from fanal.core.errors import DataError


def checkpoint():
    return {
        "epoch": 3, "lr": 1e-3, "name": "run", "none": None, "flag": True,
        "model": {"a.weight": fanal.randn(3, 2), "a.bias": fanal.zeros(2)},
        "optimizer": {"state": {0: {"step": fanal.tensor(1.0)}}, "groups": [{"betas": (0.9, 0.99)}]},
        "half": fanal.ones(2, dtype=fanal.bfloat16), "empty": fanal.zeros(0, 3),
        "bools": fanal.tensor([True, False]), "dtype": fanal.float16,
    }  # fmt: skip


def same(a, b):
    if isinstance(a, fanal.Tensor):
        return a.dtype is b.dtype and fanal.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def test_round_trip(tmp_path):
    data = checkpoint()
    fanal.save(data, tmp_path / "c.safetensors")
    assert same(data, fanal.load(tmp_path / "c.safetensors"))
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    buffer = io.BytesIO()
    fanal.save(data, buffer)
    buffer.seek(0)
    assert same(data, fanal.load(buffer))


def test_other_tools_see_the_tensors(tmp_path):
    from safetensors.numpy import load_file

    fanal.save({"a": fanal.ones(2), "b": {"c": fanal.zeros(1)}}, tmp_path / "x")
    assert set(load_file(tmp_path / "x")) == {"a", "b.c"}


def test_damage_is_detected(tmp_path):
    path = tmp_path / "c"
    fanal.save(checkpoint(), path)
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:20], b"", b"\xff" * 8 + whole[8:], whole[8:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match="damaged"):
            fanal.load(path)


def test_pickles_are_refused_with_a_way_out(tmp_path):
    path = tmp_path / "model.pt"
    for data in (pickle.dumps({"a": [1.0]}), b"PK\x03\x04rest"):
        path.write_bytes(data)
        with pytest.raises(DataError, match="save_file"):
            fanal.load(path)


def test_what_cannot_be_stored_is_named():
    with pytest.raises(TypeError, match=r"at 'a\.0'"):
        fanal.save({"a": [object()]}, io.BytesIO())
