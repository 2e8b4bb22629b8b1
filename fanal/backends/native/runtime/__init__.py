"""The native runtime: memory, threads and the launching of programs, as machine code.

`compile_and_load()` gives the `Runtime` of this process: `Storage`, `empty`, `wrap`, `launch` and a
few settings, all of them builtins whose bodies are LLVM IR written in a small dialect of Python
(`dialect.py`). `runtime_ir` and `load` are the two ends of it, for whoever caches the object file.
The runtime knows nothing of tensors, graphs or kernels: a program is a table of addresses
(`layout.py`).
"""

from fanal.backends.native.runtime.assemble import runtime_ir
from fanal.backends.native.runtime.layout import (
    FLAG_CHECK_SIGNALS,
    FLAG_RELEASE_GIL,
    MAX_THREADS,
    PHASE_WORDS,
    PROGRAM_HEADER_WORDS,
    PROGRAM_MAGIC,
    PROGRAM_WORDS,
    RUNTIME_SYMBOLS,
    STORAGE_OFFSETS,
)
from fanal.backends.native.runtime.loader import (
    Runtime,
    compile_and_load,
    compile_object,
    link_object,
    load,
)
from fanal.backends.native.runtime.threads import default_num_threads

__all__ = [
    "FLAG_CHECK_SIGNALS",
    "FLAG_RELEASE_GIL",
    "MAX_THREADS",
    "PHASE_WORDS",
    "PROGRAM_HEADER_WORDS",
    "PROGRAM_MAGIC",
    "PROGRAM_WORDS",
    "RUNTIME_SYMBOLS",
    "STORAGE_OFFSETS",
    "Runtime",
    "compile_and_load",
    "compile_object",
    "default_num_threads",
    "link_object",
    "load",
    "runtime_ir",
]
