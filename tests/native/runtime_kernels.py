"""Kernels of a few lines of IR, and child processes, for the tests of the runtime."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import llvmlite.binding as llvm

from fanal.backends.native.runtime import (
    compile_and_load,
)
from fanal.backends.native.runtime.probe import KERNELS as PROBE_KERNELS
from fanal.backends.native.runtime.probe import compile_kernels

ROOT = Path(__file__).resolve().parents[2]
KERNELS = (
    PROBE_KERNELS  # nothing, work
    + """
; bufs[0][task] += 1
define void @count(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  %base = load ptr, ptr %bufs
  %at = getelementptr i64, ptr %base, i64 %task
  %old = atomicrmw add ptr %at, i64 1 monotonic
  ret void
}
; bufs[0][i] = bufs[i] for i < desc[0]
define void @echo(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
entry:
  %n = load i64, ptr %desc
  %out = load ptr, ptr %bufs
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %from = getelementptr i64, ptr %bufs, i64 %i
  %word = load i64, ptr %from
  %to = getelementptr i64, ptr %out, i64 %i
  store i64 %word, ptr %to
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
; a task whose number is at least desc[0] fails with code desc[1], info = task * desc[2]
define void @fail(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  %from = load i64, ptr %desc
  %bad = icmp sge i64 %task, %from
  br i1 %bad, label %yes, label %no
yes:
  %code.at = getelementptr i64, ptr %desc, i64 1
  %code = load i64, ptr %code.at
  %scale.at = getelementptr i64, ptr %desc, i64 2
  %scale = load i64, ptr %scale.at
  %info = mul i64 %task, %scale
  store i64 %code, ptr %status
  %info.at = getelementptr i64, ptr %status, i64 1
  store i64 %info, ptr %info.at
  ret void
no:
  ret void
}
"""
)
X86_KERNELS = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @set_control(i32 %word) {
  %at = alloca i32
  store i32 %word, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
define i32 @get_control() {
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %word = load i32, ptr %at
  ret i32 %word
}
; bufs[0][task] = MXCSR, after enough work for others to have a share
define void @control(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  call void @work(ptr %desc, ptr %bufs, i64 %task, ptr %status)
  %base = load ptr, ptr %bufs
  %at = getelementptr i64, ptr %base, i64 %task
  %word = call i32 @get_control()
  %wide = zext i32 %word to i64
  store i64 %wide, ptr %at
  ret void
}
"""
IS_X86 = llvm.get_process_triple().startswith("x86_64")
runtime = compile_and_load()
launch, empty, wrap = runtime.launch, runtime.empty, runtime.wrap
_NAMES = ("nothing", "count", "echo", "fail", "work")
kernels = (
    compile_kernels(KERNELS + X86_KERNELS, *_NAMES, "set_control", "get_control", "control")
    if IS_X86
    else compile_kernels(KERNELS, *_NAMES)
)


def in_child(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script against this repository in a process of its own."""
    preamble = """
        import ctypes, os, signal, sys, threading, time
        from array import array
        from fanal.backends.native.runtime import *
        from fanal.backends.native.runtime.probe import address_of, build_program, compile_kernels
        sys.path.insert(0, os.environ["TESTS"])
    """
    script = textwrap.dedent(preamble) + textwrap.dedent(source)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TESTS": str(Path(__file__).parent)}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")

CHILD = """
r = compile_and_load()
from runtime_kernels import KERNELS
kernels = compile_kernels(KERNELS, "count", "work")
counts = array("q", [0] * 8)
program = build_program(1, [(kernels["count"], 0, 8)] * 1000, FLAG_RELEASE_GIL)
p, out = address_of(program), address_of(counts)
"""
