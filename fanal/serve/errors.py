"""What a request can be answered with besides its result: one set of statuses for all protocols."""

from __future__ import annotations

from enum import Enum

from fanal.core.errors import message


class Status(Enum):
    """How a request ended, with HTTP's code and gRPC's."""

    INVALID = (400, 3, "INVALID_ARGUMENT")
    UNAUTHENTICATED = (401, 16, "UNAUTHENTICATED")
    DENIED = (403, 7, "PERMISSION_DENIED")
    NOT_FOUND = (404, 5, "NOT_FOUND")
    NOT_ALLOWED = (405, 12, "UNIMPLEMENTED")  # HTTP's method
    SLOW = (408, 4, "DEADLINE_EXCEEDED")  # the client did not finish its request in time
    ABORTED = (409, 10, "ABORTED")
    TOO_LARGE = (413, 3, "INVALID_ARGUMENT")
    UNSUPPORTED_MEDIA = (415, 3, "INVALID_ARGUMENT")
    EXHAUSTED = (429, 8, "RESOURCE_EXHAUSTED")
    HEADERS_TOO_LARGE = (431, 3, "INVALID_ARGUMENT")
    CANCELLED = (499, 1, "CANCELLED")
    INTERNAL = (500, 13, "INTERNAL")
    UNIMPLEMENTED = (501, 12, "UNIMPLEMENTED")
    UNAVAILABLE = (503, 14, "UNAVAILABLE")
    DEADLINE = (504, 4, "DEADLINE_EXCEEDED")

    @property
    def http(self) -> int:
        return self.value[0]

    @property
    def grpc(self) -> int:
        return self.value[1]

    @property
    def code(self) -> str:
        """The canonical name that gRPC and TensorFlow use."""
        return self.value[2]


class ServeError(Exception):
    """A request that gets no result. The text is for its sender: no paths, no names of ours.

    `retry_after`: seconds after which it may be worth trying again, where it may.
    """

    def __init__(self, status: Status, text: str, retry_after: float | None = None):
        super().__init__(text)
        self.status, self.text, self.retry_after = status, text, retry_after


def invalid(what: str, got: object = None, expected: str = "", hint: str = "") -> ServeError:
    """A request that is wrong: 400."""
    return ServeError(Status.INVALID, message("infer", what, got, expected, hint))
