"""`fanal onnx FILE --out MODEL`: a program as an ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fanal.cli.console import Console
from fanal.cli.inspecting import bytes_text
from fanal.export.file import load


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "onnx", help="write a program as an ONNX model",
        description="Write one function of a program as an ONNX model, for other runtimes (needs fanal[onnx]).",
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="the program, as NAME.fanal")
    parser.add_argument("--out", metavar="MODEL", help="the model's file (FILE with .onnx, if not given)")
    parser.add_argument("--signature", metavar="NAME", help="which function, if there are several")
    parser.add_argument("--opset", type=int, metavar="N", default=20, help="version of ONNX's operators (%(default)s)")
    parser.add_argument(
        "--external-data", action="store_true", default=None,
        help="large tensors in a file beside the model (by itself where they don't fit: 2 GiB)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the model."""
    from fanal.export.onnx import to_onnx

    program = load(arguments.file)
    out = Path(arguments.out) if arguments.out else Path(arguments.file).with_suffix(".onnx")
    to_onnx(program, out, arguments.signature, opset=arguments.opset, external_data=arguments.external_data)
    Console().line(f"{out}: {bytes_text(out.stat().st_size)}")
    return 0
