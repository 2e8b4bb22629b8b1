"""A disk cache that is damaged, closed, full or another's only costs time; results stay the same."""

import textwrap
from ast import literal_eval

import pytest

from tests.faults.program import COUNTS, WORK, run, start


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with the kernels of WORK, and what WORK prints."""
    folder = tmp_path_factory.mktemp("cache")
    printed = run(WORK + COUNTS, folder).splitlines()
    assert literal_eval(printed[1])["compiled"] > 3
    return folder, printed[0]


def again(folder, **environment):
    """Numbers and counts of another run."""
    numbers, counts = run(WORK + COUNTS, folder, **environment).splitlines()
    return numbers, literal_eval(counts)


def test_a_second_process_compiles_nothing(filled):
    folder, numbers = filled
    found, counts = again(folder)
    assert found == numbers and counts["compiled"] == 0 and counts["loaded"] > 3


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_damaged_files_are_noticed_and_replaced(tmp_path, filled, damage):
    folder, numbers = filled
    for path in folder.iterdir():
        data = bytearray(path.read_bytes())
        if damage == "flip":
            data[len(data) // 2] ^= 1
        elif damage == "cut":
            del data[len(data) // 2 :]
        else:
            data = bytearray(b"" if damage == "empty" else b"not an object")
        (tmp_path / path.name).write_bytes(data)
    found, counts = again(tmp_path)
    assert found == numbers and counts["loaded"] == 0 and counts["compiled"] > 3
    assert again(tmp_path)[1]["compiled"] == 0


def test_a_valid_file_of_another_kernel_is_not_loaded_under_this_name(tmp_path, filled):
    folder, numbers = filled
    kernels = sorted(p for p in folder.iterdir() if p.name.startswith("k"))
    for path, other in zip(kernels, kernels[1:] + kernels[:1], strict=True):
        (tmp_path / path.name).write_bytes(other.read_bytes())
    found, counts = again(tmp_path)
    assert found == numbers and counts["loaded"] == 0


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, filled):
    (tmp_path / "file").write_text("in the way")
    assert again(tmp_path / "file" / "cache")[0] == filled[1]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, filled):
    tmp_path.chmod(0o500)
    # The superuser may write even there, so the refusal of a read-only disk is put in its place.
    refusal = """
    import errno, os, tempfile
    def refuse(*args, **options):
        raise OSError(errno.EROFS, "Read-only file system")
    if os.getuid() == 0:
        tempfile.mkstemp = refuse
    """
    assert run(textwrap.dedent(refusal) + WORK, tmp_path) == filled[1]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_error(tmp_path, filled):
    full = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    """
    numbers = run(textwrap.dedent(full) + WORK, tmp_path)
    assert numbers == filled[1]
    assert not list(tmp_path.iterdir())


def test_a_folder_of_someone_else_is_not_used(tmp_path, filled):
    folder, numbers = filled
    source = "import os\nmine = os.getuid()\nos.getuid = lambda: mine + 1\n"
    found, counts = run(source + WORK + COUNTS, folder).splitlines()
    assert found == numbers
    assert literal_eval(counts)["loaded"] == 0


def test_a_folder_that_others_can_write_is_closed_to_them(tmp_path, filled):
    tmp_path.chmod(0o777)
    assert again(tmp_path)[0] == filled[1]
    assert tmp_path.stat().st_mode & 0o022 == 0


def test_ten_processes_with_an_empty_cache_at_once(tmp_path, filled):
    processes = [start(WORK, tmp_path) for _ in range(10)]
    printed = [p.communicate(timeout=300) for p in processes]
    assert [p.returncode for p in processes] == [0] * 10, printed
    assert {out.strip() for out, _ in printed} == {filled[1]}
    assert again(tmp_path)[1]["compiled"] == 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".new")]
