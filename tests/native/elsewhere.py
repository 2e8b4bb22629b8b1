"""Programs of another machine, run here: under qemu-user, or as WebAssembly in wasmtime and Node.

A program is linked without any library: its kernels, and a frame in the runtime's dialect that reads
the inputs, runs the table of phases with its loops and branches, and writes the outputs.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fanal.backends.native.arena import Arena, plan_arena
from fanal.backends.native.executable import outline_of
from fanal.backends.native.jit import compile_ir
from fanal.backends.native.listing import Listing, listing_of
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.lower import lower
from fanal.backends.native.program import Access, Kernel, Phase, Temp
from fanal.backends.native.runtime import control, layout
from fanal.backends.native.runtime.dialect import translate
from fanal.backends.native.runtime.system import RAW, float_control
from fanal.backends.native.target import AARCH64, ARMV7, RISCV64, WASM32, Target
from fanal.edge.link import linker
from fanal.graph.ir import Graph, Value
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
    fp_set_control(FP_DEFAULT)
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

    @property
    def flushes(self) -> bool:
        """Whether subnormal numbers are zero there."""
        return self.target is ARMV7

    def run(
        self, graph: Graph, arrays: Sequence[np.ndarray], whole: bool = False
    ) -> list[np.ndarray]:
        """The outputs of a graph on contiguous arrays; `whole`: fused and laid out as compiled programs."""
        loads = [Load(v.dtype, v.shape, _dense(i, v)) for i, v in enumerate(graph.inputs)]
        accesses = [_dense(len(loads) + i, v) for i, v in enumerate(graph.outputs)]
        if whole:
            made = outline_of(graph, loads, accesses, target=self.target)
            phases, temps = made.phases, made.temps
        else:
            lowered = lower(graph, loads, accesses, self.target)
            lowered.finish()
            phases, temps = lowered.phases, lowered.temps
        memory = _Memory.of(arrays, graph.outputs, temps)
        code = _linked(phases, temps, memory, self.target)
        given = bytearray(memory.input_bytes)
        for a, at in zip(arrays, memory.slots, strict=False):
            given[at : at + a.nbytes] = np.ascontiguousarray(a).tobytes()
        assert self.execute is not None
        found = self.execute(code, bytes(given), memory.status, memory.output_bytes)
        assert found[:8] == bytes(8), f"the program reported status {found[:8]!r}"
        outputs = []
        for v, at in zip(graph.outputs, memory.slots[len(arrays) :], strict=False):
            flat = np.frombuffer(found, v.dtype.numpy, math.prod(v.shape), at - memory.status)
            outputs.append(flat.reshape(v.shape))
        return outputs


def _dense(buffer: int, value: Value) -> Access:
    return Access(buffer, value.dtype, value.shape, contiguous_strides(value.shape))


@dataclass(frozen=True)
class _Memory:
    """Where inputs lie, the status behind them, then outputs, then temporaries."""

    slots: list[int]
    input_bytes: int
    status: int
    output_bytes: int  # the status included
    arena: Arena
    size: int

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray], outputs: Sequence[Value], temps: Sequence[Temp]) -> _Memory:
        top = 0

        def take(nbytes: int) -> int:
            nonlocal top
            at = -(-top // 64) * 64
            top = at + max(nbytes, 1)
            return at

        slots = [take(a.nbytes) for a in arrays]
        given = slots[-1] + arrays[-1].nbytes if slots else 0
        status = take(16)
        slots += [take(math.prod(v.shape) * v.dtype.itemsize) for v in outputs]
        output_bytes = top - status
        arena = plan_arena(temps)
        scratch = take(arena.nbytes)
        return cls([*slots, *(scratch + o for o in arena.offsets)], given, status, output_bytes, arena, top)


def _linked(
    phases: Sequence[Phase], temps: Sequence[Temp], memory: _Memory, target: Target
) -> bytes:
    listing = listing_of(len(memory.slots) - len(temps), phases, temps, memory.arena, 0)
    kernels = list({p.kernel.key: p.kernel for p in phases if not p.kernel.entry}.values())
    frame = _frame(listing, memory, kernels, target)
    return _link([compile_ir(frame, target), *(_object(k, target) for k in kernels)], target)


def _array(name: str, values: Sequence[int]) -> str:
    items = ", ".join(f"i64 {v}" for v in values or [0])
    return f"@{name} = internal constant [{len(values) or 1} x i64] [{items}], align 64\n"


def _frame(listing: Listing, memory: _Memory, kernels: Sequence[Kernel], target: Target) -> str:
    """The module that calls kernels: raw IR for data and calls, the rest in the dialect."""
    slots = memory.slots
    constants = {
        "SLOTS": len(slots), "STATUS_AT": memory.status, "ENTRIES": len(listing.entries),
        "INPUT_BYTES": memory.input_bytes, "OUTPUT_BYTES": memory.output_bytes,
    }  # fmt: skip
    numbers = {k.key: i for i, k in enumerate(kernels)}
    table, at = [], 0
    entries = zip(listing.entries, listing.tasks, listing.lengths, strict=True)
    for number, tasks, length in entries:
        table += [numbers.get(listing.kernels[number], 0), 8 * at, tasks, 0]
        at += length
    raw = _array("words", listing.words) + _array("table", table) + _array("places", slots)
    raw += f"@memory = internal global [{memory.size} x i8] zeroinitializer, align 64\n"
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
    float_raw, float_constants = float_control(target.triple)
    raw += float_raw
    constants |= float_constants
    known = {**_KNOWN, "fp_set_control": RAW["fp_set_control"]}
    if target.name in _CALLS:
        read, write, leave, words = _CALLS[target.name]
        constants = constants | {"READ": read, "WRITE": write, "EXIT": leave}
        items = ", ".join(f"i32 {w}" for w in words)
        raw += f'@system = internal constant [{len(words)} x i32] [{items}], section ".text", align 4\n'
        parts["start"] = _START
    symbols = ("words", "table", "places", "memory", "bufs")
    body = translate(parts, {**layout.CONSTANTS, **constants}, known=known, symbols=symbols)
    return f'{raw}{declared}{body}attributes #0 = {{ nounwind "no-builtins" }}\n'


def _name(kernel: Kernel) -> str:
    return f"k{abs(hash(kernel.key))}"


_objects: dict[tuple[str, str], bytes] = {}


def _object(kernel: Kernel, target: Target) -> bytes:
    key = target.name, kernel.key
    if key not in _objects:
        _objects[key] = compile_ir(kernel.ir(target, _name(kernel)), target)
    return _objects[key]


def _link(objects: Sequence[bytes], target: Target) -> bytes:
    wasm = target is WASM32
    how = ["--no-entry", "--export=run_all", "--export=where", "-z", "stack-size=4194304"] if wasm else ["-static", "-e", "_start"]
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for i, data in enumerate(objects):
            names.append(f"{folder}/{i}.o")
            Path(names[-1]).write_bytes(data)
        made = Path(folder) / "program"
        subprocess.run([*linker("wasm-ld" if wasm else "ld.lld"), *how, *names, "-o", str(made)], check=True, timeout=60)
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


def _linkable() -> bool:
    try:
        return bool(linker("ld.lld") and linker("wasm-ld"))
    except RuntimeError:
        return False


def _engine(target: Target, *commands: str) -> Engine:
    found = next((c for c in map(shutil.which, commands) if c), None)
    execute = functools.partial(_emulate, found) if found and _linkable() else None
    return Engine(target.name, target, execute, f"needs {commands[0]} and ld.lld or ziglang")


def _wasm_engines() -> list[Engine]:
    wasmtime = importlib.util.find_spec("wasmtime") is not None and _linkable()
    node = shutil.which("node") is not None and _linkable()
    return [
        Engine("wasmtime", WASM32, _in_wasmtime if wasmtime else None, "needs wasmtime and wasm-ld or ziglang"),
        Engine("node", WASM32, _in_node if node else None, "needs node and wasm-ld or ziglang"),
    ]


ENGINES = [
    _engine(AARCH64, "qemu-aarch64", "qemu-aarch64-static"),
    _engine(ARMV7, "qemu-arm", "qemu-arm-static"),
    _engine(RISCV64, "qemu-riscv64", "qemu-riscv64-static"),
    *_wasm_engines(),
]
