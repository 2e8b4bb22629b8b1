"""`fanal inspect FILE`: what is in a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanal.cli.console import Console
from fanal.core.atomic import write_atomically
from fanal.core.errors import message, nearest
from fanal.export.container import File
from fanal.export.facts import FunctionFacts, ProgramFacts, StateFacts, facts
from fanal.export.file import load
from fanal.export.text import Dims, graph_text

_LARGEST = 8  # tensors that are shown


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "inspect", help="what is in a program's file",
        description="Say what is in a file that fanal.export.save() wrote: who made it, what it takes and gives, "
        "what it holds, what it computes. The file is checked, nothing of it is run.",
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="the program, as NAME.fanal")
    parser.add_argument("--graph", action="store_true", help="also each operation, one a line")
    parser.add_argument("--json", action="store_true", help="all of it as JSON")
    parser.add_argument("--html", metavar="PAGE", help="write a page with the graph drawn, which needs no network")
    parser.add_argument("--signature", metavar="NAME", help="this function only")
    parser.add_argument(
        "--at", metavar="DIM=N[,…]", default="",
        help="sizes of open dimensions to count work and memory for (the least ones, if not given)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Say what is in a file."""
    program = load(arguments.file)
    if arguments.signature is not None:
        _known(arguments.signature, program.signatures)
        program.signatures = {arguments.signature: program.signatures[arguments.signature]}
    found = facts(
        program, path=arguments.file, form=_format(arguments.file), at=sizes_of(arguments.at)
    )
    if arguments.html is not None:
        from fanal.export.page import page

        write_atomically(Path(arguments.html), page(program, found).encode())
    if arguments.json:
        Console().line(json.dumps(found.json(), indent=2, ensure_ascii=False))
        return 0
    if arguments.html is not None and not arguments.graph:
        Console().line(f"{arguments.html}: {found.name}, {_count(len(found.functions), 'function')}")
        return 0
    console = Console()
    show(console, found)
    if arguments.graph:
        dims = Dims(program)
        for s in program.signatures.values():
            console.heading(f"Graph of {s.name}")
            console.line(graph_text(s, dims))
    return 0


def _format(path: str) -> str:
    metadata = File(path, check=False).metadata
    return f"{metadata.get('format', '')} {metadata.get('version', '')}".strip()


def _known(name: str, signatures: Mapping[str, Any]) -> None:
    if name not in signatures:
        close = nearest(name, signatures)
        raise ValueError(
            message("inspect", "the program has no such function", repr(name), ", ".join(signatures), close[0] if close else "")
        )


def sizes_of(text: str) -> dict[str, int]:
    """`batch=8,time=16` as a dict."""
    found = {}
    for part in filter(None, text.split(",")):
        name, equals, number = part.partition("=")
        if not equals or not number.strip().isdigit():
            raise ValueError(message("inspect", "no size of a dimension", repr(part), "NAME=NUMBER"))
        found[name.strip()] = int(number)
    return found


# -- what is shown ---------------------------------------------------------------------------------------


def show(console: Console, found: ProgramFacts) -> None:
    """All of it."""
    console.title(found.name)
    console.pairs([
        ("file", f"{found.file} ({bytes_text(found.file_bytes)}, format {found.format})"),
        *((k, _card(v)) for k, v in found.card.items()),
        ("tensors", _tensors(found)),
        ("dimensions", "\n".join(_dim(d) for d in found.dims)),
        ("relations", "\n".join(found.relations)),
    ])  # fmt: skip
    for function in found.functions:
        _function(console, found, function)
    _state(console, found)


def _card(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _tensors(found: ProgramFacts) -> str:
    by: dict[str, int] = {}
    for s in found.state:
        by[s.dtype] = by.get(s.dtype, 0) + s.elements
    kinds = ", ".join(f"{n:,} {dtype}" for dtype, n in sorted(by.items(), key=lambda i: -i[1]))
    total = f"{len(found.state)}, {bytes_text(found.state_bytes)}"
    return f"{total}: {kinds}" if found.state else "none"


def _dim(d: Any) -> str:
    end = "any size" if d.max is None else str(d.max)
    return f"{d.name}: {d.min} to {end}"


def _function(console: Console, found: ProgramFacts, f: FunctionFacts) -> None:
    console.heading(f"{f.name}({', '.join(p.name for p in f.inputs)})")
    rows = [("in", p.name, p.type, _labels(p.labels)) for p in f.inputs]
    rows += [("out", p.name, p.type, _labels(p.labels)) for p in f.outputs]
    console.table(("", "name", "type", ""), rows)
    sizes = ", ".join(f"{k}={n}" for k, n in found.sizes.items())
    where = f" at {sizes}" if sizes else ""
    console.line()
    console.pairs([
        ("reads", _count(len(f.reads), "tensor")),
        ("writes", _count(len(f.writes), "tensor") if f.writes else ""),
        ("work", f"{f.multiply_adds:,} multiply-adds{where}"),
        ("memory", f"{bytes_text(f.input_bytes)} in, {bytes_text(f.output_bytes)} out, "
                   f"temporaries up to {bytes_text(f.temporaries)} if nothing is fused{where}"),
    ], "  ")  # fmt: skip
    console.line()
    console.table(
        ("operation", "kind", "count", "multiply-adds"),
        [(o.name, o.kind, str(o.count), f"{o.multiply_adds:,}" if o.multiply_adds else "") for o in f.operations],
        right=(2, 3),
    )  # fmt: skip


def _labels(labels: tuple[str, ...]) -> str:
    if not labels:
        return ""
    shown = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
    return f"labels: {shown} ({len(labels)})"


def _state(console: Console, found: ProgramFacts) -> None:
    if not found.state:
        return
    largest = sorted(found.state, key=lambda s: -s.nbytes)[:_LARGEST]
    more = len(found.state) - len(largest)
    console.heading("Largest tensors" if more else "Tensors")
    console.table(
        ("name", "type", "elements", "bytes", "written by"), [_row(s) for s in largest], right=(2, 3)
    )
    if more:
        console.line(f"  and {more} more")


def _row(s: StateFacts) -> tuple[str, ...]:
    shape = ", ".join(map(str, s.shape))
    return s.name, f"{s.dtype}[{shape}]", f"{s.elements:,}", bytes_text(s.nbytes), ", ".join(s.written)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def bytes_text(n: int) -> str:
    """12.3 MB."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} B"
