"""atomic_folder: the target is the old folder or the complete new one, at whatever point a run is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.dataset_files import write_text

from yolofast.work_folder import MARKER, atomic_folder, only_writer, recover_killed


def fill(target: Path, text: str) -> None:
    with only_writer(target), atomic_folder(target) as made:
        write_text(made / "a.txt", text)


def killed(run: Callable[[], None]) -> None:
    """Run in a process of its own, which `run` is to end without any clean-up."""
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    for text in ("old", "new"):
        fill(tmp_path / "deep" / "set", text)
        assert (tmp_path / "deep" / "set" / "a.txt").read_text() == text
    assert names(tmp_path / "deep") == ["set"]


def test_an_error_keeps_the_old_folder(tmp_path: Path) -> None:
    fill(tmp_path / "set", "old")

    def fail() -> None:
        with only_writer(tmp_path / "set"), atomic_folder(tmp_path / "set") as made:
            write_text(made / "a.txt", "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "set" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["set"]


def test_killed_while_building(tmp_path: Path) -> None:
    fill(tmp_path / "set", "old")

    def run() -> None:
        with only_writer(tmp_path / "set"), atomic_folder(tmp_path / "set") as made:
            write_text(made / "a.txt", "half")
            os._exit(9)

    killed(run)
    assert (tmp_path / "set" / "a.txt").read_text() == "old"
    assert len(names(tmp_path)) == 3  # its lock file and its work folder
    fill(tmp_path / "other", "x")  # cleans only what is its own
    assert len(names(tmp_path)) == 4
    fill(tmp_path / "set", "new")
    assert names(tmp_path) == ["other", "set"]


def test_killed_between_the_renames(tmp_path: Path) -> None:
    fill(tmp_path / "set", "old")

    def run() -> None:
        rename = Path.rename

        def die(path: Path, target: Path) -> Path:
            if target.name == "set":
                os._exit(9)
            return rename(path, target)

        Path.rename = die  # type: ignore[method-assign]
        fill(tmp_path / "set", "new")

    killed(run)
    assert not (tmp_path / "set").exists()
    with only_writer(tmp_path / "set"), atomic_folder(tmp_path / "set") as made:
        assert (tmp_path / "set" / "a.txt").read_text() == "old"
        write_text(made / "a.txt", "third")
    assert (tmp_path / "set" / "a.txt").read_text() == "third"
    assert names(tmp_path) == ["set"]


def test_folders_without_the_marker_stay(tmp_path: Path) -> None:
    mine = write_text(tmp_path / ".set.building-mine" / "old" / "a.txt", "precious")
    theirs = write_text(tmp_path / ".set.building-12345678" / "old" / "a.txt", "precious")
    with only_writer(tmp_path / "set"):
        assert not (tmp_path / "set").exists()
    assert mine.read_text() == theirs.read_text() == "precious"
    assert names(tmp_path) == [".set.building-12345678", ".set.building-mine"]


@pytest.mark.parametrize("marker", [None, ""])
def test_killed_before_the_marker_was_written(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / ".set.building-abcdefgh").mkdir()
    if marker is not None:
        write_text(tmp_path / ".set.building-abcdefgh" / MARKER, marker)
    fill(tmp_path / "set", "new")
    assert names(tmp_path) == ["set"]


@contextlib.contextmanager
def no_locks() -> Iterator[None]:
    """As on a file system that has none."""

    def fail(*_: object) -> None:
        raise OSError("no locks")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        yield


FILE_SYSTEMS = pytest.mark.parametrize("file_system", [contextlib.nullcontext, no_locks])


@FILE_SYSTEMS
def test_a_second_run_waits_for_the_first_and_says_so(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    file_system: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    begun, order = threading.Event(), list[str]()

    def second() -> None:
        begun.wait(5)
        with only_writer(tmp_path / "set") as waited:
            order.append(f"second, waited {waited}")

    thread = threading.Thread(target=second)
    with file_system():
        thread.start()
        with only_writer(tmp_path / "set") as waited, atomic_folder(tmp_path / "set") as made:
            assert not waited
            begun.set()
            while not caplog.messages:
                pass
            recover_killed(tmp_path / "set")
            write_text(made / "a.txt", "whole")
            order.append("first")
        thread.join(5)
    assert order == ["first", "second, waited True"]
    assert f"set: another run is writing it (pid {os.getpid()} on host {os.uname().nodename}" in caplog.text
    assert names(tmp_path) == ["set"]


@FILE_SYSTEMS
def test_what_a_killed_run_left_is_taken_over(
    tmp_path: Path, file_system: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    def run() -> None:
        with only_writer(tmp_path / "set"), atomic_folder(tmp_path / "set") as made:
            write_text(made / "a.txt", "half")
            os._exit(9)

    with file_system():
        killed(run)
        assert len(names(tmp_path)) == 2
        recover_killed(tmp_path / "set")
        assert names(tmp_path) == []
        killed(run)
        fill(tmp_path / "set", "new")
    assert names(tmp_path) == ["set"]


def test_a_lock_without_locks_outlives_neither_a_container_nor_a_kill_while_it_is_removed(
    tmp_path: Path,
) -> None:
    lock = write_text(tmp_path / ".set.building.lock", f"pid {os.getpid()} on host {os.uname().nodename}")
    removing = lock.with_name(f"{lock.name}-removing")
    removing.mkdir()
    os.utime(removing, (1, 1))
    with no_locks(), only_writer(tmp_path / "set") as waited:
        assert not waited
    assert names(tmp_path) == []


def test_a_run_on_another_host_is_never_taken_for_killed_without_locks(tmp_path: Path) -> None:
    work = write_text(tmp_path / ".set.building-abcdefgh" / MARKER, "set")
    write_text(tmp_path / ".set.building.lock", "pid 1 on host elsewhere")
    with no_locks():
        recover_killed(tmp_path / "set")
    assert work.exists()
    recover_killed(tmp_path / "set")  # with locks it is known to be gone
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127])
def test_a_name_may_be_as_long_as_the_file_system_has_it(tmp_path: Path, name: str) -> None:
    def run() -> None:
        with only_writer(tmp_path / name), atomic_folder(tmp_path / name):
            os._exit(9)

    killed(run)
    fill(tmp_path / name, "new")
    assert names(tmp_path) == [name]


def test_a_target_whose_name_begins_alike_is_another_one(tmp_path: Path) -> None:
    unmarked = tmp_path / ".set.building-abcdefgh.building-abcdefgh"
    unmarked.mkdir()  # as between the two steps of a run that writes set.building-abcdefgh
    fill(tmp_path / "set", "new")
    assert unmarked.exists()


def test_a_new_folder_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with only_writer(tmp_path / "set"), atomic_folder(tmp_path / "set") as made:
            made.mkdir()
    finally:
        os.umask(before)
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o750
