"""Settings from the machine, and machines and interpreters that are refused or compiled for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from fanal.backends.native.runtime import (
    RUNTIME_SYMBOLS,
    compile_object,
    default_num_threads,
    loader,
    runtime_ir,
    threads,
)


def test_threads_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANAL_NUM_THREADS", "5")
    assert default_num_threads() == 5
    monkeypatch.setenv("FANAL_NUM_THREADS", "many")
    with pytest.raises(ImportError, match="FANAL_NUM_THREADS: expected 1 to 512, got 'many'"):
        default_num_threads()
    monkeypatch.delenv("FANAL_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda *a: None)
    assert default_num_threads() == 16
    monkeypatch.setattr(threads, "_cgroup_quota", lambda *a: 2.5)
    assert default_num_threads() == 3


def test_cgroup_quotas(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    member = tmp_path / "member"
    member.write_text("0::/a/b\n")
    assert threads._cgroup_quota(tmp_path, member) is None
    (inner / "cpu.max").write_text("max 100000\n")
    (tmp_path / "a" / "cpu.max").write_text("250000 100000\n")
    assert threads._cgroup_quota(tmp_path, member) == 2.5
    old = tmp_path / "cpu" / "job"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("150000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    member.write_text("3:cpu,cpuacct:/job\n2:memory:/job\n")
    assert threads._cgroup_quota(tmp_path, member) == 1.5
    assert threads._cgroup_quota(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(
    "triple",
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-macosx14.0.0"],
)
def test_the_runtime_compiles_for_other_machines(triple: str) -> None:
    text = runtime_ir(triple)
    assert text == runtime_ir(triple)
    data = compile_object(triple)
    llvm.initialize_all_targets()
    names = {s.encode() for s in RUNTIME_SYMBOLS}
    assert all(name in data for name in names)
    for call in (b"memset", b"memcpy", b"__aarch64_", b"__atomic"):
        assert call not in data, "a library that the process may lack"


def test_other_processors_are_refused() -> None:
    with pytest.raises(ImportError, match="no native runtime for this processor: got target risc"):
        runtime_ir("riscv64-unknown-linux-gnu")


def test_other_interpreters_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loader.check_interpreter()
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    with pytest.raises(ImportError, match=r"cannot run the native runtime.*got cpython 3.10"):
        loader.check_interpreter()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "abiflags", "t")
    with pytest.raises(ImportError, match="got a free-threaded build"):
        loader.check_interpreter()
