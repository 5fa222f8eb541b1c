"""The decoded cache: the planes that were decoded, from memory or from a file that is never out of date."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pickle
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.cache_folder import IMAGES, Folder, assert_same_picture, picture_of
from support.property_tests import examples

from yolofast.errors import DataError
from yolofast.load.cache import disk as cache_disk
from yolofast.load.cache import file as cache_file
from yolofast.load.cache import ram as cache_ram
from yolofast.load.cache.disk import cache_on_disk
from yolofast.load.cache.folder import cache_path, default_cache_dir
from yolofast.load.cache.planes import PlaneCache
from yolofast.load.cache.ram import cache_in_ram
from yolofast.process_memory import available_bytes
from yolofast.types import Picture


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "images")


BOTH = pytest.mark.parametrize("make", [Folder.in_ram, Folder.on_disk])
Make = Callable[[Folder, Path], PlaneCache]


@BOTH
def test_planes_come_back_as_they_were_decoded(make: Make, folder: Folder, tmp_path: Path) -> None:
    planes = make(folder, tmp_path / "a.planes")
    folder.check(planes)
    assert planes.nbytes == sum(
        p.size
        for t in IMAGES
        for p in (picture_of(t).ycc.y, picture_of(t).ycc.cb, picture_of(t).ycc.cr)
        if p is not None
    )
    assert planes.unreadable == {}
    assert sorted(folder.decoded) == sorted(Path(i).name for i in folder.images), "each decoded once"
    with pytest.raises(ValueError, match="read-only"):
        planes.table.address[0] = 1
    with pytest.raises(TypeError, match="addresses of this process"):
        pickle.dumps(planes)


@BOTH
def test_unreadable_images_are_left_out_with_their_reason(make: Make, folder: Folder, tmp_path: Path) -> None:
    folder.write("1.jpg", "not a picture")
    (folder.root / "4.jpg").unlink()
    planes = make(folder, tmp_path / "a.planes")
    assert set(planes.unreadable) == {1, 4}
    assert "1.jpg" in planes.unreadable[1]
    assert np.flatnonzero(planes.table.address == 0).tolist() == [1, 4]
    assert_same_picture(planes, 5, picture_of(IMAGES[5]))


@BOTH
def test_no_images(make: Make, tmp_path: Path) -> None:
    planes = make(Folder(tmp_path / "images", ()), tmp_path / "a.planes")
    assert len(planes.table) == planes.nbytes == 0
    assert planes.table.place.shape == (0, 2, 3)


@BOTH
def test_a_bug_in_decoding_is_not_taken_for_a_bad_image(
    make: Make, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(image: int) -> Picture:
        raise ZeroDivisionError

    monkeypatch.setattr(folder, "load", broken)
    with pytest.raises(ZeroDivisionError):
        make(folder, tmp_path / "a.planes")
    assert not list(tmp_path.glob("*.planes")) + list(tmp_path.glob(".*"))


# ---------------------------------------------------------------- memory


@examples(30)
@given(sides=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=40))
def test_images_in_memory_never_overlap(sides: list[tuple[int, int]]) -> None:
    pictures = [picture_of(f"420 {h} {w} {n}") for n, (h, w) in enumerate(sides)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_ram, "SLAB_BYTES", 3000)  # some images fill a piece of memory alone
        planes = cache_in_ram(len(pictures), pictures.__getitem__, threads=3, progress=False)
    for image, picture in enumerate(pictures):
        assert_same_picture(planes, image, picture)


def test_too_many_for_the_memory_is_reported_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def load(image: int) -> Picture:
        decoded.append(image)
        return picture_of("gray 1024 1024 1")

    monkeypatch.setattr(cache_ram, "available_bytes", lambda: 5 * 2**30)
    with pytest.raises(DataError, match=r"10000 images need about 9\.8 GiB .* 4\.5 GiB .*--cache disk"):
        cache_in_ram(10_000, load, threads=2, progress=False)
    assert len(decoded) < 50


def test_available_memory_is_less_than_all_of_it() -> None:
    free = available_bytes()
    if free is None:
        pytest.skip("this system does not say")
    assert 0 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_the_planes_and_little_more() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("no /proc")
    code = """
import numpy as np, re
from yolofast.load.cache.ram import cache_in_ram
from yolofast.types import Picture, Ycc
def private():
    return int(re.search(r"Private_Dirty:\\s+(\\d+)", open("/proc/self/smaps_rollup").read())[1]) * 1024
picture = Picture.of(Ycc(np.ones((480, 640), np.uint8), *np.ones((2, 240, 320), np.uint8), "420"))
cache_in_ram(8, lambda image: picture, threads=2, progress=False)
before = private()
planes = cache_in_ram(200, lambda image: picture, threads=2, progress=False)
print((private() - before) / planes.nbytes)
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 0.95 < float(told.stdout) < 1.1


@BOTH
@pytest.mark.parametrize("progress", [True, False])
def test_progress_goes_to_stderr(
    make: Make, progress: bool, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if make is Folder.in_ram:
        cache_in_ram(len(folder.images), folder.load, threads=1, progress=progress)
    else:
        cache_on_disk(tmp_path / "a", folder.images, "", folder.load, threads=1, progress=progress)
    told = capsys.readouterr()
    assert told.out == ""
    assert ("cache " in told.err) == progress


# ---------------------------------------------------------------- disk: what is taken over


def test_a_second_opening_decodes_nothing(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.planes"
    folder.on_disk(path)
    made = path.stat()
    folder.check(folder.on_disk(path))
    assert folder.decoded == []
    assert path.stat().st_ino == made.st_ino, "the same file"


def test_a_touched_image_is_hashed_once_and_not_decoded(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.planes"
    folder.on_disk(path)
    for image in folder.images:
        os.utime(image, (1, 1))
    folder.settle()
    hashed: list[str] = []
    digest = cache_disk._digest
    monkeypatch.setattr(cache_disk, "_digest", lambda p: (hashed.append(p), digest(p))[1])
    folder.check(folder.on_disk(path))
    assert folder.decoded == []
    assert sorted(hashed) == sorted(folder.images)
    folder.on_disk(path)
    assert len(hashed) == len(folder.images), "their new times were written down"


def test_a_change_is_noticed_though_size_and_mtime_are_as_before(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.planes"
    folder.on_disk(path)
    before = Path(folder.images[0]).stat()
    folder.write("0.jpg", "420 48 64 7")
    os.utime(folder.images[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = Path(folder.images[0]).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    folder.check(folder.on_disk(path))
    assert folder.decoded == ["0.jpg"]


def test_a_change_right_after_decoding_is_noticed(folder: Folder, tmp_path: Path) -> None:
    """The clock of a file's times is coarse: two changes can carry the same one."""
    path = tmp_path / "a.planes"
    folder.write("0.jpg", "420 48 64 5")
    planes = folder.on_disk(path)
    stat = cache_file.open_plane_file(path).columns["stat"]
    assert stat[0, cache_disk.CTIME] == cache_disk.UNSETTLED
    assert (stat[1:, cache_disk.CTIME] > 0).all()
    folder.check(planes)
    folder.check(folder.on_disk(path))
    assert folder.decoded == []


def test_images_come_and_go(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.planes"
    folder.on_disk(path)
    folder.write("new.jpg", "444 30 20 8")
    folder.images = [str(folder.root / "new.jpg"), *folder.images[3:], folder.images[1]]
    folder.check(folder.on_disk(path))
    assert folder.decoded == ["new.jpg"]
    folder.images.reverse()
    folder.check(folder.on_disk(path))
    assert folder.decoded == []


def test_an_image_that_was_missing_or_bad_is_tried_again_when_it_changed(
    folder: Folder, tmp_path: Path
) -> None:
    path = tmp_path / "a.planes"
    (folder.root / "1.jpg").unlink()
    folder.write("2.jpg", "bad")
    assert set(folder.on_disk(path).unreadable) == {1, 2}
    planes = folder.on_disk(path)
    assert folder.decoded == [], "still as bad"
    assert set(planes.unreadable) == {1, 2}
    (folder.root / "3.jpg").unlink()
    folder.write("1.jpg", IMAGES[1])
    folder.write("2.jpg", IMAGES[2])
    planes = folder.on_disk(path)
    assert sorted(folder.decoded) == ["1.jpg", "2.jpg", "3.jpg"]
    assert set(planes.unreadable) == {3}
    folder.write("3.jpg", IMAGES[3])
    folder.check(folder.on_disk(path))


def test_other_settings_are_another_cache(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.planes"
    folder.on_disk(path, "imgsz=64")
    folder.check(folder.on_disk(path, "imgsz=32"))
    assert len(folder.decoded) == len(IMAGES)


def test_a_mapped_file_stays_as_it_was(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.planes"
    old = folder.on_disk(path)
    folder.write("0.jpg", "420 48 64 5")
    new = folder.on_disk(path)
    path.unlink()
    assert_same_picture(old, 0, picture_of(IMAGES[0]))
    assert_same_picture(new, 0, picture_of("420 48 64 5"))


def test_names_that_are_not_utf8(folder: Folder, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.jpg")
    folder.write(name, "420 10 10 1")
    folder.images.append(str(folder.root / name))
    folder.write("bad.jpg", os.fsdecode("bad"))
    path = tmp_path / "a.planes"
    folder.on_disk(path)
    folder.check(folder.on_disk(path))
    assert folder.decoded == []


def test_the_users_files_are_not_written_to(folder: Folder, tmp_path: Path) -> None:
    def state() -> list[tuple[str, bytes, int]]:
        return [(p.name, p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.root.iterdir())]

    before = state()
    for signature in ("a", "b"):
        folder.on_disk(tmp_path / "cache" / "a.planes", signature)
    assert state() == before
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["a.planes", "a.planes.lock"]


# ---------------------------------------------------------------- disk: damage


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Path]:
    root = tmp_path_factory.mktemp("good")
    folder = Folder(root / "images")
    folder.on_disk(root / "a.planes")
    return folder, root / "a.planes"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"somebody else's file" * 100,
        lambda data: data[:30],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: cache_file.MAGIC + bytes(len(data) - 8),
    ],
)
def test_a_damaged_file_is_built_again(
    damage: Callable[[bytes], bytes],
    good_file: tuple[Folder, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, good = good_file
    path = tmp_path / "a.planes"
    path.write_bytes(damage(good.read_bytes()))
    folder.check(folder.on_disk(path))
    assert len(folder.decoded) == len(IMAGES)
    assert "building it again" in caplog.text
    assert str(path) in caplog.text


@examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_the_header_leads_out_of_the_file(
    data: st.DataObject, good_file: tuple[Folder, Path], tmp_path: Path
) -> None:
    """Any byte before or behind the planes: refused, never believed."""
    content = bytearray(good_file[1].read_bytes())
    table = int.from_bytes(content[16:24], "little")
    header = [*range(cache_file._PROLOGUE.size), *range(table, len(content))]
    at = data.draw(st.sampled_from(header))
    content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError):
        cache_file.open_plane_file(tmp_path / "bad")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("offset", 2**40),
        ("offset", 2**64 - 64),
        ("offset", 65),
        ("offset", 0),
        ("height", -1),
        ("height", 10_000),
        ("height", 0),
        ("width", 2**31 - 1),
        ("c_height", 2**24),
        ("c_width", 0),
        ("factor_x", 3),
        ("factor_y", 0),
        ("place", np.nan),
    ],
)
def test_numbers_that_lead_out_of_the_file_are_refused(
    column: str, value: float, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with every check sum right."""
    finish = cache_file.PlaneFileWriter.finish

    def lie(writer: cache_file.PlaneFileWriter, *rest: object) -> None:
        writer.columns[column][0] = value
        finish(writer, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(cache_file.PlaneFileWriter, "finish", lie)
        with pytest.raises(DataError, match="does not fit"):
            folder.on_disk(tmp_path / "a.planes")
    folder.check(folder.on_disk(tmp_path / "a.planes"))


# ---------------------------------------------------------------- disk: room and rights


@contextlib.contextmanager
def no_file_above(limit: int) -> Iterator[None]:
    """The system refuses to let any file grow above `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [10, 5000, 13_000])
def test_no_room_to_write_is_one_clear_error_and_leaves_nothing(
    limit: int, folder: Folder, tmp_path: Path
) -> None:
    path = tmp_path / "cache" / "a.planes"
    message = r"a\.planes: cannot be written: .*free some space"
    with no_file_above(limit), pytest.raises(DataError, match=message):
        folder.on_disk(path)
    assert [p.name for p in path.parent.iterdir()] == ["a.planes.lock"]
    old = folder.on_disk(path)
    for image in folder.images:
        os.utime(image)
    folder.write("1.jpg", "420 47 63 8")
    with no_file_above(limit), pytest.raises(DataError, match="cannot be written"):
        folder.on_disk(path)
    folder.write("1.jpg", IMAGES[1])
    with no_file_above(limit):  # only the times cannot be written down: the cache itself is good
        folder.check(folder.on_disk(path))
    folder.check(old)
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.planes", "a.planes.lock"]


def test_a_full_disk_is_told_as_such(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)  # where a network file system says it
    with pytest.raises(DataError, match=r"a\.planes: cannot be written: No space left on device"):
        folder.on_disk(tmp_path / "cache" / "a.planes")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["a.planes.lock"]


def test_too_little_room_is_reported_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "images", ("gray 64 64 1",) * 70)
    free = type("Usage", (), {"free": 64 * 1024})
    monkeypatch.setattr(cache_disk.shutil, "disk_usage", lambda folder: free)
    with pytest.raises(DataError, match=r"70 images need about .* disk space .*--cache-dir"):
        folder.on_disk(tmp_path / "cache" / "a.planes")
    assert len(folder.decoded) < 50


def test_a_folder_that_cannot_be_made(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=r"cannot be created here.*--cache-dir"):
        folder.on_disk(tmp_path / "file" / "a.planes")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_killed_process_left_is_removed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / ".a.planes.123.tmp").write_text("half")
    (tmp_path / ".b.planes.123.tmp").write_text("another one's")
    folder.on_disk(tmp_path / "a.planes")
    assert [p.name for p in tmp_path.glob(".*")] == [".b.planes.123.tmp"]


def test_a_file_system_without_locks(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    folder.check(folder.on_disk(tmp_path / "a.planes"))


# ---------------------------------------------------------------- disk: several processes

READER = """
import sys
from pathlib import Path
import numpy as np
from yolofast.load.cache.disk import cache_on_disk
from yolofast.types import Picture, Ycc
import ctypes, hashlib, logging
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
root = Path(sys.argv[1])
images = sorted(map(str, (root / "images").iterdir()))
def load(image):
    with (root / "decoded.log").open("a") as log:
        log.write(f"{image}\\n")
    y = np.random.default_rng(image).integers(0, 256, (700, 700), np.uint8)
    return Picture.of(Ycc(y, None, None, "gray"))
planes = cache_on_disk(root / "a.planes", images, "", load, threads=2, progress=False)
sums = [hashlib.sha256(ctypes.string_at(int(a), 700 * 700)).hexdigest() for a in planes.table.address]
print("ready", flush=True)
sys.stdin.readline()
text = Path("/proc/self/smaps").read_text() if Path("/proc/self/smaps").exists() else ""
at = text.find("a.planes")
part = text[at:].splitlines()[:25] if at >= 0 else []
sizes = {line.split()[0]: int(line.split()[1]) for line in part if line.startswith(("Rss", "Pss:"))}
print(sizes.get("Rss:", 0), sizes.get("Pss:", 0), *sums, flush=True)
sys.stdin.readline()
"""


def test_two_processes_make_it_once_and_share_its_pages(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(12):
        (tmp_path / "images" / f"{number:02}.jpg").write_text(str(number))
    command = [sys.executable, "-c", READER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    readers: list[subprocess.Popen[str]] = []
    told = []
    with (tmp_path / "a.planes.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that both come while the file is not there
        readers += [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
        assert all("waiting for another process" in r.stderr.readline() for r in readers)
    try:
        assert [r.stdout.readline() for r in readers] == ["ready\n"] * 2
        for reader in readers:
            reader.stdin.write("\n")
            reader.stdin.flush()
            told.append(reader.stdout.readline().split())
    finally:
        errors = [reader.communicate("\n")[1] for reader in readers]
    assert sorted("building" in error for error in errors) == [False, True]
    assert sorted(map(int, (tmp_path / "decoded.log").read_text().split())) == list(range(12))
    assert told[0][2:] == told[1][2:]
    assert len(set(told[0][2:])) == 12
    for rss, pss, *_ in told:
        if rss == "0":
            pytest.skip("no /proc/self/smaps here")
        assert int(rss) * 1024 > 12 * 700 * 700
        assert int(pss) < 0.6 * int(rss), "each page is counted half in each process"


# ---------------------------------------------------------------- names


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "yolofast"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", "relative"):  # as the XDG rules say
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert default_cache_dir() == tmp_path / "home" / ".cache" / "yolofast"


def test_a_file_for_each_set_of_images_and_settings(tmp_path: Path) -> None:
    variants = [(["/a/b", "/c"], "s"), (["/a/b", "/c"], "t"), (["/c", "/a/b"], "s"), (["/a/b/c"], "s")]
    paths = [cache_path(tmp_path, "coco-train", images, signature) for images, signature in variants]
    assert len(set(paths)) == len(paths)
    assert all(re.fullmatch(r"coco-train-[0-9a-f]{16}\.planes", p.name) for p in paths)
    assert paths[0] == cache_path(tmp_path, "coco-train", *variants[0])


def test_the_table_costs_little_beside_the_planes(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "images", ("gray 1 1 1",) * 50)
    folder.on_disk(tmp_path / "a.planes")
    file = cache_file.open_plane_file(tmp_path / "a.planes")
    content = (tmp_path / "a.planes").read_bytes()
    table = len(content) - int.from_bytes(content[16:24], "little")
    assert table < 150 * 50 + len(file.paths) + 100
