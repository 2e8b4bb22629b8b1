"""A worker: computes one batch after another. It knows nothing of requests."""

from __future__ import annotations

import itertools
import os
import select
import socket
import sys
import threading
import time
import traceback
from typing import Any

from fanal.serve.workers import channel
from fanal.serve.workers.block import Block, aligned
from fanal.serve.workers.executor import failed
from fanal.serve.workers.model import Model

BEAT_SECONDS = 0.1


def main(model: Model, files: list[int]) -> None:
    """Compute until the server is gone. `files`: its socket, the block."""
    end, block = socket.socket(fileno=files[0]), Block(files[1])
    threading.Thread(target=_beat, args=(block, end.fileno()), name="fanal-pulse", daemon=True).start()
    functions = model.functions
    while True:
        order = channel.receive_plain(end)
        start = time.monotonic()
        name: str = order["run"]
        block.see(order["size"])
        inputs = {
            n: block.array(offset, tuple(shape), kind)
            for (n, kind), (offset, shape) in zip(functions[name].inputs.items(), order["inputs"], strict=True)
        }
        given = time.monotonic()
        try:
            outputs = model.run(name, inputs)
            computed = time.monotonic()
            answer = _put(block, outputs, order["end"])
        except Exception as error:
            _report(error)
            said = failed(error)
            answer = {"status": said.status.name, "text": said.text[:4000]}
        else:
            answer["seconds"] = [given - start, computed - given, time.monotonic() - computed]
        del inputs
        channel.send(end, answer)


def _put(block: Block, outputs: dict[str, Any], at: int) -> dict[str, Any]:
    """Copy outputs behind the inputs; where they lie."""
    places: list[Any] = []
    for array in outputs.values():
        at = aligned(at)
        places.append([at, array.shape])
        at += array.nbytes
    block.reserve(at)
    for array, (offset, shape) in zip(outputs.values(), places, strict=True):
        block.array(offset, shape, array.dtype)[...] = array
    return {"outputs": places, "size": block.size}


def _report(error: Exception) -> None:
    """The error for the server's log; senders are told less."""
    sys.stderr.write("".join(traceback.format_exception(error)))
    sys.stderr.flush()


def _beat(block: Block, server: int) -> None:
    """Shows the server that this process is alive, and leaves when the server is gone: also from the middle of a
    batch that never ends."""
    gone = select.poll()
    gone.register(server, select.POLLRDHUP | select.POLLHUP)
    for number in itertools.count(1):
        block.beat(number)
        if gone.poll(BEAT_SECONDS * 1000):
            os._exit(0)
