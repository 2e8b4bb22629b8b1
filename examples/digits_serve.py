"""The end of the demo: the digits network behind a server that standard clients speak to.

`fanal serve` is started as anybody would start it, on free ports of this machine. Held-out digits are sent to it one by one
over several connections while a second version is put into its folder, which answers with probabilities instead
of logits; then it is told to stop.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fanal
import fanal.nn as nn
from fanal.export import Dim, export, save
from fanal.serve import Client, bench

CONNECTIONS = 8
SECONDS = 1.0  # for which each version is asked
MOST_SECONDS = 30.0


class Said(NamedTuple):
    """An answer: which digit was asked for, the output's name and numbers, seconds it took."""

    digit: int
    output: str
    numbers: np.ndarray
    seconds: float


def serve(model: nn.Module, x: fanal.Tensor, y: fanal.Tensor, out: Path) -> bool:
    """Start a server, ask it, swap versions, stop it; prints a few lines. Returns whether all was as it should be."""
    model.eval()
    images, labels = x.numpy(), np.asarray(y.tolist())
    with fanal.no_grad():
        wanted = {"logits": model(x).numpy(), "probabilities": model(x).softmax(1).numpy()}
    folder = out / "models" / "digits"
    for old in folder.glob("*.fanal"):
        old.unlink()
    write(model, x, folder / "1.fanal", "logits")
    ready = out / "ready.json"
    ready.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "fanal.cli", "serve", str(folder.parent), "--ready-file", str(ready), "--poll", "0.2",
        "--log-level", "warning",
    ]  # fmt: skip
    for name in ("http", "grpc", "metrics"):
        command += [f"--{name}-port", "0"]
    start = time.perf_counter()
    with subprocess.Popen(command) as server:
        try:
            while not ready.exists():
                if server.poll() is not None or time.perf_counter() - start > 60:
                    print("server:       it did not start")
                    return False
                time.sleep(0.01)
            url = f"http://127.0.0.1:{json.loads(ready.read_text())['http']}"
            print(f"server:       {url} answers {time.perf_counter() - start:.1f} s after it was started")
            said, errors = asked(url, images, lambda: write(model, x, folder / "2.fanal", "probabilities"))
            outcome = bench.run(url, "digits", concurrency=32, duration=2.0, warm_up=0.5, inputs=[{"x": i[None]} for i in images])
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                code = -1
    right = sum(int(np.argmax(s.numbers)) == labels[s.digit] for s in said) / max(1, len(said))
    same = all(s.numbers.tobytes() == wanted[s.output][s.digit].tobytes() for s in said)
    by_version = [sum(s.output == name for s in said) for name in wanted]
    times = sorted(s.seconds * 1e3 for s in said)
    print(f"answers:      {len(said)} over {CONNECTIONS} connections, {right:.2%} right, {'the same bits' if same else 'OTHER BITS'}, {len(errors)} failed")
    print(f"swap:         {by_version[0]} answers of version 1, {by_version[1]} of version 2, median {statistics.median(times):.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms")
    print(f"throughput:   {outcome.throughput:,.0f} requests a second over 32 connections, p50 {outcome.latency.p50 * 1e3:.1f} ms, p99 {outcome.latency.p99 * 1e3:.1f} ms")
    print(f"stopped:      exit code {code}")
    for error in errors[:3]:
        print(f"  {error}")
    return same and not errors and code == 0 and min(by_version) > 0 and not outcome.errors


def write(model: nn.Module, x: fanal.Tensor, path: Path, output: str) -> None:
    """Export one version: with logits, or with probabilities."""

    def predict(x: fanal.Tensor) -> fanal.Tensor:
        return model(x) if output == "logits" else model(x).softmax(1)

    path.parent.mkdir(parents=True, exist_ok=True)
    program = export(
        predict, (x[:8],), dynamic_shapes={"x": {0: Dim("batch", max=256)}}, name="digits", output_names=[output],
        labels={output: [str(i) for i in range(10)]},
    )  # fmt: skip
    save(program, path)


def asked(url: str, images: np.ndarray, swap: Callable[[], None]) -> tuple[list[Said], list[str]]:
    """Ask for all digits again and again, over several connections; `swap` is called in the middle."""
    client = Client(url)
    said: list[Said] = []
    errors: list[str] = []
    done = threading.Event()

    def ask(first: int) -> None:
        i = first
        while not done.is_set():
            start = time.perf_counter()
            try:
                ((name, numbers),) = client.infer("digits", {"x": images[i : i + 1]}).items()
                said.append(Said(i, name, numbers[0], time.perf_counter() - start))
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
            i = (i + CONNECTIONS) % len(images)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    first = said[0].output if said else ""
    swap()
    end = time.perf_counter() + MOST_SECONDS
    while said and said[-1].output == first and time.perf_counter() < end:
        time.sleep(0.01)
    time.sleep(SECONDS)
    done.set()
    for thread in threads:
        thread.join()
    return said, errors
