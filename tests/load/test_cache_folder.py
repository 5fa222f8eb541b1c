"""The folder of the disk cache: what a new file takes over from others, and what is removed when."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.cache_folder import IMAGES, Folder, assert_same_picture, picture_of
from support.property_tests import examples

from yolofast.errors import ConfigError
from yolofast.load.cache import file as cache_file
from yolofast.load.cache.folder import build_lock, cache_path, collect
from yolofast.load.cache.guard import damage_note
from yolofast.load.cache.planes import PlaneCache


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "images")


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(folder: Folder, caches: Path, name: str = "coco-train", signature: str = "64") -> PlaneCache:
    """The cache of the folder's images as they are now, under the name that a dataset gives it."""
    return folder.on_disk(cache_path(caches, name, folder.images, signature), signature)


def plane_files(caches: Path) -> list[str]:
    return sorted(path.name for path in caches.glob("*.planes"))


# ---------------------------------------------------------------- another list of images


@pytest.mark.parametrize("at", [0, 4, len(IMAGES)])
def test_one_more_image_is_one_image_to_decode(at: int, folder: Folder, caches: Path) -> None:
    opened(folder, caches)
    folder.write("new.jpg", "444 30 20 8")
    folder.images.insert(at, str(folder.root / "new.jpg"))
    folder.settle()
    folder.check(opened(folder, caches))
    assert folder.decoded == ["new.jpg"]
    assert len(plane_files(caches)) == 1, "and the file that it replaces is gone"
    folder.check(opened(folder, caches))
    assert folder.decoded == []


def test_a_file_that_is_replaced_stays_while_it_is_used(folder: Folder, caches: Path) -> None:
    held = opened(folder, caches)
    folder.write("new.jpg", "444 30 20 8")
    folder.images.append(str(folder.root / "new.jpg"))
    opened(folder, caches)
    assert len(plane_files(caches)) == 2
    assert_same_picture(held, 0, picture_of(IMAGES[0]))
    del held
    folder.write("newer.jpg", "444 30 20 9")
    folder.images.append(str(folder.root / "newer.jpg"))
    opened(folder, caches)
    assert folder.decoded == ["newer.jpg"]
    assert len(plane_files(caches)) == 1


def test_images_that_are_gone_keep_no_file(folder: Folder, caches: Path) -> None:
    opened(folder, caches)
    Path(folder.images.pop(2)).unlink()
    folder.check(opened(folder, caches))
    assert folder.decoded == []
    assert len(plane_files(caches)) == 1


def test_the_file_of_a_part_does_not_replace_that_of_all(folder: Folder, caches: Path) -> None:
    everything = list(folder.images)
    opened(folder, caches)
    for _ in range(2):
        folder.images = everything[:3]
        folder.check(opened(folder, caches))
        assert folder.decoded == []
        folder.images = everything
        folder.check(opened(folder, caches))
        assert folder.decoded == []
    assert len(plane_files(caches)) == 2


def test_images_that_cannot_be_seen_from_here_are_not_gone(
    folder: Folder, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's folder, and a dataset of the same name that another container sees elsewhere."""
    opened(folder, caches)
    kept, *others = folder.images
    folder.images = [kept]

    def stat(path: Any, real: Any = os.stat, **options: Any) -> os.stat_result:
        if str(path) in others:
            raise PermissionError(13, "Permission denied", path)
        return real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        opened(folder, caches)
    assert len(plane_files(caches)) == 2
    for image in (kept, *others):
        Path(image).unlink()
    folder.write("other.jpg", "444 30 20 8")
    folder.images = [str(folder.root / "other.jpg")]
    opened(folder, caches)
    assert len(plane_files(caches)) == 3, "none of them has an image of this one"


def test_the_files_of_one_run_do_not_drive_each_other_out(
    folder: Folder, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose two files together are above the limit."""
    for name in ("coco-train", "coco-val"):
        opened(folder, caches, name)
    monkeypatch.setenv("YOLOFAST_CACHE_GB", "0")
    for name in ("coco-train", "coco-val", "coco-train"):
        opened(folder, caches, name)
        assert folder.decoded == []


def test_other_settings_and_other_datasets_take_over_nothing(folder: Folder, caches: Path) -> None:
    opened(folder, caches)
    folder.images.pop()
    opened(folder, caches, signature="32")
    assert len(folder.decoded) == len(folder.images)
    opened(folder, caches, name="other-train")
    assert len(folder.decoded) == len(folder.images)
    assert len(plane_files(caches)) == 3


def test_planes_that_are_known_to_be_damaged_are_not_taken_over(folder: Folder, caches: Path) -> None:
    path = cache_path(caches, "coco-train", folder.images, "64")
    opened(folder, caches)
    damage_note(path).write_text("5\n")
    Path(folder.images.pop()).unlink()
    folder.check(opened(folder, caches))
    assert folder.decoded == ["5.jpg"]
    assert not damage_note(path).exists()


def test_a_damaged_file_of_another_list_is_passed_over(folder: Folder, caches: Path) -> None:
    opened(folder, caches)
    (old,) = caches.glob("*.planes")
    os.truncate(old, 1000)
    folder.images.pop()
    folder.check(opened(folder, caches))
    assert len(folder.decoded) == len(folder.images)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), in_kernel=st.booleans())
def test_any_list_after_any_other(
    data: st.DataObject, in_kernel: bool, shared: tuple[Folder, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is added, left out and reordered: the right planes, and no image is decoded twice."""
    folder, caches = shared
    for left in caches.glob("*"):
        left.unlink()
    everything = sorted(map(str, folder.root.iterdir()))
    lists = st.lists(st.sampled_from(everything), unique=True, max_size=len(everything))
    known: set[str] = set()
    with monkeypatch.context() as patch:
        if not in_kernel:
            patch.delattr(os, "copy_file_range", raising=False)
        folder.images = data.draw(lists)
        opened(folder, caches)
        known |= set(folder.images)
        folder.images = data.draw(lists)
        planes = opened(folder, caches)
    assert set(folder.decoded) == {Path(image).name for image in set(folder.images) - known}
    bad = {at for at, image in enumerate(folder.images) if image.endswith("bad.jpg")}
    assert set(planes.unreadable) == bad
    for at, image in enumerate(folder.images):
        if at not in bad:
            assert_same_picture(planes, at, picture_of(Path(image).read_text()))
    (own,) = [
        p for p in caches.glob("*.planes") if cache_file.open_plane_file(p).image_names() == folder.images
    ]
    file = cache_file.open_plane_file(own)
    for at in range(len(folder.images)):
        if at not in bad:
            sums = file.columns["checksum"]
            assert sums[at] == cache_file.checksum(
                cache_file.packed_slot(picture_of(Path(folder.images[at]).read_text()))
            )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Path]:
    root = tmp_path_factory.mktemp("lists")
    folder = Folder(root / "images")
    for name in ("bad.jpg", "5bad.jpg"):
        folder.write(name, "not a picture")
    folder.settle()
    (root / "cache").mkdir()
    return folder, root / "cache"


# ---------------------------------------------------------------- removal


def aged(caches: Path, name: str, age: float, size: int = 1000) -> Path:
    """A cache file that was used `age` seconds ago."""
    path = caches / f"{name}-{'0' * 16}.planes"
    caches.mkdir(exist_ok=True)
    path.write_bytes(cache_file.MAGIC + bytes(size - 8))
    used = path.stat().st_mtime - age
    os.utime(path, (used, used))
    return path


def test_files_unused_longest_are_removed_above_the_limit(
    caches: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, older, oldest = (aged(caches, name, age) for name, age in (("a", 10), ("b", 20), ("c", 30)))
    damage_note(oldest).write_text("1\n")
    mine = aged(caches, "mine", 40)
    collect(mine, 4000)
    assert all(path.exists() for path in (old, older, oldest, mine))
    with caplog.at_level(logging.INFO):
        collect(mine, 2500)
    assert [path.exists() for path in (old, older, oldest, mine)] == [True, False, False, True]
    assert len(caplog.records) == 2
    assert str(oldest) in caplog.text
    assert "YOLOFAST_CACHE_GB" in caplog.text
    assert not damage_note(oldest).exists()
    collect(mine, 0)
    assert plane_files(caches) == [mine.name], "never the one that was just opened"


def test_opening_counts_as_use(folder: Folder, caches: Path) -> None:
    opened(folder, caches)
    (path,) = caches.glob("*.planes")
    os.utime(path, (1, 1))
    opened(folder, caches)
    other = aged(caches, "other", 10)
    collect(aged(caches, "mine", 0), path.stat().st_size + 1500)
    assert path.exists()
    assert not other.exists()


IN_USE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from yolofast.load.cache.disk import cache_on_disk
cache = cache_on_disk(Path(sys.argv[2]), [], "", None, threads=1, progress=False)
print("open", flush=True)
sys.stdin.readline()
"""


def test_a_file_in_use_by_another_process_is_never_removed(tmp_path: Path, caches: Path) -> None:
    used = cache_path(caches, "used", [], "")
    command = [sys.executable, "-c", IN_USE, str(tmp_path), str(used)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        collect(aged(caches, "mine", 0), 0)
        assert used.exists()
        process.communicate("\n")
    collect(aged(caches, "mine", 0), 0)
    assert not used.exists()
    assert not list(caches.glob("used*")), "nor its lock"


def test_files_that_are_not_ours_stay(caches: Path) -> None:
    names = [
        "photo.planes",
        "a-0123456789abcdef.planes",
        "a-0123456789abcde.planes",
        ".mine.planes.1.tmp",
        "x.lock",
    ]
    caches.mkdir()
    for name in names:
        (caches / name).write_text("the user's own")
    collect(aged(caches, "mine", 0), 0)
    assert {path.name for path in caches.iterdir()} >= set(names)


def test_leftovers_of_killed_builds_are_removed_whatever_they_were_to_build(
    folder: Folder, caches: Path
) -> None:
    caches.mkdir()
    killed = f"b-{'1' * 16}.planes"
    (caches / f".{killed}.123.tmp").write_text("half")
    (caches / f"{killed}.lock").write_text("")
    living = caches / f"c-{'2' * 16}.planes"
    (caches / f".{living.name}.124.tmp").write_text("half, and being written")
    with build_lock(living):
        opened(folder, caches)
        assert not list(caches.glob(f"*{killed}*"))
        assert (caches / f".{living.name}.124.tmp").exists()
        assert (caches / f"{living.name}.lock").exists()
    opened(folder, caches)
    assert sorted(p.suffix for p in caches.iterdir()) == [".lock", ".planes"]


def test_who_waits_for_a_lock_that_is_removed_takes_the_next_one(caches: Path) -> None:
    path = cache_path(caches, "a", [], "")
    lock = path.with_name(f"{path.name}.lock")
    begun, taken, ended = (threading.Event() for _ in range(3))

    def wait() -> None:
        begun.set()
        with build_lock(path):
            taken.set()
            ended.wait(10)

    with build_lock(path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert begun.wait(10)
        assert not taken.wait(0.05)
        lock.unlink()
    assert taken.wait(10)
    with lock.open("ab") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    ended.set()
    waiting.join()


@pytest.mark.parametrize("text", ["much", "-1", "nan"])
def test_a_limit_that_is_no_number_is_one_clear_error(
    text: str, folder: Folder, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLOFAST_CACHE_GB", text)
    with pytest.raises(ConfigError, match=r"YOLOFAST_CACHE_GB: got .*, expected a number of GB"):
        opened(folder, caches)
    assert not caches.exists()


def test_the_limit_comes_from_the_environment(
    folder: Folder, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = aged(caches, "old", 10, 50_000)
    monkeypatch.setenv("YOLOFAST_CACHE_GB", "0.00005")
    opened(folder, caches)
    assert not old.exists()


# ---------------------------------------------------------------- names and modes


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "a\nb\x1b[31m", os.fsdecode(b"caf\xe9"), "名" * 85])
def test_any_name_of_a_dataset_gives_a_file_name(name: str, folder: Folder, caches: Path) -> None:
    folder.check(opened(folder, caches, name))
    (made,) = plane_files(caches)
    assert made.isprintable()
    folder.check(opened(folder, caches, name))
    assert folder.decoded == []
    folder.images.pop()
    opened(folder, caches, name)
    assert folder.decoded == [], "taken over, too"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_modes_of_the_umask(mask: int, folder: Folder, caches: Path) -> None:
    with umask(mask):
        opened(folder, caches)
    assert {path.stat().st_mode & 0o777 for path in caches.iterdir()} == {0o666 & ~mask}


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
