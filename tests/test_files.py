"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from yolofast.errors import CheckpointError, DataError
from yolofast.files import atomic_file, write_json


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_full_disk_is_said_with_the_files_name(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"b\.bin: cannot be written: No space left"),
        atomic_file(tmp_path / "b.bin", CheckpointError),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": "caf\udce9.jpg"})
    assert "caf\\udce9" in (tmp_path / "a.json").read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed_while_writing(path: Path) -> None:
    child = os.fork()
    if child == 0:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("name", ["a.json", "b" * 255, "é" * 127])
def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with atomic_file(path) as living:
        killed_while_writing(path)  # under a second name
        killed_while_writing(path)
        assert len(names(tmp_path)) == 2
        living.write_text("first")
        write_json(path, "second")
        assert living.read_text() == "first", "a living one was taken for a leftover"
    assert path.read_text() == "first"
    killed_while_writing(path)
    write_json(path, "third")
    assert names(tmp_path) == [name]


def test_files_of_a_user_with_such_names_stay(tmp_path: Path) -> None:
    for name in (".a.json.tmp", ".a.json.7.tmp", ".a.json.yolofast.tmp"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".a.json.yolofast-1.tmp").symlink_to(tmp_path / ".a.json.tmp")
    (tmp_path / ".a.json.yolofast-2.tmp").mkdir()
    before = names(tmp_path)
    write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == sorted([*before, "a.json"])
    assert (tmp_path / ".a.json.tmp").read_text() == "mine"


def test_many_writers_of_one_file_and_the_last_one_wins(tmp_path: Path) -> None:
    path, start = tmp_path / "a.json", threading.Barrier(4)

    def write(number: int) -> None:
        start.wait(5)
        for _ in range(50):
            write_json(path, [number] * 100)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(json.loads(path.read_text()))) == 1
    assert names(tmp_path) == ["a.json"]


def test_without_locks_every_writer_has_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with atomic_file(tmp_path / "a") as one, atomic_file(tmp_path / "a") as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "a").read_text() == "one"
    assert names(tmp_path) == ["a"]


def test_the_mode_is_that_of_the_umask_also_after_a_killed_save(tmp_path: Path) -> None:
    path = tmp_path / "a"
    killed_while_writing(path)
    next(tmp_path.iterdir()).chmod(0o600)
    before = os.umask(0o027)
    try:
        write_json(path, 1)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
