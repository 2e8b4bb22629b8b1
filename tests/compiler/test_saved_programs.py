"""Programs on disk: a second process lowers nothing; damage, other programs and host code do not matter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fanal.backends.native.listing import read_listings
from tests.faults.program import TRAINING, run

STEP = f"""{TRAINING}
from fanal.core import stages
print("lower" in stages.taken())
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the program of STEP, and the losses that it prints."""
    folder = tmp_path_factory.mktemp("cache")
    losses, lowered = run(STEP, folder).splitlines()
    assert lowered == "True"
    return folder, losses


def test_a_second_process_lowers_nothing(filled: tuple[Path, str]) -> None:
    folder, losses = filled
    assert run(STEP, folder).splitlines() == [losses, "False"]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize("damage", [cut, flip, lambda data: b"", lambda data: b"{}"])
def test_damaged_programs_are_made_anew(
    tmp_path: Path, filled: tuple[Path, str], damage: Callable[[bytes], bytes]
) -> None:
    folder, losses = filled
    for path in folder.iterdir():
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(damage(data) if path.name[0] == "p" else data)
    assert run(STEP, tmp_path).splitlines() == [losses, "True"]
    assert run(STEP, tmp_path).splitlines() == [losses, "False"]


def test_a_program_that_lacks_a_kernel_is_made_anew(tmp_path: Path, filled: tuple[Path, str]) -> None:
    folder, losses = filled
    for path in folder.iterdir():
        if path.name[0] != "k":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert run(STEP, tmp_path).splitlines() == [losses, "True"]


def test_a_closed_folder_is_no_error(tmp_path: Path, filled: tuple[Path, str]) -> None:
    tmp_path.chmod(0o500)
    assert run(STEP, tmp_path).splitlines() == [filled[1], "True"]


def test_constants_and_sizes_make_other_programs(filled: tuple[Path, str]) -> None:
    """What differs in a number only is another program, found under another name."""
    folder, losses = filled
    for old, new in [("Dropout(0.2)", "Dropout(0.3)"), ("8, 8), fanal", "8, 8, requires_grad=True), fanal")]:
        other = STEP.replace(old, new)
        assert run(other, folder).splitlines()[0] == run(other, "").splitlines()[0]
    assert run(STEP, folder).splitlines() == [losses, "False"]


def test_code_of_the_users_is_not_looked_up(tmp_path: Path) -> None:
    """Two programs that only differ in the body of a registered function."""
    source = """
import fanal
from fanal.ops import arithmetic
@fanal.compile
def f(x):
    return fanal.linalg.inv(x) + 1
x = fanal.eye(3) * 2
f(x)
print(f(x)[0, 0].item())
"""
    for _ in range(2):  # NumPy's functions are called at addresses of this process
        assert run(source, tmp_path) == "1.5"


def test_tables_are_looked_at_before_they_are_used() -> None:
    good = {
        "arguments": 1, "offsets": [0], "arena_bytes": 64, "arena_bound": 64, "flags": 0, "commit": 0, "kernels": ["k"],
        "entries": [0], "tasks": [1], "light": [0], "lengths": [2], "words": [0, 0],
    }  # fmt: skip
    def found(table: object, early: object = None, kept: object = 0, **more: object) -> object:
        record = {"main": table, "early": early, "kept_bytes": kept, **more}
        return read_listings(json.dumps(record).encode())

    assert found(good) is not None and found(good, good, 64) is not None
    for change in (
        {"entries": [1]}, {"entries": [-1]}, {"lengths": [3]}, {"words": [0]}, {"offsets": [65]},
        {"offsets": ["0"]}, {"tasks": [-2]}, {"tasks": []}, {"light": [2]}, {"light": []}, {"kernels": [1]}, {"more": 1},
    ):  # fmt: skip
        assert found({**good, **change}) is None and found(good, {**good, **change}) is None
    assert found(good, None, -1) is None and found(good, more=1) is None
    assert read_listings(b"nonsense") is None and read_listings(b"[]") is None


EXPORTED = """
import fanal
from fanal.export import load
f = load("{path}")
print([f(fanal.ones(n, 4)).sum().item() for n in (1, 3, 8)])
from fanal.core import stages
print("lower" in stages.taken(), "passes" in stages.taken())
"""


def test_a_program_from_a_file_is_found_without_its_graph(tmp_path: Path) -> None:
    import fanal
    from fanal.export import Dim, export, save

    def write(name: str, number: float) -> Path:
        weight = fanal.ones(4, 4)

        def f(x: fanal.Tensor) -> fanal.Tensor:
            return (x @ weight) * number

        save(export(f, (fanal.ones(2, 4),), dynamic_shapes={"x": {0: Dim("n", max=64)}}), tmp_path / name)
        return tmp_path / name

    two, three = write("two", 2.0), write("three", 3.0)
    folder = tmp_path / "cache"
    folder.mkdir()
    for path, number, lowered in [(two, 2, True), (two, 2, False), (three, 3, True), (two, 2, False), (three, 3, False)]:
        found, stages = run(EXPORTED.replace("{path}", str(path)), folder).splitlines()
        assert found == str([16.0 * number * n for n in (1, 3, 8)])
        assert stages == f"{lowered} {lowered}"
