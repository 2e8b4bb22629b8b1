"""How many threads to use by default: what this process may really run on.

A container may see 64 processors and be allowed two. So: `FANAL_NUM_THREADS` if set, else the
processors in the affinity mask, or fewer where a cgroup's quota (version 1 or 2) allows fewer.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from fanal.backends.native.runtime.layout import MAX_THREADS

_CGROUPS = Path("/sys/fs/cgroup")


def default_num_threads() -> int:
    """The number of threads to start with: at least 1, at most `MAX_THREADS`."""
    wanted = os.environ.get("FANAL_NUM_THREADS", "").strip()
    if wanted:
        if not wanted.isdecimal() or not 1 <= int(wanted) <= MAX_THREADS:
            raise ImportError(
                f"[fanal] FANAL_NUM_THREADS: expected 1 to {MAX_THREADS}, got {wanted!r}."
            )
        return int(wanted)
    return min(available_processors(), MAX_THREADS)


def available_processors() -> int:
    """How many processors this process may use at once; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota(_CGROUPS, Path("/proc/self/cgroup"))
    if quota is not None:
        count = min(count, math.ceil(quota))
    return max(1, count)


def _cgroup_quota(root: Path, membership: Path) -> float | None:
    """Processors' worth of time that the cgroups of this process allow, or None for no limit."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, read = root, _quota_v2
        elif "cpu" in controllers.split(","):
            base, read = root / controllers, _quota_v1
            if not base.exists():
                base = root / "cpu"
        else:
            continue
        # A limit on any ancestor binds. In a container the path is often relative to a root that
        # is not mounted, so the mount's own root is looked at in any case.
        inner = base / path.lstrip("/")
        for folder in (inner, *inner.parents):
            quota = read(folder)
            if quota is not None:
                quotas.append(quota)
            if folder == base:
                break
    return min(quotas, default=None)


def _quota_v2(folder: Path) -> float | None:
    try:
        limit, period = (folder / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return limit / period if limit > 0 else None
    except (OSError, ValueError):
        return None
