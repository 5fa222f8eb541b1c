"""atomic_folder: the target is the old folder or the complete new one, at whatever point a run is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.dataset_files import write_text

from yolofast.work_folder import MARKER, atomic_folder, work_folder


def fill(target: Path, text: str) -> None:
    with atomic_folder(target) as made:
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
        with atomic_folder(tmp_path / "set") as made:
            write_text(made / "a.txt", "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "set" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["set"]


def test_killed_while_building(tmp_path: Path) -> None:
    fill(tmp_path / "set", "old")

    def run() -> None:
        with atomic_folder(tmp_path / "set") as made:
            write_text(made / "a.txt", "half")
            os._exit(9)

    killed(run)
    assert (tmp_path / "set" / "a.txt").read_text() == "old"
    assert len(names(tmp_path)) == 2
    fill(tmp_path / "other", "x")  # cleans only what is its own
    assert len(names(tmp_path)) == 3
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
    with atomic_folder(tmp_path / "set") as made:
        assert (tmp_path / "set" / "a.txt").read_text() == "old"
        write_text(made / "a.txt", "third")
    assert (tmp_path / "set" / "a.txt").read_text() == "third"
    assert names(tmp_path) == ["set"]


def test_folders_without_the_marker_stay(tmp_path: Path) -> None:
    mine = write_text(tmp_path / ".set.building-mine" / "old" / "a.txt", "precious")
    with work_folder(tmp_path / "set", "building"):
        assert not (tmp_path / "set").exists()
    assert mine.read_text() == "precious"
    assert names(tmp_path) == [".set.building-mine"]


@pytest.mark.parametrize("marker", [None, ""])
def test_killed_before_the_marker_was_written(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / ".set.building-half").mkdir()
    if marker is not None:
        write_text(tmp_path / ".set.building-half" / MARKER, marker)
    fill(tmp_path / "set", "new")
    assert names(tmp_path) == ["set"]
