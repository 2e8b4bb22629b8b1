"""The Python binding of a library: one file that needs ctypes and NumPy."""

from __future__ import annotations

import json
import re

from fanal.core.dtypes import DType
from fanal.edge.interface import Field, Interface
from fanal.edge.naming import remark
from fanal.edge.statuses import BAD_DIM

_TEMPLATE = '''"""@TITLE@: @PREFIX@'s library for Python. Generated; needs NumPy and nothing else.

    from @PREFIX@ import Model
    model = Model()                      # finds the library and its weights beside this file or two folders up
@EXAMPLES@

A model may be used from several threads; each call takes an arena of its own. `threads`: how many a call uses.
"""

import ctypes
import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ABI = @ABI@
SIGNATURES = @SIGNATURES@
DIMS = @DIMS@
STATE = @STATE@
STATE_BYTES = @STATE_BYTES@
BAD_DIM = @BAD_DIM@
_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
_PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, _TASK, ctypes.c_void_p)


class _How(ctypes.Structure):
    _fields_ = [("level", ctypes.c_int), ("parallel_for", _PARALLEL_FOR), ("context", ctypes.c_void_p)]


class Model:
    """The library with its weights. `folder`: where they lie; `level`: an instruction-set level (None: the best
    that this processor has)."""

    def __init__(self, folder=None, threads=1, level=None):
        here = os.path.dirname(os.path.abspath(__file__))
        folders = [folder] if folder else [here, os.path.join(here, "..", "..")]
        path = next((p for p in (os.path.join(f, "lib@PREFIX@.so") for f in folders) if os.path.exists(p)), None)
        if path is None:
            raise FileNotFoundError("lib@PREFIX@.so is in none of " + ", ".join(folders))
        self._library = ctypes.CDLL(path)
        if self._library.@PREFIX@_abi() != ABI:
            raise RuntimeError("lib@PREFIX@.so has another interface than this file: they belong to two builds")
        self._library.@PREFIX@_status_text.restype = ctypes.c_char_p
        self._library.@PREFIX@_arena_bytes.restype = ctypes.c_size_t
        self.level = self._library.@PREFIX@_cpu_level() if level is None else level
        self._weights, self.weights_address = None, None
        if @HAS_FILE@:
            with open(os.path.join(os.path.dirname(path), "@PREFIX@.weights"), "rb") as file:
                self._weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.weights_address = np.frombuffer(self._weights, np.uint8).ctypes.data
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._parallel_for = _PARALLEL_FOR(self._shared) if threads > 1 else _PARALLEL_FOR()
        self.state = None
        if STATE_BYTES:
            self.state = _aligned(STATE_BYTES)
            self._library.@PREFIX@_state_init(ctypes.c_void_p(self.state.ctypes.data), ctypes.c_void_p(self.weights_address))

    def _shared(self, context, tasks, task, job):
        list(self._pool.map(lambda i: task(job, i), range(tasks)))

    def tensors(self):
        """The state by name, as arrays that share its memory."""
        found = {}
        for name, dtype, shape, offset in STATE:
            kind = np.dtype(dtype)
            size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
            found[name] = self.state[offset : offset + size].view(kind).reshape(shape)
        return found

    def run(self, signature, inputs):
        """Results by name, for inputs by name."""
        s = SIGNATURES[signature]
        dims, arrays = {}, []
        for name, dtype, shape in s["inputs"]:
            x = np.asarray(inputs[name], dtype=dtype, order="C")
            if x.ndim != len(shape):
                raise ValueError(f"{name} has {x.ndim} dimensions; expected {len(shape)}")
            for n, wanted in zip(x.shape, shape):
                if isinstance(wanted, str) and wanted in s["dims"]:
                    dims.setdefault(wanted, n)
            arrays.append(x)
        missing = [name for name in s["dims"] if name not in dims]
        if missing:  # inputs have only multiples of them
            _solve(s["inputs"], arrays, dims)
        for (name, dtype, shape), x in zip(s["inputs"], arrays):
            wanted = tuple(_size(n, dims) for n in shape)
            if x.shape != wanted:
                raise ValueError(f"{name} has the shape {x.shape}; expected {wanted}")
        results = {
            name: np.empty(tuple(_size(n, dims) for n in shape), dtype) for name, dtype, shape in s["outputs"]
        }
        sizes = [dims.get(name, low) for name, low, _ in DIMS]
        given = (ctypes.c_int64 * max(1, len(sizes)))(*sizes)
        bytes_ = self._library.@PREFIX@_arena_bytes(given, ctypes.c_size_t(len(sizes)))
        self._check(self._library.@PREFIX@_check(given, ctypes.c_size_t(len(sizes))))
        arena = _aligned(bytes_)
        fields = [("d%d" % i, ctypes.c_int64) for i in range(len(s["dims"]))]
        fields += [("p%d" % i, ctypes.c_void_p) for i in range(len(arrays))]
        record = type("In", (ctypes.Structure,), {"_fields_": fields or [("nothing", ctypes.c_int)]})
        places = [x.ctypes.data for x in arrays]
        taken = record(*[dims[name] for name in s["dims"]], *places)
        given_back = (ctypes.c_void_p * max(1, len(results)))(*[y.ctypes.data for y in results.values()])
        how = _How(self.level, self._parallel_for, None)
        state = [ctypes.c_void_p(self.state.ctypes.data)] if s["stateful"] else []
        function = getattr(self._library, s["function"])
        self._check(function(
            ctypes.byref(taken), given_back, *state, ctypes.c_void_p(arena.ctypes.data), ctypes.c_size_t(bytes_),
            ctypes.c_void_p(self.weights_address), ctypes.byref(how),
        ))
        return results

    def selftest(self, path=None):
        """Run the golden cases; raises if a result is not what it should be."""
        if path is None:
            path = os.path.join(os.path.dirname(self._library._name), "golden.bin")
        golden = np.fromfile(path, np.uint8)
        arena = _aligned(@SELFTEST_BYTES@)
        how, which = _How(self.level, self._parallel_for, None), ctypes.c_size_t()
        self._check(self._library.@PREFIX@_selftest(
            ctypes.c_void_p(golden.ctypes.data), ctypes.c_size_t(golden.size), ctypes.c_void_p(arena.ctypes.data),
            ctypes.c_size_t(arena.size), ctypes.c_void_p(self.weights_address), ctypes.byref(how), ctypes.byref(which),
        ))

    def _check(self, status):
        if status:
            which = f" ({DIMS[status - BAD_DIM][0]})" if status >= BAD_DIM else ""
            text = self._library.@PREFIX@_status_text(status).decode()
            raise (IndexError if status == 2 else RuntimeError)(f"@PREFIX@: {text}{which}")


def _aligned(size):
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def _solve(inputs, arrays, dims):
    """Sizes of dimensions that inputs show a multiple of, and perhaps more: of 2 * half = 8, half is 4."""
    for (_, _, shape), x in zip(inputs, arrays):
        for n, tree in zip(x.shape, shape):
            offset = 0
            if isinstance(tree, list) and tree[0] == "+" and isinstance(tree[1], int):
                offset, tree = tree[1], tree[2]
            factor = 1
            if isinstance(tree, list) and tree[0] == "*" and isinstance(tree[1], int):
                factor, tree = tree[1], tree[2]
            if isinstance(tree, str):
                dims.setdefault(tree, (n - offset) // factor)


def _size(tree, dims):
    """A size in terms of dimensions."""
    if not isinstance(tree, list):
        return dims[tree] if isinstance(tree, str) else tree
    a, b = _size(tree[1], dims), _size(tree[2], dims)
    return {"+": a + b, "*": a * b, "//": a // (b or 1), "max": max(a, b), "min": min(a, b)}[tree[0]]
@METHODS@'''

_METHOD = '''

def _@NAME@(self, *@STAR@@ARGUMENTS@):
    """@DOC@"""
    return self.run(@SIGNATURE@, {@GIVEN@})


Model.@NAME@ = _@NAME@
'''


def python_binding(library: Interface, abi: int) -> str:
    """The text of bindings/python/NAME.py."""
    signatures = {
        c.signature.name: {
            "function": f"{library.prefix}_{c.c}", "dims": [library.dims[i][0] for i in c.dims],
            "inputs": [_row(f) for f in c.inputs], "outputs": [_row(f) for f in c.outputs],
            "stateful": c.stateful,
        }
        for c in library.calls
    }  # fmt: skip
    methods, examples = [], []
    for c in library.calls:
        arguments = ", ".join(f.c for f in c.inputs)
        given = ", ".join(f"{f.spec.name!r}: {f.c}" for f in c.inputs)
        results = ", ".join(f"{f.spec.name}: {f.spec.dtype.name}[{', '.join(f.dims)}]" for f in c.outputs)
        fields = {
            "NAME": c.c, "STAR": "", "ARGUMENTS": arguments, "GIVEN": given,
            "SIGNATURE": repr(c.signature.name), "DOC": remark(f"{c.signature.name}: {results or 'no results'}."),
        }  # fmt: skip
        text = _METHOD.replace("*@STAR@", "")
        methods.append(_filled(text, fields).replace("(self, )", "(self)"))
        examples.append(f"    model.{c.c}({arguments})")
    texts = {
        "TITLE": remark(library.program.name), "PREFIX": library.prefix, "ABI": str(abi),
        "EXAMPLES": "\n".join(examples), "SIGNATURES": json.dumps(signatures).replace("true", "True").replace("false", "False"),
        "DIMS": repr([[c, r.min, r.max] for c, r in library.dims]),
        "STATE": repr([[f.name, _numpy(f.dtype), list(f.shape), f.offset] for f in library.state]),
        "STATE_BYTES": str(library.state_bytes),
        "BAD_DIM": str(BAD_DIM), "HAS_FILE": str(library.has_weights and not library.embedded),
        "SELFTEST_BYTES": str(library.selftest_bytes),
        "METHODS": "".join(methods),
    }  # fmt: skip
    return _filled(_TEMPLATE, texts)


def _row(f: Field) -> list[object]:
    return [f.spec.name, _numpy(f.spec.dtype), list(f.trees)]


def _numpy(dtype: DType) -> str:
    """What NumPy calls a dtype; bfloat16, which it lacks, goes by its bits."""
    return "uint16" if dtype.name == "bfloat16" else dtype.name


def _filled(text: str, fields: dict[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda m: fields.get(m[1], m[0]), text)
