"""What the machine can do at most: multiply-adds, and bytes from memory. `python -m … THREADS`.

The peak of multiply-adds is a loop of independent vector FMAs on every thread at once (the one of
`benchmarks.contract`). The bandwidth is that of STREAM's "add", a = b + c over arrays much larger
than a private cache, each thread on its part.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import environment

ELEMENTS = 64 << 20  # of float32, in each of the three arrays
TRIES, PAUSE = 60, 0.03  # spread over seconds: neighbours on the same hardware come and go


def model() -> str:
    """The processor's name."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def best(work: list[Callable[[], object]]) -> float:
    """Seconds of the slowest of some jobs that run at once, in the best of some tries."""
    found = []
    for _ in range(TRIES):
        gate, times = threading.Barrier(len(work)), []

        def job(call: Callable[[], object], gate: Any = gate, times: Any = times) -> None:
            gate.wait()
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)

        threads = [threading.Thread(target=job, args=(call,)) for call in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.append(max(times))
        time.sleep(PAUSE)
    return min(found)


def peak(threads: int) -> float:
    """Floating-point operations a second."""
    from benchmarks.contract import peak as fma_loop

    loops = [fma_loop() for _ in range(threads)]

    def several(call: Callable[[], object]) -> Callable[[], object]:
        return lambda: [call() for _ in range(20)]

    return 20 * sum(count for _, count in loops) / best([several(call) for call, _ in loops])


def bandwidth(threads: int) -> float:
    """Bytes a second."""
    a, b, c = (np.ones(ELEMENTS, np.float32) for _ in range(3))
    parts = [slice(i * ELEMENTS // threads, (i + 1) * ELEMENTS // threads) for i in range(threads)]
    jobs = [lambda p=p: np.add(b[p], c[p], out=a[p]) for p in parts]
    return 3 * a.nbytes / best(jobs)


def main() -> None:
    """Prints what was found as JSON."""
    threads = int(sys.argv[1])
    environment.pin(threads)
    if "--priority" in sys.argv:
        environment.favour(os.getpid())
    found: dict[str, object] = {
        "processor": model(), "processors": os.cpu_count(), "system": platform.system(),
        "python": platform.python_version(), "bandwidth": bandwidth(threads),
    }  # fmt: skip
    try:
        found["peak"] = peak(threads)
    except Exception as error:
        found["peak"], found["peak_failed"] = None, f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
