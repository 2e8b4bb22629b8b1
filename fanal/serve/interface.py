"""What a version of a model takes and gives, as its callers see it, and whether what they send fits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fanal.core.errors import message, nearest
from fanal.core.symbols import is_symbolic
from fanal.export.program import Range, TensorSpec
from fanal.export.record import Interface, Outline, outline_from
from fanal.export.sizing import Sizes
from fanal.serve.datatypes import BY_DTYPE, Datatype
from fanal.serve.errors import ServeError, Status, invalid

_PLACE = re.compile(r" \([^()]*\.py:\d+[^()]*\)")  # lines of the program's author, which are no sender's business
SERVING_DEFAULT = "serving_default"  # TensorFlow's name for the function that is called where none is named


@dataclass(frozen=True, slots=True)
class Port:
    """A named tensor that goes in or comes out. `shape`: -1 where a dimension is open; `dims` says what it is
    called or follows from; `labels`: names of the positions of the last dimension."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    labels: tuple[str, ...] = ()


class Fit(NamedTuple):
    """What a request's inputs say: their rows, and a key: requests of one key can share a batch."""

    rows: int
    key: tuple[Any, ...]


class Function:
    """One signature of a served program.

    `batched`: each row of its inputs is answered alone, whatever else is in the batch (found out when the model
    was loaded, by comparing bits); `most` rows make a batch, padded to one of `sizes`. `note`: why it is not batched.
    """

    def __init__(self, outline: Outline, interface: Interface, batch: Mapping[str, Any]):
        self.name = interface.name
        self.inputs = {t.name: _port(outline, t) for t in interface.inputs}
        self.outputs = {t.name: _port(outline, t) for t in interface.outputs}
        self.batched: bool = batch["batched"]
        self.most: int = batch["most"]
        self.sizes: tuple[int, ...] = tuple(batch["sizes"])
        self.note: str = batch["note"]
        self._sizes = Sizes(outline, interface)
        self._count = len(self.inputs)
        # Where everything but the rows is fixed, requests are alike and nothing needs to be solved.
        self._plain = self.batched and all(
            all(n >= 0 for n in p.shape[1:]) for p in self.inputs.values()
        )
        self._wanted = [(p.name, p.datatype.numpy, p.shape[1:]) for p in self.inputs.values()]
        batch_dim = next((d for d in outline.dims if d.name == batch["symbol"]), None)
        self._range = batch_dim

    @property
    def rows(self) -> Range | None:
        """How many rows a request may have; None where rows are not answered alone."""
        return self._range

    def check(self, inputs: Mapping[str, np.ndarray]) -> Fit:
        """Whether a request's inputs are this function's; ServeError, which names the input, if not."""
        if self._plain and len(inputs) == self._count:
            rows = self._rows_of(inputs)
            if rows is not None:
                return Fit(rows, (self.name,))
        return self._checked(inputs)

    def _rows_of(self, inputs: Mapping[str, np.ndarray]) -> int | None:
        """The rows where all is as it mostly is; None: to be looked at closely."""
        rows = -1
        for name, dtype, rest in self._wanted:
            array = inputs.get(name)
            if array is None or array.dtype != dtype or array.shape[1:] != rest or not array.ndim:
                return None
            n = array.shape[0]
            if n != rows:
                if rows >= 0:
                    return None
                rows = n
        return rows if self._range is not None and self._range.holds(rows) else None

    def _checked(self, inputs: Mapping[str, np.ndarray]) -> Fit:
        for name in inputs:
            if name not in self.inputs:
                raise invalid(f"inputs: {self.name!r} has no input {name!r}", None, "", _meant(name, self.inputs))
        for name, port in self.inputs.items():
            array = inputs.get(name)
            if array is None:
                raise invalid(f"inputs: {name!r} is missing", ", ".join(inputs) or "none", ", ".join(self.inputs))
            if array.dtype != port.datatype.numpy:
                given = BY_DTYPE.get(array.dtype.name)
                raise invalid(f"inputs.{name}.datatype is another", given.name if given else array.dtype.name, port.datatype.name)
            fits = array.ndim == len(port.shape) and all(
                w in (-1, n) for w, n in zip(port.shape, array.shape, strict=True)
            )
            if not fits:
                raise invalid(f"inputs.{name}.shape does not fit", list(array.shape), f"[{', '.join(port.dims)}]")
        try:
            sizes = self._sizes({name: a.shape for name, a in inputs.items()})
        except ValueError as why:
            text = _PLACE.sub("", str(why)).replace(f"[{self.name}] ", "[infer] inputs: ")
            raise ServeError(Status.INVALID, text) from None
        if not self.batched:
            return Fit(1, (self.name, sizes, object()))
        first = next(iter(self.inputs))
        rest = tuple(a.shape[1:] for a in (inputs[n] for n in self.inputs))
        return Fit(inputs[first].shape[0], (self.name, rest))

    def wanted_outputs(self, names: Sequence[str] | None) -> list[str]:
        """The outputs that a request asks for: all where it names none."""
        if not names:
            return list(self.outputs)
        for i, name in enumerate(names):
            if name not in self.outputs:
                raise invalid(f"outputs: {self.name!r} has no output {name!r}", None, "", _meant(name, self.outputs))
            if name in names[:i]:
                raise invalid(f"outputs: {name!r} is there twice")
        return list(names)


def _meant(name: str, names: Mapping[str, Any]) -> str:
    return ", ".join(nearest(name, names) or list(names)[:8])


def _port(outline: Outline, t: TensorSpec) -> Port:
    shape = tuple(-1 if is_symbolic(n) else n for n in t.shape)
    text = outline.symbols.shape(t.shape)[1:-1].rstrip(",")
    dims = tuple(x.strip() for x in text.split(",")) if t.shape else ()
    return Port(t.name, BY_DTYPE[t.dtype.name], shape, dims, t.labels)


class Description(NamedTuple):
    """A version of a model: what it is called and says of itself, and its functions; `default` is called where
    a request names none."""

    name: str
    card: dict[str, Any]
    functions: dict[str, Function]
    default: str

    def function(self, name: str | None) -> Function:
        """A function by its name; None or `SERVING_DEFAULT`: the default."""
        if name is None or (name == SERVING_DEFAULT and name not in self.functions):
            name = self.default
        found = self.functions.get(name)
        if found is None:
            text = message("infer", f"no signature {name!r}", None, "", ", ".join(self.functions))
            raise ServeError(Status.NOT_FOUND, text)
        return found


def description_from(record: Mapping[str, Any]) -> Description:
    """The description that a worker sent."""
    outline = outline_from(record["outline"])
    functions = {
        name: Function(outline, outline.signatures[name], batch) for name, batch in record["functions"].items()
    }
    return Description(outline.name, outline.card, functions, record["default"])
