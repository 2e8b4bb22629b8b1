"""What a command writes: tables and headings, by `rich` on a terminal, as plain text anywhere else."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import IO, Any

# Names in a file are whatever its writer liked; no sequence that steers a terminal leaves here.
_CONTROL = {n: "\ufffd" for n in (*range(32), *range(127, 160)) if n not in (9, 10)}


def shown(text: str) -> str:
    """Text without control characters."""
    return text.translate(_CONTROL)


class Console:
    """Writes to a stream. `colour`: whether it is a terminal."""

    def __init__(self, stream: IO[str] | None = None):
        self.stream = sys.stdout if stream is None else stream
        self.colour = bool(getattr(self.stream, "isatty", lambda: False)())
        self._rich: Any = None
        if self.colour:
            from rich.console import Console as Rich

            self._rich = Rich(file=self.stream, highlight=False)

    def line(self, text: str = "") -> None:
        """A line as it is."""
        self.stream.write(shown(text) + "\n")

    def title(self, text: str) -> None:
        """The heading of all that follows."""
        if self._rich is not None:
            self._rich.print(shown(text), style="bold", markup=False)
        else:
            self.line(text)

    def heading(self, text: str) -> None:
        """A heading with a line before it."""
        self.line()
        if self._rich is not None:
            self._rich.print(shown(text), style="bold cyan", markup=False)
        else:
            self.line(text)

    def pairs(self, rows: Sequence[tuple[str, str]], indent: str = "") -> None:
        """Names and values in two columns; a value of several lines stays in its column."""
        rows = [(shown(name), shown(value)) for name, value in rows if value]
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            for i, part in enumerate(value.splitlines()):
                left = f"{indent}{name if i == 0 else '':<{width}}  "
                if self._rich is None:
                    self.line(left + part)
                else:
                    self._rich.print(left, style="dim", end="", markup=False)
                    self._rich.print(part, markup=False, soft_wrap=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
        """A table; the columns in `right` are numbers."""
        rows = [[shown(c).replace("\n", " ") for c in row] for row in rows]
        if self._rich is not None:
            self._table(heads, rows, right)
            return
        widths = [max(len(r[i]) for r in (heads, *rows)) for i in range(len(heads))]
        for row in (heads, *rows):
            cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            self.line(("  " + "  ".join(cells)).rstrip())

    def _table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
        for i, head in enumerate(heads):
            made.add_column(Text(head), justify="right" if i in right else "left", overflow="fold")
        for row in rows:
            made.add_row(*(Text(c) for c in row))
        self._rich.print(made)


class Progress:
    """One line on a terminal that says what is being done; nothing anywhere else."""

    def __init__(self, stream: IO[str] | None = None):
        self.stream = sys.stderr if stream is None else stream
        self._shown = bool(getattr(self.stream, "isatty", lambda: False)())

    def __call__(self, what: str, done: int, of: int) -> None:
        if not self._shown:
            return
        text = f"{what} {done}/{of}" if of > 1 else what
        width = shutil.get_terminal_size().columns - 1
        self.stream.write("\r" + text[:width].ljust(width))
        self.stream.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            self.stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self.stream.flush()
