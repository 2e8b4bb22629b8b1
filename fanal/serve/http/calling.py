"""Handlers that run a model: what is common to all protocols over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError
from fanal.serve.flow.ticket import Answer
from fanal.serve.http.encoding import inflate, inflate_apart, inflates_long
from fanal.serve.http.long import LONG, read
from fanal.serve.http.messages import Later, Reply, Request, Response
from fanal.serve.http.text import parsed
from fanal.serve.interface import Function
from fanal.serve.settings import Settings
from fanal.serve.version import Version

# Long texts are read one after another, so that of all threads few stand in the event loop's way.
_READER = ThreadPoolExecutor(1, "fanal-reader")


class Call(NamedTuple):
    """A request that was understood. `timeout`: seconds that its answer is worth waiting for; `text`: whether numbers of
    the answer are written as JSON."""

    function: Function
    inputs: dict[str, np.ndarray]
    timeout: float
    priority: int
    finish: Callable[[Version, Answer], Response]
    text: bool = True


class Calls:
    """A handler. What is left to protocols: `head`, `understood`."""

    def __init__(self, engine: Engine, settings: Settings):
        self.engine, self.settings = engine, settings

    def version(self, request: Request) -> Version:
        """The version that a request means."""
        names = request.names
        number = names.get("version")
        return self.engine.find(names["model"], None if number is None else int(number), names.get("label"))

    def head(self, request: Request) -> int:
        """How many bytes of a body are JSON; ServeError if it can't be any."""
        raise NotImplementedError

    def understood(self, request: Request, value: Any, version: Version) -> Call:
        """What a request says. `value`: of its JSON, with `Long` in the places of long lists."""
        raise NotImplementedError

    def __call__(self, request: Request) -> Reply:
        if inflates_long(request) or len(request.body) > LONG:
            return self._apart(request)
        start = time.monotonic()
        version = self.version(request)
        try:
            size = self._prepared(request)
            if size > LONG:
                return self._apart(request)
            body = request.body
            value = parsed(body if size == len(body) else body[:size], self.settings.max_depth)
            call = self.understood(request, value, version)
        except ServeError as error:
            version.refused(error)
            raise
        return self._submitted(version, call, start)

    def _prepared(self, request: Request) -> int:
        inflate(request, self.settings.max_body)
        return self.head(request)

    def _submitted(self, version: Version, call: Call, start: float) -> Later:
        # The time that it took to be read counts.
        ticket = version.submit(call.function, call.inputs, start + call.timeout, call.priority)
        return Later(ticket, lambda answer: call.finish(version, answer), call.text)

    async def _apart(self, request: Request) -> Later:
        """The same in a thread, as far as it may take long."""
        start = time.monotonic()
        version = self.version(request)
        while True:
            try:
                if inflates_long(request):
                    await inflate_apart(request, self.settings.max_body)
                if self._prepared(request) > LONG:
                    call = await asyncio.get_running_loop().run_in_executor(_READER, self._read, request, version)
                else:
                    call = self._read(request, version)
            except ServeError as error:
                version.refused(error)
                raise
            there = self.version(request)
            if there is version:
                return self._submitted(version, call, start)
            version = there  # it was swapped meanwhile

    def _read(self, request: Request, version: Version) -> Call:
        size = self.head(request)
        return read(request.body[:size], self.settings.max_depth, lambda value: self.understood(request, value, version))
