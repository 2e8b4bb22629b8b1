"""The file of weights: what kernels read that is no input, laid out as they read it.

It begins with a header of 64 bytes, {magic, identity, bytes in all}; the library knows the identity of the
file that it was built with and runs with no other. Then come blocks, aligned to 64 bytes, each content once:
constants that are read as they are, what was made of others when the library was built (`kept`), and the
initial contents of the state.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from fanal.backends.native import diskcache, elf
from fanal.backends.native.description import Description
from fanal.backends.native.executable import Table, launch
from fanal.backends.native.jit import compile_ir
from fanal.backends.native.kernels import sources_digest
from fanal.backends.native.program import CONTROL, Kernel
from fanal.backends.native.target import Target
from fanal.edge.functions import Function
from fanal.edge.levels import stand_in
from fanal.tensor.tensor import Tensor

ALIGNMENT = 64
MAGIC = b"FANALWT1"


def contents(t: Tensor) -> bytes:
    """A tensor's elements, in order."""
    dense = t.contiguous()
    return ctypes.string_at(dense.data_ptr(), dense.numel() * dense.dtype.itemsize)


@dataclass(slots=True)
class Weights:
    """Blocks that are being collected: each content has one place."""

    _parts: list[bytes] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)
    size: int = ALIGNMENT

    def add(self, data: bytes) -> int:
        """The place of a block with this content."""
        key = hashlib.sha256(data).digest()
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self.size
            padded = data + bytes(-len(data) % ALIGNMENT)
            self._parts.append(padded)
            self.size += len(padded)
        return found

    def file(self) -> tuple[bytes, int]:
        """The whole file, and its identity."""
        body = b"".join(self._parts)
        identity = int.from_bytes(hashlib.sha256(MAGIC + body).digest()[:8], "little") >> 1
        head = struct.pack("<8sqq", MAGIC, identity, ALIGNMENT + len(body))
        return head + bytes(ALIGNMENT - len(head)) + body, identity


def kept_block(function: Function, state: Mapping[str, Tensor]) -> bytes:
    """What a program keeps from before: its early part is run here, by kernels of its own level's kind."""
    listings = function.outline.listings()
    if listings.early is None or not listings.kept_bytes:
        return b""
    kernels = {phase.kernel.key: phase.kernel for phase in function.outline.early}
    addresses = {key: _address(kernel, function.target) for key, kernel in kernels.items()}
    table = Table(listings.early, addresses, (), function.signature.name, _undescribed)
    memory = ctypes.create_string_buffer(listings.kept_bytes + ALIGNMENT)
    block = -(-ctypes.addressof(memory) // ALIGNMENT) * ALIGNMENT
    alive = [state[a.name].contiguous() if a.kind == "constant" else None for a in function.arguments]
    words = [0 if t is None else t.data_ptr() for t in alive[:-1]]
    if launch(table.address, *words, block) != 0:
        raise RuntimeError("[build] what is made of constants could not be computed")
    return ctypes.string_at(block, listings.kept_bytes)


def _undescribed() -> Description:
    raise AssertionError("nobody asks what is run once")


def _address(kernel: Kernel, target: Target) -> int:
    """The entry point, in this process, of a kernel as another processor would compute."""
    if kernel is CONTROL:
        return kernel.entry
    name = "h" + hashlib.sha256(f"{sources_digest()}|{target.key}|{kernel.key}".encode()).hexdigest()[:40]
    runs = stand_in(target)
    data = diskcache.read(name)
    if data is None:
        data = compile_ir(kernel.ir(runs, name), runs)
        diskcache.write(name, data)
    return elf.load(data, (name,))[name]
