"""`fanal build FILE --target T --out DIR`: a native library of a program."""

from __future__ import annotations

import argparse
from typing import Any

from fanal.cli.console import Console, Progress
from fanal.cli.inspecting import bytes_text, sizes_of
from fanal.export.file import load


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "build", help="make a native library of a program",
        description="Build a library with a C header that needs neither Python nor Fanal.",
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="the program, as NAME.fanal")
    parser.add_argument(
        "--target", metavar="T", default="x86_64-linux",
        help="x86_64-linux (if not given), aarch64-linux, armv7-linux, riscv64-linux or wasm32",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to write to")
    parser.add_argument("--name", metavar="NAME", help="what the library's names begin with (the program's name)")
    parser.add_argument("--level", metavar="L[,…]", help="some of the target's instruction sets (all)")
    parser.add_argument("--signature", metavar="NAME[,…]", help="some of the program's functions (all)")
    parser.add_argument("--dim", metavar="DIM=N[,…]", default="", help="fixed sizes of open dimensions")
    parser.add_argument("--embed", action="store_true", help="weights in the library, not in a file beside it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build, and say what was built."""
    from fanal.edge import build

    program = load(arguments.file)
    progress = Progress()
    try:
        built = build(
            program, arguments.out, target=arguments.target, name=arguments.name,
            levels=_list(arguments.level), embed=arguments.embed, signatures=_list(arguments.signature),
            dims=sizes_of(arguments.dim), progress=progress,
        )  # fmt: skip
    finally:
        progress.end()
    _show(Console(), built)
    return 0


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _show(console: Console, built: Any) -> None:
    console.title(f"{built.prefix} for {built.target} in {built.folder}")
    console.heading("Files")
    console.table(("file", "bytes"), [(name, f"{n:,}") for name, n in built.files.items()], right=(1,))
    console.heading("Machine code")
    rows = [(f"kernels, {level}", f"{n:,}") for level, n in built.kernels.items()]
    rows += [("everything else", f"{built.driver:,}"), ("tables", f"{built.tables:,}"), ("weights", f"{built.weights:,}")]
    console.table(("part", "bytes"), rows, right=(1,))
    console.heading("Memory of a call")
    console.table(
        ("function", "arena", "least possible", ""),
        [
            (name, bytes_text(n), bytes_text(least := built.bound.get(name, 0)), f"{n / least:.2f} ×" if least else "")
            for name, n in built.arena.items()
        ],
        right=(1, 2, 3),
    )  # fmt: skip
