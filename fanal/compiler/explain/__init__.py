"""What a compiled function did and why: as text, as a page, and as machine code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fanal.backends.native.jit import assembly
from fanal.backends.native.program import Kernel
from fanal.backends.native.target import host_target
from fanal.compiler.explain.facts import Facts, facts, segments
from fanal.compiler.explain.page import page
from fanal.compiler.explain.text import text
from fanal.core.atomic import write_atomically
from fanal.core.errors import message


class Explanation:
    """A report on a compiled function, as it was when it was asked for. Printing it shows the text.

    facts: all of it as data. `assembly(n)`, `llvm_ir(n)`: the code of kernel #n. `to_html(path)`: a page.
    """

    def __init__(self, compiled: Any):
        self.facts: Facts = facts(compiled)

    def __str__(self) -> str:
        return text(self.facts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return page(self.facts)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as a page of its own (it loads nothing from elsewhere); returns its path."""
        target = Path(path)
        write_atomically(target, page(self.facts).encode())
        return target

    def llvm_ir(self, kernel: int) -> str:
        """The LLVM IR of a kernel, as it was generated."""
        return "\n".join(k.ir(host_target(), "kernel") for k in self._code(kernel))

    def assembly(self, kernel: int) -> str:
        """The machine code of a kernel for this processor, as text."""
        return "\n".join(assembly(k.ir(host_target(), "kernel")) for k in self._code(kernel))

    def _code(self, number: int) -> list[Kernel]:
        kernels = self.facts.kernels
        if not isinstance(number, int) or not 0 <= number < len(kernels):
            raise IndexError(
                message("explain", "no such kernel", repr(number), f"a number below {len(kernels)}")
            )
        found = {k.key: k for k in kernels[number].kernels if not k.entry}
        if not found:
            raise RuntimeError(
                message("explain", f"kernel {number} has no code of its own", "a call of the host")
            )
        return list(found.values())


__all__ = ["Explanation", "segments"]
