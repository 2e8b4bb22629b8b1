"""From the runtime's IR to Python objects in this process.

`compile_object` makes an object file (what a disk cache keeps), `link_object` maps it, `load` makes
the type and the builtins from the addresses. `compile_and_load` does all three, once. Machine code
and Python objects are leaked on purpose: workers and Storages may outlive every module.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from fanal.backends.native import elf
from fanal.backends.native.codegen import inlined_and_tidied, parsed
from fanal.backends.native.runtime.assemble import runtime_ir
from fanal.backends.native.runtime.layout import RUNTIME_SYMBOLS
from fanal.backends.native.runtime.threads import default_num_threads


@dataclass(frozen=True)
class Runtime:
    """The loaded runtime: a type, its builtins, and the addresses of its native functions."""

    Storage: type
    empty: Callable[[int], Any]
    wrap: Callable[[int, int, object], Any]
    launch: Callable[..., int]
    note_contents: Callable[[int, int], None]
    same_contents: Callable[[int, int], bool]
    same_words: Callable[[int, int], bool]
    replay: Callable[[tuple[Any, ...], tuple[Any, ...], int], Any]
    holds: Callable[[int, list[Any]], int]
    perform: Callable[[int, list[Any], tuple[Any, ...], int], Any]
    launch_recorded: Callable[..., int]
    record_launches: Callable[[int], None]
    set_num_threads: Callable[[int], None]
    get_num_threads: Callable[[], int]
    empty_cache: Callable[[], None]
    memory_stats: Callable[[], dict[str, int]]
    reset_peak_memory_stats: Callable[[], None]
    addresses: dict[str, int]


def check_interpreter() -> None:
    """Refuse interpreters whose objects have another layout than the one we generate code for."""
    version = sys.version_info[:2]
    reason = ""
    if sys.implementation.name != "cpython" or version < (3, 11):
        reason = f"got {sys.implementation.name} {version[0]}.{version[1]}"
    elif sys.maxsize != 2**63 - 1:
        reason = "got a 32-bit build"
    elif "t" in getattr(sys, "abiflags", ""):
        reason = "got a free-threaded build"
    elif hasattr(sys, "gettotalrefcount"):
        reason = "got a debug build"
    elif object.__basicsize__ != 16:  # also a free-threaded build where abiflags does not say so
        reason = f"got one whose object header has {object.__basicsize__} bytes"
    if reason:
        raise ImportError(
            "[fanal] this Python cannot run the native runtime: expected a standard 64-bit build "
            f"of CPython 3.11 or newer, {reason}. Install one, for example from python.org."
        )


def compile_object(triple: str | None = None, cpu: str = "", features: str = "") -> bytes:
    """The runtime as an object file for a target (by default this process's, any processor)."""
    triple = triple or llvm.get_process_triple()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small"
    )
    with parsed(runtime_ir(triple), machine) as (code, builder):
        code.verify()
        inlined_and_tidied(code, builder)
        return bytes(machine.emit_object(code))


def link_object(data: bytes) -> dict[str, int]:
    """Map an object file into this process, for good; the addresses of `RUNTIME_SYMBOLS`."""
    return elf.load(data, RUNTIME_SYMBOLS, elf.process_symbol)


def load(addresses: dict[str, int]) -> Runtime:
    """Make the Python objects of a linked runtime (once a link: its state is its own)."""
    check_interpreter()
    init = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_int64)(addresses["fanal_runtime_init"])
    made: dict[str, Any] = init(threading.main_thread().ident or threading.get_ident())
    made["set_num_threads"](default_num_threads())
    os.register_at_fork(after_in_child=made.pop("after_fork"))
    return Runtime(**made, addresses=addresses)


@functools.cache
def compile_and_load() -> Runtime:
    """The runtime of this process, compiled without a cache; later calls return the same one."""
    check_interpreter()
    return load(link_object(compile_object()))
