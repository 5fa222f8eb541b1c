"""A cache file that is damaged or cut short while it is used: the right pixels, one line, never a signal."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cache_folder import Folder
from support.coloured_dataset import Plain, plain, plain_samples
from support.loader_cases import dataset
from support.property_tests import examples

from yolofast.load import Loader, YOLODataset
from yolofast.load.cache import file as cache_file
from yolofast.load.cache._mapping import GuardedMapping, checksum
from yolofast.load.cache.guard import damage_note
from yolofast.load.cache.planes import plane_bytes, slot_bytes

PAGE = 4096


def cached(data: Path, folder: Path, **options: Any) -> YOLODataset:
    return dataset(data, cache="disk", cache_dir=folder, imgsz=32, **options)


def cache_of(folder: Path) -> Path:
    (path,) = folder.glob("*.planes")
    return path


def flip(path: Path, at: int, bits: int = 1) -> None:
    """Change a byte of a file in place, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bits]))


def planes_at(path: Path, row: int) -> tuple[int, int]:
    """Where the planes of a row are in a cache file, with the padding behind them: offset and bytes."""
    columns = cache_file.open_plane_file(path).columns
    return int(columns["offset"][row]), slot_bytes(int(plane_bytes(columns)[row]))


Read = Callable[[YOLODataset], list[Plain]]


def through_loader(samples: YOLODataset) -> list[Plain]:
    return plain_samples(Loader(samples, 4, threads=0))


def through_threads(samples: YOLODataset) -> list[Plain]:
    loader = Loader(samples, 4, threads=4)
    read = plain_samples(loader)
    loader.close()
    return read


def through_device(samples: YOLODataset) -> list[Plain]:
    pytest.importorskip("torch")
    loader = Loader(samples, 4, threads=2, device="cpu")
    read = plain_samples(loader)
    loader.close()
    return read


def one_by_one(samples: YOLODataset) -> list[Plain]:
    return [plain(samples[position]) for position in range(len(samples))]


READERS = pytest.mark.parametrize("read", [through_loader, through_threads, through_device, one_by_one])


# ---------------------------------------------------------------- damaged planes


@READERS
def test_damaged_planes_are_decoded_from_their_files_with_one_line(
    read: Read, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the first run the very pixels of the undamaged cache; after the next start, the file is sound."""
    expected = read(cached(data, tmp_path))
    path = cache_of(tmp_path)
    damaged = [0, 1, 22]  # JPEG, PNG, and the last one, in its padding
    for row in damaged:
        begin, size = planes_at(path, row)
        flip(path, begin + (size - 1 if row == 22 else size // 3))
    assert read(cached(data, tmp_path)) == expected
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(path) in line
    assert "damaged" in line
    assert "Remove" in line
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert read(cached(data, tmp_path)) == expected
    assert "3 of 23 images to decode" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, f"{path.name}.lock"]


def test_a_damaged_image_whose_file_is_gone_is_an_unreadable_one(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = cached(data, tmp_path)
    path = cache_of(tmp_path)
    flip(path, planes_at(path, 3)[0])
    image = Path(samples.paths[3])
    content = image.read_bytes()
    image.unlink()
    try:
        through_loader(samples)
    finally:
        image.write_bytes(content)
    assert set(samples.bad_images.reasons) == {3}
    assert sum("damaged" in record.getMessage() for record in caplog.records) == 1


def test_planes_are_checked_once(data: Path, tmp_path: Path) -> None:
    """What was as it was written when it was first used costs no more checks in this process."""
    samples = cached(data, tmp_path)
    assert samples.cache is not None
    guard = samples.cache.table.guard
    assert guard is not None
    assert not guard.checked.any()
    through_loader(samples)
    assert (guard.checked == 1).all()
    guard.checksums[:] = 0
    through_loader(samples)
    assert guard.mapping.damaged == 0


def test_a_note_of_damage_that_is_nonsense_is_passed_over(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.planes"
    folder.on_disk(path)
    damage_note(path).write_bytes(b"\xff -1 9999999999999999999999 12345\n2\nx")
    folder.check(folder.on_disk(path))
    assert folder.decoded == ["2.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "images")


# ---------------------------------------------------------------- a file that is cut short while mapped


def cut_all(path: Path) -> None:
    os.truncate(path, 0)


def cut_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_within_a_page(path: Path) -> None:
    """The rest of a file's last page reads as zeros, without any signal."""
    os.truncate(path, planes_at(path, 22)[0] + 10)


def write_into(path: Path) -> None:
    flip(path, planes_at(path, 7)[0] + 50)


@READERS
@pytest.mark.parametrize("change", [cut_all, cut_half, cut_within_a_page, write_into])
def test_a_file_cut_short_or_changed_while_it_is_used_is_one_line(
    read: Read, change: Callable[[Path], None], data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(cached(data, tmp_path))
    samples = cached(data, tmp_path)
    assert read(samples) == expected, "and all planes have been checked"
    path = cache_of(tmp_path)
    change(path)
    assert read(samples) == expected
    assert read(samples) == expected, "and so it goes on"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(path) in line
    assert "cut short or changed" in line
    assert read(cached(data, tmp_path)) == expected, "at the next start, too"


def test_a_file_cut_short_between_two_batches(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = through_threads(cached(data, tmp_path))
    loader = Loader(cached(data, tmp_path), 4, threads=4, prefetch=1)
    batches = iter(loader)
    first = next(batches)
    os.truncate(cache_of(tmp_path), PAGE)
    assert plain_samples([first, *batches]) == expected
    assert "cut short" in caplog.text
    loader.close()


TAKEN = """
import faulthandler, os, sys
from pathlib import Path
from yolofast.config import YOLOConfig
from yolofast.load import create_dataloader
workers, data, cache = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
config = YOLOConfig().replace(
    data=data, cache="disk", cache_dir=str(cache), imgsz=32, batch=4, workers=workers
)
loader = create_dataloader(config, "train", augment=False, shuffle=False)
if not workers:
    faulthandler.enable()
expected = sum(int(batch.images.long().sum()) for batch in loader)
os.truncate(next(cache.glob("*.planes")), 4096)
print(sum(int(batch.images.long().sum()) for batch in loader) == expected)
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_cut_short_under_who_took_the_signal(workers: int, data: Path, tmp_path: Path) -> None:
    """Faulthandler that is enabled later, and torch's handler in the processes of its DataLoader."""
    pytest.importorskip("torch")
    command = [sys.executable, "-c", TAKEN, str(workers), str(data), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.returncode) == ("True\n", 0), ran.stderr
    assert "Bus error" not in ran.stderr


@pytest.mark.parametrize("step", [100, 10**9, 2 * 10**9])
def test_a_time_that_lost_digits_is_no_change(step: int, tmp_path: Path, data: Path) -> None:
    """As a network disk gives it once it asks the server, or a backup puts it back."""
    samples = cached(data, tmp_path)
    path = cache_of(tmp_path)
    expected = one_by_one(samples)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns // step * step))
    assert one_by_one(samples) == expected
    assert samples.cache is not None
    assert samples.cache.table.guard is not None
    assert not samples.cache.table.guard.mapping.lost


def lost_mapping(tmp_path: Path) -> GuardedMapping:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8 * PAGE)
    with path.open("rb") as file:
        mapping = GuardedMapping(file.fileno(), 8 * PAGE)
    os.truncate(path, 0)
    return mapping


def test_zeros_are_read_where_the_file_was(tmp_path: Path) -> None:
    mapping = lost_mapping(tmp_path)
    assert not mapping.lost
    assert ctypes.string_at(mapping.address, 8 * PAGE) == bytes(8 * PAGE)
    assert mapping.lost


OTHERS = """
import ctypes, faulthandler, mmap, os, signal, sys, threading
from yolofast.load.cache._mapping import GuardedMapping, checksum
when, what, path = sys.argv[1:]
if when == "before":
    faulthandler.enable()
with open(path, "wb") as file:
    file.write(b"x" * 64 * 4096)
file = open(path, "rb")
guarded = [GuardedMapping(file.fileno(), 64 * 4096) for _ in range(8)]
if when == "after":
    faulthandler.enable()
    GuardedMapping.protect()  # as an engine does before each batch
if what == "fork":
    os.truncate(path, 0)
    child = os.fork()
    zeros = all(ctypes.string_at(each.address, 64 * 4096) == bytes(64 * 4096) for each in guarded)
    if child == 0:
        os._exit(0 if zeros else 1)
    print(zeros, os.waitpid(child, 0)[1])
elif what == "threads":
    os.truncate(path, 0)
    sums = []
    def read(each):
        sums.append(checksum((ctypes.c_char * (64 * 4096)).from_address(each.address)))
    threads = [threading.Thread(target=read, args=(guarded[i % 8],)) for i in range(32)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(set(sums) == {checksum(bytes(64 * 4096))}, all(each.lost for each in guarded))
elif what == "sent":
    os.kill(os.getpid(), signal.SIGBUS)
else:
    mine = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    os.truncate(path, 0)
    mine[5000]
print("still here")
"""


def others(when: str, what: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", OTHERS, when, what, str(tmp_path / "file")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("when", ["never", "before", "after"])
@pytest.mark.parametrize(("what", "told"), [("fork", "True 0\n"), ("threads", "True True\n")])
def test_faults_in_forked_processes_and_in_many_threads_at_once(
    when: str, what: str, told: str, tmp_path: Path
) -> None:
    ran = others(when, what, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{told}still here\n"


@pytest.mark.parametrize("when", ["never", "before", "after"])
@pytest.mark.parametrize("what", ["fault", "sent"])
def test_a_sigbus_of_somebody_else_goes_where_it_went_before(when: str, what: str, tmp_path: Path) -> None:
    ran = others(when, what, tmp_path)
    assert ran.returncode == -signal.SIGBUS
    assert ran.stdout == ""
    assert ran.stderr.count("Bus error") == (when != "never"), "faulthandler's report, once"


def test_mappings_are_counted_and_their_places_used_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * PAGE)
    with path.open("rb") as file:
        for _ in range(3):
            held = [GuardedMapping(file.fileno(), PAGE) for _ in range(100)]
            assert len({each.address for each in held}) == 100
        del held
        with pytest.raises(OSError, match="Too many open files"):
            [GuardedMapping(file.fileno(), PAGE) for _ in range(1000)]
        again = GuardedMapping(file.fileno(), PAGE)
        assert not again.lost
        assert ctypes.string_at(again.address, 5) == b"xxxxx"
    with pytest.raises(OSError, match="Bad file descriptor"):
        GuardedMapping(9999, PAGE)


# ---------------------------------------------------------------- checksums


@examples(60)
@given(data=st.data(), size=st.integers(1, 40))
def test_every_change_within_a_word_changes_the_checksum(data: st.DataObject, size: int) -> None:
    content = np.frombuffer(data.draw(st.binary(min_size=64 * size, max_size=64 * size)), np.uint8).copy()
    before = checksum(content)
    assert before == checksum(bytes(content))
    at, change = data.draw(st.integers(0, 8 * size - 1)), data.draw(st.integers(1, 2**64 - 1))
    content.view(np.uint64)[at] ^= np.uint64(change)
    assert checksum(content) != before


def test_order_and_length_change_the_checksum() -> None:
    words = np.arange(16, dtype=np.uint64)
    assert len({checksum(words[np.roll(np.arange(16), by)]) for by in range(16)}) == 16
    assert len({checksum(bytes(64 * blocks)) for blocks in range(10)}) == 10
    with pytest.raises(ValueError, match="multiple of 64"):
        checksum(bytes(63))
