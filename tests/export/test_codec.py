"""Graphs as plain data and back: every operation of the table survives it, and is checked on the way."""

from __future__ import annotations

import json

import pytest

import fanal.linalg
import fanal.nn.functional  # noqa: F401 - registers its operations
from fanal.core.errors import DataError
from fanal.export.checking import check_graph
from fanal.export.codec import Reader, Unwritable, Writer
from fanal.export.dims import DimSymbols
from fanal.export.expanding import expanded
from fanal.graph.ir import Builder, Graph, Type
from fanal.ops.primitive import TABLE, Primitive
from tests.ops.samples import draw, dtypes_of, samples_of

# Derivatives of users' own: their bodies stand in an exported graph.
_NAMES = sorted(n for n in TABLE if n not in ("custom_gradient", "missing"))


def graphs_of(p: Primitive) -> list[Graph]:
    """The primitive's samples, each as a graph of one node."""
    found = []
    for seed, (kinds, attributes) in enumerate(samples_of(p)):
        arrays = draw(p, kinds, dtypes_of(p)[0], seed)
        b = Builder()
        from fanal.core.dtypes import from_numpy_dtype

        inputs = [b.input(from_numpy_dtype(a.dtype), a.shape) for a in arrays]
        from fanal.core.dispatch import bind

        result = b.trace(bind, p, *inputs, **attributes)
        found.append(b.graph(result if isinstance(result, tuple) else [result]))
    return found


def back(graph: Graph) -> Graph:
    """The graph after a way through JSON."""
    symbols = DimSymbols()
    w = Writer(symbols)
    text = json.dumps(w.graph(graph), allow_nan=False)
    return Reader(symbols, [], w.atoms, json.loads(json.dumps(w.origins))).graph(json.loads(text))


@pytest.mark.parametrize("name", _NAMES)
def test_every_operation_survives_a_file(name: str) -> None:
    for graph in graphs_of(TABLE[name]):
        whole = expanded(graph)
        again = back(whole)
        check_graph(again)
        assert str(again) == str(whole)


def test_numbers_keep_their_kind() -> None:
    from fanal.core import dtypes
    from fanal.core.dispatch import bind
    from fanal.ops.create import full_p

    for value, dtype in [
        (1, dtypes.int64), (1.0, dtypes.float32), (True, dtypes.bool_), (float("inf"), dtypes.float32),
        (float("-inf"), dtypes.float64), (float("nan"), dtypes.float32), (-0.0, dtypes.float32),
        (5e-324, dtypes.float64), (2**64 - 1, dtypes.uint64), (-(2**63), dtypes.int64),
    ]:  # fmt: skip
        b = Builder()
        graph = b.graph([b.trace(bind, full_p, value=value, shape=(2,), dtype=dtype)])
        again = back(graph)
        check_graph(again)
        found = again.nodes[0].attributes["value"]
        assert type(found) is type(value) and repr(found) == repr(value)


def test_what_has_no_form_is_named() -> None:
    from fanal.core import dtypes
    from fanal.core.dispatch import bind
    from fanal.ops.create import full_p

    b = Builder()
    graph = b.graph([b.trace(bind, full_p, value=0, shape=(2,), dtype=dtypes.int64)])
    graph.nodes[0].attributes["value"] = object()
    with pytest.raises(Unwritable, match="full has an? object as an attribute"):
        Writer(DimSymbols()).graph(graph)


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g["nodes"][0].__setitem__(0, "no_such_operation"),
        lambda g: g["nodes"][0].__setitem__(0, "custom_gradient"),
        lambda g: g["nodes"][0].__setitem__(1, [0, 7]),
        lambda g: g["nodes"][0].__setitem__(1, [0, -1]),
        lambda g: g["nodes"][0].__setitem__(1, [0, True]),
        lambda g: g["nodes"][0].__setitem__(1, [0, 2]),  # itself
        lambda g: g["nodes"][0].__setitem__(2, {"alpha": 1}),
        lambda g: g["nodes"][0].__setitem__(3, [["float32", [3]]]),
        lambda g: g["nodes"][0].__setitem__(3, [["float32", [2]], ["float32", [2]]]),
        lambda g: g["nodes"][0].__setitem__(3, []),
        lambda g: g["nodes"][0].__setitem__(4, 5),
        lambda g: g["outputs"].__setitem__(0, 9),
        lambda g: g["inputs"].__setitem__(0, ["float33", [2]]),
        lambda g: g["inputs"].__setitem__(0, ["float32", [-2]]),
        lambda g: g["inputs"].__setitem__(0, ["float32", [2**80]]),
        lambda g: g["inputs"].__setitem__(0, ["float32", [2.0]]),
        lambda g: g["inputs"].__setitem__(0, ["float32", [{"size": [[1, [0]]]}]]),
        lambda g: g.__setitem__("nodes", "add"),
        lambda g: g.__setitem__("more", 1),
    ],
)
def test_other_graphs_are_refused(change: object) -> None:
    from fanal.core import dtypes
    from fanal.ops.pointwise import add

    b = Builder()
    x, y = b.input(dtypes.float32, (2,)), b.input(dtypes.float32, (2,))
    symbols = DimSymbols()
    plain = json.loads(json.dumps(Writer(symbols).graph(b.graph([b.trace(add, x, y)]))))
    reader = Reader(symbols, [], [], [])
    check_graph(reader.graph(plain))
    change(plain)  # type: ignore[operator]
    with pytest.raises(DataError, match="the program is damaged"):
        check_graph(reader.graph(plain))


def test_types_that_are_not_inferred_are_refused() -> None:
    from fanal.core import dtypes

    b = Builder()
    x = b.input(dtypes.float32, (4, 4))
    for name, attributes, shape in [
        ("slice", {"start": (0, 0), "stop": (9, 4), "step": (1, 1)}, (9, 4)),
        ("permute", {"dims": (0, 0)}, (4, 4)),
        ("permute", {"dims": (0,)}, (4,)),
        ("reduce_sum", {"dims": (0, 0)}, (4,)),
        ("reduce_sum", {"dims": (2,)}, (4, 4)),
        ("reduce_sum", {"dims": (-1,)}, (4,)),
        ("cumsum", {"dim": 5}, (4, 4)),
        ("reshape", {"shape": (17,)}, (17,)),
        ("expand", {"shape": (8, 4)}, (8, 4)),
        ("pad", {"low": (-9, 0), "high": (9, 0), "interior": (-1, 0), "value": 0.0}, (4, 4)),
        ("pad", {"low": (0,), "high": (0,), "interior": (0,), "value": 0.0}, (4, 4)),
        ("flip", {"dims": (7,)}, (4, 4)),
        ("windows", {"first": 1, "size": (2, 2), "stride": (1, 1), "dilation": (1, 1)}, (3, 3, 2, 2)),
        ("sort", {"dim": 0, "descending": False, "count": 9}, (9, 4)),
    ]:
        from fanal.graph.ir import Node, Value

        node = Node(TABLE[name], (x,), attributes)
        node.outputs = (Value(x.dtype, shape, node),)
        with pytest.raises(DataError, match="the program is damaged"):
            check_graph(Graph([x], [node], list(node.outputs)))
        assert Type(x.dtype, shape)
