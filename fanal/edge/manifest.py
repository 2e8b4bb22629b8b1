"""NAME.json: what a library consists of, for tools: signatures, sizes, operations, hashes, licence."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fanal.backends.native.costs import operations
from fanal.core.symbols import Extent
from fanal.edge.interface import Field, Interface
from fanal.graph.ir import Graph, SubGraph
from fanal.version import __version__

FORMAT = 1


def manifest(library: Interface, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> bytes:
    """The text; `facts` are sizes and the like, as building found them."""
    program = library.program
    record = {
        "format": FORMAT,
        "generator": f"fanal {__version__}",
        "name": program.name,
        "prefix": library.prefix,
        "target": library.machine.name,
        "levels": {str(i): library.machine.levels[i].name for i in library.levels},
        "card": library.card,
        "licence": library.card.get("licence", library.card.get("license")),
        "dims": [{"name": r.name, "c": c, "min": r.min, "max": r.max} for c, r in library.dims],
        "signatures": [
            {
                "name": call.signature.name, "function": f"{library.prefix}_{call.c}",
                "dims": [library.dims[i][1].name for i in call.dims],
                "inputs": [_field(f) for f in call.inputs], "outputs": [_field(f) for f in call.outputs],
                "stateful": call.stateful, "arena_bytes": call.arena_bytes,
                **facts["signatures"][call.signature.name],
            }
            for call in library.calls
        ],
        "state": {
            "bytes": library.state_bytes, "initial": library.state_initial,
            "tensors": [
                {"name": f.name, "dtype": f.dtype.name, "shape": list(f.shape), "offset": f.offset}
                for f in library.state
            ],
        },
        "arena_bytes_max": library.arena_max,
        "selftest_bytes": library.selftest_bytes,
        "weights": {"bytes": library.weights_bytes, "embedded": library.embedded},
        "code": facts["code"],
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }  # fmt: skip
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _field(f: Field) -> dict[str, Any]:
    found = {"name": f.spec.name, "c": f.c, "dtype": f.spec.dtype.name, "shape": list(f.trees)}
    return found | ({"labels": list(f.spec.labels)} if f.spec.labels else {})


def operations_of(graph: Graph) -> dict[str, int]:
    """How often each primitive occurs, also in loops and branches."""
    found: Counter[str] = Counter()

    def count(g: Graph) -> None:
        for node in g.nodes:
            found[node.primitive.name] += 1
            for x in node.attributes.values():
                if isinstance(x, SubGraph):
                    count(x)

    count(graph)
    return dict(sorted(found.items()))


def work_of(graph: Graph) -> int | None:
    """Arithmetic operations of a call (a multiply-add is two); None where they follow from open sizes."""
    total: Any = operations(graph.nodes)
    return None if type(total) is Extent else int(total)
