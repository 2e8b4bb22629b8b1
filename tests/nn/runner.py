"""Runs a case on a library (PyTorch or Fanal): outputs, gradients, state afterwards.

Parameters and buffers are overwritten with numbers from the case's generator, so that no initial
value has to be stored. The loss is a sum of the outputs with fixed random factors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.nn.cases.case import Case, Function, M, X


@dataclass
class Library:
    """What the runner needs of a library: its nn, and passage to and from NumPy."""

    nn: Any
    from_array: Any  # (array, requires_grad) -> tensor
    to_array: Any  # tensor -> array or None
    is_tensor: Any
    rnn: Any

    @property
    def F(self) -> Any:
        return self.nn.functional


def run(case: Case, library: Library, floating: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name, and what is compared exactly: the text, the keys of the state dict.

    `floating` casts arrays (np.float64 or np.float32).
    """
    rng = case.rng()
    tensors: list[Any] = []

    def made(spec: Any) -> Any:
        if isinstance(spec, X):
            array = spec.array(rng)
            if array.dtype.kind == "f":
                array = array.astype(floating)
            grad = spec.grad and array.dtype.kind == "f"
            t = library.from_array(array, grad)
            if grad:
                tensors.append(t)
            return t
        if isinstance(spec, M):
            module = getattr(library.nn, spec.name)(*map(made, spec.args), **fields(spec.kwargs))
            modules.append(module)
            return module
        if isinstance(spec, Function):
            return getattr(library.F, spec.name)
        if isinstance(spec, tuple) and not hasattr(spec, "_fields"):
            return tuple(made(s) for s in spec)
        if isinstance(spec, list):
            return [made(s) for s in spec]
        if isinstance(spec, dict):
            return fields(spec)
        return spec

    def fields(options: dict[str, Any]) -> dict[str, Any]:
        return {k: made(s) for k, s in options.items()}

    modules: list[Any] = []
    module = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.body is None and not case.name.startswith("F."):
            module = made(M(case.name, case.args, case.kwargs))
            module.train(case.train)
        args = [made(i) for i in case.inputs]
        call = fields(case.call)
        if case.body is not None:
            function = case.body
            args = [library, *args]
            module = modules[-1] if modules else None
        else:
            function = module if module is not None else getattr(library.F, case.name[2:])
        if case.name.startswith("Lazy"):
            function(*args, **call)  # the shapes come with the first input
        if module is not None:
            fill(module, library, rng, floating)
        output = function(*args, **call)
    found = {f"out{i}": library.to_array(t) for i, t in enumerate(leaves(output, library))}
    backward(output, library, rng, floating)
    for i, t in enumerate(tensors):
        if t.grad is not None:
            found[f"grad{i}"] = library.to_array(t.grad)
    info: dict[str, Any] = {}
    if module is not None:
        for name, p in module.named_parameters():
            if p.grad is not None:
                found[f"grad.{name}"] = library.to_array(p.grad)
        for name, t in module.state_dict().items():
            if "running" in name or "tracked" in name or "Embedding" in case.name:
                found[f"state.{name}"] = library.to_array(t)
        info = {"keys": list(module.state_dict()), "text": repr(module)}
    return found, info


def fill(module: Any, library: Library, rng: np.random.Generator, floating: Any) -> None:
    """Overwrite parameters and floating buffers (variances with positive numbers)."""
    for name, t in module.state_dict().items():
        array = library.to_array(t)
        if array.dtype.kind != "f" or "samples" in name:
            continue
        values = rng.standard_normal(array.shape) * 0.5
        if name.endswith("var"):
            values = np.abs(values) + 0.5
        values = values.astype(np.float32).astype(floating)
        owner, _, last = name.rpartition(".")
        holder = module.get_submodule(owner)
        getattr(holder, last).data = library.from_array(values, False)


def leaves(output: Any, library: Library) -> Iterator[Any]:
    if library.is_tensor(output):
        yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from leaves(part, library)


def backward(output: Any, library: Library, rng: np.random.Generator, floating: Any) -> None:
    total = None
    for t in leaves(output, library):
        shape = tuple(t.shape)
        factors = rng.standard_normal(shape).astype(np.float32).astype(floating)
        if t.requires_grad:
            part = (t * library.from_array(factors, False)).sum()
            total = part if total is None else total + part
    if total is not None:
        total.backward()
