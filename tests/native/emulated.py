"""Programs for another machine, run under an emulator: a static executable without any library.

The executable is one segment at a fixed address: a driver that calls every task of every phase and
writes the outputs to standard output, the kernels, their descriptors, and all buffers. It is linked
by the package's own loader code, so its relocations are tested too.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fanal.backends.native import elf
from fanal.backends.native.arena import plan_arena
from fanal.backends.native.jit import compile_ir
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.lower import lower
from fanal.backends.native.program import Access
from fanal.backends.native.target import Target
from fanal.graph.ir import Graph
from fanal.ops.primitive import contiguous_strides

BASE = 0x400000
HEADERS = 0x1000

# A system call, in machine words, as no assembler for another machine is at hand:
# mov x8, x0; mov x0, x1; mov x1, x2; mov x2, x3; svc #0; ret
_SYSTEM = (0xAA0003E8, 0xAA0103E0, 0xAA0203E1, 0xAA0303E2, 0xD4000001, 0xD65F03C0)

_DRIVER = """
define void @driver() {{
  {calls}
  %s = load i64, ptr inttoptr (i64 {status} to ptr)
  %unused = call i64 inttoptr (i64 {system} to ptr)(i64 64, i64 1, i64 {status}, i64 {size})
  %never = call i64 inttoptr (i64 {system} to ptr)(i64 93, i64 0, i64 0, i64 0)
  ret void
}}
define internal void @phase(ptr %kernel, ptr %desc, i64 %tasks) noinline {{
entry:
  br label %loop
loop:
  %task = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void %kernel(ptr %desc, ptr inttoptr (i64 {bufs} to ptr), i64 %task,
                    ptr inttoptr (i64 {status} to ptr))
  %next = add i64 %task, 1
  %more = icmp ult i64 %next, %tasks
  br i1 %more, label %loop, label %done
done:
  ret void
}}
define void @_start() {{
  call void @driver()
  ret void
}}
"""


class Image:
    """Bytes that grow, at known addresses."""

    def __init__(self) -> None:
        self.data = bytearray(HEADERS)

    def add(self, data: bytes, align: int = 4096) -> int:
        """Append; the address."""
        self.data += bytes(-len(self.data) % align)
        at = BASE + len(self.data)
        self.data += data
        return at

    def object(self, data: bytes, symbol: str) -> int:
        """Append a linked object; the address of its symbol."""
        at = self.add(b"")
        linked, found = elf.image(data, at, (symbol,))
        self.data += linked
        return found[symbol]

    def executable(self, entry: int, machine: int) -> bytes:
        """The whole as an ELF file with one segment."""
        header = struct.pack(
            "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 2, machine, 1, entry, 64, 0, 0,
            64, 56, 1, 0, 0, 0,
        )  # fmt: skip
        size = len(self.data)
        segment = struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size, 4096)
        self.data[: len(header) + len(segment)] = header + segment
        return bytes(self.data)


def run(
    graph: Graph, arrays: Sequence[np.ndarray], target: Target, emulator: str
) -> list[np.ndarray]:
    """The outputs of a graph on contiguous arrays, as the emulated machine computes them."""
    loads = []
    for i, v in enumerate(graph.inputs):
        loads.append(Load(v.dtype, v.shape, Access(i, v.dtype, v.shape, contiguous_strides(v.shape))))
    outputs = [np.empty(v.shape, v.dtype.numpy) for v in graph.outputs]
    accesses = [
        Access(len(loads) + i, v.dtype, v.shape, contiguous_strides(v.shape))
        for i, v in enumerate(graph.outputs)
    ]
    program = lower(graph, loads, accesses, target)
    image = Image()
    inputs = [image.add(np.ascontiguousarray(a).tobytes(), 64) for a in arrays]
    status = image.add(bytes(16), 64)
    # Outputs follow the status word, so that one write sends both.
    places = [image.add(bytes(max(o.nbytes, 1)), 64) for o in outputs]
    end = BASE + len(image.data)
    offsets, arena = plan_arena(program.temps)
    scratch = image.add(bytes(arena), 64)
    table = [*inputs, *places, *(scratch + o for o in offsets)]
    bufs = image.add(np.array(table, np.uint64).tobytes(), 64)
    kernels: dict[str, int] = {}
    calls = []
    for phase in program.phases:
        key = phase.kernel.key
        if key not in kernels:
            code = compile_ir(phase.kernel.ir(target, f"kernel{len(kernels)}"), target)
            kernels[key] = image.object(code, f"kernel{len(kernels)}")
        words = b"".join(struct.pack("<Q", w & (1 << 64) - 1) for w in phase.descriptor)
        desc = image.add(words, 64)
        calls.append(
            f"call void @phase(ptr inttoptr (i64 {kernels[key]} to ptr), "
            f"ptr inttoptr (i64 {desc} to ptr), i64 {phase.tasks})"
        )
    system = image.add(struct.pack("<6I", *_SYSTEM))
    text = _DRIVER.format(calls="\n  ".join(calls), status=status, size=end - status, bufs=bufs,
                          system=system)
    entry = image.object(compile_ir(text, target), "_start")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program"
        path.write_bytes(image.executable(entry, 183))
        path.chmod(0o755)
        done = subprocess.run([emulator, str(path)], capture_output=True, timeout=60, check=True)
    assert len(done.stdout) == end - status, done.stderr
    assert done.stdout[:8] == bytes(8), "the program reported an error"
    for o, at in zip(outputs, places, strict=True):
        raw = done.stdout[at - status : at - status + o.nbytes]
        o[...] = np.frombuffer(raw, o.dtype).reshape(o.shape)
    return outputs
