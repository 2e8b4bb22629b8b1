"""The environment of a worker: its threads and where its caches lie. Nothing else of ours is passed.

A worker that is not at its turn is stopped (SIGSTOP), so the frameworks may wait for work in their
own way, spinning or not, without taking time from one another.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Would set threads or precision behind our back.
DROPPED = ("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "XLA_", "JAX_", "TF_", "TORCH", "FANAL_", "ONEDNN_")


def worker(threads: int, cache: Path) -> dict[str, str]:
    """Variables for a process that runs one peer."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(DROPPED)}
    return {
        **kept,
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


def pin(threads: int) -> None:
    """Let this process run on as many processors as it has threads."""
    free = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, free[:threads])
