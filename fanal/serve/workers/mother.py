"""A mother: a process that has one version of a model loaded, compiled and warm, and forks its workers."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

import numpy as np

import fanal
from fanal.backends.native import saved
from fanal.serve.workers import channel, urgency, worker
from fanal.serve.workers.model import Limits, Model
from fanal.serve.workers.nursery import Family, called


def prepare() -> None:
    """What all mothers need, once for all of them."""
    saved.version()
    np.random.default_rng()  # NumPy imports it when it is first asked for


def main(record: dict[str, Any], files: list[int]) -> None:
    """`record`: path, name, threads, most, sizes, urgent. `files`: the server's socket, the program's file."""
    called(f"fanal+{record['name']}")
    end = socket.socket(fileno=files[0])
    fanal.set_num_threads(record["threads"])
    found: dict[str, Any] = {}

    def load() -> None:
        if not record["urgent"]:
            urgency.give_way()
        try:
            model = Model(f"/proc/self/fd/{files[1]}", Limits(record["most"], record["sizes"]))
            model.warm()
            found["model"] = model
        except Exception as error:
            found["error"] = f"{error}".replace(f"/proc/self/fd/{files[1]}", record["path"])
            found["kind"] = type(error).__name__

    # In a thread of its own: what the process forks later is as urgent as others.
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    if not record["urgent"] and urgency.starves(thread) and not urgency.insist():
        channel.send(end, {"kind": "starved"})
        return
    thread.join()
    if "model" not in found:
        channel.send(end, {"kind": "failed", "text": found["error"][:4000], "class": found["kind"]})
        return
    os.close(files[1])
    model: Model = found["model"]
    text = channel.text_file(json.dumps(model.description()))
    channel.send(end, {"kind": "ready"}, [text])
    os.close(text)

    def born(record: dict[str, Any], files: list[int]) -> None:
        called(f"fanal:{record['name']}")
        worker.main(model, files)

    Family(end, born).run()
