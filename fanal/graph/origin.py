"""Where an operation of a captured function comes from: the user's line and what was called there.

Messages, reports and profiles name it. It is no part of what a node means: graphs that differ in
nothing else are the same graph, and share their kernels.
"""

from __future__ import annotations

import linecache
import os
import sys
from typing import Any, NamedTuple

_PACKAGE = __name__.split(".", 1)[0] + "."


class Origin(NamedTuple):
    """The innermost line outside of this package. `operation`: the function that was called there;
    `backward`: whether this is its gradient."""

    file: str
    line: int
    function: str
    operation: str = ""
    backward: bool = False

    @property
    def place(self) -> str:
        """The line as reports show it: model.py:12."""
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def called(self) -> str:
        """The operation, marked where it is a gradient."""
        name = self.operation.lstrip("_") or "?"
        return f"{name} (backward)" if self.backward else name

    @property
    def source(self) -> str:
        """The text of the line, if its file can be read."""
        return linecache.getline(self.file, self.line).strip()


def users_place(depth: int = 1) -> Any:
    """The line outside of this package that is being carried out; None where there is none. (Which of
    its instructions it is, CPython doesn't tell the same way each time.)"""
    frame = sys._getframe(depth + 1)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def users_origin(operation: str, depth: int = 1) -> Origin | None:
    """The origin of what happens now; None where all of the stack is this package's."""
    frame = sys._getframe(depth + 1)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            code = frame.f_code
            return Origin(code.co_filename, frame.f_lineno, code.co_name, operation)
        frame = frame.f_back  # type: ignore[assignment]
    return None
