"""DataLoader with worker processes: the same batches, and nothing left behind."""

from __future__ import annotations

import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanal
from fanal.data import DataLoader, Dataset, IterableDataset, get_worker_info
from tests.data.test_datasets import Squares

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Images(Dataset):
    """Tensors, arrays, numbers and text."""

    def __init__(self, n: int, size: int = 64):
        self.n, self.size = n, size

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        x = fanal.full((3, self.size, self.size), float(i))
        return {"x": x, "y": (i, np.arange(4) * i), "name": f"image {i}"}


class Shared(IterableDataset):
    """0 … n - 1, shared out among the workers."""

    def __init__(self, n: int):
        self.n = n

    def __iter__(self) -> Any:
        info = get_worker_info()
        return iter(range(info.id, self.n, info.num_workers))


def check(batch: Any, indices: list[int]) -> None:
    assert batch["name"] == [f"image {i}" for i in indices]
    assert batch["y"][0].tolist() == indices
    assert batch["y"][1].tolist() == [[0, i, 2 * i, 3 * i] for i in indices]
    assert batch["x"].mean((1, 2, 3)).tolist() == indices


def children() -> set[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return {int(p) for p in found.stdout.split() if Path(f"/proc/{p}").exists()}


def resources() -> tuple[int, int, int]:
    """Open descriptors, mapped batches, threads."""
    gc.collect()
    maps = Path("/proc/self/maps").read_text().count("fanal-batch")
    return len(os.listdir("/proc/self/fd")), maps, threading.active_count()


@pytest.mark.parametrize("options", [{}, {"prefetch_factor": 1}, {"prefetch_factor": 9}])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_in_order(workers: int, options: dict[str, Any]) -> None:
    loader = DataLoader(Images(23), batch_size=4, num_workers=workers, **options)
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == 6
        for k, batch in enumerate(batches):
            check(batch, list(range(4 * k, min(4 * k + 4, 23))))


def test_batches_outlive_their_memory_being_reused() -> None:
    kept = []
    for k, batch in enumerate(DataLoader(Images(40), batch_size=2, num_workers=2)):
        if k % 3 == 0:
            kept.append((k, batch["x"][:, 0]))
        batch["x"] += 1  # batches can be written to
    for k, x in kept:
        assert x.mean((1, 2)).tolist() == [2 * k + 1, 2 * k + 2]


def test_nothing_is_left_behind() -> None:
    def once(persistent: bool = False) -> None:
        loader = DataLoader(Images(30), 4, num_workers=2, persistent_workers=persistent)
        for _ in range(2):
            for k, _batch in enumerate(loader):
                if k == 3:
                    break

    once()
    before, processes = resources(), children()
    for persistent in (False, True, False, True):
        once(persistent)
    assert resources() == before and children() == processes


def test_persistent_workers_are_the_same() -> None:
    loader = DataLoader(WhoAmI(), batch_size=2, num_workers=2, persistent_workers=True)
    first, second = (sorted({p for b in loader for p in b.tolist()}) for _ in range(2))
    assert first == second and len(first) == 2
    iterator = iter(loader)
    next(iterator)
    again = [b.tolist() for b in loader]  # begun anew in the middle
    assert len(again) == 4 and list(iterator) == []
    other = DataLoader(WhoAmI(), batch_size=2, num_workers=2)
    a, b = ({p for b in other for p in b.tolist()} for _ in range(2))
    assert not a & b


class WhoAmI(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        return os.getpid()


@pytest.mark.parametrize("in_order", [True, False])
def test_streams(in_order: bool) -> None:
    loader = DataLoader(Shared(17), batch_size=3, num_workers=2, in_order=in_order)
    batches = [b.tolist() for b in loader]
    assert sorted(sum(batches, [])) == list(range(17))
    if in_order:
        assert batches == [
            [0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11], [12, 14, 16], [13, 15]
        ]  # fmt: skip
    whole = DataLoader(Shared(7), batch_size=None, num_workers=3, persistent_workers=True)
    assert [list(whole), list(whole)] == [list(range(7))] * 2
    few = DataLoader(Shared(1), batch_size=2, num_workers=3, drop_last=True)
    assert list(few) == []


def test_fast_workers_are_not_waited_for_out_of_order() -> None:
    loader = DataLoader(Slow(), batch_size=1, num_workers=2, in_order=False)
    assert next(iter(loader)).item() == 1


class Slow(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> int:
        time.sleep(0.8 if i == 0 else 0)
        return i


# -- seeds and initialisation ---------------------------------------------------------------------------


class Draws(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        info = get_worker_info()
        return [random.random(), float(np.random.rand()), fanal.rand(1).item(), info.seed, info.id]


def test_workers_draw_different_and_repeatable_numbers() -> None:
    def epoch(seed: int) -> list[Any]:
        g = fanal.Generator().manual_seed(seed)
        loader = DataLoader(Draws(), batch_size=None, num_workers=2, generator=g)
        return list(loader)

    first = epoch(1)
    assert first == epoch(1) != epoch(2)
    for column in range(3):
        assert len({row[column] for row in first}) == 6
    assert {row[4] for row in first} == {0, 1}
    assert abs(first[0][3] - first[1][3]) == 1
    assert get_worker_info() is None


def test_worker_init_fn_sees_its_copy() -> None:
    def init(worker_id: int) -> None:
        info = get_worker_info()
        assert info.id == worker_id and info.num_workers == 2
        info.dataset.n = 10 * (worker_id + 1)

    dataset = Named()
    loader = DataLoader(dataset, batch_size=None, num_workers=2, worker_init_fn=init)
    assert list(loader) == [10, 20, 10, 20] and dataset.n == 0


class Named(Dataset):
    n = 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> int:
        return self.n


# -- what goes wrong --------------------------------------------------------------------------------------


class Broken(Dataset):
    def __init__(self, error: Any):
        self.error = error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        if i == 1:
            raise self.error
        return i


class Picky(Exception):
    def __init__(self, a: Any, b: Any):
        super().__init__(f"{a} {b}")


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("bad luck"), ValueError), (KeyError("bad luck"), KeyError),
                        (Picky("bad", "luck"), RuntimeError)],
)  # fmt: skip
def test_errors_come_with_the_workers_traceback(error: Any, kind: Any) -> None:
    iterator = iter(DataLoader(Broken(error), batch_size=None, num_workers=2))
    assert next(iterator) == 0
    with pytest.raises(kind) as caught:
        next(iterator)
    text = str(caught.value)
    assert text.startswith(f"Caught {type(error).__name__} in DataLoader worker process 1.")
    assert "Original Traceback" in text and "in __getitem__" in text and "bad" in text
    assert list(iterator) == [2, 3]  # the others still come


def test_an_error_in_init_and_in_pickling() -> None:
    def init(_: int) -> None:
        raise ZeroDivisionError("init")

    with pytest.raises(ZeroDivisionError, match="init"):
        next(iter(DataLoader(Squares(2), num_workers=1, worker_init_fn=init)))
    loader = DataLoader(Squares(2), num_workers=1, collate_fn=lambda b: lambda: b)
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError), match="worker process 0"):
        next(iter(loader))


class Dies(Dataset):
    def __init__(self, how: Any):
        self.how = how

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        if i == 2:
            self.how()
        return i


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL.*fewer workers"),
        (lambda: os._exit(3), "exit code 3"),
    ],
)
def test_a_dead_worker_is_an_error_at_once(how: Any, text: str) -> None:
    iterator = iter(DataLoader(Dies(how), batch_size=None, num_workers=2))
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=rf"exited unexpectedly.*{text}"):
        list(iterator)
    assert time.monotonic() - start < 4 and not [c for c in iterator._links if c.process._popen]


def test_timeout() -> None:
    loader = DataLoader(Slow(), batch_size=None, num_workers=1, timeout=0.05)
    iterator = iter(loader)
    with pytest.raises(RuntimeError, match="timed out after 0.05 seconds"):
        next(iterator)
    for _ in range(400):  # the batch comes in the end
        try:
            found = next(iterator)
        except RuntimeError:
            continue
        break
    assert found == 0


def test_a_tensor_with_a_past_is_refused() -> None:
    class Past(Squares):
        def __getitem__(self, i: int) -> Any:
            return fanal.ones(2, requires_grad=True) * 2

    loader = DataLoader(Past(2), num_workers=1, batch_size=None)
    with pytest.raises(RuntimeError, match="non-leaf tensor"):
        next(iter(loader))


# -- the program's end --------------------------------------------------------------------------------------

PROGRAM = """
import os, sys, time, fanal
from fanal.data import DataLoader, Dataset
class D(Dataset):
    def __len__(self): return 1000
    def __getitem__(self, i):
        time.sleep({sleep})
        return fanal.ones(100, 100)
if __name__ == "__main__":
    iterator = iter(DataLoader(D(), batch_size=2, num_workers=2, persistent_workers={keep}))
    next(iterator)
    print(*[l.process.pid for l in iterator._links], flush=True)
    {end}
"""


def run_program(end: str, keep: bool = False, sleep: float = 0.001) -> Any:
    program = textwrap.dedent(PROGRAM.format(end=end, keep=keep, sleep=sleep))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    pids = [int(p) for p in process.stdout.readline().split()]
    return process, pids


def all_gone(pids: list[int], within: float = 8.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        alive = [p for p in pids if Path(f"/proc/{p}").exists() and " Z " not in stat(p)]
        if not alive:
            return True
        time.sleep(0.02)
    return False


def stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return " Z "


@pytest.mark.parametrize("keep", [False, True])
def test_a_program_ends_in_the_middle(keep: bool) -> None:
    process, pids = run_program("sys.exit(5)", keep)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 5 and not errors and len(pids) == 2 and all_gone(pids)


def test_ctrl_c() -> None:
    process, pids = run_program("list(iterator)")
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes of the group
    _, errors = process.communicate(timeout=20)
    assert errors.count("KeyboardInterrupt") == 1 and errors.count("Traceback") == 1
    assert all_gone(pids)


def test_the_parent_is_killed() -> None:
    process, pids = run_program("time.sleep(60)")
    process.kill()
    process.communicate(timeout=20)
    assert all_gone(pids)


# -- start methods ------------------------------------------------------------------------------------------


def test_forkserver() -> None:
    options = {"num_workers": 2, "multiprocessing_context": "forkserver"}
    for k, batch in enumerate(DataLoader(Images(6), batch_size=2, **options)):
        check(batch, [2 * k, 2 * k + 1])


def test_programs_run_in_forked_workers_after_threads_ran_here() -> None:
    a = fanal.randn(256, 256)
    a @ a  # our threads have started

    class Products(Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> Any:
            return (a @ a)[i]

    found = [row for batch in DataLoader(Products(), batch_size=2, num_workers=2) for row in batch]
    for row, wanted in zip(found, a @ a, strict=False):
        assert row.tolist() == wanted.tolist()
