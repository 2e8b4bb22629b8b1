"""What a repository's files and manifests mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanal.serve.repository.layout import check, scan
from fanal.serve.repository.manifest import manifest_from


def test_what_is_found(tmp_path: Path) -> None:
    for name in (
        "one.fanal", "two/1.fanal", "two/3/any.fanal", "two/x.fanal", "two/.4.fanal", ".hidden.fanal", "bad name.fanal",
        "empty/readme", "none/model.fanal", "bad folder/1.fanal",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.fanal").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.fanal")  # whoever opens it waits
    os.mkfifo(tmp_path / "two" / "3" / "a.fanal")
    found, overlooked = scan(tmp_path)
    assert {n: sorted(m.versions) for n, m in found.items()} == {"one": [1], "two": [1, 3]}
    assert found["two"].versions[3].path.name == "any.fanal"
    assert set(overlooked) == {"bad name.fanal", "none", "bad folder", "link.fanal", "pipe.fanal"}
    assert "1.fanal" in overlooked["none"] and "letters" in overlooked["bad name.fanal"]
    assert sorted(scan(tmp_path / "one.fanal").models["one"].versions) == [1]
    with pytest.raises(ValueError, match="no such file"):
        check(tmp_path / "other.fanal")
    with pytest.raises(ValueError, match=r"NAME\.fanal.*--name"):
        check(tmp_path / "bad name.fanal")
    with pytest.raises(ValueError, match=r"no \.fanal file: got readme"):
        check(tmp_path / "empty" / "readme")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        check(tmp_path / "pipe.fanal")


def test_a_folder_that_is_one_model(tmp_path: Path) -> None:
    """As KServe and others lay it down: the name comes from elsewhere."""
    file = tmp_path / "whatever it is called.fanal"
    file.write_bytes(b"")
    assert {n: m.versions[1].path for n, m in scan(tmp_path, "m").models.items()} == {"m": file}
    assert scan(file, "m").models["m"].versions[1].path == file
    check(file, "m")
    (tmp_path / "other.fanal").write_bytes(b"")
    assert "which of the files is 'm'" in scan(tmp_path, "m").models["m"].problem
    for number in (1, 2):
        (tmp_path / f"{number}.fanal").write_bytes(b"")
    (tmp_path / "model.toml").write_text('[versions]\npolicy = "all"')
    found = scan(tmp_path, "m").models["m"]
    assert sorted(found.versions) == [1, 2] and found.manifest.versions.policy == "all" and not found.problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("versions = 3", "versions in the manifest"), ("[versions]\npolicy = 'newest'", 'expected "latest:N"'), ("[batch]\nmax = 0", "batch.max"),
        ("[batch]\nmost = 3", "batch.most in the manifest of 'm': there is no such entry"), ("[labels]\nstable = 'x'", "labels.stable"), ("[", "no TOML"), ("[queue]\nms = -1", "queue.ms"),
    ],
)  # fmt: skip
def test_manifests_that_say_something_else(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="'m'") as caught:
        manifest_from(text, "m")
    assert said in str(caught.value)


def test_which_versions_a_policy_means() -> None:
    def chosen(policy: str) -> list[int]:
        return manifest_from(f"[versions]\npolicy = {policy}", "m").versions.chosen([10, 2, 3])

    assert chosen('"latest:1"') == [10] and chosen('"latest:2"') == [3, 10] and chosen('"all"') == [2, 3, 10] and chosen("[2, 7]") == [2]
    assert manifest_from("", "m").versions.chosen([1, 2]) == [2]
