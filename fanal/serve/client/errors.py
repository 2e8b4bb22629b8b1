"""What a client raises where the server answered, but not with a result."""

from __future__ import annotations


class RequestError(Exception):
    """The server refused a request or failed on it.

    status: HTTP's code. text: what the server said. retry_after: seconds after which it may be worth trying
    again, where the server says so (429: it has too much to do; 503: it is starting or ending).
    """

    def __init__(self, status: int, text: str, retry_after: float | None = None):
        super().__init__(f"{status}: {text}")
        self.status, self.text, self.retry_after = status, text, retry_after
