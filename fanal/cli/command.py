"""The commands by name, and what becomes of errors: a line for the user's, a traceback for ours.

Exit codes: 0 done, 1 it could not be done (the message says why), 2 no such arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fanal.cli import benching, building, inspecting, onnx, op, serving
from fanal.cli.console import shown
from fanal.core.errors import DataError, Limit
from fanal.export import ExportError
from fanal.version import __version__

# What a user can cause, and its message says all.
_USERS = (OSError, DataError, ExportError, Limit, ValueError, ImportError)
_COMMANDS = (inspecting, op, building, onnx, serving, benching)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 2
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # somebody closed what we write to, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except _USERS as error:
        if arguments.traceback:
            raise
        sys.stderr.write(f"fanal: {_text(error)}\n")
        return 1


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return shown(f"{os.fspath(error.filename)}: {error.strerror}")
    return shown(str(error))


class _Command(argparse.ArgumentParser):
    """A command's parser, whose arguments may be found out when the command is the one that was asked for."""

    later: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        later, self.later = self.later, None
        if later is not None:
            later(self)
        return super().parse_known_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fanal", description="Programs that left Python: what is in them, libraries made of them, servers that answer for them.",
        epilog="fanal COMMAND --help says more of each.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"fanal {__version__}")
    parser.add_argument("--traceback", action="store_true", help="of an error, where it came up (to report it)")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Command)
    for module in _COMMANDS:
        module.add_parser(commands)
    return parser
