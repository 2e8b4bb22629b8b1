"""What an ONNX model consists of, as plain records: nothing here needs the `onnx` package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fanal.core.dtypes import DType


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the ONNX graph, by its name.

    `shape` is what the program says. `held` is what the tensor has: the same, or a shape that broadcasts
    to it, as ONNX's elementwise operators spread their operands by themselves. So what a program expands
    before it adds is never written out.
    """

    name: str
    dtype: DType
    shape: tuple[Any, ...]
    held: tuple[Any, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)


def full_ref(name: str, dtype: DType, shape: tuple[Any, ...]) -> Ref:
    """A tensor that has the shape that it stands for."""
    return Ref(name, dtype, tuple(shape), tuple(shape))


@dataclass(slots=True)
class OnnxNode:
    """An operator with the names of what it takes and gives. Attributes are numbers, texts, tuples of
    them, dtypes, or graphs. `doc` says where in the user's program it comes from."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    doc: str = ""


class Named(NamedTuple):
    """An input or output: dims are numbers or texts."""

    name: str
    dtype: DType
    dims: tuple[int | str, ...]


class Data(NamedTuple):
    """The elements of a tensor that the model holds, in C order, little-endian."""

    dtype: DType
    dims: tuple[int, ...]
    elements: bytes


@dataclass(slots=True)
class OnnxGraph:
    """Inputs, nodes in order, outputs, and the tensors that are held (in the outermost graph only)."""

    name: str
    inputs: list[Named]
    outputs: list[Named]
    nodes: list[OnnxNode]
    data: dict[str, Data] = field(default_factory=dict)
