"""A program in a worker: loaded, proved, warm. It runs batches; everything else happens elsewhere.

Rows may share a batch where that changes no bit of any answer. Whether that is so is found out before the
first request: the dimension that all inputs and outputs begin with is run at each size that batches are padded
to, on numbers by chance and on extreme ones, and each row is compared with what it gives in another company.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import fanal
from fanal.backends.native.executable import runtime
from fanal.backends.native.pages import Pages
from fanal.core.errors import message
from fanal.core.symbols import is_symbolic
from fanal.export import load
from fanal.export.exporting import ExportedProgram
from fanal.export.program import Signature
from fanal.export.record import outlined
from fanal.serve.datatypes import BY_DTYPE
from fanal.tensor.interop import as_array

_SEED = 20_240_229
_EXTREMES = (float("nan"), float("inf"), -1e30, 1e6, 0.0)
# Whole numbers that most programs take, as indices, divisors or flags: from, to.
_WHOLE = ((0, 1), (1, 1), (0, 0))
_REFUSALS = (IndexError, ValueError, ZeroDivisionError)


class Limits:
    """How a model is to be batched: at most `most` rows, padded to one of `sizes` (powers of two if empty)."""

    def __init__(self, most: int = 32, sizes: Sequence[int] = ()):
        self.most, self.sizes = most, tuple(sorted(sizes))


class Model:
    """A program whose functions are ready to be called at all sizes that batches have."""

    def __init__(self, path: str, limits: Limits, note: Callable[[str], None] = lambda text: None):
        self._note = note
        self.program: ExportedProgram = load(path)
        self.functions = {
            name: _Function(self.program, s, limits)
            for name, s in self.program.signatures.items()
            if not s.writes
        }
        if not self.functions:
            raise ValueError(
                message("serve", "no function that can be served", ", ".join(self.program.signatures),
                        "one that changes no state", "exporting the model in eval mode")
            )  # fmt: skip

    def warm(self) -> None:
        """Compile and run every size that a batch may have; find out whether rows may share batches. Weights that are
        packed for several of them are there once."""
        pages = Pages()
        for f in self.functions.values():
            f.warm(self._note, pages)
        pages.close()
        runtime.empty_cache()  # where they were packed

    def description(self) -> dict[str, Any]:
        """What callers need to know, as plain data."""
        names = list(self.functions)
        return {
            "outline": outlined(self.program),
            "functions": {name: f.batch() for name, f in self.functions.items()},
            "default": "predict" if "predict" in names else names[0],
        }

    def run(self, function: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, as arrays."""
        return self.functions[function].run(inputs)


class _Function:
    def __init__(self, program: ExportedProgram, signature: Signature, limits: Limits):
        self.signature = signature
        self.runner = program.runner(signature.name)
        self.symbol = _batch_symbol(program, signature)
        self.batched = self.symbol is not None
        self.note = "" if self.batched else "inputs and outputs share no open first dimension"
        self._types = {t.name: BY_DTYPE[t.dtype.name].numpy for t in (*signature.inputs, *signature.outputs)}
        self.inputs = {t.name: self._types[t.name] for t in signature.inputs}
        self.sizes: tuple[int, ...] = ()
        self._examples = program.symbols
        self._dims = program.dims
        if self.symbol is not None:
            dim = next(d for d in program.dims if d.name == self.symbol)
            self.sizes = _sizes(dim.min, dim.max, limits)

    def batch(self) -> dict[str, Any]:
        most = self.sizes[-1] if self.batched else 1
        return {
            "batched": self.batched, "symbol": self.symbol if self.batched else None, "most": most,
            "sizes": list(self.sizes) if self.batched else [], "note": self.note,
        }  # fmt: skip

    # -- running -------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self.batched:
            return self._once(inputs)
        rows = next(iter(inputs.values())).shape[0]
        if not rows:
            return self._once(inputs)  # there is no row that padding could repeat
        top = self.sizes[-1]
        if rows <= top:
            return self._padded(inputs, rows)
        parts = [
            self._padded({k: v[i : i + top] for k, v in inputs.items()}, min(top, rows - i)) for i in range(0, rows, top)
        ]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def _padded(self, inputs: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        size = next(n for n in self.sizes if n >= rows)
        if size == rows:
            return self._once(inputs)
        # Copies of the first row: numbers that are allowed there, whatever is.
        filled = {
            k: np.concatenate([v, np.broadcast_to(v[:1], (size - rows, *v.shape[1:]))]) for k, v in inputs.items()
        }
        return {k: v[:rows] for k, v in self._once(filled).items()}

    def _once(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {k: fanal.from_numpy(v if v.flags.c_contiguous else v.copy()) for k, v in inputs.items()}
        return {k: as_array(v) for k, v in self.runner.run(given).items()}

    # -- before the first request --------------------------------------------------------------------

    def warm(self, note: Callable[[str], None], pages: Pages) -> None:
        top = self.sizes[-1] if self.batched else None
        given, whole = self._tried(top)
        self.runner.share_kept(pages)
        if top is None:
            return
        for size in self.sizes:
            note(f"{self.signature.name}: batches of {size}")
            for start in {0, max(0, top - size)}:
                some = {k: v[start : start + size] for k, v in given.items()}
                if not _same_rows(self._once(some), whole, slice(start, start + size)):
                    self._apart(f"{size} of {top} rows give other bits")
                    return
            self.runner.share_kept(pages)
        for value in _EXTREMES if top > 1 else ():
            if self._notices(given, whole, value):
                self._apart(f"where one is {value:g} another is given other bits")
                return

    def _apart(self, why: str) -> None:
        self.batched, self.note = False, f"rows depend on one another: {why}"

    def _notices(self, given: Mapping[str, np.ndarray], whole: Mapping[str, np.ndarray], value: float) -> bool:
        """Whether the first row is answered otherwise when all others are `value`: as a threshold over all rows
        would, which ordinary numbers don't reach."""
        filled = {k: v.copy() for k, v in given.items()}
        with np.errstate(over="ignore"):  # in half precision some are infinite
            for t in self.signature.inputs:
                if t.dtype.kind == "f":
                    filled[t.name][1:] = value
        try:
            found = self._once(filled)
        except _REFUSALS:
            return False  # a number that the program refuses says nothing of others
        return not _same_rows({k: v[:1] for k, v in found.items()}, whole, slice(0, 1))

    def _tried(self, rows: int | None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Inputs that the program takes, and its outputs."""
        for low, high in _WHOLE[:-1]:
            given = self._numbers(rows, low, high)
            with contextlib.suppress(*_REFUSALS):
                return given, self._once(given)
        given = self._numbers(rows, *_WHOLE[-1])
        return given, self._once(given)

    def _numbers(self, rows: int | None, low: int, high: int) -> dict[str, np.ndarray]:
        chance, symbols = np.random.default_rng(_SEED), self._examples
        sizes = [
            rows if rows is not None and d.name == self.symbol else symbols.by_name[d.name].example for d in self._dims
        ]
        value = symbols.at(sizes)
        found = {}
        for t in self.signature.inputs:
            shape, kind = tuple(value(n) for n in t.shape), self._types[t.name]
            if t.dtype.kind == "f":
                found[t.name] = np.asarray(chance.standard_normal(shape, np.float32)).astype(kind)
            else:
                found[t.name] = np.asarray(chance.integers(low, high + 1, shape)).astype(kind)
        return found


def _same_rows(found: Mapping[str, np.ndarray], whole: Mapping[str, np.ndarray], rows: slice) -> bool:
    """Whether these are the bits of those rows of a larger batch."""
    return all(found[k].shape == v[rows].shape and found[k].tobytes() == v[rows].tobytes() for k, v in whole.items())


def _batch_symbol(program: ExportedProgram, s: Signature) -> str | None:
    """The dimension that all inputs and outputs begin with, and that occurs nowhere else."""
    tensors = (*s.inputs, *s.outputs)
    if not s.inputs or not s.outputs or any(not t.shape for t in tensors):
        return None
    for name, extent in program.symbols.by_name.items():
        if all(_is(t.shape[0], extent) for t in tensors):
            if any(_depends(n, extent) for t in tensors for n in t.shape[1:]):
                return None
            return name
    return None


def _is(size: Any, extent: Any) -> bool:
    return is_symbolic(size) and size.terms == extent.terms


def _depends(size: Any, extent: Any) -> bool:
    # Rows are named by one atom; sizes that it decides by other ways (quotients) are looked at by their bits.
    atom = extent.terms[0][0][0]
    return is_symbolic(size) and any(atom in monomial for monomial, _ in size.terms)


def _sizes(low: int, high: int | None, limits: Limits) -> tuple[int, ...]:
    most = limits.most if high is None else min(limits.most, high)
    most = max(most, low)
    wanted = limits.sizes or tuple(1 << i for i in range(most.bit_length()))
    found = sorted({n for n in wanted if max(low, 1) <= n <= most} | {most} | {max(low, 1)})
    return tuple(found)
