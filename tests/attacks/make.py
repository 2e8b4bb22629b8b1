"""Writes the hostile files of this folder: `python -m tests.attacks.make`.

Each begins as a small honest program and is changed in one place, its digest recomputed, as an attacker would.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fanal
from fanal.export import Dim, export, save

FILES = Path(__file__).parent / "files"
Change = Callable[[dict[str, Any], dict[str, Any], bytearray], "bytes | None"]


def honest() -> bytes:
    """A program with weights, a state, a loop, a gather, random numbers and an open dimension."""
    fanal.manual_seed(0)
    w, steps, table = fanal.randn(3, 4), fanal.zeros(2), fanal.randn(10, 4)

    def function(x, i):
        steps.add_(1)
        y = (x @ w + table[i]).relu()
        z = fanal.scan(lambda c, v: (c + v, c), fanal.zeros(4), y)[0]
        return fanal.cat([y, y[:, :2].flip(1)], 1).softmax(-1), z, fanal.rand(2), y.max(1).values, x.shape[1]

    n = Dim("n", min=1, max=50)
    program = export(function, (fanal.randn(5, 3), fanal.arange(5)), dynamic_shapes=({0: n}, {0: n}), name="honest")
    with tempfile.TemporaryDirectory() as folder:
        save(program, Path(folder) / "honest.fanal")
        return (Path(folder) / "honest.fanal").read_bytes()


def taken_apart(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytearray]:
    """The description, the header without it, the tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return json.loads(header["__metadata__"].pop("program")), header, bytearray(data[8 + length :])


def put_together(program: Any, header: dict[str, Any], tensors: bytes) -> bytes:
    """A file with a digest that is right."""
    text = program if isinstance(program, str) else json.dumps(program, separators=(",", ":"))
    rest = {k: v for k, v in header.items() if k != "__metadata__"}
    metadata = {**header["__metadata__"], "program": text}
    metadata.pop("sha256", None)
    digest = hashlib.sha256()
    for part in (*(f"{k}\0{metadata[k]}\0" for k in sorted(metadata)), json.dumps(rest, sort_keys=True)):
        digest.update(part.encode())
    digest.update(tensors)
    head = json.dumps({"__metadata__": {**metadata, "sha256": digest.hexdigest()}, **rest}, separators=(",", ":")).encode()
    head += b" " * (-(8 + len(head)) % 64)
    return struct.pack("<Q", len(head)) + head + bytes(tensors)


def graph(p: dict[str, Any]) -> dict[str, Any]:
    return p["signatures"][0]["graph"]


def node(p: dict[str, Any], name: str) -> list[Any]:
    return next(n for n in graph(p)["nodes"] if n[0] == name)


def setting(path: str, value: Any) -> Change:
    """Change one place of the description."""

    def change(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
        *keys, last = [int(k) if k.lstrip("-").isdigit() else k for k in path.split("/")]
        for k in keys:
            p = p[k]
        p[last] = value

    return change


def attribute(op: str, name: str, value: Any, shape: list[Any] | None = None) -> Change:
    """Change an attribute of an operation, and say that its result has another shape."""

    def change(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
        n = node(p, op)
        n[2][name] = value
        if shape is not None:
            n[3][0][1] = shape

    return change


def in_header(name: str, value: Any) -> Change:
    def change(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
        first = next(k for k in header if not k.startswith("__"))
        header[first][name] = value

    return change


def with_program(text: str) -> Change:
    return lambda p, header, tensors: put_together(text, header, tensors)


def raw(data: bytes) -> Change:
    return lambda p, header, tensors: data


def renamed(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
    """The state that a graph takes is not in the file."""
    first = next(k for k in header if not k.startswith("__"))
    header["other"] = header.pop(first)


def another_dtype(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
    first = next(k for k, v in header.items() if not k.startswith("__") and v["dtype"] == "F32")
    header[first]["dtype"] = "I32"


def overlapping(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
    names = [k for k, v in header.items() if k != "__metadata__" and v["data_offsets"][1] - v["data_offsets"][0] >= 4]
    size = header[names[1]]["data_offsets"][1] - header[names[1]]["data_offsets"][0]
    header[names[1]]["data_offsets"] = [0, size]


def used_before(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
    nodes = graph(p)["nodes"]
    nodes.insert(0, nodes.pop())


def cycle(p: dict[str, Any], header: dict[str, Any], tensors: bytearray) -> None:
    g = graph(p)
    g["nodes"][8][1] = [len(g["inputs"]) + 8] * 2


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ATTACKS: dict[str, Change] = {
    # The container.
    "header_longer_than_file": raw(struct.pack("<Q", 2**63) + b"{}"),
    "header_of_no_json": raw(struct.pack("<Q", 64) + b"{" * 64),
    "header_too_deep": raw(struct.pack("<Q", 20_000) + b'{"a":' + b"[" * 19_995),
    "header_with_a_key_twice": raw(struct.pack("<Q", 14) + b'{"a":1,"a":2} '),
    "header_is_a_list": raw(struct.pack("<Q", 2) + b"[]"),
    "entry_beyond_the_file": in_header("data_offsets", [0, 2**40]),
    "entry_backwards": in_header("data_offsets", [48, 0]),
    "entry_negative": in_header("data_offsets", [-48, 0]),
    "entry_of_another_size": in_header("shape", [3, 5]),
    "entry_whose_size_overflows": in_header("shape", [2**32, 2**32, 0]),
    "entry_negative_shape": in_header("shape", [-3, -4]),
    "entry_of_too_many_dims": in_header("shape", [1] * 1000),
    "entry_of_no_dtype": in_header("dtype", "F31"),
    "entry_dtype_list": in_header("dtype", ["F32"]),
    "entry_float_shape": in_header("shape", [3.0, 4]),
    "entry_bool_shape": in_header("shape", [True, 12]),
    "entries_overlap": overlapping,
    "state_absent": renamed,
    "state_of_another_dtype": another_dtype,
    # The description as a whole.
    "program_of_no_json": with_program("{"),
    "program_is_python": with_program("__import__('os').system('true')"),
    "program_too_deep": with_program("[" * 10_000 + "]" * 10_000),
    "program_is_null": with_program("null"),
    "program_with_nan": with_program('{"dims": NaN}'),
    "field_absent": lambda p, header, tensors: put_together({k: p[k] for k in p if k != "dims"}, header, tensors),
    "field_too_many": setting("evil", 1),
    "name_is_a_number": setting("name", 5),
    "signature_named_twice": lambda p, header, tensors: put_together(
        {**p, "signatures": p["signatures"] * 2}, header, tensors
    ),
    "signature_name_is_a_path": setting("signatures/0/name", "../../etc/passwd"),
    "signatures_are_a_number": setting("signatures", 7),
    # Dimensions, sizes.
    "dim_without_a_name": setting("dims/0/0", ""),
    "dim_range_empty": setting("dims/0", ["n", 9, 3, 5]),
    "dim_example_outside": setting("dims/0", ["n", 1, 50, 51]),
    "dim_negative": setting("dims/0/1", -5),
    "dim_huge": setting("dims/0", ["n", 1, 2**70, 5]),
    "dim_float": setting("dims/0/2", 50.0),
    "dim_twice": lambda p, header, tensors: put_together({**p, "dims": p["dims"] * 2}, header, tensors),
    "atom_of_itself": setting("atoms", [{"quotient": [[[1, [1]]], [[2, []]]]}]),
    "atom_by_zero": setting("atoms", [{"quotient": [[[1, [0]]], []]}]),
    "atom_unknown": setting("atoms", [{"eval": ["1+1"]}]),
    "atom_of_nothing": setting("atoms", [{"max": []}]),
    "size_unknown_atom": setting("signatures/0/inputs/0/shape/0", {"size": [[1, [9]]]}),
    "size_negative": setting("signatures/0/inputs/0/shape/1", -3),
    "size_huge": setting("signatures/0/inputs/0/shape/1", 2**61),
    "size_power": setting("signatures/0/inputs/0/shape/0", {"size": [[1, [0] * 50]]}),
    "relation_false": setting("signatures/0/relations", [[1, ""]]),
    "relation_text": setting("signatures/0/relations", [["n", ""]]),
    # Places and structures.
    "takes_twice": setting("signatures/0/takes/1", ["input", "x"]),
    "takes_nothing": setting("signatures/0/takes", []),
    "takes_unknown": setting("signatures/0/takes/0", ["file", "/etc/passwd"]),
    "gives_state_of_another_type": setting("signatures/0/gives/0", ["state", "steps"]),
    "inputs_absent": setting("signatures/0/inputs", []),
    "outputs_too_many": setting("signatures/0/outputs/0/name", "output_1"),
    "labels_too_many": setting("signatures/0/outputs/0/labels", ["a"] * 99),
    "structure_too_deep": setting("signatures/0/structure_out", nested(500)),
    "structure_of_a_class": setting("signatures/0/structure_out", ["os.system", ["*"]]),
    "structure_of_fewer": setting("signatures/0/structure_out", "*"),
    "constant_outside": setting("signatures/0/constants", [[99, 1]]),
    # The graph.
    "graph_cycle": cycle,
    "graph_used_before": used_before,
    "graph_value_unknown": setting("signatures/0/graph/nodes/8/1/0", 10_000),
    "graph_value_negative": setting("signatures/0/graph/nodes/8/1/0", -1),
    "graph_op_unknown": setting("signatures/0/graph/nodes/0/0", "system"),
    "graph_op_of_users": setting("signatures/0/graph/nodes/0/0", "custom_gradient"),
    "graph_op_is_a_list": setting("signatures/0/graph/nodes/0/0", ["add"]),
    "graph_type_lie": setting("signatures/0/graph/nodes/0/3/0/1", [1]),
    "graph_dtype_lie": setting("signatures/0/graph/nodes/0/3/0/0", "int8"),
    "graph_more_results": setting("signatures/0/graph/nodes/0/3", [["float32", [1]]] * 9),
    "graph_output_unknown": setting("signatures/0/graph/outputs/0", 999),
    "graph_origin_unknown": setting("signatures/0/graph/nodes/0/4", 999),
    "graph_attribute_too_many": setting("signatures/0/graph/nodes/0/2/evil", 1),
    "graph_attribute_object": attribute("dot", "contract", {"__reduce__": ["os.system", "true"]}),
    "graph_attribute_deep": attribute("dot", "contract", nested(300)),
    "dot_outside": attribute("dot", "contract", [[7], [0]]),
    "dot_negative": attribute("dot", "contract", [[-1], [0]]),
    "dot_twice": attribute("dot", "contract", [[1, 1], [0, 0]]),
    "slice_outside": attribute("slice", "stop", [{"size": [[1, [0]]]}, 4000]),
    "slice_backwards": attribute("slice", "step", [1, -1]),
    "slice_of_no_step": attribute("slice", "step", [1, 0]),
    "flip_outside": attribute("flip", "dims", [64]),
    "concat_outside": attribute("concat", "dim", 5),
    "gather_outside": attribute("gather", "dims", [3]),
    "gather_without_indices": attribute("gather", "dims", []),
    "expand_lie": attribute("expand", "shape", [2**40, 2**40]),
    "full_huge": attribute("full", "shape", [2**50], [2**50]),
    "full_text": attribute("full", "value", "1"),
    "scan_of_no_body": attribute("scan", "body", 3),
    "scan_other_length": attribute("scan", "length", 2**40),
    "scan_more_carries": attribute("scan", "carries", 50),
    "scan_negative_consts": attribute("scan", "consts", -1),
    "reduce_outside": attribute("reduce_max", "dims", [9]),
    "reduce_twice": attribute("reduce_max", "dims", [1, 1]),
    "random_huge": attribute("random_bits", "shape", [2**60], [2**60]),
}


def files() -> dict[str, bytes]:
    """All hostile files by name."""
    base = honest()
    found = {}
    for name, change in ATTACKS.items():
        program, header, tensors = copy.deepcopy(taken_apart(base))
        made = change(program, header, tensors)
        found[name] = put_together(program, header, tensors) if made is None else made
    return found


def main() -> None:
    FILES.mkdir(exist_ok=True)
    for old in FILES.glob("*.fanal"):
        old.unlink()
    for name, data in files().items():
        (FILES / f"{name}.fanal").write_bytes(data)
    (FILES.parent / "honest.fanal").write_bytes(honest())


if __name__ == "__main__":
    main()
