"""Programs of another machine, run here: under qemu-user, or as WebAssembly in wasmtime and Node.

A program is linked without any library: its kernels, and a frame in the runtime's dialect that reads
the inputs, runs the table of phases with its loops and branches, and writes the outputs.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fanal.backends.native.jit import compile_ir
from fanal.backends.native.listing import Listing, listing_of
from fanal.backends.native.arena import plan_arena
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.lower import lower
from fanal.backends.native.program import Access, Kernel, ProgramBuilder
from fanal.backends.native.runtime import control, layout
from fanal.backends.native.runtime.dialect import translate
from fanal.backends.native.target import AARCH64, ARMV7, RISCV64, WASM32, Target
from fanal.graph.ir import Graph
from fanal.ops.primitive import contiguous_strides

# Linux's numbers of read, write and exit, and a system call in machine words, as LLVM needs an assembler
# for that: the number and three arguments move to where they belong.
_CALLS = {
    "aarch64": (63, 64, 93, (0xAA0003E8, 0xAA0103E0, 0xAA0203E1, 0xAA0303E2, 0xD4000001, 0xD65F03C0)),
    "armv7": (3, 4, 1, (0xE52D7004, 0xE1A07000, 0xE1A00001, 0xE1A01002, 0xE1A02003, 0xEF000000,
                        0xE49D7004, 0xE12FFF1E)),
    "riscv64": (63, 64, 93, (0x50893, 0x58513, 0x60593, 0x68613, 0x73, 0x8067)),
}  # fmt: skip

_FRAME = '''
@export
def run_all():
    index = 0
    while index < SLOTS:
        i64[bufs + (index << 3)] = i64(memory) + i64[places + (index << 3)]
        index += 1
    status = memory + STATUS_AT
    entry = table
    end = table + (ENTRIES << 5)
    while entry != end:
        number = i64[entry]
        desc = words + i64[entry + 8]
        tasks = i64[entry + 16]
        entry = entry + 32
        if tasks < 0:
            entry = entry + run_control(desc, bufs)
        else:
            task = 0
            while task < tasks:
                kernel(number, desc, bufs, task, status)
                task += 1
            if i64[status] != 0:
                break

@export
def where() -> ptr:
    return memory
'''
_START = '''
@export
def _start():
    at = memory
    end = memory + INPUT_BYTES
    while at != end:
        got = i64(system(ptr(READ), ptr(0), at, ptr(i64(end) - i64(at))))
        if got <= 0:
            system(ptr(EXIT), ptr(1), None, None)
        at = at + got
    run_all()
    at = memory + STATUS_AT
    end = at + OUTPUT_BYTES
    while at != end:
        at = at + i64(system(ptr(WRITE), ptr(1), at, ptr(i64(end) - i64(at))))
    system(ptr(EXIT), ptr(0), None, None)
'''
_KNOWN = {
    "kernel": "def kernel(n: i64, desc: ptr, bufs: ptr, task: i64, status: ptr): ...",
    "system": "def system(number: ptr, a: ptr, b: ptr, c: ptr) -> ptr: ...",
}
_NODE = """
const fs = require("fs");
const module = new WebAssembly.Module(fs.readFileSync(process.argv[1]));
const {memory, run_all, where} = new WebAssembly.Instance(module).exports;
const [from, size] = process.argv.slice(2).map(Number);
const bytes = new Uint8Array(memory.buffer, where() >>> 0);
bytes.set(fs.readFileSync(0));
run_all();
fs.writeSync(1, bytes.subarray(from, from + size));
"""


@dataclass(frozen=True)
class Engine:
    """Something that runs the programs of a target: takes a linked program, its inputs as they lie in
    memory, and from where to where the outputs lie."""

    name: str
    target: Target
    execute: Callable[[bytes, bytes, int, int], bytes] | None  # None: it is not there
    missing: str

    def run(self, graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of a graph on contiguous arrays."""
        loads = [
            Load(v.dtype, v.shape, Access(i, v.dtype, v.shape, contiguous_strides(v.shape)))
            for i, v in enumerate(graph.inputs)
        ]
        outputs = [np.empty(v.shape, v.dtype.numpy) for v in graph.outputs]
        accesses = [
            Access(len(loads) + i, v.dtype, v.shape, contiguous_strides(v.shape))
            for i, v in enumerate(graph.outputs)
        ]
        program = lower(graph, loads, accesses, self.target)
        code, status, places = _linked(program, arrays, outputs, self.target)
        given = bytearray()
        for a in arrays:
            given += bytes(-len(given) % 64) + np.ascontiguousarray(a).tobytes()
        assert self.execute is not None
        found = self.execute(code, bytes(given), status, places[-1])
        assert found[:8] == bytes(8), f"the program reported status {found[:8]!r}"
        for o, at in zip(outputs, places, strict=False):
            raw = found[at : at + o.nbytes]
            o[...] = np.frombuffer(raw, o.dtype).reshape(o.shape)
        return outputs


def _linked(
    program: ProgramBuilder, arrays: Sequence[np.ndarray], outputs: Sequence[np.ndarray], target: Target
) -> tuple[bytes, int, list[int]]:
    """The program, where its status lies, and where behind that each output does (and all of them end)."""
    top = 0
    slots: list[int] = []

    def take(nbytes: int) -> int:
        nonlocal top
        at = -(-top // 64) * 64
        top = at + max(nbytes, 1)
        return at

    slots += [take(a.nbytes) for a in arrays]
    given = slots[-1] + arrays[-1].nbytes if slots else 0
    status = take(16)
    slots += [take(o.nbytes) for o in outputs]
    ends = [*(s - status for s in slots[len(arrays) :]), top - status]
    arena = plan_arena(program.temps)
    scratch = take(arena.nbytes)
    slots += [scratch + o for o in arena.offsets]
    listing = listing_of(program.arguments, program.phases, program.temps, arena, 0)
    kernels = {p.kernel.key: p.kernel for p in program.phases}
    constants = {
        "SLOTS": len(slots), "STATUS_AT": status, "ENTRIES": len(listing.entries), "INPUT_BYTES": given,
        "OUTPUT_BYTES": ends[-1],
    }  # fmt: skip
    frame = _frame(listing, slots, top, [k for k in kernels.values() if not k.entry], constants, target)
    objects = [_object(k, target) for k in kernels.values() if not k.entry]
    return _link([compile_ir(frame, target), *objects], target), status, ends


def _array(name: str, values: Sequence[int]) -> str:
    items = ", ".join(f"i64 {v}" for v in values or [0])
    return f"@{name} = internal constant [{len(values) or 1} x i64] [{items}], align 64\n"


def _frame(
    listing: Listing, slots: Sequence[int], size: int, kernels: Sequence[Kernel],
    constants: dict[str, int], target: Target,
) -> str:  # fmt: skip
    """The module that calls kernels: raw IR for data and calls, the rest in the dialect."""
    numbers = {k.key: i for i, k in enumerate(kernels)}
    table, at = [], 0
    entries = zip(listing.entries, listing.tasks, listing.lengths, strict=True)
    for number, tasks, length in entries:
        table += [numbers.get(listing.kernels[number], 0), 8 * at, tasks, 0]
        at += length
    raw = _array("words", listing.words) + _array("table", table) + _array("places", slots)
    raw += f"@memory = internal global [{size} x i8] zeroinitializer, align 64\n"
    raw += f"@bufs = internal global [{len(slots) or 1} x i64] zeroinitializer, align 64\n"
    raw += "define internal void @kernel(i64 %n, ptr %desc, ptr %bufs, i64 %task, ptr %status) #0 {\n"
    cases = " ".join(f"i64 {i}, label %k{i}" for i in range(len(kernels)))
    raw += f"  switch i64 %n, label %none [{cases}]\nnone:\n  unreachable\n"
    declared = ""
    for i, kernel in enumerate(kernels):
        raw += f"k{i}:\n  call void @{_name(kernel)}(ptr %desc, ptr %bufs, i64 %task, ptr %status)\n  ret void\n"
        declared += f"declare void @{_name(kernel)}(ptr, ptr, i64, ptr)\n"
    raw += "}\n"
    parts = {"control": control.SOURCE, "frame": _FRAME}
    if target.name in _CALLS:
        read, write, leave, words = _CALLS[target.name]
        constants = constants | {"READ": read, "WRITE": write, "EXIT": leave}
        items = ", ".join(f"i32 {w}" for w in words)
        raw += f'@system = internal constant [{len(words)} x i32] [{items}], section ".text", align 4\n'
        parts["start"] = _START
    symbols = ("words", "table", "places", "memory", "bufs")
    body = translate(parts, {**layout.CONSTANTS, **constants}, known=_KNOWN, symbols=symbols)
    return f'{raw}{declared}{body}attributes #0 = {{ nounwind "no-builtins" }}\n'


def _name(kernel: Kernel) -> str:
    return f"k{abs(hash(kernel.key))}"


_objects: dict[tuple[str, str], bytes] = {}


def _object(kernel: Kernel, target: Target) -> bytes:
    key = target.name, kernel.key
    if key not in _objects:
        _objects[key] = compile_ir(kernel.ir(target, _name(kernel)), target)
    return _objects[key]


def _linker(name: str) -> list[str] | None:
    """A linker's command, from the PATH or from ziglang's wheel."""
    found = shutil.which(name)
    if found:
        return [found]
    try:
        import ziglang  # noqa: F401
    except ImportError:
        return None
    return [sys.executable, "-m", "ziglang", name]


def _link(objects: Sequence[bytes], target: Target) -> bytes:
    wasm = target is WASM32
    linker = _linker("wasm-ld" if wasm else "ld.lld")
    assert linker is not None
    how = ["--no-entry", "--export=run_all", "--export=where"] if wasm else ["-static", "-e", "_start"]
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for i, data in enumerate(objects):
            names.append(f"{folder}/{i}.o")
            Path(names[-1]).write_bytes(data)
        made = Path(folder) / "program"
        subprocess.run([*linker, *how, *names, "-o", str(made)], check=True, timeout=60)
        return made.read_bytes()


# -- what runs them ------------------------------------------------------------------------------------


def _emulate(emulator: str, code: bytes, given: bytes, start: int, size: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program"
        path.write_bytes(code)
        path.chmod(0o755)
        done = subprocess.run([emulator, str(path)], input=given, capture_output=True, timeout=120)
    assert done.returncode == 0 and len(done.stdout) == size, (done.returncode, done.stderr)
    return done.stdout


def _in_wasmtime(code: bytes, given: bytes, start: int, size: int) -> bytes:
    import wasmtime

    store = wasmtime.Store(_wasmtime())
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, code), [])
    exports = instance.exports(store)
    at = exports["where"](store) & 0xFFFFFFFF
    exports["memory"].write(store, given, at)
    exports["run_all"](store)
    return bytes(exports["memory"].read(store, at + start, at + start + size))


@functools.cache
def _wasmtime():
    import wasmtime

    return wasmtime.Engine()


def _in_node(code: bytes, given: bytes, start: int, size: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.wasm"
        path.write_bytes(code)
        command = ["node", "-e", _NODE, str(path), str(start), str(size)]
        return subprocess.run(command, input=given, capture_output=True, timeout=120, check=True).stdout


def _engine(target: Target, *commands: str) -> Engine:
    found = next((c for c in map(shutil.which, commands) if c), None)
    execute = None
    if found and _linker("ld.lld"):
        execute = functools.partial(_emulate, found)
    return Engine(target.name, target, execute, f"needs {commands[0]} and ld.lld")


def _wasm_engines() -> list[Engine]:
    try:
        import wasmtime  # noqa: F401

        here = True
    except ImportError:
        here = False
    linked = _linker("wasm-ld") is not None
    node = shutil.which("node") is not None
    return [
        Engine("wasmtime", WASM32, _in_wasmtime if here and linked else None, "needs wasmtime and wasm-ld"),
        Engine("node", WASM32, _in_node if node and linked else None, "needs node and wasm-ld"),
    ]


ENGINES = [
    _engine(AARCH64, "qemu-aarch64", "qemu-aarch64-static"),
    _engine(ARMV7, "qemu-arm", "qemu-arm-static"),
    _engine(RISCV64, "qemu-riscv64", "qemu-riscv64-static"),
    *_wasm_engines(),
]
