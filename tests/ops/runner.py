"""Running graphs in tests: on the native backend and on the reference one, from NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fanal.backends.native.executable import compile_graph, launch
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.program import Access
from fanal.backends.reference import run_reference
from fanal.core import dtypes
from fanal.graph import Builder, Graph, verify
from fanal.ops.primitive import contiguous_strides


def trace(function: Callable[..., Any], arrays: Sequence[np.ndarray]) -> Graph:
    """The graph of a function of values like these arrays."""
    b = Builder()
    inputs = [b.input(dtypes.from_numpy_dtype(a.dtype), a.shape) for a in arrays]
    result = b.trace(function, *inputs)
    graph = b.graph(result if isinstance(result, tuple | list) else [result])
    verify(graph)
    return graph


def native(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs as machine code computes them."""
    loads = []
    for i, a in enumerate(arrays):
        d = dtypes.from_numpy_dtype(a.dtype)
        strides = tuple(s // a.itemsize for s in a.strides)
        loads.append(Load(d, a.shape, Access(i, d, a.shape, strides)))
    outputs = [np.empty(v.shape, v.dtype.numpy) for v in graph.outputs]
    accesses = [
        Access(len(arrays) + i, v.dtype, v.shape, contiguous_strides(v.shape))
        for i, v in enumerate(graph.outputs)
    ]
    program = compile_graph(graph, loads, accesses)
    pointers = [a.ctypes.data for a in (*arrays, *outputs)]
    assert launch(program.address, *pointers) == 0
    return outputs


def reference(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs as the records' references define them (float64 for floats)."""
    return run_reference(graph, arrays)
