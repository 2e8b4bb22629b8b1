"""The one message of a call that brings one, which a client may be slow to send, or never send.

gRPC itself would wait for it as long as the connection lives, and for nobody but the client's own deadline; the server's
end would wait, too. A call without any message it would leave without an answer.
"""

from __future__ import annotations

import asyncio

import grpc

from fanal.serve.errors import ServeError, Status, invalid

_EVERY = 1.0  # seconds between looks for those that take too long
_AT_THE_END = 1.0  # seconds that what is on its way has when the server ends


class Receiving:
    """Reads messages. `patience`: seconds that a client may take to send one."""

    def __init__(self, patience: float):
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._since: dict[asyncio.Task[object], float] = {}
        self._refused: dict[asyncio.Task[object], ServeError] = {}
        self._timer = self._loop.call_later(_EVERY, self._look)

    async def message(self, context: grpc.aio.ServicerContext) -> bytes:
        """The call's message; ServeError where none comes."""
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = self._loop.time()
        try:
            data: bytes = await context.read()
        except asyncio.CancelledError:
            why = self._refused.pop(task, None)
            if why is None:
                raise
            task.uncancel()
            raise why from None
        finally:
            del self._since[task]
        if data is grpc.aio.EOF:
            raise invalid("the call has no message", None, "one")
        return data

    def end(self) -> None:
        """The server stops: what is not here in a moment is not waited for."""
        self._timer.cancel()
        self._timer = self._loop.call_later(_AT_THE_END, self._refuse, 0.0, ServeError(Status.UNAVAILABLE, "[serve] the server ends.", 1.0))

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        text = f"[serve] the call's message did not come within {self._patience:g} s."
        self._refuse(self._patience, ServeError(Status.SLOW, text))
        self._timer = self._loop.call_later(_EVERY, self._look)

    def _refuse(self, patience: float, error: ServeError) -> None:
        before = self._loop.time() - patience
        for task, since in self._since.items():
            if since <= before and task not in self._refused:
                self._refused[task] = error
                task.cancel()
