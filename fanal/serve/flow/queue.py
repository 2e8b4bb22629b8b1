"""The requests that wait for one version of a model: bounded, in order, those together that can share a batch."""

from __future__ import annotations

from collections import deque
from typing import Any

from fanal.serve.flow.ticket import Ticket


class Queue:
    """Groups of tickets that may share a batch; the group whose first ticket is most urgent comes first."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], deque[Ticket]] = {}
        self.count = 0  # tickets
        self.rows = 0

    def put(self, ticket: Ticket) -> None:
        key = (ticket.priority, *ticket.key)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = deque()
        group.append(ticket)
        self.count += 1
        self.rows += ticket.rows

    def remove(self, ticket: Ticket) -> None:
        """Take out a ticket that waits."""
        key = (ticket.priority, *ticket.key)
        group = self._groups[key]
        group.remove(ticket)
        if not group:
            del self._groups[key]
        self.count -= 1
        self.rows -= ticket.rows

    def head(self) -> Ticket | None:
        """The ticket whose turn it is."""
        return self._first()[0] if self._groups else None

    def together(self) -> int:
        """The rows that could share its batch, its own included."""
        return sum(t.rows for t in self._first())

    def take(self, most: int) -> list[Ticket]:
        """The next batch: at most so many rows, or one ticket that has more."""
        group = self._first()
        found = [group.popleft()]
        rows = found[0].rows
        while group and rows + group[0].rows <= most:
            ticket = group.popleft()
            rows += ticket.rows
            found.append(ticket)
        if not group:
            del self._groups[(found[0].priority, *found[0].key)]
        self.count -= len(found)
        self.rows -= rows
        return found

    def drain(self) -> list[Ticket]:
        """All that wait, which then no longer do."""
        found = [t for group in self._groups.values() for t in group]
        self._groups.clear()
        self.count = self.rows = 0
        return found

    def _first(self) -> deque[Ticket]:
        groups = self._groups.values()
        if len(groups) == 1:
            return next(iter(groups))
        return min(groups, key=lambda g: (g[0].priority, g[0].arrived))
