"""Zip archives: good ones are unpacked, hostile and broken ones leave nothing behind."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from dataset_files import tree_digest, write_text

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.ingest import extract_zip, ingest_local


def make_zip(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def special(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def test_unpacks_beside_the_archive(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "cats.zip", {"data.yaml": "y", "train/a.txt": "1"})
    assert ingest_local(archive) == tmp_path / "cats"
    assert sorted(tree_digest(tmp_path / "cats")) == ["data.yaml", "train/a.txt"]


def test_a_single_folder_inside_becomes_the_target(tmp_path: Path) -> None:
    names = {"cats-main/data.yaml": "y", "cats-main/a/b.txt": "1", "__MACOSX/._data.yaml": "fork"}
    folder = extract_zip(make_zip(tmp_path / "x.zip", names), tmp_path / "deep" / "out")
    assert sorted(tree_digest(folder)) == ["a/b.txt", "data.yaml"]


def test_a_local_folder_is_used_where_it_is(tmp_path: Path) -> None:
    assert ingest_local(tmp_path) == tmp_path


HOSTILE = {
    "absolute": (zipfile.ZipInfo("/etc/x"), "an absolute path"),
    "drive": (zipfile.ZipInfo("C:\\x"), "an absolute path"),
    "up": (zipfile.ZipInfo("a/../../x"), "a path with '..'"),
    "up with backslashes": (zipfile.ZipInfo("a\\..\\..\\x"), "a path with '..'"),
    "link": (special("x", stat.S_IFLNK | 0o777), "a symbolic link"),
    "device": (special("x", stat.S_IFCHR | 0o666), "a special file"),
}


@pytest.mark.parametrize(("entry", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_entries_are_refused(tmp_path: Path, entry: zipfile.ZipInfo, expected: str) -> None:
    archive = make_zip(tmp_path / "x.zip", {"good.txt": "1"})
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr(entry, "../../evil")
    with pytest.raises(DataError, match="refused, nothing was unpacked") as caught:
        ingest_local(archive)
    assert expected in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_name_that_is_not_the_utf8_it_says(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"ä.txt": "1"})
    archive.write_bytes(archive.read_bytes().replace("ä".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match=r"x\.zip: not a zip archive, or a damaged one: .*utf-8"):
        ingest_local(archive)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_user_folders_of_any_name_stay(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a.txt": "1"})
    for name in (".x.unpacking", ".x.building-1", ".x.old"):
        write_text(tmp_path / name / "mine.txt", "precious")
    before = tree_digest(tmp_path)
    ingest_local(archive)
    assert {k: v for k, v in tree_digest(tmp_path).items() if not k.startswith("x/")} == before


def test_twice_the_same_name_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a.txt": "1"})
    with zipfile.ZipFile(archive, "a") as zipped, pytest.warns(UserWarning, match="Duplicate"):
        zipped.writestr("a.txt", "2")
    with pytest.raises(DataError, match=r"holds 'a\.txt' twice"):
        ingest_local(archive)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_bomb_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"zeros": "\0" * (65 << 20)})
    with pytest.raises(DataError, match="more than 100 times as much"):
        ingest_local(archive)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_damaged_archive_leaves_nothing(tmp_path: Path, damage: str) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a.txt": "some text " * 100, "b.txt": "more"})
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[45] ^= 0xFF
    elif damage == "text":
        data = bytearray(b"<html>not found</html>")
    else:
        data = bytearray()
    archive.write_bytes(data)
    with pytest.raises(DataError, match="zip archive"):
        ingest_local(archive)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_full_target_and_missing_archive(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a.txt": "1"})
    write_text(tmp_path / "x" / "mine.txt", "precious")
    with pytest.raises(DataError, match="the folder is not empty"):
        ingest_local(archive)
    assert sorted(tree_digest(tmp_path)) == ["x.zip", "x/mine.txt"]
    with pytest.raises(DatasetNotFoundError, match="no such folder or archive"):
        ingest_local(tmp_path / "gone.zip")
    with pytest.raises(DataError, match="holds no files"):
        ingest_local(make_zip(tmp_path / "empty.zip", {}))
