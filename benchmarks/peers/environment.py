"""The surroundings of a worker: its threads, its caches, how it waits and is scheduled.

A worker that is not at its turn is stopped (SIGSTOP), so the frameworks may wait for work in their
own way, spinning or not, without taking time from one another. But threads that spin need
processors of their own: where other programs keep the machine busy and we have no priority over
them, OpenMP is told to wait passively (a small PyTorch step took a hundred times as long without
that, and twice as long with it as on a quiet machine; the page says which it was).
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1
# Would set threads or precision behind our back.
DROPPED = (
    "OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "XLA_", "JAX_", "TF_", "TORCH", "FANAL_",
    "ONEDNN_",
)  # fmt: skip


def worker(threads: int, cache: Path, passive: bool = False) -> dict[str, str]:
    """Variables for a process that runs one peer."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(DROPPED)}
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"} if passive else {}
    return {
        **kept,
        **waiting,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "FANAL_NUM_THREADS": str(threads),
        "FANAL_CACHE_DIR": str(cache / "fanal"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "JAX_PLATFORMS": "cpu",
        "NPROC": str(threads),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} "
        f"intra_op_parallelism_threads={threads}",
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "OPENVINO_TELEMETRY_DISABLED": "1",
    }


def end_with_parent() -> None:
    """Should the coordinator be killed, this process must not stay behind, stopped for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def pin(threads: int) -> None:
    """Let this process run on as many processors as it has threads."""
    free = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, free[:threads])


def favour(process: int) -> bool:
    """Let other programs on this machine wait for a process that leads a session; if we may do
    so."""
    try:
        # A session is a scheduling group of its own, and `nice` counts only within a group.
        Path(f"/proc/{process}/autogroup").write_text("-20")
    except OSError:
        return False
    return True


def busy(seconds: float = 0.5) -> float:
    """How many processors are in use, while nothing of ours runs."""
    before = _used()
    time.sleep(seconds)
    return (_used() - before) / seconds


def _used() -> float:
    """Seconds that all processors have worked, together."""
    with open("/proc/stat") as file:
        numbers = [int(text) for text in file.readline().split()[1:]]
    user, nice, system, _idle, _waiting, hard, soft, steal, *_ = numbers
    return (user + nice + system + hard + soft + steal) / os.sysconf("SC_CLK_TCK")
